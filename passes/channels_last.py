"""Compute images with the channels as the last axis.

    conv2d(x NCHW, w OIHW) -> NCHW(conv2d(NHWC(x), w, data_layout="NHWC"))
    f(NCHW(x))             -> NCHW(f(NHWC(x)))    elementwise f, pool, concat, pad, slice, mean
    NHWC(NCHW(x))          -> x

NCHW(x) is permute_dims(x, [0, 3, 1, 2]) and NHWC(x) its inverse. Kernels read and write channels as
vectors, so between a network's first and last image operator no transposition is left. Operators
that are not listed here keep their layout and get a transposed operand.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, multi_threshold, quantize
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions, shape_of

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
IMAGE_RANK = 4
AXIS = {0: 0, 1: 3, 2: 1, 3: 2}  # where an axis of NCHW stands in NHWC

UNARY = {
    *(f"relax.nn.{name}" for name in ("relu", "gelu", "gelu_tanh", "silu", "leakyrelu", "selu")),
    *(
        f"relax.{name}"
        for name in ("clip", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "erf")
    ),
    *(f"relax.{name}" for name in ("abs", "negative", "floor", "ceil", "round", "sign", "astype")),
    *(f"relax.{name}" for name in ("erf", "square", "logical_not", "sin", "cos", "trunc")),
}
BINARY = {
    *(f"relax.{name}" for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")),
    *(f"relax.{name}" for name in ("power", "greater", "less", "equal", "greater_equal")),
    *(f"relax.{name}" for name in ("less_equal", "not_equal", "floor_divide", "mod", "where")),
}
REDUCTIONS = {f"relax.{name}" for name in ("mean", "sum", "max", "min", "prod")}


class _ChannelsLast(BindingRewriter):
    def __init__(self) -> None:
        super().__init__()
        self._transposed: dict[relax.Var, relax.Var] = {}

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator in ANCHORS and _channels_first(call):
            return self._nchw(ANCHORS[operator](self, call, name), name)
        if operator == "relax.permute_dims":
            return self._compose(call)
        if operator == "relax.reshape":
            return self._reshape(call)
        if operator in FOLLOWERS and self._has_last(call):
            return self._follow(FOLLOWERS[operator](self, call, name), name)
        return None

    def last(self, value: relax.Expr) -> relax.Expr:
        """`value` (rank 4) with its channels last."""
        array = constant(value)
        if array is not None:
            return relax.const(np.ascontiguousarray(array.transpose(TO_NHWC)), str(array.dtype))
        if self._is_last(value):
            return self.definition(value).args[0]
        if value not in self._transposed:
            self._transposed[value] = self.emit(relax.op.permute_dims(value, list(TO_NHWC)))
        return self._transposed[value]

    def aligned(self, value: relax.Expr) -> relax.Expr:
        """An operand that broadcasts against images, in their layout."""
        shape = shape_of(value)
        array = constant(value)
        if not shape or (array is not None and array.size == 1):
            return value
        if len(shape) == IMAGE_RANK:
            return self.last(value)
        full = (1,) * (IMAGE_RANK - len(shape)) + shape
        if array is not None:
            return self.last(relax.const(array.reshape(full), str(array.dtype)))
        return self.last(self.emit(relax.op.reshape(value, full)))

    def _is_last(self, value: relax.Expr) -> bool:
        found = self.call_of(value, "relax.permute_dims")
        return found is not None and _axes(found) == TO_NCHW

    def _has_last(self, call: tvm.ir.Call) -> bool:
        operands = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else call.args
        return any(self._is_last(operand) for operand in operands) and all(
            len(shape_of(operand)) <= IMAGE_RANK
            for operand in operands
            if isinstance(operand.ty, relax.TensorType)
        )

    def _nchw(self, value: relax.Expr, name: str) -> relax.Expr:
        return relax.op.permute_dims(self.emit(value, name), list(TO_NCHW))

    def _follow(self, value: relax.Expr | None, name: str) -> relax.Expr | None:
        """The value in the layout that the readers expect."""
        if value is None:
            return None
        var = self.emit(value, name)
        if isinstance(var.ty, relax.TupleType):
            items = (self.emit(relax.TupleGetItem(var, i)) for i in range(len(var.ty.fields)))
            return relax.Tuple([self._image(item) for item in items])
        return self._image(var)

    def _image(self, var: relax.Var) -> relax.Var:
        if len(shape_of(var)) != IMAGE_RANK:
            return var
        return self.emit(relax.op.permute_dims(var, list(TO_NCHW)))

    def _compose(self, call: tvm.ir.Call) -> relax.Expr | None:
        inner = self.call_of(call.args[0], "relax.permute_dims")
        if inner is None:
            return None
        axes = [_axes(inner)[axis] for axis in _axes(call)]
        if axes == sorted(axes):
            return inner.args[0]
        return relax.op.permute_dims(inner.args[0], axes)

    def _reshape(self, call: tvm.ir.Call) -> relax.Expr | None:
        """Images of one pixel are flattened without moving them."""
        if not self._is_last(call.args[0]) or shape_of(call.args[0])[2:] != (1, 1):
            return None
        return relax.op.reshape(self.last(call.args[0]), call.args[1])


def _channels_first(call: tvm.ir.Call) -> bool:
    """Whether a convolution, pool or resize reads and writes NCHW."""
    attributes = call.attrs
    if operator_name(call) == "relax.nn.conv2d":
        layouts = (attributes.data_layout, attributes.out_layout, attributes.kernel_layout)
        return tuple(str(layout) for layout in layouts) == ("NCHW", "NCHW", "OIHW")
    return str(attributes.layout) == str(getattr(attributes, "out_layout", "NCHW")) == "NCHW"


def _axes(call: tvm.ir.Call) -> tuple[int, ...]:
    rank = len(shape_of(call.args[0]))
    if call.attrs.axes is None:
        return tuple(reversed(range(rank)))
    return tuple(int(axis) % rank for axis in call.attrs.axes)


def _ints(values: Sequence[object]) -> list[int]:
    return [int(value) for value in values]  # type: ignore[call-overload]


def _conv2d(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    attributes = call.attrs
    return relax.op.nn.conv2d(
        rewriter.last(call.args[0]),
        call.args[1],
        strides=_ints(attributes.strides),
        padding=_ints(attributes.padding),
        dilation=_ints(attributes.dilation),
        groups=int(attributes.groups),
        data_layout="NHWC",
        kernel_layout="OIHW",
        out_dtype=attributes.out_dtype,
    )


def _pool2d(operator: Callable[..., relax.Expr]) -> Callable[..., relax.Expr]:
    def rebuilt(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
        attributes = call.attrs
        return operator(
            rewriter.last(call.args[0]),
            pool_size=_ints(attributes.pool_size),
            strides=_ints(attributes.strides),
            padding=_ints(attributes.padding),
            dilation=_ints(attributes.dilation),
            ceil_mode=bool(attributes.ceil_mode),
            count_include_pad=bool(attributes.count_include_pad),
            layout="NHWC",
        )

    return rebuilt


def _adaptive(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    size = None if call.attrs.output_size is None else _ints(call.attrs.output_size)
    return relax.op.nn.adaptive_avg_pool2d(rewriter.last(call.args[0]), size, layout="NHWC")


def _elementwise(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    arguments = [
        rewriter.aligned(a) if isinstance(a.ty, relax.TensorType) else a for a in call.args
    ]
    return tvm.ir.Call(call.op, arguments, call.attrs, call.ty_args)


def _parametrized(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    """quantize and dequantize, whose axis moves."""
    attributes: dict[str, Any] = {
        "axis": AXIS[int(call.attrs["axis"]) % IMAGE_RANK],
        "bits": int(call.attrs["bits"]),
        "signed": bool(call.attrs["signed"]),
        "narrow": bool(call.attrs["narrow"]),
    }
    data = rewriter.last(call.args[0])
    if operator_name(call) == "qcompile.dequantize":
        return dequantize(data, *call.args[1:], **attributes)
    return quantize(data, *call.args[1:], rounding=str(call.attrs["rounding"]), **attributes)


def _multi_threshold(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    axis = AXIS[int(call.attrs["axis"]) % IMAGE_RANK]
    return multi_threshold(rewriter.last(call.args[0]), call.args[1], axis=axis)


def _concat(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    fields = [rewriter.last(field) for field in call.args[0].fields]
    return relax.op.concat(fields, AXIS[int(call.attrs.axis) % IMAGE_RANK])


def _split(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    sections = call.attrs.indices_or_sections
    parts = int(sections) if not hasattr(sections, "__iter__") else _ints(sections)
    axis = AXIS[int(call.attrs.axis) % IMAGE_RANK]
    return relax.op.split(rewriter.last(call.args[0]), parts, axis)


def _strided_slice(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr | None:
    if any(constant(field) is None and not hasattr(field, "value") for field in call.args[1]):
        return None
    axes = [AXIS[int(axis) % IMAGE_RANK] for axis in call.args[1]]
    return relax.op.strided_slice(
        rewriter.last(call.args[0]),
        axes,
        *(_ints(argument) for argument in call.args[2:]),
        assume_inbound=bool(call.attrs.assume_inbound),
    )


def _pad(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    widths = np.reshape(_ints(call.attrs.pad_width), (IMAGE_RANK, 2))[list(TO_NHWC)]
    return relax.op.nn.pad(
        rewriter.last(call.args[0]),
        widths.reshape(-1).tolist(),
        pad_mode=str(call.attrs.pad_mode),
        pad_value=float(call.attrs.pad_value),
    )


def _reduce(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr | None:
    axes = _ints(call.attrs.axis) if call.attrs.axis is not None else list(range(IMAGE_RANK))
    axes = [axis % IMAGE_RANK for axis in axes]
    kept = [axis for axis in TO_NHWC if axis not in axes]
    if not bool(call.attrs.keepdims) and kept != sorted(kept):
        return None
    reduce = getattr(relax.op, operator_name(call).removeprefix("relax."))
    moved = sorted(AXIS[axis] for axis in axes)
    return reduce(rewriter.last(call.args[0]), moved, bool(call.attrs.keepdims))


def _resize2d(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr | None:
    attributes = call.attrs
    if not _channels_first(call):
        return None
    return relax.op.image.resize2d(
        rewriter.last(call.args[0]),
        call.args[1],
        roi=[float(value) for value in attributes.roi],
        layout="NHWC",
        method=str(attributes.method),
        coordinate_transformation_mode=str(attributes.coordinate_transformation_mode),
        rounding_method=str(attributes.rounding_method),
        cubic_alpha=float(attributes.cubic_alpha),
        cubic_exclude=int(attributes.cubic_exclude),
        extrapolation_value=float(attributes.extrapolation_value),
        out_dtype=attributes.out_dtype,
    )


def _softmax(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    axis = AXIS[int(call.attrs.axis) % IMAGE_RANK]
    return relax.op.nn.softmax(rewriter.last(call.args[0]), axis)


def _prelu(rewriter: _ChannelsLast, call: tvm.ir.Call, name: str) -> relax.Expr:
    axis = AXIS[int(call.attrs.axis) % IMAGE_RANK]
    return relax.op.nn.prelu(rewriter.last(call.args[0]), call.args[1], axis)


ANCHORS: dict[str, Callable[..., relax.Expr]] = {
    "relax.nn.conv2d": _conv2d,
    "relax.nn.max_pool2d": _pool2d(relax.op.nn.max_pool2d),
    "relax.nn.avg_pool2d": _pool2d(relax.op.nn.avg_pool2d),
    "relax.nn.adaptive_avg_pool2d": _adaptive,
}
FOLLOWERS: dict[str, Callable[..., relax.Expr | None]] = {
    **dict.fromkeys(UNARY | BINARY, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "qcompile.quantize": _parametrized,
    "qcompile.dequantize": _parametrized,
    "qcompile.multi_threshold": _multi_threshold,
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.strided_slice": _strided_slice,
    "relax.nn.pad": _pad,
    "relax.image.resize2d": _resize2d,
    "relax.nn.softmax": _softmax,
    "relax.nn.prelu": _prelu,
}


@tvm.transform.module_pass(opt_level=0, name="ChannelsLast")
class ChannelsLast:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _ChannelsLast)
