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
    threads: int = 1,
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    watcher: Watcher | None = None,
) -> TuneResult:
    """Measure up to `trials` new candidates of the model's kernels; the records get them all.

    threads: that the kernels run on; what these share is decided, too, where there are several.
    Raises QCompileError before anything is measured; a device that is lost later ends the tuning
    early: `interrupted` says so. Ctrl-C raises TuningInterrupted. The same call goes on from there.
    """
    watcher = watcher or Silent()
    Database(records, VERSION).expect_writable()
    _expect_one_kind(devices)
    _expect_threads(devices, threads)
    tasks = tasks_of(model, target, watcher.say, threads, batch=batch, shapes=shapes)
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
    """The same for kernels, each once, on the threads that they are for.

    evenly: all count alike, not by their share of a network.
    """
    watcher = watcher or Silent()
    _expect_one_kind(devices)
    (threads,) = {task.threads for task in tasks}
    modelled = devices[0].startswith(MODEL)
    database = Database(records, VERSION)
    ledger = Ledger(tasks, target, database, modelled=modelled, threads=threads)
    session = Session(tasks, target, ledger, watcher, trials)
    try:
        with ExitStack() as stack:
            cores = share_cores(sum(name == LOCAL for name in devices), threads=threads)
            stack.enter_context(on_cores(cores.building))
            watcher.say("opening the devices")
            processor = _processor(devices, target, threads)
            measurer = stack.enter_context(
                Measurer(devices, target, threads=threads, cores=cores.measuring)
            )
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
                in_turns=threads > 1 and cores.shared,
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


def _expect_threads(devices: Sequence[str], threads: int) -> None:
    if threads > 1 and devices[0].startswith(MODEL):
        raise InvalidInput(f"{devices[0]}: models one core: threads is {threads}, and can be 1")


def _processor(devices: Sequence[str], target: Target, threads: int) -> str:
    """What measures: the name of the processor, or of the modelled core.

    Raises InvalidInput unless it is the same for all: times of others would be another device's;
    and where one has fewer cores than threads.
    """
    found = {name: _processor_of(name, target, threads) for name in dict.fromkeys(devices)}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} is {processor}" for name, processor in found.items())
        raise InvalidInput(f"devices that tune together must be of one kind: {told}")
    return found[devices[0]]


def _processor_of(device: str, target: Target, threads: int) -> str:
    if device.startswith(MODEL):
        return f"model of {load_processor(device.removeprefix(MODEL)).llvm['mcpu']}"
    with open_device(device, target.architecture.name, str(target.llvm["mcpu"])) as opened:
        processor = opened.processor()
    if processor.cores < threads:
        raise InvalidInput(f"{device}: has {processor.cores} cores, and threads is {threads}")
    return processor.name or "unknown"
