"""Which tiling a layer gets: the one of fewest simulated cycles among the most promising.

`space` names the decisions as the tuner knows them; its default is this choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, product

from qcompile.errors import BufferTooSmall
from qcompile.schedules.space import Decision, Decisions, Space, Value, first
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.cycles import Timeline, simulate
from qcompile.targets.vta.image import Image
from qcompile.targets.vta.planner.emit import Plan, any_immediates, emit, plan_of
from qcompile.targets.vta.planner.estimate import Estimate
from qcompile.targets.vta.planner.pool_estimate import PoolEstimate
from qcompile.targets.vta.planner.problem import Problem, SumsProblem
from qcompile.targets.vta.planner.tiles import ORDERS, Order, Places, Tiling
from qcompile.targets.vta.program import Builder

SIMULATED = 10  # tilings, the most promising by estimate
MOST_INSTRUCTIONS = 10_000  # that are simulated for one choice, about a second's
ANY_TENSOR = 1 << 28  # bytes: more than tensors have, where addresses only have to differ


def sizes(extent: int) -> list[int]:
    """Sizes that cut an extent into equal parts, as far as this goes; the largest first."""
    return sorted({-(-extent // parts) for parts in range(1, extent + 1)}, reverse=True)


def choices(problem: Problem, config: Config) -> dict[str, list[Value]]:
    """By the name of each decision, what it may be: the fields of `Tiling`."""
    _, height, width, channels = problem.output
    inputs, orders = [1], list[Order](["weights"])
    if isinstance(problem, SumsProblem):
        inputs = sizes(max(-(-each.shape[2] // config.block_in) for each in problem.operands))
        orders = [*ORDERS]
    return {
        "rows": [*sizes(height)],
        "columns": [*sizes(width)],
        "outputs": [*sizes(-(-channels // config.block_out))],
        "inputs": [*inputs],
        "order": [*orders],
        "threads": [2, 1],
    }


def tiling_of(decisions: Decisions) -> Tiling:
    """The tiling of all decisions."""
    return Tiling(**decisions)  # type: ignore[arg-type]


def tilings(problem: Problem, config: Config) -> Iterator[Tiling]:
    """All combinations of decisions, whether they fit or not."""
    named = choices(problem, config)
    for values in product(*named.values()):
        yield tiling_of(dict(zip(named, values, strict=True)))


@lru_cache(maxsize=1024)
def chosen(problem: Problem, config: Config, port_bytes: int) -> Tiling:
    """The tiling of fewest cycles. Raises BufferTooSmall where none fits."""
    estimate = estimate_of(problem, config, port_bytes)
    fitting = [each for each in tilings(problem, config) if estimate.fits(each)]
    timed: list[tuple[int, Tiling]] = []
    instructions = 0
    for plan in islice(_plans(problem, config, sorted(fitting, key=estimate.cycles)), SIMULATED):
        found = timeline(plan, port_bytes)
        timed.append((found.cycles, plan.tiling))
        instructions += len(found.spans)
        if instructions > MOST_INSTRUCTIONS:
            break
    if not timed:
        # The smallest tile says what it lacks.
        plan_of(problem, config, Tiling(1, 1, 1, 1, "weights", 1))
        raise AssertionError(problem)
    return min(timed, key=lambda pair: pair[0])[1]


def estimate_of(problem: Problem, config: Config, port_bytes: int) -> Estimate | PoolEstimate:
    """About how many cycles tilings take."""
    if isinstance(problem, SumsProblem):
        return Estimate(problem, config, port_bytes)
    return PoolEstimate(problem, config, port_bytes)


def _plans(problem: Problem, config: Config, ranked: list[Tiling]) -> Iterator[Plan]:
    """Those that fit."""
    for tiling in ranked:
        try:
            yield plan_of(problem, config, tiling)
        except BufferTooSmall:
            continue


def timeline(plan: Plan, port_bytes: int) -> Timeline:
    """A program of this layer alone, timed."""
    image = Image()
    builder = Builder(plan.config, image)
    operands = len(plan.problem.operands) if isinstance(plan.problem, SumsProblem) else 1
    inputs = tuple(image.reserve(ANY_TENSOR, 1) for _ in range(operands))
    places = Places(inputs, image.reserve(ANY_TENSOR, 1), "")
    emit(builder, plan, places, any_immediates(plan.problem))
    return simulate(plan.config, port_bytes, builder.finish())


def space(problem: Problem, config: Config, port_bytes: int) -> Space:
    """The decisions of a layer, the cycle model's own choice first. Raises BufferTooSmall."""
    default = chosen(problem, config, port_bytes)
    return Space(
        tuple(
            Decision(name, first(getattr(default, name), values))
            for name, values in choices(problem, config).items()
        )
    )
