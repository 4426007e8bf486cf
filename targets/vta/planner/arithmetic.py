"""The numbers of a layer of sums: its problem, and the vectors and weights that it loads.

A sum begins with `start` = bias + rounding term + zero_out * 2^shift, corrected where taps lie
outside of the image: LOAD fills in zeros, the layer means nothing, so that each of these taps
lacks w * zero. Rows and columns whose taps are inside in the same way share their vectors. With
further terms start is the bias, and zero_out is added at last.

Shifts of terms are from one to the next: acc >> d_2 is (acc >> d_1) >> (d_2 - d_1).

A tile may begin at max(start + raise, what the last tile left) instead of at zero. This is one
instruction instead of two, and right when no start is below anything left. The raise is
k * 2^(shift + bits of the output), the least that makes it so: it leaves the low bits of the
shifted sum alone, and these are all that STORE writes. Limits are raised alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qcompile.errors import AccumulatorOverflow, Unsupported
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import Integers, Segment, Sums
from qcompile.targets.vta.planner.borders import classes, zero_terms
from qcompile.targets.vta.planner.operands import operand_of, planes_of, weights_of
from qcompile.targets.vta.planner.problem import (
    Immediates,
    SumsProblem,
)

LARGEST_IMMEDIATE = 2**15 - 1
LARGEST_SHIFT = 15  # of one portable SHR


@dataclass(frozen=True, eq=False)
class Numbers:
    """starts: (row classes, column classes, O blocks, block). shifts: (O blocks, block).

    weights: by source, (digits, O blocks, KH, KW, C blocks, block, block). terms: the shifts of
    each, (terms, O blocks, block).
    """

    problem: SumsProblem
    immediates: Immediates
    starts: Integers
    shifts: Integers
    weights: tuple[Integers, ...]
    terms: Integers


def numbers(layer: Sums, segment: Segment, config: Config) -> Numbers:
    """Raises AccumulatorOverflow, NotRepresentable and Unsupported."""
    block = config.block_out
    channels = -len(layer.bias) % block
    shifts, *amounts = (
        np.pad(np.broadcast_to(each, layer.bias.shape), (0, channels), "edge").astype(np.int64)
        for each in (layer.shift, *layer.terms)
    )
    common = _common_shift(shifts, config)
    terms = np.sort(np.array(amounts, np.int64).reshape(-1, len(shifts)), axis=0)
    _expect_terms(layer, terms)
    added = layer.zero_out if layer.terms else 0
    bias = np.pad(layer.bias.astype(np.int64), (0, channels), "edge")
    start = bias if layer.terms else bias + ((1 << shifts) >> 1) + (layer.zero_out << shifts)
    rows, columns = (classes(layer, segment, axis) for axis in (0, 1))
    starts = start - (zero_terms(layer, segment, rows, columns, channels) << layer.lift)
    least, most = _bounds(layer, segment, start)
    _expect_inside(config, min(least.min(), starts.min()), max(most.max(), starts.max()))
    least, most = (each + (each >> terms).sum(axis=0) for each in (least, most))
    _expect_inside(config, least.min(), most.max())

    sums = layer.output.dtype == "sums"
    planes = config.acc_width // config.out_width if sums else planes_of(layer.output, config)
    lowest, highest = ((least >> shifts) + added).min(), ((most >> shifts) + added).max()
    limits, left = _limits(layer, lowest, highest, config)
    weights = tuple(weights_of(source, config) for source in layer.sources)
    operands = tuple(
        operand_of(source, blocks, layer, segment, config)
        for source, blocks in zip(layer.sources, weights, strict=True)
    )
    raised = None
    one_digit = all(each.digits == each.planes == 1 for each in operands)
    if not sums and one_digit and not layer.lift and not layer.terms:
        raised = _raise(starts, shifts, left, config.out_width * planes, most, config)
    k = (raised or 0) << (config.out_width * planes)
    starts = (starts + (k << shifts)).reshape(*starts.shape[:2], -1, block)
    start, shift = _one(starts), _one(shifts)
    apart = np.diff(terms, axis=0, prepend=0)
    steps = [_one(each) for each in apart]
    problem = SumsProblem(
        output=layer.output.shape,
        operands=operands,
        start_vector=start is None,
        row_classes=tuple(rows),
        column_classes=tuple(columns),
        starts_over=raised is not None,
        shift_vector=shift is None,
        shift_parts=-(-(common if shift is None else shift) // LARGEST_SHIFT),
        limits=limits,
        planes=planes,
        rounded=not sums,
        lifted=layer.lift > 0,
        terms=tuple(step is None for step in steps),
        zero_added=added != 0,
    )
    immediates = Immediates(
        start=start or 0,
        least_start=int(starts.min()),
        left=left + k,
        shift=common if shift is None else shift,
        low=layer.low + k,
        high=layer.high + k,
        lift=layer.lift,
        terms=tuple(step or 0 for step in steps),
        zero_out=added,
    )
    blocks = len(shifts) // block
    return Numbers(
        problem,
        immediates,
        starts,
        (shifts - common).reshape(blocks, block),
        weights,
        apart.reshape(len(apart), blocks, block),
    )


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
        least[: len(weights)] += (above * low + below * high) << layer.lift
        most[: len(weights)] += (above * high + below * low) << layer.lift
    return least, most


def _limits(layer: Sums, low: int, high: int, config: Config) -> tuple[tuple[bool, bool], int]:
    """Whether shifted sums need the limits, and the most that is left of them in ACC."""
    if layer.output.dtype == "sums":
        # The last plane is left: as many bits as OUT has.
        return (False, False), 1 << (config.out_width - 1)
    output = layer.output
    if not output.low <= layer.low <= layer.high <= output.high:
        raise Unsupported(
            f"limits {layer.low} to {layer.high} of values from {output.low} to {output.high}; "
            "limits in order and within the values of the output work"
        )
    if max(abs(layer.low), abs(layer.high)) > LARGEST_IMMEDIATE:
        raise Unsupported(f"limits of {layer.low} to {layer.high}; up to {LARGEST_IMMEDIATE} works")
    # Planes behind the first are of values nearer to zero.
    left = max(min(int(high), layer.high), layer.low, 0)
    return (bool(low < layer.low), bool(high > layer.high)), left


def _raise(
    starts: Integers, shifts: Integers, left: int, bits: int, most: Integers, config: Config
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
    return k if fits and left + (k << bits) <= LARGEST_IMMEDIATE else None


def _expect_inside(config: Config, least: int, most: int) -> None:
    half = 1 << (config.acc_width - 1)
    if least < -half or most >= half:
        raise AccumulatorOverflow(
            f"its sums may reach {least} to {most}, which "
            f"{config.acc_width} bits do not hold; use weights of fewer bits or a smaller shift"
        )


def _common_shift(shifts: Integers, config: Config) -> int:
    """What all shifts have beyond those that a vector can be."""
    least, most = int(shifts.min()), int(shifts.max())
    common = max(0, most - LARGEST_SHIFT)
    if least < common or most >= config.acc_width:
        raise Unsupported(
            f"shifts of {least} to {most}; those from 0 to {config.acc_width - 1} work of which "
            f"none is more than {LARGEST_SHIFT} larger than another"
        )
    return common


def _expect_terms(layer: Sums, terms: Integers) -> None:
    if terms.size and (terms.min() < 0 or terms.max() > LARGEST_SHIFT):
        raise Unsupported(
            f"terms shifted by {terms.min()} to {terms.max()}; 0 to {LARGEST_SHIFT} work"
        )
    if layer.lift < 0:
        raise Unsupported(f"sums lifted by {layer.lift}; 0 and more works")
    if layer.output.dtype == "sums" and (terms.size or layer.lift):
        raise Unsupported("sums that leave the chip with further terms or lifted; codes work")


def _one(values: Integers) -> int | None:
    """The value that all are, where it is an immediate."""
    value = int(values.flat[0])
    return value if (values == value).all() and abs(value) <= LARGEST_IMMEDIATE else None
