"""Android devices that adb reaches."""

import shlex
import tempfile
from pathlib import Path

from qcompile.devices.device import Finished
from qcompile.devices.remote import Remote, call, expect_program
from qcompile.errors import DeviceError

HINT = "`apt-get install adb`, or Android's platform-tools, adds it"

# What `adb devices` says of a device that takes no commands, and what to do about it.
STATES = {
    "unauthorized": "allow debugging on its screen",
    "offline": "unplug it and plug it in again, or `adb reconnect`",
    "no permissions": "let this user use it: udev rules of Android's documentation",
}


class Adb(Remote):
    """A device by `adb:SERIAL`. Programs may run below /data/local/tmp alone."""

    parents = ("/data/local/tmp",)

    def __init__(self, name: str) -> None:
        """Raises DeviceError when adb does not see the device, or may not use it."""
        self.name = name
        serial = name.removeprefix("adb:")
        found = attached()
        if serial not in found:
            seen = ", ".join(f"adb:{other}" for other in found) or "none"
            raise DeviceError(
                f"{name}: adb sees no such device (there are: {seen}); is it plugged in, with "
                "debugging switched on?"
            )
        if (state := found[serial]) != "device":
            raise DeviceError(f"{name}: it is {state}: {STATES.get(state, 'see `adb devices`')}")
        self._command = [expect_program("adb", HINT), "-s", serial]
        self.open()

    def send(self, name: str, content: bytes, executable: bool = False) -> None:
        place = f"{self._place()}/{name}"
        with tempfile.TemporaryDirectory(prefix="qcompile.") as folder:
            file = Path(folder) / "file"
            file.write_bytes(content)
            self._copy("push", str(file), place)
        self._answer(f"chmod {'700' if executable else '600'} {shlex.quote(place)}")

    def fetch(self, name: str) -> bytes:
        place = f"{self._place()}/{name}"
        with tempfile.TemporaryDirectory(prefix="qcompile.") as folder:
            file = Path(folder) / "file"
            self._copy("pull", place, str(file))
            return file.read_bytes()

    def _copy(self, direction: str, source: str, target: str) -> None:
        done = call([*self._command, direction, source, target])
        if done.code == 0:
            return
        self._answer("true")  # raises when the device is gone
        told = (done.messages or done.output).strip().splitlines() or ["adb says nothing"]
        raise DeviceError(f"{self.name}: adb {direction}: {told[-1]}")

    def _ask(self, script: str, content: bytes | None = None) -> Finished:
        assert content is None, "adb has push for that"
        done = call([*self._command, "shell", script])
        # Older systems send what a terminal would get.
        return Finished(done.code, done.output.replace("\r\n", "\n"), done.messages)


def attached() -> dict[str, str]:
    """The serial number and the state of each device that adb sees. Raises DeviceError."""
    done = call([expect_program("adb", HINT), "devices"])
    if done.code != 0:
        told = done.messages.strip().splitlines() or ["it says nothing"]
        raise DeviceError(f"adb devices fails: {told[-1]}")
    lines = [line.partition("\t") for line in done.output.splitlines() if "\t" in line]
    return {serial: state.partition(";")[0].strip() for serial, _, state in lines}
