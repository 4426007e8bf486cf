"""Where bundles run: this machine, emulators, boards. `open_device` gives one by its name."""

from qcompile.devices.device import Device, Finished
from qcompile.devices.listing import DeviceEntry, list_devices
from qcompile.devices.opening import LOCAL, SIM, open_device
from qcompile.devices.preflight import Preflight
from qcompile.devices.processor import Processor

__all__ = [
    "LOCAL",
    "SIM",
    "Device",
    "DeviceEntry",
    "Finished",
    "Preflight",
    "Processor",
    "list_devices",
    "open_device",
]
