"""A bundle's executable on a device."""

import json
from pathlib import Path
from typing import Any

from qcompile.commands.manifest import Manifest
from qcompile.devices import LOCAL, Device, open_device
from qcompile.devices.preflight import expect_success, preflight
from qcompile.errors import BundleError

PROGRAM = "bench"


class Placed:
    """A bundle that was sent to an opened device and ran there once."""

    def __init__(self, device: Device, manifest: Manifest, program: bytes) -> None:
        """Raises DeviceError or BundleError when the device cannot run it."""
        self.device = device
        self.manifest = manifest
        path = executable(manifest)
        self.where = str(path) if device.name == LOCAL else f"{path} on {device.name}"
        self.preflight = preflight(device, manifest.architecture, manifest.features)
        device.send(PROGRAM, program, executable=True)
        trial = self.call("--repeat", "1", "--warmup", "0")
        self.first_s = float(trial["seconds"][0])

    def call(self, *options: str) -> dict[str, Any]:
        """The program's answer. Raises BundleError when it fails, DeviceLost with the device."""
        variant = () if self.manifest.variant is None else ("--variant", self.manifest.variant)
        done = self.device.run(PROGRAM, "--json", *variant, *options)
        told = expect_success(self.where, done)
        try:
            answer: dict[str, Any] = json.loads(told)
        except ValueError as error:
            raise BundleError(f"{self.where}: its answer is no JSON: {error}") from error
        return answer

    def close(self) -> None:
        self.device.close()


def executable(manifest: Manifest) -> Path:
    """The static executable of a bundle."""
    return manifest.folder / "bin" / f"{manifest.name}_bench"


def place(name: str, manifest: Manifest) -> Placed:
    """The bundle on the device of that name; `close` it."""
    path = executable(manifest)
    try:
        program = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    device = open_device(name, manifest.architecture, manifest.mcpu)
    try:
        return Placed(device, manifest, program)
    except BaseException:
        device.close()
        raise
