"""Top-1 of trained networks over their whole labelled sets, ours and onnxruntime's.

    python benchmarks/accuracy.py --shared FOLDER [NETWORK...] [--json] [--record]

FOLDER holds models/, cifar10-jpeg/, fashion-mnist/ and mnist/. onnxruntime runs with graph
optimizations off, models of QONNX as standard operators. Outputs are compared in steps of the
reference's outputs where these are quantized, else over their range. One rounding of a tie that
falls the other way in an early layer moves outputs by many steps, so every layer is also compared
on the reference's own inputs, for some samples.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from labelled import LABELLED, Labelled
from results import Report, Table, add_options, finish, working_folder

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model
from qcompile.layerwise import compare_layers, summary
from qcompile.targets import host_target

LAYERWISE_SAMPLES = 20
SAME = 1e-4  # of a step, or of the range of float outputs
DISTINCT = 256  # values that quantized outputs take at most
COLUMNS = [
    "network", "samples", "top-1", "onnxruntime", "same class", "equal scores", "same output",
    "largest difference", "layer by layer", "float operators",
]  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Scores of all samples, ours and the reference's: (samples, classes)."""

    ours: np.ndarray
    theirs: np.ndarray
    classes: np.ndarray

    @property
    def top_1(self) -> tuple[float, float]:
        hits = [(scores.argmax(1) == self.classes).mean() for scores in (self.ours, self.theirs)]
        return float(hits[0]), float(hits[1])

    @property
    def same_class(self) -> float:
        return float((self.ours.argmax(1) == self.theirs.argmax(1)).mean())

    @property
    def undecided(self) -> int:
        """Samples of another class whose two classes have equal scores, ours or the reference's.

        Sums of integers are equal exactly; the reference's sums of floats then differ by rounding.
        """
        return sum(
            bool(mine[a] == mine[b] or other[a] == other[b])
            for mine, other in zip(self.ours, self.theirs, strict=True)
            if (a := mine.argmax()) != (b := other.argmax())
        )

    @property
    def difference(self) -> np.ndarray:
        """The largest of each sample's outputs, in steps; of float outputs, in their range."""
        unit = step_of(self.theirs) or np.ptp(self.theirs)
        return np.abs(self.ours - self.theirs).max(axis=1) / unit


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of trained networks.")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(LABELLED)} (default: all)")
    parser.add_argument("--shared", type=Path, required=True, help="the folder of models and data")
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        rows = [
            row(LABELLED[name], options.shared, folder) for name in options.networks or LABELLED
        ]
    finish(Report("accuracy", [Table("Whole labelled sets", COLUMNS, rows)]), options)


def row(network: Labelled, shared: Path, folder: Path) -> list[str | int | float]:
    """One row of the table."""
    compiled = compile_model(
        network.model(shared), host_target(), output=folder / network.name, batch=1
    )
    images, classes = network.samples(shared)
    found = compare(network, shared, folder / network.name, images, classes)
    unit = "steps" if step_of(found.theirs) else "of the range"
    float_ops = " ".join(operator.op for operator in compiled.analysis.float_ops)
    return [
        network.name,
        len(images),
        *(f"{share:.2%}" for share in (*found.top_1, found.same_class)),
        found.undecided,
        f"{(found.difference < SAME).mean():.2%}",
        f"{found.difference.max():.2g} {unit}",
        layer_by_layer(network, shared, folder, images) if network.integer else "",
        float_ops if network.integer else "all",
    ]


def compare(
    network: Labelled, shared: Path, bundle_folder: Path, images: np.ndarray, classes: np.ndarray
) -> Comparison:
    """The compiled network and onnxruntime on the same images."""
    bundle, reference = load(bundle_folder, threads=1), load_reference(network.model(shared))
    name = bundle.inputs[0].name
    (ours,) = bundle.run_batches({name: images}).values()
    # One image at a time, as ours: the order of the reference's float sums depends on the batch.
    theirs = [reference({name: images[k : k + 1]})[0] for k in range(len(images))]
    return Comparison(ours, np.concatenate(theirs), classes)


def layer_by_layer(network: Labelled, shared: Path, folder: Path, images: np.ndarray) -> str:
    """What differs where every layer gets the reference's own inputs."""
    model = network.model(shared)
    name = onnx.load(model, load_external_data=False).graph.input[0].name
    samples = [{name: image[None]} for image in images[:LAYERWISE_SAMPLES]]
    return summary(compare_layers(model, samples, host_target(), folder))


def step_of(outputs: np.ndarray) -> float:
    """The step of quantized outputs, or 0 where they are floats."""
    values = np.unique(outputs)
    return float(np.diff(values).min()) if 1 < len(values) <= DISTINCT else 0.0


if __name__ == "__main__":
    main()
