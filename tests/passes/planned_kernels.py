"""Fused kernels with what they get, for any plan, and what NumPy says that they give."""

import numpy as np

from qcompile.schedules import conv2d_bits, conv2d_bits_plan, conv2d_plan, dense_f32
from qcompile.schedules.conv2d_int8 import conv2d_int8
from tests.passes import references
from tests.passes.modules import quantized
from tests.schedules import bit_convolution, test_conv2d_int8
from tests.schedules.bits import Width
from tests.schedules.convolution import Case
from tests.schedules.kernels import (
    fused_function,
    requantized,
    requantized_reference,
    requantized_with_residual,
    residual_reference,
)
from tests.schedules.packing import packed_codes, packed_reference, thresholds_of

CASE = Case((1, 6, 9, 24), 40)
WIDTH = Width("and", 2, 2)
LARGEST = 64  # values of float operands: their sums are exact in float32


class Convolution:
    """conv2d_int8 with an epilogue; what it gets and gives, for any plan."""

    def __init__(self, target, epilogue, layer="layer"):
        x, w, bias, scale = test_conv2d_int8.operands(CASE, 1)
        self.plan = test_conv2d_int8.plan_of(CASE, w, target)
        sums = test_conv2d_int8.convolve(x, w, bias, CASE, 5)
        rng = np.random.default_rng(1)
        residual = rng.integers(0, 256, sums.shape, dtype="uint8")
        thresholds = thresholds_of(sums, 3, rng)
        compute, self.extra, self.expected = {
            "sums": (lambda y: y, [], sums.astype("int32")),
            "requantized": (requantized, [scale], requantized_reference(sums, scale)),
            "residual": (
                requantized_with_residual,
                [scale, residual],
                residual_reference(sums, scale, residual),
            ),
            "packed": (packed_codes, [thresholds], packed_reference(sums, thresholds)),
        }[epilogue]
        self.x, self.w, self.bias = x, w, bias
        extra = [(array.shape, str(array.dtype)) for array in self.extra]
        inputs = [(self.plan.input_shape, "uint8"), (self.plan.weight_shape, "int8")]
        self.function = fused_function(
            [*inputs, (bias.shape, "int32"), *extra],
            lambda x, w, b: conv2d_int8(x, w, b, self.plan, layer),
            compute,
            3,
        )

    def arrays(self, target, decisions):
        plan = conv2d_plan.conv2d_plan(self.plan.problem, target, decisions)
        x = test_conv2d_int8.prepared(self.x, CASE, plan, 5, np.random.default_rng(2))
        return [x, *test_conv2d_int8.constants(self.w, self.bias, plan), *self.extra]


class Bits:
    """conv2d_bits whose thresholds give bits again."""

    def __init__(self, target):
        case = Case((1, 6, 9, 64), 40)
        codes, values, bias, _ = bit_convolution.operands(case, WIDTH, 1)
        self.case, self.codes, self.values, self.bias = case, codes, values, bias
        self.plan = bit_convolution.plan_of(case, WIDTH, target)
        sums = bit_convolution.convolve(codes, values, case, WIDTH, 0) + bias
        self.thresholds = thresholds_of(sums, 3, np.random.default_rng(1))
        extra = [(self.thresholds.shape, "int32")]
        self.function = bit_convolution.kernel(self.plan, packed_codes, extra)
        self.expected = packed_reference(sums, self.thresholds)

    def arrays(self, target, decisions):
        plan = conv2d_bits_plan.conv2d_bits_plan(self.plan.problem, target, decisions)
        rng = np.random.default_rng(2)
        x = bit_convolution.prepared(self.codes, self.case, WIDTH, plan, 0, rng)
        w = conv2d_bits.pack_weights(WIDTH.weight_planes(self.values), plan)
        return [x, w, self.bias, self.thresholds]


class Floats:
    """dense_f32 whose results are quantized."""

    def __init__(self, target):
        rng = np.random.default_rng(1)
        drawn = [rng.integers(-LARGEST, LARGEST, shape) for shape in [(13, 33), (40, 33), (40,)]]
        self.x, self.w, self.bias = (array.astype("float32") for array in drawn)
        self.plan = dense_f32.plan_dense_f32(13, 40, 33, target)
        shapes = [self.x.shape, self.plan.weight_shape, self.bias.shape]
        self.function = fused_function(
            [(shape, "float32") for shape in shapes],
            lambda x, w, b: dense_f32.dense_f32(x, w, b, plan=self.plan, layer="layer"),
            lambda y: quantized(y, 128.0, 7),
            3,
        )
        sums = drawn[0] @ drawn[1].T + drawn[2]
        self.expected = references.codes(sums, 128.0, 7, 0, 255).astype("uint8")

    def arrays(self, target, decisions):
        plan = dense_f32.dense_f32_plan(self.plan.problem, target, decisions)
        return [self.x, dense_f32.pack_weights(self.w, plan), self.bias]


KERNELS = {
    **{
        f"int8 {name}": lambda target, name=name: Convolution(target, name)
        for name in ("sums", "requantized", "residual", "packed")
    },
    "bits packed": Bits,
    "float quantized": Floats,
}
