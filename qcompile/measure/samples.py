"""Layers run on all of their kernels, and timed."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tvm import tirx

from qcompile.measure.clock import Bursts, seconds_of
from qcompile.measure.fit import Sample
from qcompile.measure.layers import kernels_of
from qcompile.passes.choose_kernels import BITS, INT8
from qcompile.passes.kernel_costs import bits_impossible
from qcompile.passes.kernel_work import LayerShape, Work, bits_work, int8_work
from qcompile.targets import Target


def measure(layers: Iterable[LayerShape], target: Target, bursts: Bursts) -> list[Sample]:
    """The times of all kernels that the layers become, on one thread of this processor."""
    functions: dict[str, tirx.PrimFunc] = {}
    found: dict[str, tuple[LayerShape, Work, bool]] = {}
    for layer, kernel, work in _jobs(layers, target):
        for own, function in kernels_of(layer, kernel, target).items():
            name = f"k{len(functions)}"
            functions[name], found[name] = function, (layer, work, work.kernel not in own)
    with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
        seconds = seconds_of(functions, target, Path(folder), bursts)
    return [Sample(*found[name], seconds[name]) for name in functions]


def _jobs(layers: Iterable[LayerShape], target: Target) -> list[tuple[LayerShape, str, Work]]:
    """Each layer's kernels; an int8 kernel is the same for all bits."""
    jobs = []
    known: set[Work] = set()
    for layer in layers:
        if (work := int8_work(layer, target)) not in known:
            known.add(work)
            jobs.append((layer, INT8, work))
        if not bits_impossible(layer):
            jobs.append((layer, BITS, bits_work(layer, target)))
    return jobs
