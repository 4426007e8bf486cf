"""Run kernels of other processors under qemu: one static program for each kernel.

    library = emulated(scheduled, load_target("rpi4"))
    library(*tensors)        # what tvm.compile's would do; the last tensor is written

The program reads every parameter from a file, right before memory that no one may read, and writes
the last one to a file. Sizes and extents are in a file too, so that kernels of as many parameters
share their `main`. `-cpu` has the instructions of the target and no later ones.
"""

import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tvm
from tvm import tirx

from qcompile.export.lower import lower
from qcompile.export.objects import write_object
from qcompile.export.phases import Kernel, Operand, split_phases
from qcompile.export.toolchain import Toolchain
from qcompile.schedules import register_scalars
from qcompile.targets import Target

# qemu 7.2 has no processor with i8mm but `max`.
PROCESSORS = {
    "rpi3": "cortex-a53",
    "rpi4": "cortex-a72",
    "rpi5": "cortex-a76",
    "neoverse-n2": "max",
    "armv7-a7": "cortex-a7",
    "armv7-a9": "cortex-a9",
}

MAINS: dict[tuple[str, str], bytes] = {}  # object files by architecture and text

PROGRAM = """\
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

{declarations}

/* Memory of a multiple of 64 bytes, before a page that may not be read. */
static unsigned char *guarded(size_t bytes) {{
    const size_t page = 65536, pages = (bytes + page - 1) / page;
    unsigned char *start = mmap(0, (pages + 1) * page, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + pages * page, page, PROT_NONE)) return 0;
    memset(start, 77, pages * page);
    return start + pages * page - (bytes + 63) / 64 * 64;
}}

/* The bytes of the parameters and of own buffers, and the iterations of the phases. */
static struct {{ uint64_t sizes[{parameters}], own[{own} + 1], extents[{phases}]; }} numbers;

int main(int count, char **names) {{
    const uint64_t *sizes = numbers.sizes, *own = numbers.own;
    void *p[{parameters}], *t[{own} + 1];
    FILE *file;
    if (!(file = fopen("numbers", "rb"))) return 7;
    if (fread(&numbers, sizeof numbers, 1, file) != 1) return 8;
    fclose(file);
    for (int k = 0; k < count - 1; k++) {{
        p[k] = guarded(sizes[k]);
        if (!p[k] || !(file = fopen(names[k + 1], "rb"))) return 1;
        if (fread(p[k], 1, sizes[k], file) != sizes[k]) return 2;
        fclose(file);
    }}
    for (size_t k = 0; k < {own}; k++)
        if (!(t[k] = guarded(own[k]))) return 3;
    (void)t, (void)own;
{calls}
    if (!(file = fopen(names[count - 1], "wb"))) return 4;
    if (fwrite(p[count - 2], 1, sizes[count - 2], file) != sizes[count - 2]) return 5;
    return fclose(file) ? 6 : 0;
}}
"""


def emulator(target: Target) -> str | None:
    """The path of the program that runs the target's code, if it is installed."""
    return shutil.which("qemu-arm" if target.architecture.name == "armv7" else "qemu-aarch64")


def emulated(func: tirx.PrimFunc, target: Target) -> Callable[..., None]:
    """The scheduled function as a callable on tensors, the last of which it writes."""
    folder = tempfile.TemporaryDirectory()
    work = Path(folder.name)
    link(func, target, work)

    def call(*tensors: tvm.runtime.Tensor) -> None:
        assert folder.name  # the folder lives as long as the callable
        names = [f"parameter{k}" for k in range(len(tensors))]
        for name, tensor in zip(names, tensors, strict=True):
            tensor.numpy().tofile(work / name)
        command = [emulator(target), "-cpu", PROCESSORS[target.name], "./kernel", *names]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.returncode, done.stderr)
        result = tensors[-1].numpy()
        written = np.fromfile(work / names[-1], result.dtype).reshape(result.shape)
        tensors[-1].copyfrom(written)

    return call


def link(func: tirx.PrimFunc, target: Target, work: Path) -> None:
    """Write the program `kernel` into the folder, and its parts: `kernel.o` holds the code."""
    register_scalars()
    kernel = split_phases(lower(func, target.tvm_target()), "kernel")
    write_object(kernel.phases, target.tvm_target(), work / "kernel.o")
    sizes = [parameter_bytes(parameter) for parameter in func.params]
    own = [*kernel.scratch_bytes, *kernel.thread_bytes, 0]
    extents = [phase.extent for phase in kernel.phases]
    np.array([*sizes, *own, *extents], "uint64").tofile(work / "numbers")
    tools = Toolchain(target.architecture, work, lambda _: None)
    text = program(kernel, len(sizes))
    if (target.architecture.name, text) not in MAINS:
        (work / "main.c").write_text(text)
        tools.compile_program("main.c", "main.o")
        MAINS[target.architecture.name, text] = (work / "main.o").read_bytes()
    (work / "main.o").write_bytes(MAINS[target.architecture.name, text])
    tools.link_program(["main.o", "kernel.o"], "kernel")


def parameter_bytes(parameter: tirx.Var) -> int:
    elements = math.prod(int(extent) for extent in parameter.ty.shape)
    return elements * np.dtype(str(parameter.ty.dtype.dtype)).itemsize


def program(kernel: Kernel, parameters: int) -> str:
    """The C file that runs the phases of the kernel, each of them whole, in order."""
    scratch = len(kernel.scratch_bytes)
    place = {"parameter": "p[{}]", "scratch": "t[{}]", "thread": "t[{}]"}

    def pointer(operand: Operand) -> str:
        number = operand.index + (scratch if operand.kind == "thread" else 0)
        return place[operand.kind].format(number)

    declarations, calls = [], []
    for number, phase in enumerate(kernel.phases):
        types = ["void *"] * len(phase.operands) + ["int32_t"] * 2
        declarations.append(f"int32_t {phase.symbol}({', '.join(types)});")
        arguments = [*map(pointer, phase.operands), "0", f"(int32_t)numbers.extents[{number}]"]
        calls.append(f"    {phase.symbol}({', '.join(arguments)});")
    return PROGRAM.format(
        declarations="\n".join(declarations),
        parameters=parameters,
        own=scratch + len(kernel.thread_bytes),
        phases=len(kernel.phases),
        calls="\n".join(calls),
    )
