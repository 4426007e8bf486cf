"""How much the kernels that could run an integer layer have to do, counted from their plans."""

from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
import tvm
from numpy.typing import NDArray

from qcompile.ops.contractions import CONV2D
from qcompile.passes.bit_planes import weight_planes
from qcompile.passes.facts import array_of
from qcompile.passes.layers import Geometry, geometry_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules.bit_product import Planes
from qcompile.schedules.conv2d_bits_plan import plan_conv2d_bits
from qcompile.schedules.conv2d_plan import plan_conv2d
from qcompile.schedules.dense_bits import plan_dense_bits
from qcompile.schedules.dense_int8 import plan_dense
from qcompile.schedules.dense_packed import plan_dense_packed
from qcompile.schedules.intrinsics_x86 import dot_of
from qcompile.schedules.popcount_x86 import WORD_BITS
from qcompile.targets import Target

UNSET = ("narrow_steps", "near_bytes", "far_bytes", "read", "packed", "copied")
WHOLE = Geometry(pads=(0, 0, 0, 0), strides=(1, 1), dilation=(1, 1), groups=1)


@dataclass(frozen=True)
class LayerShape:
    """A convolution of x (N, H, W, C) with w (O, KH, KW, C / groups), or a product.

    A product of rows with a matrix is a 1 x 1 convolution of one image with one row. Bits count
    planes; `packed_bits`: of two's complement weights in memory, 2 or 4, if they fit that;
    `signed`: data is int8.
    """

    x: tuple[int, ...]
    w: tuple[int, ...]
    geometry: Geometry
    data_bits: int
    weight_bits: int
    packed_bits: int | None = None
    signed: bool = False

    @property
    def pointwise(self) -> bool:
        return self.geometry.pointwise(self.w[1:3])

    @property
    def depthwise(self) -> bool:
        return self.geometry.groups == self.x[3] > 1 and self.w[3] == 1

    @property
    def kind(self) -> str:
        return "dense" if self.pointwise else "conv2d"


@dataclass(frozen=True)
class Work:
    """What a kernel does for a layer. All counts are of vectors but for bytes and words."""

    kernel: str
    steps: float  # products of vectors: dot products, or counts of one word of a pair of planes
    narrow_steps: float  # the same on vectors of half the target's size
    loads: float  # of weights and data into registers
    tiles: float
    sums: float  # combined into outputs: one for every pair of planes
    outputs: float  # through the epilogue
    near_bytes: float  # of weights, read from the second cache
    far_bytes: float  # of weights, read from behind the second cache
    read: float  # runs of 32 codes that are made to bits
    packed: float  # words that they make, one for every plane
    copied: float  # bytes of data given a border


def layer_shape(call: tvm.ir.Call) -> LayerShape:
    """The shape of a qcompile.conv2d or qcompile.dense."""
    weights = array_of(call.args[1])
    x, w = (shape_of(argument) for argument in call.args[:2])
    geometry = WHOLE
    if operator_name(call) == CONV2D:
        geometry = geometry_of(call)
    else:
        x, w = (1, 1, prod(x[:-1]), x[-1]), (w[0], 1, 1, w[1])
    signed = dtype_of(call.args[0]) == "int8"
    a_bits, planes = int(call.attrs["a_bits"]), weight_planes(weights).bits
    return LayerShape(x, w, geometry, a_bits, planes, packed_bits(weights), signed)


def packed_bits(weights: NDArray[np.int8]) -> int | None:
    """The fewest bits, of those that memory may hold, that all weights fit."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    fitting = (bits for bits in (2, 4) if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1))
    return next(fitting, None)


def int8_work(layer: LayerShape, target: Target) -> Work:
    """What dense_int8 or conv2d_int8 does."""
    dot, x_bytes = dot_of(target), prod(layer.x)
    if layer.pointwise:
        rows, depth = prod(layer.x[:3]), layer.x[3]
        dense = plan_dense(rows, depth, layer.w[0], target)
        vectors, steps = dense.vectors, dense.steps
        tiles = [(dense.tile_rows, rows // dense.tile_rows), (rows % dense.tile_rows, 1)]
        per_tile, prepared = dense.tile_vectors, prod(dense.input_shape)
        sweeps = 1 if dense.weights_stay else ceil(rows / dense.tile_rows)
    else:
        conv = plan_conv2d(layer.x, layer.w, target, **vars(layer.geometry))
        vectors, steps = conv.vectors, prod(conv.kernel) * conv.run // conv.depth
        count = conv.batch * conv.out_height // conv.tile_rows
        count *= ceil(conv.out_width / conv.tile_columns)
        tiles = [(conv.tile_rows * conv.tile_columns, count)]
        per_tile, prepared = conv.tile_vectors, prod(conv.input_shape)
        sweeps = 1 if conv.weights_stay else conv.batch * conv.out_height // conv.tile_rows
    work = _tiles("int8", tiles, per_tile, vectors, steps, 1, 1)
    weight_bytes = vectors * steps * dot.lanes * 4
    return replace(
        work,
        kernel=f"{layer.kind}_int8",
        near_bytes=_near(
            work.tiles, per_tile * steps * dot.lanes * 4, weight_bytes, sweeps, target
        ),
        far_bytes=_far(weight_bytes, target),
        copied=prepared if layer.signed or prepared != x_bytes else 0,
    )


def packed_work(layer: LayerShape, target: Target) -> Work:
    """What dense_packed does: dense_int8, with fewer bytes of weights to read and to unpack.

    The count of packed vectors that are unpacked, once for every tile, is that of its sums.
    """
    assert layer.pointwise and layer.packed_bits
    (rows, depth), dot = (prod(layer.x[:3]), layer.x[3]), dot_of(target)
    plan = plan_dense_packed(rows, depth, layer.w[0], layer.packed_bits, target)
    dense = plan.dense
    tiles = [(dense.tile_rows, rows // dense.tile_rows), (rows % dense.tile_rows, 1)]
    work = _tiles("dense_packed", tiles, dense.tile_vectors, dense.vectors, dense.steps, 1, 1)
    step_bytes = dot.lanes * 4 // plan.per_byte
    weight_bytes = dense.vectors * dense.steps * step_bytes
    panel_bytes = dense.tile_vectors * dense.steps * step_bytes
    sweeps = 1 if dense.weights_stay else ceil(rows / dense.tile_rows)
    prepared = prod(dense.input_shape)
    return replace(
        work,
        sums=work.tiles * dense.tile_vectors * dense.steps,
        near_bytes=_near(work.tiles, panel_bytes, weight_bytes, sweeps, target),
        far_bytes=_far(weight_bytes, target),
        copied=prepared if layer.signed or prepared != prod(layer.x) else 0,
    )


def bits_work(layer: LayerShape, target: Target) -> Work:
    """What dense_bits or conv2d_bits does."""
    planes = Planes("and", ((1,) * layer.weight_bits,) * layer.data_bits)
    pixels, copied = prod(layer.x[:3]), 0
    if layer.pointwise:
        dense = plan_dense_bits(pixels, layer.x[3], layer.w[0], planes, target)
        vectors, steps, popcount = dense.vectors, dense.words, dense.popcount
        tiles = [(dense.tile_rows, pixels // dense.tile_rows), (pixels % dense.tile_rows, 1)]
        per_tile, words = dense.tile_vectors, dense.words
        sweeps = 1 if dense.weights_stay else ceil(pixels / dense.tile_rows)
    else:
        conv = plan_conv2d_bits(layer.x, layer.w, planes, target, **vars(layer.geometry))
        vectors, steps = conv.groups * conv.group_vectors, prod(conv.kernel) * conv.words
        count = conv.batch * conv.out_height // conv.tile_rows
        count *= ceil(conv.out_width / conv.tile_columns)
        tiles = [(conv.tile_rows * conv.tile_columns, count)]
        per_tile, words, popcount = conv.tile_vectors, conv.groups * conv.words, conv.popcount
        sweeps = 1 if conv.weights_stay else conv.batch * conv.out_height // conv.tile_rows
        padded = prod(conv.input_shape) * WORD_BITS // 8
        copied = padded if prod(conv.input_shape[:3]) != pixels else 0
    work = _tiles("bits", tiles, per_tile, vectors, steps, layer.data_bits, layer.weight_bits)
    step_bytes = popcount.lanes * WORD_BITS // 8 * layer.weight_bits
    weight_bytes = vectors * steps * step_bytes
    narrow = popcount.lanes * WORD_BITS // 8 < target.vector_bytes
    return replace(
        work,
        kernel=f"{layer.kind}_bits",
        steps=0 if narrow else work.steps,
        narrow_steps=work.steps if narrow else 0,
        near_bytes=_near(work.tiles, per_tile * steps * step_bytes, weight_bytes, sweeps, target),
        far_bytes=_far(weight_bytes, target),
        read=pixels * words,
        packed=pixels * words * layer.data_bits,
        copied=copied,
    )


def _tiles(
    kernel: str,
    tiles: list[tuple[int, int]],
    tile_vectors: int,
    vectors: int,
    steps: int,
    data_bits: int,
    weight_bits: int,
) -> Work:
    """The work in registers. tiles: (rows, how many) for one row of `tile_vectors`."""
    panels, done = vectors // tile_vectors, dict.fromkeys(("steps", "loads", "tiles", "outputs"), 0)
    for rows, count in tiles:
        number = panels * count if rows else 0
        sums = rows * tile_vectors * data_bits * weight_bits
        loads = rows * data_bits + tile_vectors * weight_bits
        done["steps"] += number * steps * sums
        done["loads"] += number * steps * loads
        done["tiles"] += number
        done["outputs"] += number * rows * tile_vectors
    combined = done["outputs"] * data_bits * weight_bits
    return Work(kernel, **done, sums=combined, **dict.fromkeys(UNSET, 0))


def _near(tiles: float, panel_bytes: int, weight_bytes: int, sweeps: int, target: Target) -> float:
    """Each tile reads its panel of weights, each sweep all of them; few stay in the first cache."""
    if panel_bytes > target.l1d_bytes // 2:
        return tiles * panel_bytes
    return sweeps * weight_bytes if weight_bytes > target.l1d_bytes else 0


def _far(weight_bytes: int, target: Target) -> float:
    """Weights that do not stay in the second cache, beside data, are read once from behind it."""
    return weight_bytes if weight_bytes > target.l2_bytes * 3 // 4 else 0
