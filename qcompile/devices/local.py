"""This machine as a device."""

import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path

from qcompile.devices.device import Device, Finished
from qcompile.errors import DeviceError


class Local(Device):
    """Runs programs in a temporary folder of this machine."""

    def __init__(self, name: str = "local") -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="qcompile."))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def send(self, name: str, content: bytes, executable: bool = False) -> None:
        path = self.folder / name
        try:
            path.write_bytes(content)
            path.chmod(0o700 if executable else 0o600)
        except OSError as error:
            raise DeviceError(f"{path}: cannot be written: {error.strerror}") from error

    def fetch(self, name: str) -> bytes:
        path = self.folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DeviceError(f"{path}: cannot be read: {error.strerror}") from error

    def shell(self, script: str) -> Finished:
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        # A negative code is a signal, of a program that the shell has made way for.
        code = 128 - done.returncode if done.returncode < 0 else done.returncode
        return Finished(code, done.stdout, done.stderr)

    def close(self) -> None:
        self._remove()
