"""From the PrimFuncs of a module to one object file for each distinct one."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from qcompile.export.lower import lower, without_notes
from qcompile.export.objects import write_object
from qcompile.export.phases import Kernel, split_phases
from qcompile.export.program import Program
from qcompile.schedules import register_scalars


def compile_kernels(
    mod: tvm.IRModule,
    program: Program,
    name: str,
    target: tvm.target.Target,
    folder: Path,
    progress: Callable[[str], None],
    jobs: int | None = None,
) -> tuple[Mapping[str, Kernel], list[str]]:
    """The kernel of each PrimFunc that the program calls, and the object files in `folder`.

    PrimFuncs with equal code share one kernel, whatever their layers are called.
    """
    register_scalars()
    numbers: dict[str, int] = {}
    distinct: dict[Any, tuple[int, tirx.PrimFunc]] = {}
    for call in program.calls:
        if call.function not in numbers:
            function = without_notes(mod[call.function])
            key = tvm_ffi.StructuralKey(function)
            numbers[call.function], _ = distinct.setdefault(key, (len(distinct), function))
    progress(f"compiling {len(distinct)} kernels for {len(program.calls)} calls")

    def build(job: tuple[int, tirx.PrimFunc]) -> Kernel:
        number, function = job
        kernel = split_phases(lower(function, target), f"{name}_k{number}")
        write_object(kernel.phases, target, folder / f"k{number}.o")
        return kernel

    with ThreadPoolExecutor(jobs or os.cpu_count()) as threads:
        kernels = list(threads.map(build, distinct.values()))
    by_name = {function: kernels[number] for function, number in numbers.items()}
    return by_name, [f"k{number}.o" for number in range(len(kernels))]
