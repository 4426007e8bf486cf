"""Which tiling a layer gets: the one of fewest simulated cycles among the most promising.

`space` names the decisions as the tuner knows them; its default is this choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from qcompile.errors import BufferTooSmall
from qcompile.schedules.space import Decision, Space, Value, first
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.cycles import Timeline, simulate
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.planner.estimate import Estimate
from qcompile.targets.vta.planner.problem import SumsProblem
from qcompile.targets.vta.planner.sums import Places, SumsPlan, emit_sums
from qcompile.targets.vta.planner.tiles import ORDERS, Tiling
from qcompile.targets.vta.program import Builder

SIMULATED = 8  # tilings, the most promising by estimate
ANY_TENSOR = 1 << 28  # bytes: more than tensors have, where addresses only have to differ
NAMES = ("rows", "columns", "outputs", "inputs", "order", "threads")


def sizes(extent: int) -> list[int]:
    """Sizes that cut an extent into equal parts, as far as this goes; the largest first."""
    return sorted({-(-extent // parts) for parts in range(1, extent + 1)}, reverse=True)


def tilings(problem: SumsProblem, config: Config) -> Iterator[Tiling]:
    _, height, width, channels = problem.output
    yield from (
        Tiling(rows, columns, outputs, inputs, order, threads)
        for rows, columns, outputs, inputs, order, threads in product(
            sizes(height),
            sizes(width),
            sizes(-(-channels // config.block_out)),
            sizes(_input_blocks(problem, config)),
            ORDERS,
            (2, 1),
        )
    )


def _input_blocks(problem: SumsProblem, config: Config) -> int:
    return max(-(-each.shape[2] // config.block_in) for each in problem.operands)


@lru_cache(maxsize=1024)
def chosen(problem: SumsProblem, config: Config, port_bytes: int) -> Tiling:
    """Raises BufferTooSmall, where no tiling fits."""
    estimate = Estimate(problem, config, port_bytes)
    fitting = [each for each in tilings(problem, config) if estimate.fits(each)]
    ranked = sorted(fitting, key=estimate.cycles)
    best: tuple[int, Tiling] | None = None
    tried = 0
    for tiling in ranked:
        try:
            cycles = timeline(problem, config, port_bytes, tiling).cycles
        except BufferTooSmall:
            continue
        if best is None or cycles < best[0]:
            best = cycles, tiling
        tried += 1
        if tried == SIMULATED:
            break
    if best is None:
        raise BufferTooSmall("no tiling")
    return best[1]


def timeline(problem: SumsProblem, config: Config, port_bytes: int, tiling: Tiling) -> Timeline:
    """A program of this layer alone, timed. Raises BufferTooSmall."""
    plan = SumsPlan(problem, config, tiling)
    image = Image()
    builder = Builder(config, image)
    inputs = tuple(image.reserve(ANY_TENSOR, 1) for _ in problem.operands)
    emit_sums(builder, plan, Places(inputs, image.reserve(ANY_TENSOR, 1), ""))
    return simulate(config, port_bytes, builder.finish())


def space(problem: SumsProblem, config: Config, port_bytes: int) -> Space:
    """The decisions of a layer, the cycle model's own choice first. Raises BufferTooSmall."""
    default = chosen(problem, config, port_bytes)
    _, height, width, channels = problem.output
    choices: dict[str, list[Value]] = {
        "rows": [*sizes(height)],
        "columns": [*sizes(width)],
        "outputs": [*sizes(-(-channels // config.block_out))],
        "inputs": [*sizes(_input_blocks(problem, config))],
        "order": [*ORDERS],
        "threads": [2, 1],
    }
    return Space(
        tuple(Decision(name, first(getattr(default, name), choices[name])) for name in NAMES)
    )
