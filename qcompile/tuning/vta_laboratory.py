"""Candidates for VTA, simulated: programs planned with their decisions, timed, and checked.

The time of a candidate is its simulated cycles at the board's clock, between the layers that run
before and after it in the network, which have the cycle model's own decisions. Checked, a candidate
is planned with its layer's weights, linted, and run on random data by the functional simulator; it
computes what the default computes. All candidates of layers for which this takes up to about a
third of a second are checked; of larger ones only the best, once more at the end.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.devices.opening import SIM
from qcompile.errors import Unsupported
from qcompile.targets.vta import functional
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.lint import lint
from qcompile.targets.vta.planner import plan_segment
from qcompile.targets.vta.planner.packing import packed
from qcompile.targets.vta.planner.problem import SumsProblem
from qcompile.targets.vta.program import Program
from qcompile.tuning.batch import Rounds
from qcompile.tuning.laboratory import Decisions, Told, Trials
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.outcomes import Failure, Outcome, Timing
from qcompile.tuning.tasks import SEED
from qcompile.tuning.vta_tasks import VtaTask, gemm_uops

# Of layers with so many GEMM micro-ops every candidate is checked: it took 0.1 to 0.4 s.
CHECKED_UOPS = 200_000


class SimulatedLaboratory(Trials):
    """Evaluates candidates one after the other, here."""

    batch = 16  # to propose some takes longer than to simulate them

    def __init__(
        self, tasks: Sequence[VtaTask], ledger: Ledger, *, trials: int, told: Told
    ) -> None:
        board = tasks[0].board
        processor = f"simulated VTA {board.config.name}, {8 * board.port_bytes}-bit port"
        super().__init__(tasks, ledger, device=SIM, processor=processor, trials=trials, told=told)
        self.layers = tasks
        self._outputs: dict[int, NDArray[np.uint8]] = {}

    def measure(
        self, task: int, decisions: Sequence[Decisions], rounds: Rounds | None = None
    ) -> Future[list[Outcome]]:
        """The outcomes of the default and of these candidates, at once; they are written down.

        rounds: for a thorough measurement, which checks what was not checked before.
        """
        one, thorough = self.layers[task], rounds is not None
        first = Timing((self._seconds(one, one.default),), 0, 0.0)
        self.default_s[task] = first.seconds_each
        if self.ledger.known(task, one.default) is None:
            self._write(task, one.default, first, first)
        outcomes: list[Outcome] = [first]
        for chosen in decisions:
            outcomes.append(self._outcome(task, chosen, thorough or checks_all(one)))
            self._write(task, chosen, outcomes[-1], first, thorough=thorough)
        self.told(task, outcomes)
        done: Future[list[Outcome]] = Future()
        done.set_result(outcomes)
        return done

    def _seconds(self, task: VtaTask, decisions: Mapping[str, Any]) -> float:
        """Raises BufferTooSmall and NotRepresentable."""
        return task.cycles(decisions) / task.board.clock_hz

    def _outcome(self, task: int, decisions: Decisions, checked: bool) -> Outcome:
        one = self.layers[task]
        try:
            seconds = self._seconds(one, decisions)
            failure = self._failure(task, decisions) if checked else None
        except Unsupported as error:
            return Failure("build", str(error))
        return failure or Timing((seconds,), 0, 0.0)

    def _failure(self, task: int, decisions: Decisions) -> Failure | None:
        """What is wrong with the program that the planner emits, if anything is."""
        one = self.layers[task]
        if task not in self._outputs:
            self._outputs[task] = output_of(planned(one, one.default), one)
        program = planned(one, decisions)
        found = lint(program.config, program.instructions, program.image)
        if found:
            return Failure("build", f"leaves the portable subset: {found[0]}")
        if not np.array_equal(output_of(program, one), self._outputs[task]):
            return Failure("wrong result", "its output is not that of the default")
        return None


def checks_all(task: VtaTask) -> bool:
    """Whether every candidate is checked, by the size of the layer."""
    problem = task.problem
    return (
        not isinstance(problem, SumsProblem)
        or gemm_uops(problem, task.board.config) <= CHECKED_UOPS
    )


def planned(task: VtaTask, decisions: Mapping[str, Any]) -> Program:
    (layer,) = task.segment.layers
    board = task.board
    return plan_segment(task.segment, board.config, board.port_bytes, {layer.name: dict(decisions)})


def output_of(program: Program, task: VtaTask) -> NDArray[np.uint8]:
    """The bytes of the layer's output for random inputs, the same for all programs."""
    image, rng = program.image.copy(), np.random.default_rng(SEED)

    def part(name: str) -> NDArray[np.uint8]:
        place = program.placements[name]
        first = place.address - IMAGE_ADDRESS
        return image[first : first + place.bytes]

    for name in task.segment.inputs:
        tensor = task.segment.tensor(name)
        stored = rng.integers(tensor.low, tensor.high, tensor.shape, endpoint=True)
        part(name)[:] = packed(stored, program.placements[name], program.config)
    functional.run(program.config, program.instructions, image)
    return part(task.segment.outputs[0]).copy()
