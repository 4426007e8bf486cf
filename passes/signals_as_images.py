"""Compute on images what is computed on signals that are images without their unit axis.

    f(signal(x), y)                      -> signal(f(x, image(y)))
    reshape(signal(x))                   -> reshape(x), or x where that is its shape
    permute_dims(signal(x), [0, 2, 1])   -> reshape(NHWC(x))

signal(x): a reshape of x (N, C, H, W) that drops H or W, which is 1; image(y) gives y that axis;
NHWC(x) is permute_dims(x, [0, 2, 3, 1]). f: elementwise, quantize, dequantize, concat, reductions,
on operands of rank 3 at most. So one-dimensional convolutions and pools, which are two-dimensional
ones between two reshapes, meet the bias, activation and quantizer behind them. Left alone: other
reshapes and operators.
"""

from collections.abc import Callable, Sequence

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.channels_last import BINARY, REDUCTIONS, TO_NHWC, UNARY
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions, shape_of

SIGNAL_RANK, IMAGE_RANK = 3, 4
PARAMETRIZED = ("qcompile.quantize", "qcompile.dequantize")


class _SignalsAsImages(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator in ("relax.reshape", "relax.permute_dims"):
            return self._moved(call)
        rule = RULES.get(operator)
        if rule is None:
            return None
        operands = [o for o in _operands(call) if isinstance(o.ty, relax.TensorType)]
        if any(len(shape_of(operand)) > SIGNAL_RANK for operand in operands):
            return None
        axes = [axis for operand in operands if (axis := self._dropped(operand)) is not None]
        if not axes:
            return None
        return relax.op.reshape(self.emit(rule(self, call, axes[0]), name), shape_of(call))

    def image(self, value: relax.Expr, axis: int) -> relax.Expr:
        """`value` (rank 3 at most, broadcast like NumPy's) with a unit axis."""
        if not isinstance(value.ty, relax.TensorType) or not shape_of(value):
            return value
        shape = (1,) * (SIGNAL_RANK - len(shape_of(value))) + shape_of(value)
        shape = (*shape[:axis], 1, *shape[axis:])
        array = constant(value)
        if array is not None:
            return relax.const(array.reshape(shape), str(array.dtype))
        inner = self.call_of(value, "relax.reshape")
        if inner is not None and shape_of(inner.args[0]) == shape:
            return inner.args[0]
        return self.emit(relax.op.reshape(value, shape))

    def _moved(self, call: tvm.ir.Call) -> relax.Expr | None:
        """A reshape or transposition of a signal, as one of the image."""
        if self._dropped(call.args[0]) is None:
            return None
        image = self.definition(call.args[0]).args[0]
        if operator_name(call) == "relax.permute_dims":
            if [int(axis) % SIGNAL_RANK for axis in call.attrs.axes or (2, 1, 0)] != [0, 2, 1]:
                return None
            image = self.emit(relax.op.permute_dims(image, list(TO_NHWC)))
        return (
            image if shape_of(image) == shape_of(call) else relax.op.reshape(image, shape_of(call))
        )

    def _dropped(self, value: relax.Expr) -> int | None:
        """The axis that a signal lacks; None for what is no signal."""
        inner = self.call_of(value, "relax.reshape")
        if inner is None:
            return None
        before, after = shape_of(inner.args[0]), shape_of(inner)
        if len(before) != IMAGE_RANK or len(after) != SIGNAL_RANK:
            return None
        found = (k for k in (2, 3) if before[k] == 1 and (*before[:k], *before[k + 1 :]) == after)
        return next(found, None)


def _operands(call: tvm.ir.Call) -> Sequence[relax.Expr]:
    return call.args[0].fields if isinstance(call.args[0], relax.Tuple) else call.args


def _moved_axis(axis: int, dropped: int) -> int:
    """Where an axis of the signal is in the image."""
    axis %= SIGNAL_RANK
    return axis if axis < dropped else axis + 1


def _elementwise(rewriter: _SignalsAsImages, call: tvm.ir.Call, dropped: int) -> relax.Expr:
    arguments = [rewriter.image(argument, dropped) for argument in call.args]
    return tvm.ir.Call(call.op, arguments, call.attrs, call.ty_args)


def _parametrized(rewriter: _SignalsAsImages, call: tvm.ir.Call, dropped: int) -> relax.Expr:
    axis = _moved_axis(int(call.attrs["axis"]), dropped)
    attributes = tvm.ir.make_node("ir.DictAttrs", **{**dict(call.attrs.items()), "axis": axis})
    arguments = [rewriter.image(call.args[0], dropped), *call.args[1:]]
    return tvm.ir.Call(call.op, arguments, attributes, call.ty_args)


def _concat(rewriter: _SignalsAsImages, call: tvm.ir.Call, dropped: int) -> relax.Expr:
    fields = [rewriter.image(field, dropped) for field in call.args[0].fields]
    return relax.op.concat(fields, _moved_axis(int(call.attrs.axis), dropped))


def _reduce(rewriter: _SignalsAsImages, call: tvm.ir.Call, dropped: int) -> relax.Expr:
    axes = range(SIGNAL_RANK) if call.attrs.axis is None else call.attrs.axis
    moved = sorted({dropped, *(_moved_axis(int(axis), dropped) for axis in axes)})
    reduce = getattr(relax.op, operator_name(call).removeprefix("relax."))
    return reduce(rewriter.image(call.args[0], dropped), moved, keepdims=True)


RULES: dict[str, Callable[[_SignalsAsImages, tvm.ir.Call, int], relax.Expr]] = {
    **dict.fromkeys(UNARY | BINARY, _elementwise),
    **dict.fromkeys(PARAMETRIZED, _parametrized),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "relax.concat": _concat,
}


@tvm.transform.module_pass(opt_level=0, name="SignalsAsImages")
class SignalsAsImages:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _SignalsAsImages)
