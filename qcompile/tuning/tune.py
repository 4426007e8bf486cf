"""Tuning of a network for a target: from its ONNX file to records of fast decisions."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from qcompile.devices import LOCAL, open_device
from qcompile.errors import DeviceLost, InvalidInput
from qcompile.records import Database
from qcompile.schedules.space import VERSION
from qcompile.targets import Target, load_processor
from qcompile.tuning.building import Builders
from qcompile.tuning.cores import on_cores, share_cores
from qcompile.tuning.laboratory import Laboratory
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.limits import modelled_limits
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.network import tasks_of
from qcompile.tuning.result import Silent, TuneResult, TuningInterrupted, Watcher
from qcompile.tuning.session import Session
from qcompile.tuning.stations import MODEL
from qcompile.tuning.tasks import Task


def tune_network(
    model: Path,
    target: Target,
    records: Path,
    *,
    trials: int,
    devices: Sequence[str] = (LOCAL,),
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    watcher: Watcher | None = None,
) -> TuneResult:
    """Measure up to `trials` new candidates of the model's kernels; the records get them all.

    Raises QCompileError before anything is measured; a device that is lost later ends the tuning
    early: `interrupted` says so. Ctrl-C raises TuningInterrupted. The same call goes on from there.
    """
    watcher = watcher or Silent()
    Database(records, VERSION).expect_writable()
    _expect_one_kind(devices)
    tasks = tasks_of(model, target, watcher.say, batch=batch, shapes=shapes)
    return tune_tasks(
        tasks, target, records, trials=trials, devices=devices, seed=seed, watcher=watcher
    )


def tune_tasks(
    tasks: Sequence[Task],
    target: Target,
    records: Path,
    *,
    trials: int,
    devices: Sequence[str] = (LOCAL,),
    seed: int = 0,
    evenly: bool = False,
    watcher: Watcher | None = None,
) -> TuneResult:
    """The same for kernels, each once. evenly: all count alike, not by their share of a network."""
    watcher = watcher or Silent()
    _expect_one_kind(devices)
    modelled = devices[0].startswith(MODEL)
    ledger = Ledger(tasks, target, Database(records, VERSION), modelled=modelled)
    session = Session(tasks, target, ledger, watcher, trials)
    try:
        with ExitStack() as stack:
            cores = share_cores(sum(name == LOCAL for name in devices))
            stack.enter_context(on_cores(cores.building))
            watcher.say("opening the devices")
            processor = _processor(devices, target)
            measurer = stack.enter_context(Measurer(devices, target, cores=cores.measuring))
            builders = stack.enter_context(Builders(target, len(cores.building), cores.building))
            laboratory = Laboratory(
                tasks,
                target,
                builders,
                measurer,
                ledger,
                device=devices[0],
                processor=processor,
                trials=trials,
                told=session.told,
            )
            limits = (
                modelled_limits(load_processor(devices[0].removeprefix(MODEL)))
                if modelled
                else None
            )
            session.run(laboratory, seed=seed, limits=limits, evenly=evenly)
    except KeyboardInterrupt as error:
        if session.laboratory is None:
            raise
        raise TuningInterrupted(session.result("interrupted")) from error
    except DeviceLost as error:
        if session.laboratory is None:
            raise
        return session.result(str(error))
    return session.result(None)


def _expect_one_kind(devices: Sequence[str]) -> None:
    modelled = [name.startswith(MODEL) for name in devices]
    if any(modelled) and not all(modelled):
        raise InvalidInput(f"{', '.join(devices)}: boards and models do not measure the same")


def _processor(devices: Sequence[str], target: Target) -> str:
    """What measures: the name of the processor, or of the modelled core.

    Raises InvalidInput unless it is the same for all: times of others would be another device's.
    """
    found = {name: _processor_of(name, target) for name in dict.fromkeys(devices)}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} is {processor}" for name, processor in found.items())
        raise InvalidInput(f"devices that tune together must be of one kind: {told}")
    return found[devices[0]]


def _processor_of(device: str, target: Target) -> str:
    if device.startswith(MODEL):
        return f"model of {load_processor(device.removeprefix(MODEL)).llvm['mcpu']}"
    with open_device(device, target.architecture.name, str(target.llvm["mcpu"])) as opened:
        return opened.processor().name or "unknown"
