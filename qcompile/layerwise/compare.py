"""Compile a network cut at its quantized tensors, and compare every one of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from qcompile.arrays import TensorSpec, batch_size
from qcompile.bundle import Bundle, load
from qcompile.commands.progress import Progress, silent
from qcompile.commands.reference import load_tensors
from qcompile.compiler import compile_model
from qcompile.frontend.load import load_model
from qcompile.layerwise.cut import Cut, Tensor, cut_at_codes, name_nodes, part
from qcompile.layerwise.tally import LayerAgreement, Tally
from qcompile.layerwise.ties import rounded
from qcompile.targets import Target

Array = NDArray[Any]
Arrays = Mapping[str, Array]
PART = 300  # outputs compiled at once; ctypes passes at most 1024 pointers


def compare_layers(
    model: Path,
    samples: Sequence[Arrays],
    target: Target,
    folder: Path,
    progress: Progress = silent,
) -> list[LayerAgreement]:
    """Every quantized tensor and output of `model`, ours against onnxruntime's; works in `folder`.

    Each is computed from the reference's own tensors before it. A sample is one whole input of the
    model, batch included. Raises QCompileError for what cannot be compiled or run.
    """
    whole = load_model(model)
    name_nodes(whole)
    reference = load_tensors(whole, model)
    progress("layers: the reference")
    cut = cut_at_codes(whole, samples[0], reference(dict(samples[0])))
    bundles, kernels = _compiled(cut, model.stem, target, folder, progress)
    constants = {i.name: numpy_helper.to_array(i) for i in whole.graph.initializer}
    specs = [TensorSpec(name, str(a.dtype), a.shape) for name, a in samples[0].items()]
    batch = batch_size(specs) or 1
    tallies = {t.name: Tally(t.grid, batch) for t in cut.tensors}
    for number, inputs in enumerate(samples):
        progress("layers: samples", number, len(samples))
        values = reference(dict(inputs))
        known, fed = {**constants, **inputs, **values}, {**inputs, **cut.inputs(values)}
        for bundle in bundles:
            ours = bundle.run({spec.name: fed[spec.name] for spec in bundle.inputs})
            for spec, result in zip(bundle.outputs, ours, strict=True):
                quantizer = next(t.quantizer for t in cut.tensors if t.name == spec.name)
                real = partial(rounded, quantizer, known)
                tallies[spec.name].add(result, values[spec.name], real)
    return _agreements(cut.tensors, tallies, kernels)


def _compiled(
    cut: Cut, stem: str, target: Target, folder: Path, progress: Progress
) -> tuple[list[Bundle], dict[str, str]]:
    """The cut network in parts, and the kernels of its layers by their names."""
    names = [tensor.name for tensor in cut.tensors]
    bundles: list[Bundle] = []
    kernels: dict[str, str] = {}
    for start in range(0, len(names), PART):
        path = folder / f"{stem}_cut_{start}.onnx"
        onnx.save(part(cut.model, names[start : start + PART]), path)

        def say(what: str, done: int, of: int) -> None:
            progress(f"layers: {what}", done, of)

        compiled = compile_model(path, target, output=path.with_suffix(""), progress=say)
        kernels |= compiled.analysis.kernels
        bundles.append(load(path.with_suffix(""), threads=1))
    return bundles, kernels


def _agreements(
    tensors: Sequence[Tensor], tallies: Mapping[str, Tally], kernels: Mapping[str, str]
) -> list[LayerAgreement]:
    """Each convolution or product belongs to the first tensor that depends on it."""
    found: list[LayerAgreement] = []
    told: set[str] = set()
    for tensor in tensors:
        tally = tallies[tensor.name]
        layers = tuple(n for n in tensor.segment if n in kernels and n not in told)
        told |= set(layers)
        found.append(
            LayerAgreement(
                name=tensor.name,
                node=tensor.quantizer.name,
                layers=layers,
                kernels=tuple(kernels[name] for name in layers),
                codes=tensor.grid is not None,
                elements=tally.elements,
                different=tally.different,
                difference=tally.difference,
                tie=tally.tie,
                disagreeing=tally.disagreeing,
                first=tally.first,
            )
        )
    return found
