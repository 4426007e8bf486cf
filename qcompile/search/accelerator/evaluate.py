"""What a network of given widths takes on a design, and how often it is right: not estimated.

Cycles are simulated, of the program that `compile` makes. Top-1 is that of the same integers on
this processor: a bundle of the same scales computes, byte for byte, what VTA does.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx

from qcompile.arrays import Array, accuracy, take_samples
from qcompile.bundle import load
from qcompile.compiler import compile_model
from qcompile.errors import InvalidInput
from qcompile.search.accelerator.design import Design
from qcompile.search.accelerator.networks import (
    integer_form,
    lowering,
    processor_seconds,
)
from qcompile.targets import VtaTarget, host_target
from qcompile.targets.costs import costs_of
from qcompile.vta.compiling import place_layers
from qcompile.vta.division import Division
from qcompile.vta.timing import time_segment


@dataclass(frozen=True)
class Simulated:
    """cycles: of VTA. vta_s: these by the clock. processor_s: what the processor's layers take by
    its table of costs, and what brings tensors from one to the other; layers that the table knows
    no time of are `untimed`, and not in it.
    """

    cycles: int
    vta_s: float
    processor_s: float
    on_processor: tuple[str, ...]
    untimed: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.vta_s + self.processor_s

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> "Simulated":
        names = {key: tuple(fields[key]) for key in ("on_processor", "untimed")}
        return Simulated(**{**fields, **names})


def simulated(model: onnx.ModelProto, design: Design, board: VtaTarget) -> Simulated:
    """The quantized model compiled for the design, and timed. Raises what `compile` raises."""
    lower, target = lowering(design.scales, records=True), design.on(board)
    form = integer_form(model, lower)
    whole = lower.analysis(form, board.host, lambda what: None)
    division = place_layers(lower, form, whole, target).division
    cycles = sum(time_segment(segment).cycles for segment in division.segments)
    on_vta = {name for names in division.parts.products.values() for name in names}
    seconds = {n: s for n, s in processor_seconds(whole).items() if n not in on_vta}
    known = sum(each for each in seconds.values() if each is not None)
    return Simulated(
        cycles,
        cycles / board.clock_hz,
        known + _crossing_bytes(division) * costs_of(board.host).copy_s,
        tuple(seconds),
        tuple(name for name, each in seconds.items() if each is None),
    )


def _crossing_bytes(division: Division) -> int:
    """Of tensors that change sides, each once."""
    segments = division.parts.segments
    made = {name for segment in segments for name in segment.outputs}
    read = {name for segment in segments for name in segment.inputs}
    tensors = [
        segment.tensor(name)
        for segment in segments
        for name in (*segment.inputs, *segment.outputs)
        if (name in segment.outputs or name not in made)
        and (name in segment.inputs or name not in read)
    ]
    return sum(prod(each.shape) * (4 if each.dtype == "sums" else 1) for each in tensors)


def top_1(model: onnx.ModelProto, scales: str, labelled: Mapping[str, Array]) -> float:
    """The share of labelled samples that are right. Raises InvalidInput where none can be."""
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder) / "model.onnx", Path(folder) / "bundle"
        onnx.save(model, path)
        compile_model(path, host_target(), output=output, scales=scales)
        bundle = load(output)
        samples = take_samples(labelled, bundle.inputs)
        assert samples.labels is not None
        scores = next(iter(bundle.run_batches(samples.inputs).values()))
    found = accuracy(scores, samples.labels)
    if found is None:
        raise InvalidInput("labelled data: the model's first output is no classification")
    return found
