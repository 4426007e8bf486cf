"""From the PrimFuncs of programs to one object file for each distinct one."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from qcompile.export.accelerator import segment_kernel
from qcompile.export.lower import lower, plain
from qcompile.export.objects import write_object
from qcompile.export.phases import Kernel, split_phases
from qcompile.export.program import Program, segment_of
from qcompile.schedules import register_scalars


def compile_kernels(
    programs: Sequence[Program],
    name: str,
    target: tvm.target.Target,
    folder: Path,
    progress: Callable[[str], None],
    jobs: int | None = None,
) -> tuple[Sequence[Mapping[str, Kernel]], list[str]]:
    """For each program the kernel of each PrimFunc it calls, and the object files in `folder`.

    PrimFuncs with equal code share one kernel, whatever their layers are called. Those that stand
    for segments of an accelerator have no object.
    """
    register_scalars()
    distinct: dict[Any, tuple[int, tirx.PrimFunc]] = {}

    def number_of(function: tirx.PrimFunc) -> int:
        code = plain(function)
        number, _ = distinct.setdefault(tvm_ffi.StructuralKey(code), (len(distinct), code))
        return number

    numbers = [
        {name: number_of(f) for name, f in p.functions.items() if segment_of(f) is None}
        for p in programs
    ]
    calls = sum(len(program.calls) for program in programs)
    progress(f"compiling {len(distinct)} kernels for {calls} calls")

    def build(job: tuple[int, tirx.PrimFunc]) -> Kernel:
        number, function = job
        kernel = split_phases(lower(function, target), f"{name}_k{number}")
        write_object(kernel.phases, target, folder / f"k{number}.o")
        return kernel

    with ThreadPoolExecutor(jobs or os.cpu_count()) as threads:
        kernels = list(threads.map(build, distinct.values()))
    by_name = [
        {function: kernels[k] for function, k in of_program.items()}
        | {
            function: segment_kernel(primfunc, program, name)
            for function, primfunc in program.functions.items()
            if segment_of(primfunc) is not None
        }
        for program, of_program in zip(programs, numbers, strict=True)
    ]
    return by_name, [f"k{number}.o" for number in range(len(kernels))]
