"""The layers that VTA computes for a network, each problem once: what a search decides about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from qcompile.records import workload_of
from qcompile.schedules.space import Space
from qcompile.schedules.vta_sums import VtaSumsPlan, vta_sums
from qcompile.targets import VtaTarget
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import Segment
from qcompile.targets.vta.planner.choice import estimate_of, space
from qcompile.targets.vta.planner.company import Company, CompanyCycles, companies, cycles_in
from qcompile.targets.vta.planner.decisions import tiling_of
from qcompile.targets.vta.planner.emit import any_immediates, plan_of
from qcompile.targets.vta.planner.estimate import Estimate
from qcompile.targets.vta.planner.pool_estimate import PoolEstimate
from qcompile.targets.vta.planner.problem import PoolProblem, Problem, SumsProblem, pattern_from
from qcompile.targets.vta.planner.segment import problem_of
from qcompile.targets.vta.planner.tiles import Tiling
from qcompile.tuning.any_task import name_of
from qcompile.tuning.choices import decisions_of
from qcompile.tuning.vta_features import vta_features

SUMS, POOL = "vta_sums", "vta_max_pool"
DIGIT_BITS = 3  # log2 of 8: of the operands of the programs that decisions are sampled of
UNFIT = -3.0  # the score expected of tiles that the buffers do not hold: of a twentieth of a speed


@dataclass(frozen=True, eq=False)
class VtaTask:
    """One problem. segment: the first of its layers alone. companies: of each layer.

    Layers of a segment overlap: a layer's time is what it takes among its neighbours.
    """

    problem: Problem
    segment: Segment
    board: VtaTarget
    layers: tuple[str, ...]
    companies: tuple[Company, ...]

    @property
    def operator(self) -> str:
        return operator_of(self.problem)

    @property
    def epilogue(self) -> tuple[str, ...]:
        return ()

    @property
    def anchor(self) -> str:
        return "product_0" if isinstance(self.problem, SumsProblem) else "pool"

    @property
    def name(self) -> str:
        return name_of(self.layers)

    @property
    def default(self) -> dict[str, Any]:
        return self.space.chosen({})

    @property
    def workload(self) -> str:
        return workload_of(self.operator, self.fields, self.epilogue)

    @cached_property
    def fields(self) -> dict[str, Any]:
        return asdict(self.problem)

    @cached_property
    def space(self) -> Space:
        return space(self.problem, self.board.config, self.board.port_bytes)

    @cached_property
    def function(self) -> tirx.PrimFunc:
        """The layer as a TE program, as far as decisions are sampled of it.

        Digits only repeat its steps: operands have one. Further terms are of the same sums.
        """
        if isinstance(self.problem, SumsProblem):
            problem, immediates = _of_one_digit(self.problem), any_immediates(self.problem)
            assert immediates is not None
            config = replace(self.board.config, log_inp_width=DIGIT_BITS, log_wgt_width=DIGIT_BITS)
            return vta_sums(VtaSumsPlan(problem, immediates, config, tiling_of(self.default)))
        return _pool(self.problem, self.board.config)

    @cached_property
    def default_cycles(self) -> tuple[CompanyCycles, ...]:
        return self._cycles_in(self.default)

    def cycles(self, decisions: Mapping[str, Any]) -> float:
        """Of a call: the default's, and how many more the programs take that it is in.

        The mean of all calls. Raises BufferTooSmall and NotRepresentable.
        """
        found = zip(self._cycles_in(decisions), self.default_cycles, strict=True)
        return float(np.mean([one.whole - other.whole + other.own for one, other in found]))

    def _cycles_in(self, decisions: Mapping[str, Any]) -> tuple[CompanyCycles, ...]:
        """By call; companies of equal layers are timed once."""
        plan = plan_of(self.problem, self.board.config, tiling_of(decisions))
        known: dict[Any, CompanyCycles] = {}
        for company in self.companies:
            if company.problems not in known:
                known[company.problems] = cycles_in(company, plan, self.board.port_bytes)
        return tuple(known[company.problems] for company in self.companies)

    @property
    def products(self) -> int | None:
        """Multiplications of the GEMM unit, those with channels that fill up blocks included."""
        if isinstance(self.problem, PoolProblem):
            return None
        return gemm_uops(self.problem, self.board.config) * _block(self.board.config)

    @cached_property
    def estimate(self) -> Estimate | PoolEstimate:
        return estimate_of(self.problem, self.board.config, self.board.port_bytes)

    def features(self, decisions: Mapping[str, Any], target: Any) -> NDArray[np.float32]:
        """What the cost model sees of a candidate."""
        return vta_features(self.problem, self.board, tiling_of(decisions), self.estimate)

    def expected(self, choices: Sequence[int]) -> float:
        """By the planner's estimate."""
        tiling = tiling_of(decisions_of(self.space, choices))
        return expected_speed(self.estimate, tiling, tiling_of(self.default))


def operator_of(problem: Problem) -> str:
    return SUMS if isinstance(problem, SumsProblem) else POOL


def expected_speed(estimate: Estimate | PoolEstimate, tiling: Tiling, default: Tiling) -> float:
    """The logarithm of the speed that the planner expects, to that of the default."""
    if not estimate.fits(tiling):
        return UNFIT
    return log(estimate.cycles(default) / estimate.cycles(tiling))


def vta_tasks(segments: Sequence[Segment], board: VtaTarget) -> list[VtaTask]:
    """One for each problem, in the order of the layers. Raises what the planner raises."""
    found: dict[Problem, tuple[Segment, list[str], list[Company]]] = {}
    for segment in segments:
        problems = [problem_of(layer, segment, board.config) for layer in segment.layers]
        around = companies(segment, problems, board.config)
        for layer, problem, company in zip(segment.layers, problems, around, strict=True):
            _, names, places = found.setdefault(problem, (segment.alone(layer), [], []))
            names.append(layer.name)
            places.append(company)
    return [
        VtaTask(problem, alone, board, tuple(names), tuple(places))
        for problem, (alone, names, places) in found.items()
    ]


def gemm_uops(problem: SumsProblem, config: Config) -> int:
    """How many micro-ops GEMM runs for the layer, whatever is decided."""
    images, height, width, channels = problem.output
    places = -(-images // config.batch) * height * width
    blocks = sum(
        int((pattern_from(each, channels, config.block_out) >= 0).sum()) * each.planes
        for each in problem.operands
    )
    return places * blocks


def _block(config: Config) -> int:
    """Multiplications of one micro-op."""
    return config.batch * config.block_in * config.block_out


def _of_one_digit(problem: SumsProblem) -> SumsProblem:
    operands = tuple(replace(each, digits=1, planes=1) for each in problem.operands)
    return replace(problem, operands=operands, planes=1, lifted=False, terms=(), zero_added=False)


def _pool(problem: PoolProblem, config: Config) -> tirx.PrimFunc:
    """The largest values of windows: (N, C / BLOCK, H, W, BLOCK) int8."""
    images, height, width, channels = problem.output
    tall, wide, _ = problem.shape
    (top, left, bottom, right), blocks = problem.padding, -(-channels // config.block_out)
    padded = (images, blocks, top + tall + bottom, left + wide + right, config.block_out)
    x = te.placeholder(padded, "int8", "x")
    u, v = (te.reduce_axis((0, extent), n) for extent, n in zip(problem.kernel, "uv", strict=True))
    down, across = problem.strides

    def largest(n, c, i, j, k):  # type: ignore[no-untyped-def]
        return te.max(x[n, c, i * down + u, j * across + v, k], axis=[u, v])

    shape = (images, blocks, height, width, config.block_out)
    return te.create_prim_func([x, te.compute(shape, largest, name="pool")])
