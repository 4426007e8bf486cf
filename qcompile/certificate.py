"""The proof that no accumulator overflows: the lowest and highest sum of every integer layer.

    conv2d, dense   sum over the window of (x - z) * w[o], plus bias[o], x any of its codes
    batch_matmul    sum of (a - z_a) * (b - z_b)
    sum_pool2d      sum of x - z over the window

The weights are constants, so each product reaches its own extremes and every bound of these is
reached by some data; nothing is estimated. Positions outside the image add nothing: each set of
window positions that lies inside for some output is bounded by itself. While the zero point is a
code, or 0 lies between the codes, every partial sum in any order lies within the bounds, too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.errors import Unsupported
from qcompile.ops.contractions import BATCH_MATMUL, CONV2D, DENSE
from qcompile.ops.pool import SUM_POOL2D
from qcompile.passes.facts import array_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of

FORMAT = 1
INT32 = (-(2**31), 2**31 - 1)
FLOAT32_EXACT = 2**24  # every integer of at most this magnitude is a float32

Bounds = NDArray[np.int64]  # (2, O): the lowest and the highest sum of each output channel


@dataclass(frozen=True)
class Accumulator:
    """The sums of one layer. `bits`: of the narrowest two's complement integer that holds them.

    codes: the lowest and the highest of the data; channel: the output channel of the sum with the
    largest magnitude; float32_exact: whether float32 holds every sum between the bounds.
    """

    name: str
    op: str
    codes: tuple[int, int]
    lowest: int
    highest: int
    channel: int
    bits: int
    float32_exact: bool


def accumulators(integer_form: tvm.IRModule) -> list[Accumulator]:
    """The bounds of every integer layer of a module in integer form, in its order.

    Raises Unsupported for a layer whose sums an int32 does not hold.
    """
    proofs: dict[str, Accumulator] = {}
    for name, call in _calls(integer_form["main"]):
        operator = operator_name(call)
        if operator in (CONV2D, DENSE):
            data, bounds = _data(call), _contraction(call)
        elif operator == BATCH_MATMUL:
            data, bounds = _codes(call, "codes_a", "a_bits"), _product(call)
        elif operator == SUM_POOL2D:
            data, bounds = _every_code(call.args[0]), _pool(call)
        else:
            continue
        layer = str(call.attrs["layer"]) if "layer" in call.attrs else name
        name = name if layer in proofs else layer  # window sums, for a zero point of the weights
        proofs[name] = _proved(name, operator, data, bounds)
    return list(proofs.values())


def certificate(proofs: Iterable[Accumulator], kernels: Mapping[str, str]) -> dict[str, Any]:
    """What certificate.json holds; kernels: by the name of the layer."""
    layers = [{**asdict(p), "kernel": kernels[p.name], "int32": True} for p in proofs]
    return {"format": FORMAT, "layers": layers}


def window_sums(
    least: NDArray[np.int64], most: NDArray[np.int64], inside: list[tuple[Any, Any]]
) -> Bounds:
    """Bounds of sums over windows. least, most: (O, KH, KW), of each position's summand.

    inside: the rows and columns of the window that lie inside the image, for each kind of place.
    """
    sums = [
        (least[:, rows][:, :, columns].sum((1, 2)), most[:, rows][:, :, columns].sum((1, 2)))
        for rows, columns in inside
    ]
    return np.stack([np.min([s[0] for s in sums], 0), np.max([s[1] for s in sums], 0)])


def _proved(name: str, operator: str, codes: tuple[int, int], bounds: Bounds) -> Accumulator:
    lowest, highest = int(bounds[0].min()), int(bounds[1].max())
    if lowest < INT32[0] or highest > INT32[1]:
        raise Unsupported(
            f"{operator.rpartition('.')[2]} '{name}': its sums reach from {lowest} to {highest}, "
            "which an int32 does not hold; fewer bits or fewer inputs of a sum would"
        )
    return Accumulator(
        name=name,
        op=operator.rpartition(".")[2],
        codes=codes,
        lowest=lowest,
        highest=highest,
        channel=int(np.abs(bounds).max(axis=0).argmax()),
        bits=1 + max(highest.bit_length(), (-1 - lowest).bit_length() if lowest < 0 else 0),
        float32_exact=max(-lowest, highest) <= FLOAT32_EXACT,
    )


def _calls(function: relax.Function) -> Iterator[tuple[str, tvm.ir.Call]]:
    for block in function.body.blocks:
        for binding in block.bindings:
            if operator_name(binding.value):
                yield str(binding.var.name), binding.value


def _codes(call: tvm.ir.Call, lattice: str, width: str) -> tuple[int, int]:
    """The lowest and the highest code of data: (low, step) and its bits are attributes."""
    low, step = (int(value) for value in call.attrs[lattice])
    bits = int(call.attrs[width])
    if step > 1:
        return low, low + step * (2**bits - 1)
    # Codes that start below zero are signed, narrow or not: both end at the same code.
    return low, (2 ** (bits - 1) if low < 0 else 2**bits) - 1


def _every_code(data: relax.Expr) -> tuple[int, int]:
    return (-128, 127) if dtype_of(data) == "int8" else (0, 255)


def _data(call: tvm.ir.Call) -> tuple[int, int]:
    return _codes(call, "codes", "a_bits")


def _contraction(call: tvm.ir.Call) -> Bounds:
    """Of a convolution or a product with constant weights."""
    weights, bias = (array_of(argument).astype("int64") for argument in call.args[1:3])
    zero = int(call.attrs["zero_point"])
    ends = np.stack([weights * (code - zero) for code in _data(call)])
    least, most = ends.min(axis=0).sum(axis=-1), ends.max(axis=0).sum(axis=-1)
    if operator_name(call) == DENSE:
        return np.stack([least, most]) + bias
    return window_sums(least, most, _insides(call, weights.shape[1:3])) + bias


def _insides(call: tvm.ir.Call, kernel: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Rows and columns of the window inside the image, for every kind of place in the result."""
    strides, pads, dilation = (
        [int(value) for value in call.attrs[key]] for key in ("strides", "padding", "dilation")
    )
    sides = []
    for axis in (0, 1):
        starts = np.arange(shape_of(call)[axis + 1]) * strides[axis] - pads[axis]
        taps = starts[:, None] + np.arange(kernel[axis]) * dilation[axis]
        inside = (taps >= 0) & (taps < shape_of(call.args[0])[axis + 1])
        sides.append([np.flatnonzero(row) for row in np.unique(inside, axis=0)])
    return [(rows, columns) for rows in sides[0] for columns in sides[1]]


def _product(call: tvm.ir.Call) -> Bounds:
    """Of a product of two computed matrices; b may have any codes that its w_bits hold."""
    zeros = (int(call.attrs["zero_a"]), int(call.attrs["zero_b"]))
    left, right = _codes(call, "codes_a", "a_bits"), _codes(call, "codes_b", "w_bits")
    corners = [(a - zeros[0]) * (b - zeros[1]) for a in left for b in right]
    depth = shape_of(call.args[0])[-1]
    return np.array([[min(corners)], [max(corners)]], "int64") * depth


def _pool(call: tvm.ir.Call) -> Bounds:
    kernel = tuple(int(extent) for extent in call.attrs["kernel"])
    least, most = (
        np.full((1, *kernel), code - int(call.attrs["zero_point"]), "int64")
        for code in _every_code(call.args[0])
    )
    return window_sums(least, most, _insides(call, kernel))
