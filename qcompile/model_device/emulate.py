"""What a program does, counted by a plugin of qemu's user mode."""

import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from qcompile.errors import ModelError
from qcompile.export.toolchain import Toolchain
from qcompile.files import cache_root, make_folder
from qcompile.model_device.core import Core
from qcompile.targets import Target, host_target

# The plugin needs plugins in qemu: Debian's dynamically linked package has them.
INSTALL = "`apt-get install qemu-user` has it (not qemu-user-static, which takes no plugins)"


@dataclass(frozen=True)
class Memory:
    """Accesses, and the lines missed at each cache: of streams, and others."""

    accesses: int
    streamed: tuple[int, ...]
    alone: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """blocks: address and instructions of each translated block; executions[step][block].

    parts: step, block, instruction, and executions to add from that one on. output: what the
    program printed.
    """

    blocks: dict[int, tuple[int, tuple[bytes, ...]]]
    executions: dict[int, dict[int, int]]
    parts: list[tuple[int, int, int, int]]
    memory: dict[int, Memory]
    output: str


def run_counted(
    executable: Path, arguments: Sequence[str], target: Target, core: Core, warmup: int | None
) -> Trace:
    """The counts of one run, per step of a network after `warmup` of its inferences.

    warmup None counts the whole program as step 0. Raises ModelError when the emulator is missing,
    the program fails, or marks no step.
    """
    wide = target.architecture.name == "aarch64"
    emulator = find_tool("qemu-aarch64" if wide else "qemu-arm", INSTALL)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "counts"
        plugin = ",".join([str(build_plugin()), *_options(output, target, core, warmup)])
        # The stack begins below a program's path and variables: with equal ones the caches see the
        # same addresses, whatever the folder of the executable.
        program = Path(folder) / "program"
        program.symlink_to(executable.absolute())
        command = [emulator, "-cpu", core.emulated, "-plugin", plugin, str(program), *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            env={},
            preexec_fn=_leave_no_core_file,
        )
        if done.returncode != 0:
            raise ModelError(f"{executable} on {core.emulated}: {_failure(done)}")
        trace = _read(output.read_text(), done.stdout)
    if not trace.memory:
        raise ModelError(f"{executable}: marks no step of a network after {warmup} inferences")
    return trace


def _options(output: Path, target: Target, core: Core, warmup: int | None) -> list[str]:
    """The options of `plugin.c`."""
    return [
        *(f"out={output}", f"line={core.line_bytes}"),
        "marks=off" if warmup is None else f"warmup={warmup}",
        *(f"cache={sets}x{ways}" for sets, ways in core.caches(target)),
    ]


def build_plugin() -> Path:
    """The plugin, compiled at its first use."""
    source = (files("qcompile.model_device") / "plugin.c").read_bytes()
    folder = cache_root() / "model"
    path = folder / f"plugin-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not path.exists():
        make_folder(folder)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            (Path(work) / "plugin.c").write_bytes(source)
            tools = Toolchain(host_target().architecture, Path(work), lambda text: None)
            tools.compile("plugin.c", "plugin.o", "-O2")
            tools.link_plain(["plugin.o"], "plugin.so")
            os.replace(Path(work) / "plugin.so", path)
    return path


def find_tool(name: str, hint: str) -> str:
    """The path of a program of the system. Raises ModelError when it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise ModelError(f"the model needs {name}, which is not installed: {hint}")
    return found


def _leave_no_core_file() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    if "Illegal instruction" in done.stderr:
        return "it has instructions that this processor lacks; compile it for this target"
    return done.stderr.strip() or f"exit code {done.returncode}"


def _read(text: str, printed: str) -> Trace:
    blocks: dict[int, tuple[int, tuple[bytes, ...]]] = {}
    executions: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    parts = []
    memory: dict[int, list[int]] = {}
    for line in text.splitlines():
        kind, *words = line.split()
        if kind == "B":
            blocks[int(words[0])] = (int(words[1], 16), tuple(map(bytes.fromhex, words[2:])))
        elif kind == "C":
            step, number, count = map(int, words)
            executions[step][number] += count
        elif kind == "P":
            step, number, first, count = map(int, words)
            parts.append((step, number, first, count))
        else:
            step, *found = map(int, words)
            before = memory.get(step, [0] * len(found))
            memory[step] = [a + b for a, b in zip(before, found, strict=True)]
    return Trace(
        blocks,
        {step: dict(counts) for step, counts in sorted(executions.items())},
        parts,
        {step: Memory(n[0], tuple(n[1::2]), tuple(n[2::2])) for step, n in memory.items()},
        printed,
    )
