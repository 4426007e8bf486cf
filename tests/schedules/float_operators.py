"""Relax expressions of float operators and what NumPy computes for them.

Shapes are small and mostly odd, so that loops have remainders; some are large enough for threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
from tvm import relax
from tvm.relax import op

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """`build` of Relax variables and `expected` of arrays, for inputs of these shapes and types.

    `plain`: the generic schedules leave it as plain loops.
    """

    name: str
    shapes: Sequence[Shape]
    build: Callable[..., Any]
    expected: Callable[..., Any]
    dtype: str = "float32"
    plain: bool = False
    tolerance: float = 2e-5

    def __str__(self) -> str:
        return self.name


def const(value: Any, dtype: str = "float32") -> Any:
    return relax.const(np.array(value, dtype))


def softmax(x, axis):
    return scipy.special.softmax(x, axis)


def normalized(x, axes, epsilon=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def windows(x, kernel, stride, axes=(2, 3)):
    """x (N, C, H, W): (N, C, OH, OW, kernel, kernel)."""
    view = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=axes)
    return view[:, :, ::stride, ::stride]


def quantized(x, scale, zero):
    return np.clip(np.rint(x / np.float32(scale)) + zero, 0, 255).astype("uint8")


one = const(1.0)


def gelu(x):
    return op.multiply(op.multiply(x, const(0.5)), op.add(op.erf(op.divide(x, const(2**0.5))), one))


ELEMENTWISE = [
    Operator(
        "add_relu",
        [(1, 7, 9, 32), (32,)],
        lambda x, b: op.nn.relu(op.add(x, b)),
        lambda x, b: np.maximum(x + b, 0),
    ),
    Operator(
        "add_channels_first",
        [(2, 5, 6, 7), (5,)],
        lambda x, b: op.add(x, op.reshape(b, (1, 5, 1, 1))),
        lambda x, b: x + b.reshape(1, 5, 1, 1),
    ),
    Operator(
        "outer_sum",
        [(31, 1), (1, 17)],
        lambda x, y: op.add(x, y),
        lambda x, y: x + y,
    ),
    Operator("gelu", [(33, 48)], gelu, lambda x: x / 2 * (1 + scipy.special.erf(x / 2**0.5))),
    Operator("gelu_odd", [(7, 13)], gelu, lambda x: x / 2 * (1 + scipy.special.erf(x / 2**0.5))),
    Operator(
        "gelu_tanh",
        [(5, 64)],
        op.nn.gelu_tanh,
        lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    ),
    Operator("silu", [(300, 256)], op.nn.silu, lambda x: x * scipy.special.expit(x)),
    Operator("sigmoid", [(3, 5, 7)], op.sigmoid, scipy.special.expit),
    Operator("tanh", [(64,)], op.tanh, np.tanh),
    Operator(
        "exp_log", [(101,)], lambda x: op.log(op.add(op.exp(x), one)), lambda x: np.logaddexp(x, 0)
    ),
    Operator(
        "hard_swish",
        [(2, 3, 16)],
        lambda x: op.multiply(x, op.divide(op.clip(op.add(x, const(3.0)), 0, 6), const(6.0))),
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
    ),
    Operator(
        "prelu",
        [(2, 4, 4, 8), (8,)],
        lambda x, a: op.nn.prelu(x, a, axis=3),
        lambda x, a: np.where(x > 0, x, a * x),
    ),
    Operator(
        "leaky_relu",
        [(9, 9)],
        lambda x: op.nn.leakyrelu(x, 0.1),
        lambda x: np.where(x > 0, x, 0.1 * x),
    ),
    Operator("power", [(4, 32)], lambda x: op.power(x, const(3.0)), lambda x: x**3),
    Operator(
        "power_of_any",
        [(4, 32), (32,)],
        lambda x, y: op.power(op.abs(x), y),
        lambda x, y: abs(x) ** y,
    ),
    Operator(
        "sin_cos", [(40,)], lambda x: op.add(op.sin(x), op.cos(x)), lambda x: np.sin(x) + np.cos(x)
    ),
    Operator(
        "where",
        [(6, 16), (16,)],
        lambda x, y: op.where(op.greater(x, y), x, op.negative(y)),
        lambda x, y: np.where(x > y, x, -y),
    ),
    Operator(
        "round", [(8, 16)], lambda x: op.round(op.multiply(x, const(2.0))), lambda x: np.rint(2 * x)
    ),
    Operator(
        "round_halves_to_even",
        [(5, 37)],
        lambda x: op.round(op.divide(op.astype(x, "float32"), const(2.0))),
        lambda x: np.rint(x / 2),
        dtype="int32",
    ),
    Operator(
        "floor_ceil",
        [(50,)],
        lambda x: op.add(op.floor(x), op.ceil(x)),
        lambda x: np.floor(x) + np.ceil(x),
    ),
    Operator(
        "cast_and_back",
        [(5, 24)],
        lambda x: op.astype(op.astype(x, "int32"), "float32"),
        np.trunc,
    ),
    Operator("is_less", [(5, 24), (5, 24)], op.less, np.less),
    Operator(
        "integers",
        [(5, 24), (24,)],
        lambda x, y: op.multiply(op.add(x, y), x),
        lambda x, y: (x + y) * x,
        dtype="int32",
    ),
    Operator(
        "dequantize_add_quantize",
        [(4, 96)],
        lambda x: op.quantize(
            op.add(op.dequantize(x, const(0.11), const(7, "uint8")), one),
            const(0.23),
            const(3, "uint8"),
            out_dtype="uint8",
        ),
        lambda x: quantized((x.astype("float32") - 7) * np.float32(0.11) + np.float32(1), 0.23, 3),
        dtype="uint8",
    ),
]
LAYOUT = [
    Operator(
        "to_channels_last",
        [(1, 16, 9, 7)],
        lambda x: op.permute_dims(x, [0, 2, 3, 1]),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    Operator(
        "to_channels_first",
        [(2, 5, 6, 3)],
        lambda x: op.permute_dims(x, [0, 3, 1, 2]),
        lambda x: x.transpose(0, 3, 1, 2),
    ),
    Operator(
        "image_to_bytes",
        [(1, 3, 16, 20)],
        lambda x: op.quantize(
            op.permute_dims(x, [0, 2, 3, 1]), const(0.1), const(9, "uint8"), out_dtype="uint8"
        ),
        lambda x: quantized(x.transpose(0, 2, 3, 1), 0.1, 9),
    ),
    Operator(
        "heads",
        [(2, 17, 48)],
        lambda x: op.permute_dims(op.reshape(x, (2, 17, 3, 16)), [0, 2, 1, 3]),
        lambda x: x.reshape(2, 17, 3, 16).transpose(0, 2, 1, 3),
    ),
    Operator("large_transpose", [(128, 768)], lambda x: op.permute_dims(x, [1, 0]), lambda x: x.T),
    Operator(
        "concat_last",
        [(3, 4, 32), (3, 4, 13)],
        lambda x, y: op.concat([x, y], 2),
        lambda x, y: np.concatenate([x, y], 2),
    ),
    Operator(
        "concat_first",
        [(2, 5), (3, 5), (1, 5)],
        lambda x, y, z: op.nn.relu(op.concat([x, y, z], 0)),
        lambda x, y, z: np.maximum(np.concatenate([x, y, z]), 0),
    ),
    Operator(
        "slice",
        [(3, 20, 8)],
        lambda x: op.strided_slice(x, [1, 2], [1, 0], [19, 7], [2, 1]),
        lambda x: x[:, 1:19:2, 0:7],
    ),
    Operator(
        "split",
        [(4, 30)],
        lambda x: op.add(*(op.split(x, 2, 1)[k] for k in range(2))),
        lambda x: x[:, :15] + x[:, 15:],
    ),
    Operator(
        "take",
        [(11, 24)],
        lambda x: op.take(x, const([3, 0, 10, 3], "int64"), axis=0),
        lambda x: x[[3, 0, 10, 3]],
    ),
    Operator(
        "broadcast",
        [(1, 5, 1)],
        lambda x: op.broadcast_to(x, (3, 5, 16)),
        lambda x: np.broadcast_to(x, (3, 5, 16)),
    ),
    Operator("tile", [(3, 5)], lambda x: op.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3))),
    Operator("flip", [(3, 16)], lambda x: op.flip(x, 1), lambda x: x[:, ::-1]),
    Operator(
        "pad",
        [(1, 5, 6, 8)],
        lambda x: op.nn.pad(x, [0, 0, 1, 2, 2, 1, 0, 0], "constant", 0.5),
        lambda x: np.pad(x, [(0, 0), (1, 2), (2, 1), (0, 0)], constant_values=0.5),
    ),
    Operator(
        "pad_last",
        [(5, 29)],
        lambda x: op.nn.pad(x, [0, 0, 1, 2]),
        lambda x: np.pad(x, [(0, 0), (1, 2)]),
    ),
    Operator(
        "resize_nearest",
        [(1, 6, 7, 16)],
        lambda x: op.image.resize2d(
            x,
            relax.ShapeExpr([12, 14]),
            layout="NHWC",
            method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric",
            rounding_method="floor",
        ),
        lambda x: x.repeat(2, 1).repeat(2, 2),
    ),
    Operator(
        "resize_linear",
        [(1, 3, 4, 5)],
        lambda x: op.image.resize2d(
            x,
            relax.ShapeExpr([7, 9]),
            layout="NCHW",
            method="linear",
            coordinate_transformation_mode="align_corners",
        ),
        lambda x: np.einsum("pi,ncij,qj->ncpq", hats(7, 4), x, hats(9, 5)),
    ),
    Operator(
        "one_hot",
        [(6,)],
        lambda x: op.one_hot(x, relax.prim_value(1.0), relax.prim_value(0.0), 9, 1),
        lambda x: np.eye(9)[x],
        dtype="int64",
    ),
    Operator("triangle", [(9, 9)], lambda x: op.tril(x), np.tril),
]


def hats(outputs: int, inputs: int) -> np.ndarray:
    """Linear interpolation with aligned corners as a matrix."""
    position = np.linspace(0, inputs - 1, outputs)
    return np.maximum(0, 1 - abs(position[:, None] - np.arange(inputs)))


REDUCTION = [
    Operator("softmax", [(5, 128)], lambda x: op.nn.softmax(x, -1), lambda x: softmax(x, -1)),
    Operator(
        "softmax_threads", [(12, 64, 128)], lambda x: op.nn.softmax(x, -1), lambda x: softmax(x, -1)
    ),
    Operator("softmax_odd", [(3, 197)], lambda x: op.nn.softmax(x, -1), lambda x: softmax(x, -1)),
    Operator("softmax_long", [(2, 6625)], lambda x: op.nn.softmax(x, -1), lambda x: softmax(x, -1)),
    Operator(
        "softmax_middle", [(2, 21, 5, 16)], lambda x: op.nn.softmax(x, 1), lambda x: softmax(x, 1)
    ),
    Operator("softmax_vector", [(1000,)], lambda x: op.nn.softmax(x, 0), lambda x: softmax(x, 0)),
    Operator(
        "log_softmax",
        [(4, 40)],
        lambda x: op.nn.log_softmax(x, -1),
        lambda x: scipy.special.log_softmax(x, -1),
    ),
    Operator(
        "layer_norm",
        [(17, 384), (384,), (384,)],
        lambda x, a, b: op.nn.layer_norm(x, a, b, axes=[-1]),
        lambda x, a, b: normalized(x, -1) * a + b,
    ),
    Operator(
        "layer_norm_odd",
        [(2, 9, 33), (33,), (33,)],
        lambda x, a, b: op.nn.layer_norm(x, a, b, axes=[-1]),
        lambda x, a, b: normalized(x, -1) * a + b,
    ),
    Operator(
        "rms_norm",
        [(6, 96), (96,)],
        lambda x, a: op.nn.rms_norm(x, a, axes=[-1], epsilon=1e-5),
        lambda x, a: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * a,
    ),
    Operator(
        "group_norm",
        [(2, 8, 5, 4), (8,), (8,)],
        lambda x, a, b: op.nn.group_norm(x, a, b, 4, 1, [2, 3]),
        lambda x, a, b: (
            normalized(x.reshape(2, 4, 2, 5, 4), (2, 3, 4)).reshape(x.shape) * a.reshape(8, 1, 1)
            + b.reshape(8, 1, 1)
        ),
    ),
    Operator(
        "instance_norm",
        [(2, 3, 6, 8), (3,), (3,)],
        lambda x, a, b: op.nn.instance_norm(x, a, b, 1, [2, 3]),
        lambda x, a, b: normalized(x, (2, 3)) * a.reshape(3, 1, 1) + b.reshape(3, 1, 1),
    ),
    Operator(
        "length",
        [(4, 48)],
        lambda x: op.divide(x, op.sqrt(op.sum(op.multiply(x, x), [-1], keepdims=True))),
        lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True)),
    ),
    Operator(
        "mean_image",
        [(2, 7, 7, 48)],
        lambda x: op.mean(x, [1, 2], keepdims=True),
        lambda x: x.mean((1, 2), keepdims=True),
    ),
    Operator(
        "mean_planes", [(1, 40, 7, 7)], lambda x: op.mean(x, [2, 3]), lambda x: x.mean((2, 3))
    ),
    Operator("mean_rows", [(300, 256)], lambda x: op.mean(x, [-1]), lambda x: x.mean(-1)),
    Operator(
        "sum_middle",
        [(3, 20, 16)],
        lambda x: op.nn.relu(op.sum(x, [1])),
        lambda x: np.maximum(x.sum(1), 0),
    ),
    Operator("sum_first", [(40, 33)], lambda x: op.sum(x, [0]), lambda x: x.sum(0)),
    Operator("sum_all", [(30, 32)], lambda x: op.sum(x), np.sum, tolerance=1e-4),
    Operator("max_all_odd", [(13, 11)], lambda x: op.max(x), np.max),
    Operator("min_rows", [(13, 11)], lambda x: op.min(x, [1]), lambda x: x.min(1)),
    Operator("product", [(13, 5)], lambda x: op.prod(x, [1]), lambda x: x.prod(1)),
    Operator("variance", [(6, 50)], lambda x: op.variance(x, [1]), lambda x: x.var(1)),
    Operator("argmax", [(5, 100)], lambda x: op.argmax(x, 1), lambda x: x.argmax(1)),
    Operator("argmin", [(5, 10, 16)], lambda x: op.argmin(x, 1), lambda x: x.argmin(1)),
    Operator("cumsum", [(4, 20)], lambda x: op.cumsum(x, 1), lambda x: x.cumsum(1), plain=True),
    Operator(
        "max_pool_first",
        [(1, 4, 9, 9)],
        lambda x: op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1)),
        lambda x: windows(
            np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf), 3, 2
        ).max((4, 5)),
    ),
    Operator(
        "max_pool_last",
        [(1, 9, 9, 24)],
        lambda x: op.nn.max_pool2d(x, (3, 3), (1, 1), (1, 1), layout="NHWC"),
        lambda x: (
            windows(
                np.pad(
                    x.transpose(0, 3, 1, 2),
                    [(0, 0), (0, 0), (1, 1), (1, 1)],
                    constant_values=-np.inf,
                ),
                3,
                1,
            )
            .max((4, 5))
            .transpose(0, 2, 3, 1)
        ),
    ),
    Operator(
        "average_pool",
        [(1, 16, 8, 8)],
        lambda x: op.nn.avg_pool2d(x, (2, 2), (2, 2)),
        lambda x: windows(x, 2, 2).mean((4, 5)),
    ),
    Operator(
        "product_of_matrices", [(3, 9, 16), (3, 16, 20)], op.matmul, np.matmul, tolerance=1e-4
    ),
]
OPERATORS = [*ELEMENTWISE, *LAYOUT, *REDUCTION]
