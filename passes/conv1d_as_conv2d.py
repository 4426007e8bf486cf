"""Read signals as images of one row.

    conv1d(x (N, C, W), w (O, I, K)) -> conv2d(x (N, C, 1, W), w (O, I, 1, K)) without its row
    max_pool1d, avg_pool1d           -> max_pool2d, avg_pool2d likewise

Constants get their row at once; quantized ones keep their quantize parameters, the row is added to
the codes later on.
"""

from collections.abc import Callable, Sequence

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.facts import constant, vector
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)


class _Conv1dAsConv2d(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        rule = {
            "relax.nn.conv1d": self._conv1d,
            "relax.nn.max_pool1d": self._pool(relax.op.nn.max_pool2d),
            "relax.nn.avg_pool1d": self._pool(relax.op.nn.avg_pool2d),
        }.get(operator_name(call))
        if rule is None or not _channels_first(call):
            return None
        image = self.emit(rule(call), name)
        return relax.op.reshape(image, shape_of(call))

    def _with_row(self, value: relax.Expr) -> relax.Expr:
        *leading, columns = shape_of(value)
        array = constant(value)
        if array is not None:
            return vector(array.reshape(*leading, 1, columns), dtype_of(value))
        return self.emit(relax.op.reshape(value, (*leading, 1, columns)))

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


def _ints(values: Sequence[object]) -> list[int]:
    return [int(value) for value in values]  # type: ignore[call-overload]


@tvm.transform.module_pass(opt_level=0, name="Conv1dAsConv2d")
class Conv1dAsConv2d:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _Conv1dAsConv2d)
