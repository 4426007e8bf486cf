"""The numbers of a layer of sums: its problem, and the vectors and weights that it loads.

A sum begins with `start` = bias + rounding term + zero_out * 2^shift, corrected where taps lie
outside of the image: LOAD fills in zeros, the layer means nothing, so that each of these taps
lacks w * zero. Rows and columns whose taps are inside in the same way share their vectors.

A tile may begin at max(start + raise, what the last tile left) instead of at zero. This is one
instruction instead of two, and right when no start is below anything left. The raise is
k * 2^(shift + bits of the output), the least that makes it so: it leaves the low bits of the
shifted sum alone, and these are all that STORE writes. Limits are raised alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcompile.errors import AccumulatorOverflow, NotRepresentable, Unsupported
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import Integers, Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.planner.digits import digit_count, digits
from qcompile.targets.vta.planner.problem import Operand, SumsProblem, pattern_of, pattern_text

LARGEST_IMMEDIATE = 2**15 - 1
LARGEST_SHIFT = 15  # of one portable SHR


@dataclass(frozen=True, eq=False)
class Numbers:
    """starts: (row classes, column classes, O blocks, block). shifts: (O blocks, block).

    weights: by source, (digits, O blocks, KH, KW, C blocks, block, block).
    """

    problem: SumsProblem
    starts: Integers
    shifts: Integers
    weights: tuple[Integers, ...]


def numbers(layer: Sums, segment: Segment, config: Config) -> Numbers:
    """Raises AccumulatorOverflow, NotRepresentable and Unsupported."""
    block = config.block_out
    channels = -len(layer.bias) % block
    shifts = np.pad(np.broadcast_to(layer.shift, layer.bias.shape), (0, channels), "edge")
    shifts = shifts.astype(np.int64)
    _expect_shifts(shifts, config)
    rounding = (1 << shifts) >> 1
    bias = np.pad(layer.bias.astype(np.int64), (0, channels), "edge")
    start = bias + rounding + (layer.zero_out << shifts)
    rows, columns = (_classes(layer, segment, axis) for axis in (0, 1))
    starts = start - _zero_terms(layer, segment, rows, columns, channels)
    least, most = _bounds(layer, segment, start)
    _expect_inside(config, min(least.min(), starts.min()), max(most.max(), starts.max()))

    sums, output = layer.output.dtype == "sums", layer.output
    planes = config.acc_width // config.out_width if sums else planes_of(output, config)
    low, high = (least >> shifts).min(), (most >> shifts).max()
    clip_low, clip_high = (False, False) if sums else (low < layer.low, high > layer.high)
    left = min(int(high), layer.high) if not sums else config.acc_width
    weights = tuple(weights_of(source, config) for source in layer.sources)
    operands = tuple(
        _operand(source, blocks, layer, segment, config)
        for source, blocks in zip(layer.sources, weights, strict=True)
    )
    in_digits = any(each.digits > 1 or each.planes > 1 for each in operands)
    raised = None
    if not (sums or in_digits):
        limit = max(left if clip_high else 0, layer.low if clip_low else 0)
        raised = _raise(starts, shifts, left, config.out_width * planes, limit, most, config)
    k = (raised or 0) << (config.out_width * planes)
    starts = (starts + (k << shifts)).reshape(*starts.shape[:2], -1, block)
    problem = SumsProblem(
        output=output.shape,
        operands=operands,
        start=_one(starts, LARGEST_IMMEDIATE),
        row_classes=tuple(rows),
        column_classes=tuple(columns),
        starts_over=raised is not None,
        least_start=int(starts.min()),
        left=left + k if not sums else 2**config.out_width,
        shift=_one(shifts, config.acc_width - 1),
        low=layer.low + k if clip_low else None,
        high=layer.high + k if clip_high else None,
        planes=planes,
        rounded=not sums,
    )
    _expect_limits(problem)
    return Numbers(problem, starts, shifts.reshape(-1, block), weights)


def planes_of(tensor: VtaTensor, config: Config) -> int:
    """Arrays of INP_WIDTH bits that a tensor of codes has. Raises NotRepresentable."""
    try:
        return digit_count(tensor.low, tensor.high, config.inp_width)
    except NotRepresentable as error:
        raise NotRepresentable(f"VTA tensor '{tensor.name}': {error}") from error


def weights_of(source: Source, config: Config) -> Integers:
    """(digits, O blocks, KH, KW, C blocks, block, block) of weights, channels filled up by 0."""
    block, (outputs, kh, kw, inputs) = config.block_out, source.weights.shape
    fill = ((0, -outputs % block), (0, 0), (0, 0), (0, -inputs % block))
    padded = np.pad(source.weights.astype(np.int64), fill)
    shape = (-(-outputs // block), block, kh, kw, -(-inputs // block), block)
    blocks = padded.reshape(shape).transpose(0, 2, 3, 4, 1, 5)
    return digits(blocks, config.wgt_width).astype(np.int8)


def _operand(
    source: Source, blocks: Integers, layer: Sums, segment: Segment, config: Config
) -> Operand:
    tensor = segment.tensor(source.tensor)
    pattern = pattern_of(blocks)
    return Operand(
        shape=tensor.shape[1:],
        kernel=(source.weights.shape[1], source.weights.shape[2]),
        strides=source.strides,
        padding=source.padding,
        dilation=source.dilation,
        tensor=[each.tensor for each in layer.sources].index(source.tensor),
        digits=len(pattern),
        planes=planes_of(tensor, config),
        pattern=pattern_text(pattern),
    )


def _classes(layer: Sums, segment: Segment, axis: int) -> list[int]:
    """Where the rows (axis 0) or columns begin that have other taps inside than those before."""
    outputs = layer.output.shape[1 + axis]
    taps = [_inside(each, segment, axis, outputs) for each in layer.sources if each.zero]
    return [
        n for n in range(outputs) if n == 0 or any((each[n] != each[n - 1]).any() for each in taps)
    ]


def _inside(source: Source, segment: Segment, axis: int, outputs: int) -> npt.NDArray[np.bool]:
    """(outputs, taps): whether a tap of an axis is inside the image."""
    size = segment.tensor(source.tensor).shape[1 + axis]
    first = np.arange(outputs) * source.strides[axis] - source.padding[axis]
    places = first[:, None] + np.arange(source.weights.shape[1 + axis]) * source.dilation[axis]
    return (places >= 0) & (places < size)


def _zero_terms(
    layer: Sums, segment: Segment, rows: list[int], columns: list[int], fill: int
) -> Integers:
    """(row classes, column classes, O filled up): what a zero of 0 would take from the sums."""
    total = np.zeros((len(rows), len(columns), len(layer.bias)), np.int64)
    for source in layer.sources:
        if source.zero:
            inside = [
                _inside(source, segment, axis, layer.output.shape[1 + axis])[starts]
                for axis, starts in enumerate((rows, columns))
            ]
            taps = source.weights.astype(np.int64).sum(axis=-1)
            total += source.zero * np.einsum("ru,cv,ouv->rco", *inside, taps)
    return np.pad(total, ((0, 0), (0, 0), (0, fill)))


def _bounds(layer: Sums, segment: Segment, start: Integers) -> tuple[Integers, Integers]:
    """(O filled up): the least and the most that sums can be."""
    least, most = start.copy(), start.copy()
    for source in layer.sources:
        tensor = segment.tensor(source.tensor)
        weights = source.weights.reshape(len(layer.bias), -1)
        above = np.maximum(weights, 0).sum(axis=-1, dtype=np.int64)
        below = np.minimum(weights, 0).sum(axis=-1, dtype=np.int64)
        # A tap outside of the image adds nothing.
        low, high = min(tensor.low - source.zero, 0), max(tensor.high - source.zero, 0)
        least[: len(weights)] += above * low + below * high
        most[: len(weights)] += above * high + below * low
    return least, most


def _raise(
    starts: Integers,
    shifts: Integers,
    left: int,
    bits: int,
    limit: int,
    most: Integers,
    config: Config,
) -> int | None:
    """The least k of the module's formula; None where immediates or sums are too narrow for it.

    start + k * 2^(shift + bits) >= left + k * 2^bits, for all starts and their shifts.
    """
    per_k = (1 << (shifts + bits)) - (1 << bits)
    lacking = np.maximum(left - starts, 0)
    if (lacking[..., per_k == 0] > 0).any():
        return None
    k = int((-(-lacking // np.maximum(per_k, 1))).max())
    fits = (most + (k << (shifts + bits)) < 1 << (config.acc_width - 1)).all()
    return k if fits and limit + (k << bits) <= LARGEST_IMMEDIATE else None


def _expect_inside(config: Config, least: int, most: int) -> None:
    half = 1 << (config.acc_width - 1)
    if least < -half or most >= half:
        raise AccumulatorOverflow(
            f"its sums may reach {least} to {most}, which "
            f"{config.acc_width} bits do not hold; use weights of fewer bits or a smaller shift"
        )


def _expect_shifts(shifts: Integers, config: Config) -> None:
    one, most = (shifts == shifts[0]).all(), shifts.max()
    if shifts.min() < 0 or most >= config.acc_width or (not one and most > LARGEST_SHIFT):
        raise Unsupported(
            f"shifts of {shifts.min()} to {most}; 0 to {LARGEST_SHIFT} work, "
            f"and up to {config.acc_width - 1} where all channels have the same"
        )


def _expect_limits(problem: SumsProblem) -> None:
    for limit in (problem.low, problem.high):
        if limit is not None and abs(limit) > LARGEST_IMMEDIATE:
            raise Unsupported(f"a limit of {limit}; limits up to {LARGEST_IMMEDIATE} work")


def _one(values: Integers, most: int) -> int | None:
    """The value that all are, where it is no more than that."""
    value = int(values.flat[0])
    return value if (values == value).all() and abs(value) <= most else None
