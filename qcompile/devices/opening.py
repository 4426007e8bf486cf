"""From the name of a device to the device."""

from qcompile.devices.adb import Adb
from qcompile.devices.device import Device
from qcompile.devices.local import Local
from qcompile.devices.qemu import open_qemu
from qcompile.devices.rpc import Rpc
from qcompile.devices.ssh import Ssh
from qcompile.errors import DeviceError

LOCAL = "local"
SIM = "sim"
FORMS = (
    "local, sim, qemu, qemu:CPU, ssh://user@host[:port], adb:SERIAL, rpc://tracker:port/key, "
    "model:TARGET"
)


def open_device(name: str, architecture: str | None = None, mcpu: str | None = None) -> Device:
    """The device of that name, opened; `close` it, or use it in a `with` block.

    `architecture` (aarch64, armv7, x86_64) and LLVM's `mcpu` are what the programs to come are for:
    an emulator needs to know. Raises DeviceError when there is no such device or it cannot be
    reached.
    """
    kind, _, rest = name.partition(":")
    if name == LOCAL:
        return Local()
    if kind == "qemu" and (rest or name == "qemu"):
        return open_qemu(rest or None, architecture, mcpu)
    if kind == "ssh":
        return Ssh(name)
    if kind == "adb" and rest:
        return Adb(name)
    if kind == "rpc":
        return Rpc(name)
    if name == SIM:
        raise DeviceError(
            f"{name}: simulates VTA, and runs nothing else: `run` and `bench` take it"
        )
    if kind == "model":
        raise DeviceError(f"{name}: a model runs nothing; `bench` and `tune` alone take it")
    raise DeviceError(f"no device {name!r}; devices are {FORMS}")
