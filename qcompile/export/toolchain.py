"""The C compiler, assembler, linker and archiver: all of them Zig's, from its Python package."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from qcompile.errors import ToolchainError
from qcompile.files import cache_root
from qcompile.targets.architecture import Architecture

COMPILE_FLAGS = (
    *("-std=c99", "-Os", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-stack-protector"),
    *("-fno-sanitize=all", "-ffunction-sections", "-fno-asynchronous-unwind-tables"),
    *("-Wall", "-Wextra", "-Werror"),
)

NO_SPACE = ("NoSpaceLeft", "No space left")
MOST_LINES = 20  # of a message

# Debug sections grow the archive, and name what no user has.
RELOCATABLE_SCRIPT = """\
SECTIONS { /DISCARD/ : { *(.debug*) *(.rela.debug*) *(.comment) *(.llvm_addrsig) *(.eh_frame) } }
"""


@dataclass(frozen=True)
class Toolchain:
    """Zig's tools, run in the folder `work`, where they also keep what this build alone needs.

    They make code for `architecture`: libraries for its platform's libc, programs that need nothing
    of the system.
    """

    architecture: Architecture
    work: Path
    progress: Callable[[str], None]

    def compile(self, source: str, output: str, *flags: str) -> None:
        """An object file for a library, of a C file."""
        self._compile(self.architecture.library_triple, source, output, *flags)

    def compile_program(self, source: str, output: str, *flags: str) -> None:
        """An object file for a program, of a C file."""
        self._compile(self.architecture.program_triple, source, output, *flags)

    def assemble(self, source: str, output: str) -> None:
        """An object file of an assembly file."""
        triple = self.architecture.library_triple
        self._zig("cc", "-target", triple, "-c", source, "-o", output)

    def merge(self, objects: Sequence[str], output: str) -> None:
        """One object file of many, without debug sections."""
        (self.work / "merge.lds").write_text(RELOCATABLE_SCRIPT)
        self._zig("ld.lld", "-r", "-T", "merge.lds", *objects, "-o", output)

    def archive(self, objects: Sequence[str], output: str) -> None:
        """A static library."""
        self._zig("ar", "rcs", output, *objects)

    def link_library(self, objects: Sequence[str], output: str) -> None:
        """A shared library for the platform's libc."""
        name = f"-Wl,-soname,{Path(output).name}"
        flags = ("-shared", "-Wl,-z,defs", "-Wl,-z,noexecstack", "-Wl,-z,now", name)
        self._link(self.architecture.library_triple, flags, objects, output)

    def link_plain(self, objects: Sequence[str], output: str) -> None:
        """A shared library without the platform's libc: what it lacks, its process has."""
        self._zig("ld.lld", "-shared", *objects, "-o", output)

    def link_program(self, objects: Sequence[str], output: str) -> None:
        """An executable that needs no library of the system."""
        self._link(self.architecture.program_triple, ("-static",), objects, output)

    def _compile(self, triple: str, source: str, output: str, *flags: str) -> None:
        flags = (*COMPILE_FLAGS, *self.architecture.compiler_flags, *flags)
        self._zig("cc", "-target", triple, *flags, "-c", source, "-o", output)

    def _link(self, triple: str, flags: Sequence[str], objects: Sequence[str], output: str) -> None:
        mark = cache_folder() / f"linked-{metadata.version('ziglang')}-{triple}"
        if not mark.exists():
            self.progress(f"building the C library of {triple} (first use only, about 30 s)")
        common = ("-s", "-Wl,--gc-sections")
        libraries = ("-lm", "-lpthread")
        self._zig("cc", "-target", triple, *common, *flags, *objects, *libraries, "-o", output)
        mark.touch()

    def _zig(self, *arguments: str) -> None:
        environment = {
            **os.environ,
            "ZIG_GLOBAL_CACHE_DIR": str(_expect_cache()),
            # What Zig keeps of one build is of no use to the next, and weights are large.
            "ZIG_LOCAL_CACHE_DIR": str(self.work / "cache"),
        }
        try:
            done = subprocess.run(
                [_zig_path(), *arguments],
                cwd=self.work,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise ToolchainError(f"zig cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            told = (done.stderr or done.stdout).strip() or _end(done.returncode)
            raise ToolchainError(f"zig {arguments[0]} failed:\n{self._condensed(told)}")

    def _condensed(self, told: str) -> str:
        """What Zig said, in few lines: of a full disk it tells for every file of its library."""
        if any(text in told for text in NO_SPACE):
            return (
                f"the disk of {cache_folder()} or of {self.work} is full: make room, or set "
                "XDG_CACHE_HOME or TMPDIR to a folder of another disk"
            )
        lines = told.splitlines()
        left_out = [f"({len(lines) - MOST_LINES} more lines)"] if len(lines) > MOST_LINES else []
        return "\n".join([*lines[:MOST_LINES], *left_out])


def cache_folder() -> Path:
    """Where Zig keeps the C libraries that it built."""
    return cache_root() / "zig"


def _expect_cache() -> Path:
    """The cache folder. Raises ToolchainError where none can be: Zig would try forever."""
    folder, hint = cache_folder(), "set XDG_CACHE_HOME to a folder that can be written to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(f"{folder}: cannot be made: {error.strerror}; {hint}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ToolchainError(f"{folder}: cannot be written to; {hint}")
    return folder


def _end(code: int) -> str:
    """How a process ended that said nothing; most do so when they cannot write."""
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"it ended with {name} and no message; is the disk full?"


def _zig_path() -> str:
    found = util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise ToolchainError("the Python package ziglang is missing; `pip install ziglang` adds it")
    return str(Path(found.origin).parent / "zig")
