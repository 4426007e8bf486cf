"""The devices that this machine reaches, and how the others are named."""

from dataclasses import dataclass

from qcompile.devices.adb import attached
from qcompile.devices.local import Local
from qcompile.devices.opening import LOCAL, SIM
from qcompile.devices.qemu import PROGRAMS, find_emulator
from qcompile.errors import DeviceError

ADDRESSED = {
    "ssh://user@host[:port]": "a board with an ssh server; nothing is installed on it",
    "rpc://tracker:port/key": "a board that runs TVM's RPC server, by its tracker",
    "model:TARGET": "an estimate of cycles on the core of a target, for `bench` and `tune`",
}


@dataclass(frozen=True)
class DeviceEntry:
    """One device or kind of device; `about` tells what it is, or why it is not there."""

    name: str
    reachable: bool | None  # None: a kind, whose devices are the user's to name
    about: str


def list_devices() -> list[DeviceEntry]:
    """This machine, its emulators and what is plugged in; then the kinds that have addresses."""
    with Local() as local:
        processor = local.processor()
    here = f"{processor.name}, cores: {processor.cores}, {' '.join(processor.features)}"
    return [
        DeviceEntry(LOCAL, True, here),
        DeviceEntry(SIM, True, "simulates VTA: outputs and cycles of bundles for vta-..."),
        *map(_emulator, PROGRAMS),
        *_android(),
        *(DeviceEntry(name, None, about) for name, about in ADDRESSED.items()),
    ]


def _emulator(architecture: str) -> DeviceEntry:
    try:
        found = find_emulator(architecture)
    except DeviceError as error:
        return DeviceEntry("qemu", False, str(error))
    about = f"emulates {architecture} ({found.program}, {found.version}): outputs, not speed"
    if architecture != "x86_64":
        names = [model for model in found.models if model.startswith(("cortex-a", "neoverse"))]
        about += f"; qemu:CPU with {', '.join(names)}, max"
    return DeviceEntry("qemu", True, about)


def _android() -> list[DeviceEntry]:
    try:
        found = attached()
    except DeviceError as error:
        return [DeviceEntry("adb:SERIAL", False, str(error))]
    return [
        DeviceEntry(f"adb:{serial}", state == "device", f"Android: {state}")
        for serial, state in found.items()
    ] or [DeviceEntry("adb:SERIAL", False, "adb sees no device")]
