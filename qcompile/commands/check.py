"""Tell what will become of a model, and whether its numbers stay."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qcompile.arrays import (
    Array,
    Samples,
    TensorSpec,
    accuracy,
    batch_size,
    batches,
    read_samples,
    run_samples,
    top_classes,
)
from qcompile.commands.compile import compile
from qcompile.commands.progress import Progress, silent
from qcompile.commands.reference import load_reference
from qcompile.errors import InvalidInput
from qcompile.scales import EXACT, usual_scales
from qcompile.targets import Target, VtaTarget, load_processor, load_target

if TYPE_CHECKING:
    from qcompile.layerwise import LayerAgreement
    from qcompile.lowering import Analysis


@dataclass(frozen=True)
class Comparison:
    """Our outputs beside onnxruntime's on the same samples.

    Accuracies are None without labels, `same_top1` when the first output is no classification.
    By output: the largest difference, and the range of onnxruntime's values to hold it against.
    """

    samples: int
    accuracy: float | None
    reference_accuracy: float | None
    same_top1: float | None
    max_difference: dict[str, float]
    reference_range: dict[str, float]


@dataclass(frozen=True)
class Check:
    """What `check` found; `comparison` is None without data, `layers` unless asked for, too."""

    model: Path
    target: Target | VtaTarget
    analysis: Analysis
    scales: str
    comparison: Comparison | None
    layers: tuple[LayerAgreement, ...] | None = None

    @property
    def agrees(self) -> bool:
        """Whether no layer that was compared disagrees with the reference."""
        return all(layer.agrees for layer in self.layers or ())


def check(
    model: str | Path,
    target: str | Target | VtaTarget = "host",
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    data: str | Path | None = None,
    layers: bool = False,
    scales: str | None = None,
    progress: Progress | None = None,
) -> Check:
    """What every layer of the ONNX file `model` becomes on `target`.

    With `data` (samples, see qcompile.arrays) the model is also compiled for this machine,
    whatever `target` is, and compared with onnxruntime; with `layers` every layer is, too, on
    onnxruntime's own inputs of that layer. The bounds of all sums are in `analysis.accumulators`.
    `scales` (qcompile.scales) are those of `compile`: what is compared has them. Raises
    QCompileError, InvalidInput for layers with other scales than the model's own.
    """
    from qcompile.compiler import analyze

    resolved = load_target(target) if isinstance(target, str) else target
    scales = scales or usual_scales(resolved)
    if layers and data is not None and scales != EXACT:
        raise InvalidInput(
            f"--layers compares layers that have the model's own scales, not {scales} ones: "
            f"leave it out, or take --scales {EXACT}"
        )
    options: dict[str, Any] = {"batch": batch, "shapes": shapes, "scales": scales}
    analysis = analyze(Path(model), resolved, **options, progress=progress)
    if data is None:
        return Check(Path(model), resolved, analysis, scales, None)
    specs = TensorSpec.read(analysis.inputs)
    samples = read_samples(data, specs)
    comparison = compare(model, samples, **options, progress=progress)
    compared = _layers(Path(model), samples, specs, progress or silent) if layers else None
    return Check(Path(model), resolved, analysis, scales, comparison, compared)


def _layers(
    model: Path, samples: Samples, specs: Sequence[TensorSpec], progress: Progress
) -> tuple[LayerAgreement, ...]:
    """Every layer, compiled for this machine, on all samples."""
    from qcompile.layerwise import compare_layers

    runs = list(batches(samples, batch_size(specs)))
    with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
        return tuple(compare_layers(model, runs, load_processor("host"), Path(folder), progress))


def compare(
    model: str | Path,
    samples: Samples,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    scales: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compile `model` for this machine and compare it with onnxruntime on `samples`."""
    from qcompile.bundle import load

    reference = load_reference(model)
    with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
        bundle = Path(folder) / "bundle"
        options: dict[str, Any] = {"batch": batch, "shapes": shapes, "scales": scales}
        manifest = compile(model, "host", bundle, **options, progress=progress)
        names = [output.name for output in manifest.outputs]
        ours = run_samples(load(bundle).run, samples, manifest.inputs, names)
    theirs = run_samples(reference, samples, manifest.inputs, names)
    return compare_outputs(ours, theirs, samples.labels)


def compare_outputs(
    ours: Mapping[str, Array], theirs: Mapping[str, Array], labels: Array | None
) -> Comparison:
    """Differences of all outputs; classes are those of the first one."""
    first, reference = next(iter(ours.values())), next(iter(theirs.values()))
    classes, expected = top_classes(first), top_classes(reference)
    same = None
    if classes is not None and expected is not None:
        same = float((classes == expected).mean())
    return Comparison(
        samples=len(first),
        accuracy=None if labels is None else accuracy(first, labels),
        reference_accuracy=None if labels is None else accuracy(reference, labels),
        same_top1=same,
        max_difference={name: _difference(ours[name], theirs[name]) for name in ours},
        reference_range={name: _range(theirs[name]) for name in ours},
    )


def _difference(a: Array, b: Array) -> float:
    """The largest |a - b|, infinite where only one of them is a number."""
    difference = np.abs(a.astype("float64") - b.astype("float64"))
    difference = np.where(np.isnan(a) & np.isnan(b) | (a == b), 0.0, difference)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def _range(a: Array) -> float:
    finite = a[np.isfinite(a)].astype("float64")
    return float(finite.max() - finite.min()) if finite.size else 0.0
