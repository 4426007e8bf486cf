"""Reshape behind elementwise operators, not between a kernel and its epilogue.

    f(reshape(x), y)    -> reshape(f(x, reshape(y)))
    reshape(reshape(x)) -> reshape(x), or x where that is its shape

f: elementwise, like all that read reshape(x); the reshape keeps the last axis; y: of the same
shape, single, or along the last axis. A kernel's sums stay in registers only until the next
operator that is not elementwise.
"""

from math import prod

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.channels_last import BINARY, UNARY
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

QUANTIZERS = ("qcompile.quantize", "qcompile.dequantize")
PRELU = "relax.nn.prelu"
THRESHOLD = "qcompile.threshold"  # reads its parameters along the last axis, whatever the rank
EPILOGUES = {
    PRELU,
    THRESHOLD,
    *QUANTIZERS,
    *(f"qcompile.{name}" for name in ("requantize", "shift_add", "add", "multiply")),
    *UNARY,
    *BINARY,
} - {"relax.where"}


class _SinkReshape(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) == "relax.reshape":
            return self._compose(call)
        if operator_name(call) not in EPILOGUES:
            return None
        for argument in call.args:
            inner = self.call_of(argument, "relax.reshape")
            if inner is not None and self._movable(call, argument, inner):
                return self._moved(call, argument, shape_of(inner.args[0]), name)
        return None

    def _compose(self, call: tvm.ir.Call) -> relax.Expr | None:
        inner = self.call_of(call.args[0], "relax.reshape")
        source = call.args[0] if inner is None else inner.args[0]
        if shape_of(source) == shape_of(call):
            return source
        return None if inner is None else relax.op.reshape(source, shape_of(call))

    def _movable(self, call: tvm.ir.Call, argument: relax.Expr, inner: tvm.ir.Call) -> bool:
        full, source = shape_of(argument), shape_of(inner.args[0])
        readers = self.read_by[argument]
        if not readers or not EPILOGUES.issuperset(readers):
            return False
        if shape_of(call) != full or not source:
            return False
        if source[-1] != full[-1] or not self._from_kernel(inner.args[0]):
            return False
        if _channel_axis(call) != len(full) - 1 and any(shape_of(a) for a in call.args[1:3]):
            return False
        if operator_name(call) == THRESHOLD:
            return True
        return all(
            shape_of(other) == full or self._last_axis(shape_of(other), full)
            for other in call.args
            if isinstance(other.ty, relax.TensorType)
        )

    def _from_kernel(self, value: relax.Expr) -> bool:
        """Whether `value` is made by a kernel or by elementwise operators behind it."""
        name = operator_name(self.definition(value))
        return name == "relax.call_tir" or name in EPILOGUES

    def _last_axis(self, shape: tuple[int, ...], full: tuple[int, ...]) -> bool:
        return prod(shape) == 1 or (shape[-1] == full[-1] and prod(shape) == full[-1])

    def _moved(
        self, call: tvm.ir.Call, argument: relax.Expr, source: tuple[int, ...], name: str
    ) -> relax.Expr:
        full = shape_of(argument)
        moved = 1 if operator_name(call) == THRESHOLD else len(call.args)
        arguments = [
            self._aligned(other, full, source)
            if number < moved and isinstance(other.ty, relax.TensorType)
            else other
            for number, other in enumerate(call.args)
        ]
        attributes, last = call.attrs, len(source) - 1
        if operator_name(call) == PRELU:
            result = relax.op.nn.prelu(*arguments, last)
            return relax.op.reshape(self.emit(result, name), full)
        if operator_name(call) in QUANTIZERS:
            values = {**dict(attributes.items()), "axis": last}
            attributes = tvm.ir.make_node("ir.DictAttrs", **values)
        result = tvm.ir.Call(call.op, arguments, attributes, call.ty_args)
        return relax.op.reshape(self.emit(result, name), full)

    def _aligned(
        self, value: relax.Expr, full: tuple[int, ...], source: tuple[int, ...]
    ) -> relax.Expr:
        shape = shape_of(value)
        if shape != full:
            return value if len(shape) <= 1 else self._reshaped(value, shape[-1:])
        return self._reshaped(value, source)

    def _reshaped(self, value: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
        inner = self.call_of(value, "relax.reshape")
        if inner is not None and shape_of(inner.args[0]) == shape:
            return inner.args[0]
        return self.emit(relax.op.reshape(value, shape))


def _channel_axis(call: tvm.ir.Call) -> int:
    """The axis along which parameters of quantizers and prelu vary; the last for others."""
    rank = len(shape_of(call))
    if operator_name(call) == PRELU:
        return int(call.attrs.axis) % rank
    return int(call.attrs["axis"]) % rank if operator_name(call) in QUANTIZERS else rank - 1


@tvm.transform.module_pass(opt_level=0, name="SinkReshape")
class SinkReshape:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _SinkReshape)
