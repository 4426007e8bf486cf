"""Take and return integer codes instead of floats at the network's border.

    main(x: float32) with every reader of x the same quantize -> main(x: its codes)
    a result y = dequantize(q)                                -> the result q

One scale and zero point each. What was stripped is noted in the module attribute `qcompile.border`.
Left alone: inputs and outputs that are read or made as floats.
"""

import json
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.facts import codes_of, constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
)

BORDER = "qcompile.border"


class _StripOuterQuantizers(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._codes: dict[relax.Var, relax.Var] = {}
        self.border: dict[str, list[dict[str, Any] | None]] = {"inputs": [], "outputs": []}

    def transform(self, function: relax.Function) -> relax.Function:
        self._note_readers(function)
        first = self._first_quantizers(function)
        parameters = []
        for parameter in function.params:
            quantizer = first.get(parameter)
            self.border["inputs"].append(None if quantizer is None else _format(self, quantizer))
            parameters.append(parameter if quantizer is None else self._coded(parameter, quantizer))
        self._readers.clear()
        body = relax.Function(parameters, function.body, function.ret_ty, attrs=function.attrs)
        return super().transform(body)

    def result(self, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._stripped(field) for field in value.fields])
        found = self.definition(value)
        if isinstance(found, relax.Tuple):
            return relax.Tuple([self._stripped(field) for field in found.fields])
        return self._stripped(value)

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) == "qcompile.quantize" and call.args[0] in self._codes:
            return self._codes[call.args[0]]
        return None

    def _first_quantizers(self, function: relax.Function) -> dict[relax.Var, tvm.ir.Call]:
        """The quantize that alone reads a parameter; equal ones count as one."""
        found: dict[relax.Var, list[tvm.ir.Call]] = {}
        for block in function.body.blocks:
            for binding in block.bindings:
                call = binding.value
                if operator_name(call) == "qcompile.quantize" and call.args[0] in function.params:
                    found.setdefault(call.args[0], []).append(call)
        return {
            parameter: calls[0]
            for parameter, calls in found.items()
            if len(calls) == len(self._readers[parameter])
            and _format(self, calls[0]) is not None
            and all(_format(self, call) == _format(self, calls[0]) for call in calls)
        }

    def _coded(self, parameter: relax.Var, quantizer: tvm.ir.Call) -> relax.Var:
        codes = relax.Var(str(parameter.name), quantizer.ty)
        self._codes[parameter] = codes
        return codes

    def _stripped(self, value: relax.Expr) -> relax.Expr:
        call = self.call_of(value, "qcompile.dequantize")
        format_ = None if call is None else _format(self, call)
        if call is None or format_ is None or int(call.attrs["bits"]) > 16:
            self.border["outputs"].append(None)
            return value
        self.border["outputs"].append(format_)
        return call.args[0]


def _format(rewriter: BindingRewriter, call: tvm.ir.Call) -> dict[str, Any] | None:
    """Scale, zero point and bits of a per-tensor quantize or dequantize."""
    if any(constant(argument) is None for argument in call.args[1:]):
        return None
    codes = codes_of(rewriter, call)
    if codes is None or not codes.per_tensor:
        return None
    stored = call if operator_name(call) == "qcompile.quantize" else call.args[0]
    return {
        "scale": float(codes.scale.reshape(-1)[0]),
        "zero_point": codes.zero_point,
        "bits": codes.bits,
        "dtype": dtype_of(stored),
    }


@tvm.transform.module_pass(opt_level=0, name="StripOuterQuantizers")
class StripOuterQuantizers:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        rewriter = _StripOuterQuantizers()
        mod = rewrite_functions(mod, lambda: rewriter)
        return mod.with_attr(BORDER, json.dumps(rewriter.border))
