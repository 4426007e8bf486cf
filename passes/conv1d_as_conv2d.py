"""Read signals as images of one row.

    conv1d(x (N, C, W), w (O, I, K)) -> signal(conv2d(x (N, C, 1, W), w (O, I, 1, K)))
    max_pool1d, avg_pool1d           -> max_pool2d, avg_pool2d likewise
    f(signal(x))                     -> signal(f(x))     elementwise f, concat, mean
    reshape(signal(x))               -> reshape(x)

signal(x) is x without its row, a reshape. Quantized constants keep their quantize parameters: the
row is added to the codes later on. Other operators read the signal.
"""

from collections.abc import Callable, Sequence

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.channels_last import BINARY, UNARY
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

SIGNAL_RANK = 3
QUANTIZERS = ("qcompile.quantize", "qcompile.dequantize")


class _Conv1dAsConv2d(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        anchor = {
            "relax.nn.conv1d": self._conv1d,
            "relax.nn.max_pool1d": self._pool(relax.op.nn.max_pool2d),
            "relax.nn.avg_pool1d": self._pool(relax.op.nn.avg_pool2d),
        }.get(operator)
        follower = {
            **dict.fromkeys((*UNARY, *BINARY, *QUANTIZERS), self._elementwise),
            "relax.nn.prelu": self._prelu,
            "relax.concat": self._concat,
            "relax.mean": self._mean,
        }.get(operator)
        if anchor is not None and _channels_first(call):
            image = self.emit(anchor(call), name)
        elif follower is not None and self._reads_image(call):
            image = self.emit(follower(call), name)
        elif operator == "relax.reshape" and self._image(call.args[0]) is not None:
            image = self._image(call.args[0])
        else:
            return None
        return relax.op.reshape(image, shape_of(call))

    def _image(self, value: relax.Expr) -> relax.Expr | None:
        """The image of one row whose signal `value` is."""
        call = self.call_of(value, "relax.reshape")
        if call is None or len(shape_of(value)) != SIGNAL_RANK:
            return None
        return call.args[0] if shape_of(call.args[0]) == _row_shape(value) else None

    def _reads_image(self, call: tvm.ir.Call) -> bool:
        if operator_name(call) == "relax.concat":
            operands = self.fields(call.args[0])
        else:
            operands = [a for a in call.args if isinstance(a.ty, relax.TensorType)]
        small = all(len(shape_of(operand)) <= SIGNAL_RANK for operand in operands)
        return small and any(self._image(operand) is not None for operand in operands)

    def _with_row(self, value: relax.Expr) -> relax.Expr:
        """An operand in the shape in which it broadcasts against images."""
        if len(shape_of(value)) < 2:
            return value
        image, array = self._image(value), constant(value)
        if image is not None:
            return image
        if array is not None:
            return relax.const(array.reshape(_row_shape(value)), str(array.dtype))
        return self.emit(relax.op.reshape(value, _row_shape(value)))

    def _elementwise(self, call: tvm.ir.Call) -> relax.Expr:
        quantizer = operator_name(call) in QUANTIZERS
        arguments = [
            self._with_row(a) if isinstance(a.ty, relax.TensorType) else a for a in call.args
        ]
        attributes = call.attrs
        if quantizer:
            axis = _image_axis(int(attributes["axis"]))
            attributes = tvm.ir.make_node(
                "ir.DictAttrs", **{**dict(attributes.items()), "axis": axis}
            )
        return tvm.ir.Call(call.op, arguments, attributes, call.ty_args)

    def _prelu(self, call: tvm.ir.Call) -> relax.Expr:
        axis = _image_axis(int(call.attrs.axis))
        return relax.op.nn.prelu(self._with_row(call.args[0]), call.args[1], axis)

    def _concat(self, call: tvm.ir.Call) -> relax.Expr:
        fields = [self._with_row(field) for field in self.fields(call.args[0])]
        return relax.op.concat(fields, _image_axis(int(call.attrs.axis)))

    def _mean(self, call: tvm.ir.Call) -> relax.Expr:
        axes = range(SIGNAL_RANK) if call.attrs.axis is None else _ints(call.attrs.axis)
        moved = sorted({2, *(_image_axis(axis) for axis in axes)})
        return relax.op.mean(self._with_row(call.args[0]), moved, bool(call.attrs.keepdims))

    def _conv1d(self, call: tvm.ir.Call) -> relax.Expr:
        attributes = call.attrs
        left, right = _ints(attributes.padding)
        return relax.op.nn.conv2d(
            self._with_row(call.args[0]),
            self._with_row(call.args[1]),
            strides=[1, *_ints(attributes.strides)],
            padding=[0, left, 0, right],
            dilation=[1, *_ints(attributes.dilation)],
            groups=int(attributes.groups),
            out_dtype=attributes.out_dtype,
        )

    def _pool(self, operator: Callable[..., relax.Expr]) -> Callable[[tvm.ir.Call], relax.Expr]:
        def pooled(call: tvm.ir.Call) -> relax.Expr:
            attributes = call.attrs
            left, right = _ints(attributes.padding)
            return operator(
                self._with_row(call.args[0]),
                pool_size=[1, *_ints(attributes.pool_size)],
                strides=[1, *_ints(attributes.strides)],
                padding=[0, left, 0, right],
                dilation=[1, *_ints(attributes.dilation)],
                ceil_mode=bool(attributes.ceil_mode),
                count_include_pad=bool(attributes.count_include_pad),
            )

        return pooled


def _channels_first(call: tvm.ir.Call) -> bool:
    """Whether a convolution or pool reads and writes NCW."""
    attributes = call.attrs
    if operator_name(call) == "relax.nn.conv1d":
        layouts = (attributes.data_layout, attributes.out_layout, attributes.kernel_layout)
        return tuple(str(layout) for layout in layouts) == ("NCW", "NCW", "OIW")
    return str(attributes.layout) == str(attributes.out_layout) == "NCW"


def _row_shape(signal: relax.Expr) -> tuple[int, ...]:
    *leading, columns = shape_of(signal)
    return (*leading, 1, columns)


def _image_axis(axis: int) -> int:
    """Where an axis of a signal stands in its image."""
    return (0, 1, 3)[axis % SIGNAL_RANK]


def _ints(values: Sequence[object]) -> list[int]:
    return [int(value) for value in values]  # type: ignore[call-overload]


@tvm.transform.module_pass(opt_level=0, name="Conv1dAsConv2d")
class Conv1dAsConv2d:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _Conv1dAsConv2d)
