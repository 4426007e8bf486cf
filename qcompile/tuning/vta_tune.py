"""Tuning of a network for VTA: against simulated cycles."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qcompile.errors import InvalidInput
from qcompile.lowering import Dump, Lowering
from qcompile.records import Database
from qcompile.scales import POWER_OF_TWO
from qcompile.schedules.space import VERSION
from qcompile.targets import VtaTarget
from qcompile.tuned import Sources
from qcompile.tuning.kinds import VTA
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.result import Silent, TuneResult, TuningInterrupted, Watcher
from qcompile.tuning.session import Session
from qcompile.tuning.vta_laboratory import SimulatedLaboratory
from qcompile.tuning.vta_tasks import VtaTask, vta_tasks
from qcompile.tvm_errors import register_errors
from qcompile.vta.compiling import place_layers


def tune_network_for_vta(
    model: Path,
    board: VtaTarget,
    records: Path,
    *,
    trials: int,
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    watcher: Watcher | None = None,
) -> TuneResult:
    """As `tune_network`, of the layers that VTA computes."""
    watcher = watcher or Silent()
    Database(records, VERSION).expect_writable()
    tasks = vta_tasks_of(model, board, watcher.say, batch=batch, shapes=shapes)
    return tune_vta_tasks(tasks, board, records, trials=trials, seed=seed, watcher=watcher)


def tune_vta_tasks(
    tasks: Sequence[VtaTask],
    board: VtaTarget,
    records: Path,
    *,
    trials: int,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> TuneResult:
    """The same for layers, each once."""
    watcher = watcher or Silent()
    ledger = Ledger(tasks, board, Database(records, VERSION), modelled=True)
    session = Session(tasks, board, ledger, watcher, trials)
    laboratory = SimulatedLaboratory(tasks, ledger, trials=trials, told=session.told)
    try:
        session.run(laboratory, seed=seed, limits={VTA: board.macs_per_s})
    except KeyboardInterrupt as error:
        if session.laboratory is None:
            raise
        raise TuningInterrupted(session.result("interrupted")) from error
    return session.result(None)


def vta_tasks_of(
    model: Path,
    board: VtaTarget,
    say: Callable[[str], None],
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[VtaTask]:
    """The layers of an ONNX file that `compile` gives to VTA, each problem once.

    Raises QCompileError where the model cannot be compiled, InvalidInput where nothing can be
    decided.
    """
    register_errors()
    lower = Lowering(batch, shapes, False, POWER_OF_TWO, Sources.read(None))
    form = lower.integer_form(model, Dump(None), lambda what, k: say(what))
    say("programs for VTA")
    placed = place_layers(lower, form, lower.analysis(form, board.host, say), board)
    segments = placed.division.parts.segments
    tasks = [task for task in vta_tasks(segments, board) if task.space.size > 1]
    if not tasks:
        raise InvalidInput(f"{model}: nothing can be decided about its layers on {board.name}")
    return tasks
