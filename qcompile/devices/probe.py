"""A program that tells which instruction sets a processor has: static, for any of its kind.

Emulators show programs the files of the machine they run on; only the emulated processor tells the
truth.
"""

import tempfile
from pathlib import Path

from qcompile.errors import DeviceError
from qcompile.export.processor import CPUID, HWCAPS
from qcompile.export.runtime_files import runtime
from qcompile.export.toolchain import Toolchain
from qcompile.targets.architecture import Architecture
from qcompile.targets.architectures import ARCHITECTURES

SOURCE = """\
#include <stdint.h>
#include <stdio.h>

{functions}
int main(void) {{
{lines}
    return 0;
}}
"""


def probe_program(name: str) -> bytes:
    """The executable for that architecture: it prints LLVM's name of each feature that is there."""
    architecture = next((one for one in ARCHITECTURES.values() if one.name == name), None)
    if architecture is None:
        known = ", ".join(one.name for one in ARCHITECTURES.values())
        raise DeviceError(f"no program can be built for {name} processors; for {known} it can")
    with tempfile.TemporaryDirectory(prefix="qcompile.") as folder:
        work = Path(folder)
        (work / "probe.c").write_text(_source(architecture))
        toolchain = Toolchain(architecture, work, lambda message: None)
        toolchain.compile_program("probe.c", "probe.o", "-Wno-unused-function")
        toolchain.link_program(["probe.o"], "probe")
        return (work / "probe").read_bytes()


def _source(architecture: Architecture) -> str:
    if architecture.name == "x86_64":
        functions, conditions = runtime("processor_x86.c"), _cpuid()
    else:
        functions, conditions = runtime("processor_arm.c"), _hwcaps(architecture.name)
    lines = [f'    if ({check}) puts("{name}");' for name, check in conditions.items()]
    return SOURCE.format(functions=functions, lines="\n".join(lines))


def _cpuid() -> dict[str, str]:
    registers = ("eax", "ebx", "ecx", "edx")
    return {
        name: f"has(0x{leaf:x}u, {subleaf}u, {registers.index(register)}, 0x{1 << bit:x}u)"
        for name, (leaf, subleaf, register, bit) in CPUID.items()
    }


def _hwcaps(architecture: str) -> dict[str, str]:
    return {
        name: f"has({word}, 0x{1 << bit:x}ul)" for name, (word, bit) in HWCAPS[architecture].items()
    }
