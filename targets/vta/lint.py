"""Which rules of the portable subset a program breaks (the VTA instruction set, section 12).

A program without violations means the same on the functional, HLS and RTL designs. Rules about
single instructions and tokens need nothing but the instructions; rules about elements (what is
written before it is read, distances of dst, races) need the micro-ops, so the memory image. Two
things are data and not seen here: amounts of two-operand shifts, which the functional simulator
checks, and where a DRAM buffer begins (at a multiple of 64 bytes and of its element).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from qcompile.errors import Deadlock, InvalidProgram, OutOfRange, Race, UnwrittenRead, WrongTokens
from qcompile.targets.vta.config import UOP_BYTES, Buffer, Config
from qcompile.targets.vta.dram import rows
from qcompile.targets.vta.encodable import broken_rules
from qcompile.targets.vta.functional import expect_finish, expect_finished
from qcompile.targets.vta.instructions import Alu, AluOp, Gemm, Instruction, Load, Store
from qcompile.targets.vta.loops import Indices
from qcompile.targets.vta.order import Order, illegal_flags, order
from qcompile.targets.vta.races import Races
from qcompile.targets.vta.rules import (
    ALU_DISTANCE,
    GEMM_DISTANCE,
    SAFE_COMMANDS,
    TOKENS_IN_FLIGHT,
    UOP_ALIGNMENT,
    Rule,
    Violation,
)
from qcompile.targets.vta.walk import Touched, Walk

__all__ = ["Rule", "Violation", "lint"]


def lint(
    config: Config,
    instructions: Sequence[Instruction],
    image: npt.NDArray[np.uint8] | bytes | None = None,
) -> list[Violation]:
    """The violations; with an image also those of elements, up to the first that hides others."""
    for broken in broken_rules(config):
        return [Violation(Rule.ENCODABLE, None, f"{broken.rule}: {broken.found}")]
    found = [
        Violation(rule, n, text)
        for n, one in enumerate(instructions)
        for rule, text in _of_one(config, one)
    ]
    sequence, tokens = _ordering(instructions)
    found += tokens
    if image is not None and sequence is not None:
        data = np.frombuffer(image, np.uint8)
        found += _of_elements(config, instructions, data, sequence)
    return found


def _of_one(config: Config, one: Instruction) -> Iterator[tuple[Rule, str]]:
    """What a single instruction breaks."""
    match one:
        case Load() | Store() if one.x_size:
            if one.y_size < 1:
                yield Rule.EMPTY, f"y_size is {one.y_size}"
            if isinstance(one, Load):
                yield from _of_load(one)
        case Gemm() | Alu():
            begin, end = one.uops
            if end <= begin or min(one.extents) < 1:
                yield Rule.EMPTY, f"micro-ops {begin} to {end}, loops {one.extents}"
            if isinstance(one, Alu):
                yield from _of_alu(config, one)


def _of_load(one: Load) -> Iterator[tuple[Rule, str]]:
    if one.memory == Buffer.WGT and any(one.pads):
        yield Rule.WGT_PADS, f"pads {one.pads}"
    if one.memory == Buffer.UOP:
        if one.y_size > 1 or any(one.pads):
            yield Rule.UOP_ROWS, f"{one.y_size} rows, pads {one.pads}"
        if one.dram_base * UOP_BYTES % UOP_ALIGNMENT:
            yield Rule.UOP_ALIGNED, f"begins at address {one.dram_base * UOP_BYTES:#x}"


def _of_alu(config: Config, one: Alu) -> Iterator[tuple[Rule, str]]:
    if one.op == AluOp.MUL:
        yield Rule.MUL, "the hardware designs have none"
    if one.immediate is None:
        return
    limit = config.acc_width // 2
    if one.op == AluOp.SHR and not -limit <= one.immediate < limit:
        yield Rule.SHIFT, f"shifts by {one.immediate}; {-limit} to {limit - 1} is the range"
    if one.dst != one.src:
        yield Rule.SAME_SOURCE, f"dst factors {one.dst}, src factors {one.src}"


def _ordering(instructions: Sequence[Instruction]) -> tuple[Order | None, list[Violation]]:
    """The program's order, where it has one, and what its tokens break."""
    flags = [Violation(Rule.FLAGS, n, text) for n, text in illegal_flags(instructions)]
    if flags:
        return None, flags
    found, last = [], len(instructions) - 1
    try:
        expect_finish(instructions)
    except InvalidProgram as error:
        return None, [Violation(Rule.FINISH, None, str(error))]
    try:
        sequence = order(instructions, SAFE_COMMANDS)
        expect_finished(sequence)
    except WrongTokens as error:
        return None, [Violation(Rule.TOKENS, None, str(error))]
    except Deadlock as error:
        return None, [Violation(Rule.DEADLOCK, None, str(error))]
    except Race as error:
        return None, [Violation(Rule.FINISHED, last, str(error))]
    for (giver, taker), count in sequence.fullest.items():
        if count > TOKENS_IN_FLIGHT:
            text = f"{count} of {giver.name} to {taker.name}"
            found.append(Violation(Rule.FEW_TOKENS, None, text))
    return sequence, found


_RULES: dict[type[InvalidProgram], Rule] = {
    OutOfRange: Rule.INSIDE,
    UnwrittenRead: Rule.WRITTEN,
    Race: Rule.ORDERED,
}


def _of_elements(
    config: Config,
    instructions: Sequence[Instruction],
    image: npt.NDArray[np.uint8],
    sequence: Order,
) -> list[Violation]:
    walk = Walk(config, Races(config, instructions, sequence))
    found: list[Violation] = []
    for n in sequence.sequence:
        one = instructions[n]
        place = f"instruction {n} ({type(one).__name__})"
        try:
            for rule, text in _of_step(walk, n, one, image, place):
                found.append(Violation(rule, n, text))
        except InvalidProgram as error:
            # What follows would be reported for the same reason.
            return [*found, Violation(_RULES[type(error)], n, str(error))]
    return found


def _of_step(
    walk: Walk, n: int, one: Instruction, image: npt.NDArray[np.uint8], place: str
) -> Iterator[tuple[Rule, str]]:
    match one:
        case Load() if one.x_size:
            elements = walk.load(n, one, place)
            data = rows(walk.config, one, image, place)
            if one.memory == Buffer.UOP and one.y_size == 1 and not any(one.pads):
                walk.load_uops(elements, np.ascontiguousarray(data).view("<u4").reshape(-1))
        case Store() if one.x_size:
            walk.store(n, one, place)
            rows(walk.config, one, image, place)
        case Gemm():
            yield from _of_gemm(one, walk.gemm(n, one, place))
        case Alu():
            yield from _of_operation(one, walk.alu(n, one, place))


def _of_gemm(one: Gemm, touched: Touched) -> Iterator[tuple[Rule, str]]:
    dst = touched.dst.reshape(-1)
    for distance in range(1, GEMM_DISTANCE):
        again = _again(dst, dst, distance)
        if again is not None and not one.reset:
            yield Rule.GEMM_DISTANCE, f"dst {again} comes again after {distance}"
            return


def _of_operation(one: Alu, touched: Touched) -> Iterator[tuple[Rule, str]]:
    dst, src = touched.dst.reshape(-1), touched.src.reshape(-1)
    if one.immediate is not None and one.dst == one.src and (dst != src).any():
        where = int((dst != src).argmax())
        yield Rule.SAME_SOURCE, f"dst {dst[where]}, src {src[where]}"
    reads = (dst,) if one.immediate is not None else (dst, src)
    for distance in range(1, ALU_DISTANCE):
        for read in reads:
            again = _again(dst, read, distance)
            if again is not None:
                yield Rule.ALU_DISTANCE, f"dst {again} comes again after {distance}"
                return


def _again(dst: Indices, touched: Indices, distance: int) -> int | None:
    """A dst that is touched again `distance` iterations later."""
    same = touched[distance:] == dst[:-distance]
    return int(touched[distance:][same][0]) if same.any() else None
