"""What boards that are reached through a program of this machine have in common."""

import shlex
import shutil
import subprocess
from abc import abstractmethod
from collections.abc import Sequence

from qcompile.devices.device import Device, Finished
from qcompile.errors import DeviceError, DeviceLost

# Around what a script prints: login shells may print before it, connections may end within it.
BEGIN, END = "@qcompile-begin", "@qcompile-end"

GONE = 120  # the exit code that says that the folder is not there
RUNNING = "qcompile.running"  # holds the process group of a script that runs


class Remote(Device):
    """A board with a POSIX shell. Its folder is made on first use, and removed by `close`."""

    folder: str | None = None
    parents = ("${TMPDIR:-/tmp}",)  # where the folder may be

    @abstractmethod
    def _ask(self, script: str, content: bytes | None = None) -> Finished:
        """What the board's shell does with the script, which may read `content`.

        Raises DeviceError or DeviceLost when the board cannot be reached.
        """

    def open(self) -> None:
        """Make the folder. Raises DeviceError when the board cannot be reached or has no room."""
        tries = " || ".join(f"mktemp -d {parent}/qcompile.XXXXXX" for parent in self.parents)
        made = self._answer(f"umask 077; {tries}")
        if made.code != 0 or not made.output.strip().startswith("/"):
            told = made.messages.strip() or "mktemp failed"
            raise DeviceError(f"{self.name}: no folder can be made there: {told}")
        self.folder = made.output.strip()

    def shell(self, script: str) -> Finished:
        done = self._answer(
            f"cd {shlex.quote(self._place())} || exit {GONE}; echo $$ > {RUNNING}; "
            f"({script}); code=$?; rm -f {RUNNING}; exit $code"
        )
        if done.code == GONE:
            raise DeviceLost(f"{self.name}: its folder is gone; was it restarted?")
        return done

    def close(self) -> None:
        if self.folder is None:
            return
        try:
            place = shlex.quote(self.folder)
            # Of an interrupted command, the program goes on: nothing else ends it.
            end = f'read group < {place}/{RUNNING} && kill -s TERM -- "-$group"'
            self._answer(f"({end}) 2> /dev/null; rm -rf {place}")
        except DeviceLost:
            pass  # with everything on it
        finally:
            self.folder = None

    def _place(self) -> str:
        if self.folder is None:
            raise DeviceLost(f"{self.name}: closed")
        return self.folder

    def _answer(self, script: str, content: bytes | None = None) -> Finished:
        """What the script does, with its own exit code and what it alone printed."""
        done = self._ask(f"echo {BEGIN}; ({script}); echo {END} $?", content)
        _, _, told = done.output.partition(f"{BEGIN}\n")
        output, mark, code = told.rpartition(f"{END} ")
        if not mark or not code.strip().isdigit():
            raise self.unreachable(done)
        return Finished(int(code), output, done.messages)

    def unreachable(self, done: Finished) -> DeviceError:
        """What to say when the answer did not come."""
        told = (done.messages.strip().splitlines() or ["the connection ended"])[-1].strip()
        if self.folder is None:
            return DeviceError(f"{self.name}: {told}")
        return DeviceLost(f"{self.name}: it does not answer any more ({told})")


def call(command: Sequence[str], content: bytes | None = None) -> Finished:
    """What a program of this machine does."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL if content is None else None,
        input=content,
        capture_output=True,
    )
    code = 128 - done.returncode if done.returncode < 0 else done.returncode
    output, messages = done.stdout, done.stderr
    return Finished(code, output.decode(errors="replace"), messages.decode(errors="replace"))


def expect_program(name: str, hint: str) -> str:
    """The path of a program. Raises DeviceError, with the hint, when this machine lacks it."""
    found = shutil.which(name)
    if found is None:
        raise DeviceError(f"there is no {name} on this machine; {hint}")
    return found
