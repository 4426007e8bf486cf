"""Cycles of one layer alone on one configuration, by the compiler's own planner."""

from dataclasses import replace
from math import prod

from qcompile.errors import Unsupported
from qcompile.search.accelerator.store import Store, key_of
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.costs import costs_of
from qcompile.targets.vta.planner.choice import chosen, timeline
from qcompile.targets.vta.planner.emit import plan_of
from qcompile.targets.vta.planner.problem import Operand, PoolProblem, Problem, problem_text


class LayerCycles:
    """The cycles by problem, configuration and port; None where the planner has no program.

    Nothing is planned twice, nor what the store knows. planned: how often the planner ran.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = Store() if store is None else store
        self._known: dict[tuple[Problem, Config, int], float | None] = {}
        self.planned = 0

    def __call__(self, problem: Problem, config: Config, port_bytes: int) -> float | None:
        """Without the program's start and end, which a network has once."""
        place = (problem, needed(problem, config), port_bytes)
        if place not in self._known:
            sizes = {k: v for k, v in place[1].to_json().items() if k.startswith("LOG_")}
            key = key_of(problem_text(problem), sizes, port_bytes)
            if key not in self._store:
                self._store[key] = _planned(*place)
                self.planned += 1
            self._known[place] = self._store[key]
        return self._known[place]


def needed(problem: Problem, config: Config) -> Config:
    """The configuration with buffers no larger than any plan of the layer can use.

    Configurations that differ in nothing else have the same cycles. UOP stays: how many micro-ops
    plans keep is not known beforehand.
    """
    inputs, weights, sums = _most(problem, config)
    return replace(
        config,
        log_inp_buff_size=_shrunk(config, Buffer.INP, config.log_inp_buff_size, inputs),
        log_wgt_buff_size=_shrunk(config, Buffer.WGT, config.log_wgt_buff_size, weights),
        log_acc_buff_size=_shrunk(config, Buffer.ACC, config.log_acc_buff_size, sums),
    )


def _most(problem: Problem, config: Config) -> tuple[int, int, int]:
    """Elements of INP, WGT and ACC that the greediest plan has use for, doubled.

    Inputs: every tile's window apart, were tiles as small as one output. Weights: all of them.
    Sums: those of the whole output for each thread, with vectors and terms; of a pooling, its
    input with a row and a column beyond each phase.
    """
    images, height, width, channels = problem.output
    images, blocks = -(-images // config.batch), -(-channels // config.block_out)
    if isinstance(problem, PoolProblem):
        seen = _seen(problem, height, width)
        phases = prod(
            extent + 2 * taps + 2 * stride
            for extent, taps, stride in zip(
                problem.shape[:2], problem.kernel, problem.strides, strict=True
            )
        )
        return 4 * images * problem.planes * blocks * seen, 2 * blocks, 4 * blocks * phases
    inputs = weights = 0
    for one in problem.operands:
        inner = -(-one.shape[2] // config.block_in)
        inputs += one.planes * inner * _seen(one, height, width)
        weights += one.digits * blocks * prod(one.kernel) * inner
    vectors = len(problem.row_classes) * len(problem.column_classes) + 1 + len(problem.terms)
    copies = 2 + len(problem.terms)
    return 4 * images * inputs, 4 * weights, 2 * copies * blocks * (height * width + vectors)


def _seen(window: Operand | PoolProblem, height: int, width: int) -> int:
    dilation = window.dilation if isinstance(window, Operand) else (1, 1)
    spans = [(taps - 1) * d + 1 for taps, d in zip(window.kernel, dilation, strict=True)]
    (rows, columns), (down, right) = spans, window.strides
    return height * max(rows, down) * width * max(columns, right)


def _shrunk(config: Config, buffer: Buffer, log_bytes: int, elements: int) -> int:
    """The logarithm of the buffer's size, as small as holds so many elements."""
    depth = config.depth(buffer)
    while depth >> 1 >= max(elements, 1):
        depth, log_bytes = depth >> 1, log_bytes - 1
    return log_bytes


def _planned(problem: Problem, config: Config, port_bytes: int) -> float | None:
    try:
        plan = plan_of(problem, config, chosen(problem, config, port_bytes))
        return timeline(plan, port_bytes).cycles - costs_of(port_bytes).program
    except Unsupported:
        return None
