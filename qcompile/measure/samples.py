"""Layers run on all of their kernels, and timed."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tvm import tirx

from qcompile.measure.fit import Sample
from qcompile.measure.layers import kernels_of
from qcompile.passes.kernel_costs import possible_kernels
from qcompile.passes.kernel_work import LayerShape, Work
from qcompile.targets import Target

# The seconds of scheduled functions by name, compiled for the target in the folder.
Clock = Callable[[Mapping[str, tirx.PrimFunc], Target, Path], dict[str, float]]


def measure(layers: Iterable[LayerShape], target: Target, clock: Clock) -> list[Sample]:
    """The times of all kernels that the layers become, on one thread."""
    functions: dict[str, tirx.PrimFunc] = {}
    found: dict[str, tuple[LayerShape, Work, bool]] = {}
    for layer, work in _jobs(layers, target):
        kernel = work.kernel.rpartition("_")[2]
        for own, function in kernels_of(layer, kernel, target).items():
            name = f"k{len(functions)}"
            functions[name], found[name] = function, (layer, work, work.kernel not in own)
    with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
        seconds = clock(functions, target, Path(folder))
    return [Sample(*found[name], seconds[name]) for name in functions]


def _jobs(layers: Iterable[LayerShape], target: Target) -> list[tuple[LayerShape, Work]]:
    """Each layer's kernels, those once that do the same for layers of other bits."""
    jobs: dict[Work, LayerShape] = {}
    for layer in layers:
        for work_of in possible_kernels(layer):
            jobs.setdefault(work_of(layer, target), layer)
    return [(layer, work) for work, layer in jobs.items()]
