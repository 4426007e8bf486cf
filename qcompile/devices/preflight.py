"""Whether a device can run a bundle, found out before long work."""

from dataclasses import dataclass

from qcompile.devices.device import Device, Finished
from qcompile.devices.processor import Processor
from qcompile.errors import BundleError, DeviceError

ILLEGAL_INSTRUCTION, KILLED = 128 + 4, 128 + 9
NOT_EXECUTABLE = (126, 127)


@dataclass(frozen=True)
class Preflight:
    """The processor, and what makes measurements on it doubtful."""

    processor: Processor
    warnings: tuple[str, ...]


def preflight(device: Device, architecture: str | None, features: tuple[str, ...]) -> Preflight:
    """What is known of the device before programs for `architecture` with `features` run on it.

    Raises DeviceError, which says what would work, when they cannot run.
    """
    processor = device.processor()
    if architecture is not None:
        expect_architecture(device.name, processor, architecture)
    # 64-bit processors have all of ARMv7's instruction sets, under other names.
    older = (processor.architecture, architecture) == ("aarch64", "armv7")
    missing = [name for name in features if name not in processor.features]
    if missing and not older:
        raise DeviceError(
            f"{device.name}: its processor ({processor.name}) lacks {', '.join(missing)}, which "
            "the code uses; compile for a target without them"
        )
    return Preflight(processor, tuple(warnings(processor)))


def expect_architecture(name: str, processor: Processor, architecture: str) -> None:
    """Raise DeviceError when the system does not run programs of that architecture."""
    found = processor.architecture
    if found == architecture or (found, architecture) == ("aarch64", "armv7"):
        return
    if (found, architecture) == ("armv7", "aarch64") and processor.wide:
        raise DeviceError(
            f"{name}: a 32-bit system ({processor.machine}) on a 64-bit processor "
            f"({processor.name}): install a 64-bit system, or compile for an armv7 target"
        )
    raise DeviceError(
        f"{name}: its processor is {processor.machine}, the program is for {architecture}: "
        "compile for a target of that processor, or take another device"
    )


def warnings(processor: Processor) -> list[str]:
    """What makes times of this processor doubtful, each with what to do."""
    found = []
    if slow := [governor for governor in processor.governors if governor != "performance"]:
        found.append(
            f"the clock governor is {', '.join(slow)}: `echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor` steadies the times"
        )
    hot = f" at {processor.temperature_c:.0f} C" if processor.temperature_c is not None else ""
    found += [f"{limit}{hot}: cool the board" for limit in processor.limits]
    if (processor.architecture, processor.user_bits) == ("aarch64", 32):
        found.append(
            "its programs are 32-bit ones on a 64-bit kernel: the executable runs, but this "
            "library fits 64-bit programs alone"
        )
    return found


def expect_success(name: str, done: Finished) -> str:
    """What the program printed. Raises DeviceError or BundleError in one line when it failed."""
    told = next(iter(done.messages.strip().splitlines()), "")
    if done.code == 0:
        return done.output
    if done.code == ILLEGAL_INSTRUCTION:
        raise BundleError(
            f"{name}: the program used an instruction that this processor lacks (SIGILL); "
            "compile for its own target"
        )
    if done.code == KILLED:
        raise BundleError(f"{name}: the program was killed, most likely because memory ran out")
    if done.code in NOT_EXECUTABLE:
        raise DeviceError(f"{name}: the program cannot be started: {told}")
    raise BundleError(f"{name}: {told or f'the program ended with exit code {done.code}'}")
