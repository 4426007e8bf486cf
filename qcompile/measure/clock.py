"""Times of kernels on this processor: the code that a bundle runs, on one thread.

Other programs share the machine, so a time is the least of many short bursts.
"""

import ctypes
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from qcompile.export.lower import lower
from qcompile.export.objects import write_object
from qcompile.export.phases import Kernel, split_phases
from qcompile.export.toolchain import Toolchain
from qcompile.targets import Target

ALIGNMENT = 64
LIBRARY = "kernels"


@dataclass(frozen=True)
class Bursts:
    """How long kernels are measured: bursts of about so many seconds, in rounds over all."""

    rounds: int
    count: int
    seconds: float


THOROUGH, QUICK = Bursts(4, 25, 3e-4), Bursts(3, 12, 1e-4)


def seconds_of(
    functions: Mapping[str, tirx.PrimFunc], target: Target, folder: Path, bursts: Bursts
) -> dict[str, float]:
    """How long one call of each scheduled function takes; they are compiled in `folder`.

    Operands hold random bytes, floats 1: no kernel's time depends on them.
    """
    llvm = target.tvm_target()

    def build(job: tuple[str, tirx.PrimFunc]) -> Kernel:
        name, function = job
        kernel = split_phases(lower(function, llvm), name)
        write_object(kernel.phases, llvm, folder / f"{name}.o")
        return kernel

    with ThreadPoolExecutor() as threads:
        kernels = dict(zip(functions, threads.map(build, functions.items()), strict=True))
    library = _library(kernels, target, folder)
    least = dict.fromkeys(functions, math.inf)
    for _ in range(bursts.rounds):
        for name, function in functions.items():
            taken = _least(library[f"{name}_repeat"], _operands(function, kernels[name]), bursts)
            least[name] = min(least[name], taken)
    return least


def _library(kernels: Mapping[str, Kernel], target: Target, folder: Path) -> ctypes.CDLL:
    """One shared library with a function NAME_repeat(pointers, calls) for each kernel."""
    tools = Toolchain(target.architecture, folder, lambda message: None)
    (folder / f"{LIBRARY}.c").write_text("\n".join(_repeat(*item) for item in kernels.items()))
    tools.compile(f"{LIBRARY}.c", f"{LIBRARY}.o", "-Wno-missing-prototypes")
    tools.link_plain([f"{LIBRARY}.o", *(f"{name}.o" for name in kernels)], f"{LIBRARY}.so")
    return ctypes.CDLL(str(folder / f"{LIBRARY}.so"))


def _repeat(name: str, kernel: Kernel) -> str:
    """C code that calls the phases of a kernel one after the other, many times."""
    counts = {"parameter": _parameters(kernel), "scratch": len(kernel.scratch_bytes), "thread": 0}
    first = {"parameter": 0, "scratch": counts["parameter"]}
    first["thread"] = first["scratch"] + counts["scratch"]
    prototypes, calls = [], []
    for phase in kernel.phases:
        types = ["void *"] * len(phase.operands) + ["int", "int"]
        arguments = [f"a[{first[o.kind] + o.index}]" for o in phase.operands]
        prototypes.append(f"int {phase.symbol}({', '.join(types)});")
        calls.append(f"{phase.symbol}({', '.join([*arguments, '0', str(phase.extent)])});")
    loop = f"for (long k = 0; k < calls; k++) {{ {' '.join(calls)} }}"
    visible = '__attribute__((visibility("default")))'
    return "\n".join(
        [*prototypes, f"{visible} void {name}_repeat(void **a, long calls) {{ {loop} }}"]
    )


def _parameters(kernel: Kernel) -> int:
    return 1 + max(o.index for p in kernel.phases for o in p.operands if o.kind == "parameter")


def _operands(function: tirx.PrimFunc, kernel: Kernel) -> list[NDArray[np.uint8]]:
    """Memory for the parameters of a kernel, then for its scratch and thread buffers."""
    rng = np.random.default_rng(0)
    operands = []
    for parameter in function.params[: _parameters(kernel)]:
        dtype = np.dtype(str(parameter.ty.dtype.dtype))
        size = math.prod(int(extent) for extent in parameter.ty.shape)
        operands.append(_aligned(size * dtype.itemsize))
        values = operands[-1].view(dtype)
        values[...] = 1 if dtype.kind == "f" else rng.integers(0, 100, size)
    return operands + [_aligned(n) for n in (*kernel.scratch_bytes, *kernel.thread_bytes)]


def _aligned(size: int) -> NDArray[np.uint8]:
    memory = np.zeros(size + ALIGNMENT, "uint8")
    return memory[-memory.ctypes.data % ALIGNMENT :][:size]


def _least(
    repeat: "ctypes._NamedFuncPointer", operands: list[NDArray[np.uint8]], bursts: Bursts
) -> float:
    pointers = (ctypes.c_void_p * len(operands))(*(a.ctypes.data for a in operands))

    def burst(calls: int) -> float:
        begin = time.perf_counter()
        repeat(pointers, ctypes.c_long(calls))
        return (time.perf_counter() - begin) / calls

    calls = max(1, int(bursts.seconds / min(burst(1) for _ in range(3))))
    return min(burst(calls) for _ in range(bursts.count))
