"""Look at a device before bundles are sent to it."""

from dataclasses import dataclass

from qcompile.devices import Processor, open_device
from qcompile.devices.preflight import expect_success, warnings
from qcompile.errors import DeviceError


@dataclass(frozen=True)
class DeviceFacts:
    """A device that answers. `trial` tells why programs do not run on it, None where they do."""

    name: str
    emulated: bool
    processor: Processor
    trial: str | None
    warnings: list[str]


def device_facts(name: str) -> DeviceFacts:
    """What the device is, after a small program ran on it. Raises DeviceError."""
    from qcompile.devices.probe import probe_program

    with open_device(name) as device:
        processor = device.processor()
        trial = None
        try:
            program = probe_program(processor.architecture)
            device.send("probe", program, executable=True)
            expect_success(name, device.run("probe"))
        except DeviceError as error:
            trial = str(error)
        return DeviceFacts(device.name, device.emulated, processor, trial, warnings(processor))
