"""Where candidates are measured: on devices, and by models of them."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from qcompile.devices import Device, open_device
from qcompile.devices.preflight import preflight
from qcompile.errors import DeviceError, ModelError
from qcompile.model_device import estimate, load_core
from qcompile.targets import Target, load_processor
from qcompile.tuning.batch import Batch, Rounds
from qcompile.tuning.batch_program import Program
from qcompile.tuning.outcomes import Outcome, Timing, timing
from qcompile.tuning.told import OPERANDS, PROGRAM, run_program

MODEL = "model:"

Open = Callable[[str, str | None, str | None], Device]


class Board:
    """A device that runs programs at its own speed."""

    def __init__(self, device: Device, rounds: Rounds) -> None:
        self.name = device.name
        self.device = device
        self.rounds = rounds

    def measure(self, program: Program, batch: Batch, numbers: Sequence[int]) -> dict[int, Outcome]:
        """What became of the reference, number 0, and of the candidates of these numbers.

        Raises DeviceLost when nothing more can be measured here, DeviceError when this cannot.
        """
        rounds = batch.rounds or self.rounds
        budget_ms = rounds.budget_s * 1e3 * (1 + len(numbers))
        settings = (rounds.burst_s * 1e9, rounds.least, rounds.spread * 1e6, budget_ms)
        options = [str(round(value)) for value in settings]
        told, failures = run_program(
            self.device, program, batch, numbers, "time", options, rounds.limit_s
        )
        return {**{n: timing(found) for n, found in told.samples.items()}, **failures}

    def close(self) -> None:
        self.device.close()


class Model:
    """A model of a target's core; `device` emulates it, to see what runs and agrees."""

    def __init__(self, name: str, device: Device, target: Target, rounds: Rounds) -> None:
        self.name = name
        self.device = device
        self.target = target
        self.rounds = rounds

    def measure(self, program: Program, batch: Batch, numbers: Sequence[int]) -> dict[int, Outcome]:
        """As `Board.measure`; one sample, of modelled cycles at the target's clock."""
        limit_s = self.rounds.limit_s
        told, failures = run_program(self.device, program, batch, numbers, "check", [], limit_s)
        chosen = [n for n in told.sums if n not in failures]
        with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
            path, operands = Path(folder, PROGRAM), Path(folder, OPERANDS)
            path.write_bytes(program.executable)
            path.chmod(0o700)
            operands.write_bytes(program.operands)
            words = ["model", str(operands), str(limit_s), *map(str, chosen)]
            found = estimate(path, self.target, words, warmup=0)
        cycles = {step.step: step.cycles for step in found.steps}
        seconds = {n: cycles[1 + n] / self.target.clock_hz for n in chosen}
        return {**{n: Timing((s,), 0, 0.0) for n, s in seconds.items()}, **failures}

    def close(self) -> None:
        self.device.close()


Station = Board | Model


def has_model(target: Target) -> bool:
    """Whether there is a model of the target's core."""
    try:
        load_core(target)
    except ModelError:
        return False
    return True


def open_station(
    name: str, target: Target, rounds: Rounds, open_board: Open = open_device
) -> Station:
    """What measures on the device of that name, which runs code for the target.

    Raises DeviceError when there is none, when it cannot run such code, or when its times would
    say nothing; ModelError when there is no such model.
    """
    architecture = target.architecture.name
    if name.startswith(MODEL):
        return _open_model(name, target, rounds)
    device = open_board(name, architecture, str(target.llvm["mcpu"]))
    try:
        if device.emulated:
            modelled = f", or by {MODEL}{target.name}" if has_model(target) else ""
            raise DeviceError(
                f"{name}: an emulator says nothing about speed; tune on a board (ssh://, adb:, "
                f"rpc://){modelled}"
            )
        preflight(device, architecture, target.features)
    except BaseException:
        device.close()
        raise
    return Board(device, rounds)


def _open_model(name: str, target: Target, rounds: Rounds) -> Model:
    modelled = load_processor(name.removeprefix(MODEL))
    load_core(modelled)
    lacking = [feature for feature in target.features if feature not in modelled.features]
    if modelled.architecture.name != target.architecture.name or lacking:
        own = f", or by {MODEL}{target.name}" if has_model(target) else ""
        raise DeviceError(
            f"{name}: it has not all that code for {target.name} uses; tune for "
            f"--target {modelled.name}{own}"
        )
    architecture, mcpu = modelled.architecture.name, str(modelled.llvm["mcpu"])
    return Model(name, open_device("qemu", architecture, mcpu), modelled, rounds)
