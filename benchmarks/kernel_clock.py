"""Times of single kernels: the code that an exported bundle runs, called from C on one thread.

Other programs share the machine, so a time is the least of many short bursts.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tvm import tirx

from qcompile.export.lower import lower
from qcompile.export.objects import write_object
from qcompile.export.phases import Kernel, split_phases
from qcompile.export.toolchain import Toolchain
from qcompile.schedules import schedule
from qcompile.schedules.dot import Dot
from qcompile.schedules.intrinsics import dot_of
from qcompile.schedules.intrinsics_x86 import DEPTH, VNNI_256, VNNI_512
from qcompile.schedules.popcount import WORD_BITS, popcounts_of
from qcompile.targets import Target

BURST_S = 3e-4
BURSTS = 100
CHAINS = 12  # independent accumulators: more than latency times throughput
PEAK_STEPS = 20_000

TIMER = """
#define _POSIX_C_SOURCE 199309L
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#define LEAST(NAME, ARGUMENTS, STATEMENT) \\
    __attribute__((visibility("default"))) double NAME ARGUMENTS { \\
        double least = 1e9; \\
        for (long burst = 0; burst < bursts; burst++) { \\
            double begin = now(); \\
            for (long k = 0; k < calls; k++) { STATEMENT } \\
            double taken = (now() - begin) / (double)calls; \\
            least = taken < least ? taken : least; \\
        } \\
        return least; \\
    }
"""


@dataclass(frozen=True)
class Clock:
    """Kernels of one target, compiled in `folder`."""

    target: Target
    folder: Path

    def seconds(
        self, function: tirx.PrimFunc, operands: Sequence[np.ndarray], name: str
    ) -> tuple[float, np.ndarray]:
        """How long one call takes on inputs and output `operands`, and the output."""
        llvm = self.target.tvm_target()
        kernel = split_phases(lower(schedule(function, self.target), llvm), name)
        write_object(kernel.phases, llvm, self.folder / f"{name}_kernel.o")
        library = self._library(name, _source(kernel), [f"{name}_kernel.o"])
        aligned = [_aligned(array) for array in operands]
        pointers = (ctypes.c_void_p * len(aligned))(*(a.ctypes.data for a in aligned))
        once = library.least(pointers, 1, 3)
        return library.least(pointers, max(1, int(BURST_S / once)), BURSTS), aligned[-1]

    def peak(self) -> float:
        """Multiplications and additions a second of the target's dot product, in registers."""
        dot = dot_of(self.target)
        return 2 * CHAINS * dot.lanes * DEPTH / self._instructions("peak", _chains(dot))

    def popcount_limit(self) -> float:
        """Operations a second of bits: two for each bit that is compared, counted and added.

        The sums are in registers; words are broadcast from memory, as kernels do. The target must
        have vpopcntd.
        """
        lanes = popcounts_of(self.target, 0)[0].lanes
        return 2 * CHAINS * lanes * WORD_BITS / self._instructions("limit", _bit_chains(lanes))

    def _instructions(self, name: str, lines: Sequence[str]) -> float:
        """The time of these instructions, once; %0 is the address of 64 bytes."""
        clobbered = ", ".join(f'"xmm{k}"' for k in range(16))
        assembly = "; ".join(lines)
        statement = f'__asm__ volatile("{assembly}" :: "r"(words) : {clobbered});'
        words = "static int words[16] = {1, 2, 3};"
        source = f"{TIMER}{words}\nLEAST(least, (long calls, long bursts), {statement})"
        library = self._library(name, source, [])
        return float(library.least(ctypes.c_long(PEAK_STEPS), ctypes.c_long(BURSTS)))

    def _library(self, name: str, source: str, objects: Sequence[str]) -> ctypes.CDLL:
        """The shared library of a C file and objects, made once for each name."""
        if not (self.folder / f"{name}.so").exists():
            tools = Toolchain(self.target.architecture, self.folder, print)
            (self.folder / f"{name}.c").write_text(source)
            flags = [f"-m{f}" for f in self.target.features if f.startswith("avx")]
            tools.compile(f"{name}.c", f"{name}.o", *flags)
            tools.link_library([f"{name}.o", *objects], f"{name}.so")
        library = ctypes.CDLL(str(self.folder / f"{name}.so"))
        library.least.restype = ctypes.c_double
        return library


def _chains(dot: Dot) -> list[str]:
    """Instructions of `CHAINS` independent dot products, on registers alone."""
    register = "zmm" if dot.lanes == VNNI_512.lanes else "ymm"
    a, b, product = (f"%%{register}{k}" for k in (15, 14, 13))
    sums = [f"%%{register}{k}" for k in range(CHAINS)]
    if dot.name in (VNNI_512.name, VNNI_256.name):  # others differ in what they cost
        return [f"vpdpbusd {a}, {b}, {c}" for c in sums]
    return [
        line
        for c in sums * 2
        for line in (f"vpmaddwd {a}, {b}, {product}", f"vpaddd {product}, {c}, {c}")
    ]


def _bit_chains(lanes: int) -> list[str]:
    """Instructions of `CHAINS` independent sums of popcounts."""
    register, copies = ("zmm", 16) if lanes == 16 else ("ymm", 8)
    a, counts = f"%%{register}15", [f"%%{register}{k}" for k in (13, 14)]
    lines = []
    for k in range(CHAINS):
        bits, total = counts[k % 2], f"%%{register}{k}"
        lines += [
            f"vpxord {4 * k}(%0)%{{1to{copies}%}}, {a}, {bits}",
            f"vpopcntd {bits}, {bits}",
            f"vpaddd {bits}, {total}, {total}",
        ]
    return lines


def _source(kernel: Kernel) -> str:
    """A C function `least` that times the phases of a kernel, one after the other."""
    prototypes, calls = [], []
    for phase in kernel.phases:
        assert all(operand.kind == "parameter" for operand in phase.operands)
        count = len(phase.operands)
        types, arguments = ["void *"] * count, [f"a[{o.index}]" for o in phase.operands]
        prototypes.append(f"int {phase.symbol}({', '.join([*types, 'int', 'int'])});")
        calls.append(f"{phase.symbol}({', '.join([*arguments, '0', str(phase.extent)])});")
    signature = "(void **a, long calls, long bursts)"
    return "\n".join([TIMER, *prototypes, f"LEAST(least, {signature}, {' '.join(calls)})"])


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy at a multiple of 64 bytes."""
    memory = np.zeros(array.nbytes + 64, "uint8")
    first = -memory.ctypes.data % 64
    copy = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
