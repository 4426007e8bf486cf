"""How much the kernels that could run an integer layer have to do, counted from their plans."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
import tvm
from numpy.typing import NDArray

from qcompile.ops.contractions import CONV2D
from qcompile.passes.bit_planes import plane_count
from qcompile.passes.facts import array_of
from qcompile.passes.layers import Geometry, geometry_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules.bit_product import Planes
from qcompile.schedules.conv2d_bits_plan import Conv2dBitsPlan, plan_conv2d_bits
from qcompile.schedules.conv2d_plan import Conv2dPlan, plan_conv2d
from qcompile.schedules.dense_bits_plan import DenseBitsPlan, plan_dense_bits
from qcompile.schedules.dense_int8 import DensePlan, plan_dense
from qcompile.schedules.dense_packed import plan_dense_packed
from qcompile.schedules.popcount import WORD_BITS
from qcompile.targets import Target

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
    sums: float  # combined into outputs, one for every pair of planes; vectors that are unpacked
    outputs: float  # through the epilogue
    near_bytes: float  # of weights, read from the second cache
    far_bytes: float  # of weights, read from behind the second cache
    read: float = 0  # runs of 32 codes that are made to bits
    packed: float = 0  # words that they make, one for every plane
    copied: float = 0  # bytes of data given a border


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
    bits = int(call.attrs["a_bits"]), plane_count(weights)
    return LayerShape(x, w, geometry, *bits, packed_bits(weights), signed)


def packed_bits(weights: NDArray[np.int8]) -> int | None:
    """The fewest bits, of those that memory may hold, that all weights fit."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    fitting = (bits for bits in (2, 4) if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1))
    return next(fitting, None)


def int8_work(layer: LayerShape, target: Target) -> Work:
    """What dense_int8 or conv2d_int8 does."""
    if layer.pointwise:
        rows, depth = prod(layer.x[:3]), layer.x[3]
        dense = plan_dense(rows, depth, layer.w[0], target)
        tiles, shape = _row_tiles(dense, dense.steps), dense.input_shape
        step_bytes = dense.lanes * dense.depth
    else:
        conv = plan_conv2d(layer.x, layer.w, target, **vars(layer.geometry))
        steps = prod(conv.kernel) * conv.run // conv.depth
        tiles, shape = _pixel_tiles(conv, conv.vectors, steps), conv.input_shape
        step_bytes = conv.lanes * conv.depth
    work = _work(f"{layer.kind}_int8", tiles, step_bytes, target)
    return replace(work, copied=_copied(layer, shape))


def packed_work(layer: LayerShape, target: Target) -> Work:
    """What dense_packed does: dense_int8, with fewer bytes of weights to read and to unpack."""
    assert layer.pointwise and layer.packed_bits
    rows, depth = prod(layer.x[:3]), layer.x[3]
    plan = plan_dense_packed(rows, depth, layer.w[0], layer.packed_bits, target)
    tiles = _row_tiles(plan.dense, plan.dense.steps)
    step_bytes = plan.dense.lanes * plan.dense.depth // plan.per_byte
    work = _work("dense_packed", tiles, step_bytes, target)
    unpacked = work.tiles * tiles.tile_vectors * tiles.steps
    return replace(work, sums=unpacked, copied=_copied(layer, plan.dense.input_shape))


def bits_work(layer: LayerShape, target: Target) -> Work:
    """What dense_bits or conv2d_bits does."""
    bits = layer.data_bits, layer.weight_bits
    planes, copied = Planes("and", ((1,) * bits[1],) * bits[0]), 0
    pixels, depth = prod(layer.x[:3]), layer.x[3]
    if layer.pointwise:
        dense = plan_dense_bits(pixels, depth, layer.w[0], planes, target)
        tiles, words, popcount = _row_tiles(dense, dense.words), dense.words, dense.popcount
    else:
        conv = plan_conv2d_bits(layer.x, layer.w, planes, target, **vars(layer.geometry))
        words, popcount = conv.groups * conv.words, conv.popcount
        vectors = conv.groups * conv.group_vectors
        tiles = _pixel_tiles(conv, vectors, prod(conv.kernel) * conv.words)
        if prod(conv.input_shape[:3]) != pixels:
            copied = prod(conv.input_shape) * WORD_BITS // 8
    vector_bytes = popcount.lanes * WORD_BITS // 8
    work = _work(f"{layer.kind}_bits", tiles, vector_bytes * bits[1], target, bits)
    if vector_bytes < target.vector_bytes:
        work = replace(work, steps=0, narrow_steps=work.steps)
    wide = max(1, vector_bytes // target.vector_bytes)  # vectors that one is, to a tree
    outputs = {name: wide * getattr(work, name) for name in ("steps", "sums", "outputs")}
    work = replace(work, **outputs)
    return replace(work, read=pixels * words, packed=pixels * words * bits[0], copied=copied)


@dataclass(frozen=True)
class _Tiles:
    """How a kernel goes through its work."""

    rows: Sequence[tuple[int, int]]  # of a tile, and how many such tiles a panel of weights meets
    tile_vectors: int
    vectors: int
    steps: int
    sweeps: int  # over all weights


def _row_tiles(plan: DensePlan | DenseBitsPlan, steps: int) -> _Tiles:
    full, rest = divmod(plan.rows, plan.tile_rows)
    rows = [(plan.tile_rows, full), (rest, int(rest > 0))]
    sweeps = 1 if plan.weights_stay else full + int(rest > 0)
    return _Tiles(rows, plan.tile_vectors, plan.vectors, steps, sweeps)


def _pixel_tiles(plan: Conv2dPlan | Conv2dBitsPlan, vectors: int, steps: int) -> _Tiles:
    lines = plan.batch * plan.out_height // plan.tile_rows
    count = lines * ceil(plan.out_width / plan.tile_columns)
    rows = [(plan.tile_rows * plan.tile_columns, count)]
    return _Tiles(rows, plan.tile_vectors, vectors, steps, 1 if plan.weights_stay else lines)


def _work(
    kernel: str, tiles: _Tiles, step_bytes: int, target: Target, bits: tuple[int, int] = (1, 1)
) -> Work:
    """The work on sums and weights, of which a step reads `step_bytes` for each vector."""
    panels = tiles.vectors // tiles.tile_vectors
    count = panels * sum(number for _, number in tiles.rows)
    outputs = tiles.vectors * sum(rows * number for rows, number in tiles.rows)
    rows = panels * sum(rows * number for rows, number in tiles.rows)
    loads = rows * bits[0] + count * tiles.tile_vectors * bits[1]
    weight_bytes = tiles.vectors * tiles.steps * step_bytes
    panel_bytes = weight_bytes // panels
    near = 0
    if panel_bytes > target.l1d_bytes // 2:
        near = count * panel_bytes
    elif weight_bytes > target.l1d_bytes:
        near = tiles.sweeps * weight_bytes
    return Work(
        kernel=kernel,
        steps=outputs * tiles.steps * prod(bits),
        narrow_steps=0,
        loads=loads * tiles.steps,
        tiles=count,
        sums=outputs * prod(bits),
        outputs=outputs,
        near_bytes=near,
        # Beside data, weights of nearly its size do not stay in the second cache.
        far_bytes=weight_bytes if weight_bytes > target.l2_bytes * 3 // 4 else 0,
    )


def _copied(layer: LayerShape, shape: Sequence[int]) -> int:
    """Bytes of data that an int8 kernel does not read as they are."""
    return prod(shape) if layer.signed or prod(shape) != prod(layer.x) else 0
