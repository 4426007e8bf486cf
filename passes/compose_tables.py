"""Look up whatever is computed from one tensor of codes alone.

    table(table(x, t), u)                 -> table(x, u[t])
    requantize(table(x, t))               -> table(x, …)
    add(table(x, t), x), add(x, x)        -> table(x, …)     likewise multiply, and constants
    add(multiply(x, c), d)                -> table(x, …)     likewise any two operators

x: 8-bit codes; scales and zero points single. The entries are computed by the operators' own
expression in float32, so the codes stay the same. A network writes x * sigmoid(x), or GELU, as a
chain of quantized operators; it becomes one pass over the bytes. Left alone: a single requantize,
or sum or product with a constant, which registers do faster.
"""

from dataclasses import dataclass

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import table
from qcompile.ops.requantize import ADD, MULTIPLY, REQUANTIZE, TABLE
from qcompile.ops.roundings import round_array
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

OPERANDS = {REQUANTIZE: 1, ADD: 2, MULTIPLY: 2, TABLE: 1}
CODES = ("int8", "uint8")


@dataclass(frozen=True)
class _Function:
    """Codes computed from those of `source` alone: one for each that may be, lowest first."""

    source: relax.Expr
    codes: NDArray[np.int64]


class _ComposeTables(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._functions: dict[relax.Expr, _Function | None] = {}

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) not in OPERANDS or not self._worthwhile(call):
            return None
        found = self._of_call(call)
        if found is None:
            return None
        entries = found.codes.astype(dtype_of(call))
        return table(found.source, relax.const(entries, str(entries.dtype)))

    def _worthwhile(self, call: tvm.ir.Call) -> bool:
        """Whether two operators or more become one, or the same codes are read twice."""
        operands = [o for o in call.args[: OPERANDS[operator_name(call)]] if constant(o) is None]
        found = [self._function(operand) for operand in operands]
        return len(operands) > 1 or any(
            function is not None and not function.source.same_as(operand)
            for function, operand in zip(found, operands, strict=True)
        )

    def _function(self, value: relax.Expr) -> _Function | None:
        """`value` as a function of the first codes that it is computed from; None for no codes."""
        if value not in self._functions:
            call = self.definition(value)
            found = self._of_call(call) if operator_name(call) in OPERANDS else None
            if found is None and dtype_of(value) in CODES:
                found = _Function(value, _every(dtype_of(value)))
            self._functions[value] = found
        return self._functions[value]

    def _of_call(self, call: tvm.ir.Call) -> _Function | None:
        """The call's codes, where all its operands are functions of the same tensor."""
        source, values = None, []
        for operand in call.args[: OPERANDS[operator_name(call)]]:
            array = constant(operand)
            function = self._function(operand) if array is None else None
            if array is not None and array.size == 1:
                values.append(array.reshape(()).astype("int64"))
                continue
            if function is None or not (source is None or function.source.same_as(source)):
                return None
            source = function.source
            values.append(function.codes)
        if source is None or shape_of(source) != shape_of(call):
            return None
        codes = self._entries(call, values)
        return None if codes is None else _Function(source, codes.astype("int64"))

    def _entries(
        self, call: tvm.ir.Call, values: list[NDArray[np.int64]]
    ) -> NDArray[np.int64] | None:
        """The codes that the call makes of `values`."""
        attributes, operator = call.attrs, operator_name(call)
        if operator == TABLE:
            inner = constant(call.args[1])
            if inner is None:
                return None
            return inner[values[0] + (128 if dtype_of(call.args[0]) == "int8" else 0)]
        if operator == REQUANTIZE:
            parameters = [constant(argument) for argument in call.args[1:]]
            if any(array is None or array.size != 1 for array in parameters):
                return None
            singles = [a.reshape(()).astype("float32") for a in parameters if a is not None]
            real = _float(values[0] - int(attributes["input_zero"])) * singles[0]
            real = sum(singles[1:], start=real)
        elif operator == ADD:
            terms = [
                _float(value - int(attributes[f"zero_{side}"]))
                * np.float32(float(attributes[f"scale_{side}"]))
                for value, side in zip(values, "ab", strict=True)
            ]
            real = terms[0] + terms[1]
        else:
            centred = [v - int(attributes[f"zero_{s}"]) for v, s in zip(values, "ab", strict=True)]
            real = _float(centred[0] * centred[1]) * np.float32(float(attributes["scale"]))
        rounded = round_array(np.asarray(real, "float32"), str(attributes["rounding"]))
        codes = rounded + np.float32(int(attributes["zero_point"]))
        clamped = np.clip(codes, int(attributes["low"]), int(attributes["high"]))
        return clamped.astype(str(attributes["dtype"]))


def _every(dtype: str) -> NDArray[np.int64]:
    low = -128 if dtype == "int8" else 0
    return np.arange(low, low + 256)


def _float(values: NDArray[np.int64]) -> NDArray[np.float32]:
    return values.astype("float32")


@tvm.transform.module_pass(opt_level=0, name="ComposeTables")
class ComposeTables:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _ComposeTables)
