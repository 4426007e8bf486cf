"""What a bundle of a network holds beside the host's library when VTA computes a part of it.

vta/NN_name/               one segment each: its program and its image of memory
vta/driver/                the driver for Linux, in C
vta/sim/libNAME_sim.so     the host part for the machine that compiles: `--device sim` calls it
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.content import compile_content
from qcompile.export.link import link_library, write_sources
from qcompile.export.network import DEFAULT
from qcompile.export.toolchain import Toolchain
from qcompile.targets import Target
from qcompile.targets.vta.target import Registers
from qcompile.vta.segment import VtaSegment
from qcompile.vta.timing import time_segment

DESIGNS = {"hls": 0, "rtl": 1}  # the values of NAME_VTA_HLS and NAME_VTA_RTL


@dataclass(frozen=True)
class Accelerator:
    """VTA's part of a network. `simulated` is the network lowered for `simulated_target`."""

    segments: Sequence[VtaSegment]
    registers: Registers
    simulated: tvm.IRModule
    simulated_target: Target


def simulated_library(name: str) -> str:
    """The path in a bundle of the host part that simulations call."""
    return f"vta/sim/lib{name}_sim.so"


def segment_files(segments: Sequence[VtaSegment]) -> list[str]:
    """The paths in a bundle of all files of segments."""
    return [f"vta/{segment.folder}/{file}" for segment in segments for file in segment.files()]


def write_vta_folder(accelerator: Accelerator, name: str, folder: Path) -> None:
    """Write the segments and the driver into the bundle `folder`."""
    for segment in accelerator.segments:
        place = folder / "vta" / segment.folder
        place.mkdir(parents=True)
        for file, content in segment.files().items():
            (place / file).write_bytes(content)
    drivers = folder / "vta" / "driver"
    drivers.mkdir()
    words = {
        "BOARD_DESIGN": str(DESIGNS[accelerator.registers.design]),
        "BOARD_REGISTERS": f"{accelerator.registers.address:#x}u",
        "BOARD_WINDOW": f"{accelerator.registers.memory_window:#x}u",
        "NETWORK": name,
    }
    for file in ("vta_linux.h", "vta_linux.c"):
        text = (files("qcompile.vta.driver") / file).read_text(encoding="utf-8")
        for word, meant in words.items():
            text = text.replace(word, meant)
        (drivers / f"{name}_{file}").write_text(text)


def link_simulated(
    accelerator: Accelerator,
    name: str,
    folder: Path,
    say: Callable[[str], None],
    jobs: int | None,
) -> dict[str, Any]:
    """What the manifest tells of the host part for simulations, which is written to the bundle."""
    target = accelerator.simulated_target
    library = folder.absolute() / simulated_library(name)
    library.parent.mkdir()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        modules = {DEFAULT: accelerator.simulated}
        content = compile_content(modules, name, target, work, say, jobs, accelerator.segments)
        write_sources(content, work, work)
        tools = Toolchain(target.architecture, work, say)
        tools.assemble("weights.s", "weights.o")
        tools.merge([*content.objects, "weights.o"], "kernels.o")
        link_library(tools, content, library, f"-I{work}")
    return {
        "library": simulated_library(name),
        "target": target.name,
        "features": list(target.features),
        "workspace_bytes": content.workspace_bytes,
    }


def accelerator_fields(accelerator: Accelerator) -> dict[str, Any]:
    """What the manifest tells of the accelerator and its segments."""
    first = accelerator.segments[0]
    return {
        "config": first.config.name,
        "port_bits": 8 * first.port_bytes,
        "clock_hz": first.clock_hz,
        "segments": [
            {
                "folder": f"vta/{segment.folder}",
                "name": segment.name,
                "layers": [layer.name for layer in segment.layers],
                "instructions": segment.instruction_count,
                "image_bytes": len(segment.image),
                "cycles": timed.cycles,
                "simulated_ms": 1e3 * timed.cycles / segment.clock_hz,
            }
            for segment, timed in ((s, time_segment(s)) for s in accelerator.segments)
        ],
    }
