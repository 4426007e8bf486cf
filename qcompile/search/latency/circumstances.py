"""What the times of a network depend on besides its widths and kernels."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from qcompile.arrays import Array
from qcompile.devices import LOCAL, SIM, open_device
from qcompile.errors import DeviceError, InvalidInput
from qcompile.measure.host_costs import kernels_checksum
from qcompile.quantizer import QuantizeOptions
from qcompile.records import MeasuredTarget
from qcompile.schedules.space import VERSION
from qcompile.search.latency.meters import exact_meter
from qcompile.targets import Target, VtaTarget
from qcompile.tuned import Sources


def usual_device(target: Target | VtaTarget) -> str:
    """This machine, or the simulator for a board with VTA."""
    return SIM if isinstance(target, VtaTarget) else LOCAL


def numbers_matter(target: Target | VtaTarget) -> bool:
    """Whether times depend on a network's numbers: VTA's instructions do, processors' do not."""
    return isinstance(target, VtaTarget)


def expect_device(target: Target | VtaTarget, device: str, threads: int) -> None:
    """Raise DeviceError for a device that cannot measure the target's networks."""
    if isinstance(target, VtaTarget) != (device == SIM):
        works = "sim" if isinstance(target, VtaTarget) else "local, ssh://…, or model:TARGET"
        raise DeviceError(f"{device}: measures no networks for {target.name}; {works} would")
    if threads < 1 or (threads > 1 and exact_meter(device) is not None):
        raise InvalidInput(f"threads is {threads}; 1 works, and more on a device with a clock")


def circumstances(
    model: Path, target: Target | VtaTarget, device: str, threads: int, records: Path | None
) -> dict[str, Any]:
    """As JSON; networks that are measured under equal ones take equal times.

    records: tuned kernels make other times. Raises QCompileError.
    """
    measured = MeasuredTarget.of(target)
    kernels = sorted(
        f"{record.workload} {record.decisions_key} {record.estimate_s} {record.reference_s}"
        for database in Sources.read(records).databases
        for record in database
        if record.target.key == measured.key
    )
    return {
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "target": [measured.name, measured.architecture, measured.mcpu, *measured.features],
        "device": device,
        "processor": _processor(target, device),
        "threads": threads,
        "records": hashlib.sha256("\n".join(kernels).encode()).hexdigest(),
        "versions": [metadata.version("qcompile"), VERSION, metadata.version("apache-tvm")],
        "schedules": kernels_checksum(),
    }


def digest(calibration: Mapping[str, Array], options: QuantizeOptions) -> str:
    """A hash of what the numbers of a quantized network depend on."""
    found = hashlib.sha256(repr(options).encode())
    for name in sorted(calibration):
        found.update(f"{name} {calibration[name].shape}".encode())
        found.update(np.ascontiguousarray(calibration[name]).tobytes())
    return found.hexdigest()


def _processor(target: Target | VtaTarget, device: str) -> str:
    if isinstance(target, VtaTarget) or exact_meter(device) is not None:
        return device
    architecture, mcpu = target.architecture.name, str(target.llvm["mcpu"])
    with open_device(device, architecture, mcpu) as opened:
        return opened.processor().name or "unknown"
