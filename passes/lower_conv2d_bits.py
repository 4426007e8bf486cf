"""Turn convolutions that were chosen to run on bits into their kernels.

    qcompile.conv2d(x, w, b, kernel="bits")
        -> conv2d_bits(border(pack(x)), planes(w), b + what is constant)

Where scales follow, the sums are counted in the largest power of two that divides them, which the
scales get: both products of float32 are the same.

qcompile.passes.bit_planes tells which planes, and what is constant. Outside the image data is 0.
Where 0 has a code, the border has that code. Bipolar data has none: the border has no bits, which
count as the offset of the data; outputs that see the border have biases without it.
"""

from math import prod

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te

from qcompile.ops.quantize import DEQUANTIZE
from qcompile.ops.requantize import REQUANTIZE
from qcompile.passes.bit_planes import (
    DataPlanes,
    WeightPlanes,
    constant_sums,
    pair_coefficients,
    weight_planes,
)
from qcompile.passes.choose_kernels import BITS, chosen
from qcompile.passes.facts import array_of
from qcompile.passes.kernel_costs import data_planes
from qcompile.passes.layers import Geometry, geometry_of, layer_of
from qcompile.passes.lowering import UNDECIDED, Decided, Lowering, has_small_sums, packed, passes_of
from qcompile.passes.packed import bordered_words, packed_codes
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.schedules.conv2d_bits import conv2d_bits, pack_weights
from qcompile.schedules.conv2d_bits_plan import (
    Conv2dBitsPlan,
    Conv2dBitsProblem,
    conv2d_bits_plan,
)
from qcompile.targets import Target

# What reads sums with a scale of their own, which may as well have their unit; zero points of sums
# are 0.
SCALED = frozenset({DEQUANTIZE, REQUANTIZE})


class _LowerConv2dBits(Lowering):
    def __init__(self, target: Target, decided: Decided = UNDECIDED) -> None:
        super().__init__(target, decided)
        self._units: dict[relax.Expr, int] = {}  # what the sums of a layer are counted in

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) in SCALED and call.args[0] in self._units:
            return _scaled(call, self._units[call.args[0]])
        if chosen(call) != BITS:
            return None
        x, (weights, bias) = call.args[0], (array_of(argument) for argument in call.args[1:])
        layer = str(call.attrs["layer"])
        self.layers.append(layer_of(call, "conv2d_bits", weights))
        data, planes, geometry = data_planes(call), weight_planes(weights), geometry_of(call)
        problem = Conv2dBitsProblem(
            x=shape_of(x),
            w=weights.shape,
            operation=planes.operation,
            coefficients=pair_coefficients(data, planes),
            pads=geometry.pads,
            strides=geometry.strides,
            dilation=geometry.dilation,
            groups=geometry.groups,
        )
        plan = conv2d_bits_plan(problem, self.target, self.decisions("conv2d_bits", layer))
        words = bordered_words(
            self,
            packed_codes(self, x, data, geometry.groups),
            data,
            pads=geometry.pads,
            columns=plan.columns,
            group_channels=weights.shape[-1],
        )

        sums = constant_parts(data, planes, weights, bias, geometry, plan, shape_of(x))
        bits, unit = planes.planes, 1
        scaled = set(self.readers(self.reading)) <= SCALED and planes.operation == "xor"
        if scaled:
            bits = 1 - bits
            sums, unit = agreeing(sums, problem)

        is_small = has_small_sums(call)

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return conv2d_bits(x, w, b, plan, layer, unit, is_small)

        operands = [words, packed(pack_weights(bits, plan)), packed(sums)]
        result = self.kernel(compute, operands, "conv2d_bits", layer)
        if scaled:
            self._units[result] = -unit
        return result


def agreeing(sums: NDArray[np.int32], problem: Conv2dBitsProblem) -> tuple[NDArray[np.int32], int]:
    """(constant parts, unit) where bits that agree are counted, not those that differ.

        sum of c * P = sum of c * N - c * P'    N bits, of which P differ and P' agree; c < 0

    Constants, and c with a minus, are divided by the largest power of two that divides them all,
    with a minus the unit: nothing is left to multiply a single plane of counts by.
    """
    coefficients = [c for row in problem.coefficients for c in row]
    whole = sums.astype("int64") + prod(problem.w[1:]) * sum(coefficients)
    every = np.gcd.reduce([int(np.gcd.reduce(whole.reshape(-1))), *coefficients])
    unit = int(every & -every)
    return (whole // unit).astype("int32"), -unit


def _scaled(call: tvm.ir.Call, unit: int) -> tvm.ir.Call:
    """The dequantize or requantize of sums in that unit, a power of two."""
    data, scale, *others = call.args
    factors = array_of(scale)
    arguments = [data, relax.const(factors * np.float32(unit), "float32"), *others]
    return tvm.ir.Call(call.op, arguments, call.attrs, call.ty_args)


def constant_parts(
    data: DataPlanes,
    planes: WeightPlanes,
    weights: NDArray[np.int8],
    bias: NDArray[np.int32],
    geometry: Geometry,
    plan: Conv2dBitsPlan,
    x_shape: tuple[int, ...],
) -> NDArray[np.int32]:
    """What is added to the counts: (O,), or (row classes, column classes, O) int32.

    The offset of the data counts at the positions of the window that are inside the image, or at
    all of them where the border has a code of its own.
    """
    own = constant_sums(data, planes).sum(axis=(1, 2, 3)) + bias
    products = data.offset * weights.astype("int64").sum(axis=3)  # (O, KH, KW)
    if data.padding is not None or not data.offset or not any(geometry.pads):
        return (own + products.sum(axis=(1, 2))).astype("int32")
    inside = [_inside(axis, geometry, plan, x_shape) for axis in (0, 1)]
    parts = np.einsum("rp,cq,opq->rco", *inside, products)
    return (own + parts).astype("int32")


def _inside(
    axis: int, geometry: Geometry, plan: Conv2dBitsPlan, x_shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Whether a position of the window is inside the image: (classes, positions) 0 or 1.

    axis: 0 for rows, 1 for columns. A class that no output has stays 0.
    """
    classes = plan.classes()[axis]
    starts = np.arange(len(classes)) * geometry.strides[axis] - geometry.pads[axis]
    reach = np.arange(plan.kernel[axis]) * geometry.dilation[axis]
    positions = starts[:, None] + reach
    result = np.zeros((plan.class_counts[axis], plan.kernel[axis]), "int64")
    result[classes] = (positions >= 0) & (positions < x_shape[1 + axis])
    return result


LowerConv2dBits = passes_of(_LowerConv2dBits, "LowerConv2dBits")
