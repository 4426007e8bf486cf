"""Times of kernels on this processor: the code that a bundle runs, on one thread.

Other programs share the machine, so a time is the least of many short bursts.
"""

import ctypes
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from qcompile.export.lower import lower
from qcompile.export.objects import write_object
from qcompile.export.phases import Kernel, Operand, Phase, split_phases
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
    functions: Mapping[str, tirx.PrimFunc], target: Target, folder: Path, *, bursts: Bursts
) -> dict[str, float]:
    """How long one call of each scheduled function takes; they are compiled in `folder`.

    Operands hold random bytes, floats 1: no kernel's time depends on them.
    """
    kernels = build_kernels(functions, target, folder)
    library = _library(kernels, target, folder)
    least = dict.fromkeys(functions, math.inf)
    for _ in range(bursts.rounds):
        for name, function in functions.items():
            taken = _least(library[f"{name}_repeat"], _operands(function, kernels[name]), bursts)
            least[name] = min(least[name], taken)
    return least


def build_kernels(
    functions: Mapping[str, tirx.PrimFunc], target: Target, folder: Path
) -> dict[str, Kernel]:
    """The kernels of scheduled functions; the object of each is NAME.o in `folder`."""
    llvm = target.tvm_target()

    def build(job: tuple[str, tirx.PrimFunc]) -> Kernel:
        name, function = job
        kernel = split_phases(lower(function, llvm), name)
        write_object(kernel.phases, llvm, folder / f"{name}.o")
        return kernel

    with ThreadPoolExecutor() as threads:
        return dict(zip(functions, threads.map(build, functions.items()), strict=True))


def _library(kernels: Mapping[str, Kernel], target: Target, folder: Path) -> ctypes.CDLL:
    """One shared library with a function NAME_repeat(pointers, calls) for each kernel."""
    tools = Toolchain(target.architecture, folder, lambda message: None)
    (folder / f"{LIBRARY}.c").write_text("\n".join(_repeat(*item) for item in kernels.items()))
    tools.compile(f"{LIBRARY}.c", f"{LIBRARY}.o", "-Wno-missing-prototypes")
    tools.link_plain([f"{LIBRARY}.o", *(f"{name}.o" for name in kernels)], f"{LIBRARY}.so")
    return ctypes.CDLL(str(folder / f"{LIBRARY}.so"))


def _repeat(name: str, kernel: Kernel) -> str:
    """C code that calls a kernel many times."""
    prototypes, calls = phase_calls(kernel)
    loop = f"for (long k = 0; k < calls; k++) {{ {' '.join(calls)} }}"
    visible = '__attribute__((visibility("default")))'
    return "\n".join(
        [*prototypes, f"{visible} void {name}_repeat(void **a, long calls) {{ {loop} }}"]
    )


def phase_calls(kernel: Kernel) -> tuple[list[str], list[str]]:
    """C prototypes and calls of the phases of a kernel, on the operands a[0], a[1], ..."""
    first = {"parameter": 0, "scratch": _parameters(kernel)}
    first["thread"] = first["scratch"] + len(kernel.scratch_bytes)
    calls = [
        f"{_call(phase, lambda o: f'a[{first[o.kind] + o.index}]', '0', str(phase.extent))};"
        for phase in kernel.phases
    ]
    return _prototypes(kernel), calls


def shared_calls(kernel: Kernel) -> tuple[list[str], list[str]]:
    """The same for threads that share iterations: a call is an expression, of `begin` to `end`.

    Operands a[0], a[1], ... are parameters and what threads share; a thread's own are in `scratch`.
    """
    parameters, offsets = _parameters(kernel), thread_offsets(kernel)

    def place(operand: Operand) -> str:
        if operand.kind == "thread":
            return f"scratch + {offsets[operand.index]}"
        return f"a[{operand.index + (parameters if operand.kind == 'scratch' else 0)}]"

    return _prototypes(kernel), [_call(phase, place, "begin", "end") for phase in kernel.phases]


def thread_offsets(kernel: Kernel) -> list[int]:
    """Where each buffer of a thread's own begins in its memory, and, last, the size of that."""
    aligned = [-(-size // ALIGNMENT) * ALIGNMENT for size in kernel.thread_bytes]
    return [sum(aligned[:k]) for k in range(len(aligned) + 1)]


def _prototypes(kernel: Kernel) -> list[str]:
    types = [["void *"] * len(phase.operands) + ["int", "int"] for phase in kernel.phases]
    return [
        f"int {phase.symbol}({', '.join(own)});"
        for phase, own in zip(kernel.phases, types, strict=True)
    ]


def _call(phase: Phase, place: Callable[[Operand], str], begin: str, end: str) -> str:
    return f"{phase.symbol}({', '.join([*map(place, phase.operands), begin, end])})"


def operand_bytes(function: tirx.PrimFunc, kernel: Kernel) -> list[int]:
    """The sizes of the operands of a kernel: its parameters, scratch memory, and a thread's own."""
    sizes = [
        math.prod(int(extent) for extent in parameter.ty.shape) * _dtype(parameter).itemsize
        for parameter in function.params[: _parameters(kernel)]
    ]
    return [*sizes, *kernel.scratch_bytes, *kernel.thread_bytes]


def _dtype(parameter: tirx.Var) -> np.dtype[Any]:
    return np.dtype(str(parameter.ty.dtype.dtype))


def _parameters(kernel: Kernel) -> int:
    return 1 + max(o.index for p in kernel.phases for o in p.operands if o.kind == "parameter")


def _operands(function: tirx.PrimFunc, kernel: Kernel) -> list[NDArray[np.uint8]]:
    """Memory for the parameters of a kernel, then for its scratch and thread buffers."""
    rng = np.random.default_rng(0)
    operands = [_aligned(size) for size in operand_bytes(function, kernel)]
    for parameter, memory in zip(function.params[: _parameters(kernel)], operands, strict=False):
        values = memory.view(_dtype(parameter))
        values[...] = 1 if values.dtype.kind == "f" else rng.integers(0, 100, values.size)
    return operands


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
