"""What scales without products cost in accuracy, on whole labelled sets.

    python benchmarks/vta_accuracy.py --shared FOLDER [NETWORK...] [--json] [--record]

FOLDER holds models/, cifar10-jpeg/, fashion-mnist/ and mnist/. Each network is compiled for this
machine with its own scales, and with powers of two or sums of them, as a VTA accelerator computes
them. A sample of another class may be right where it was wrong: the top-1 of 2,000 samples moves by
half a point for no reason, so the share of equal classes is told beside it.
"""

import argparse
from pathlib import Path

import numpy as np
from labelled import LABELLED, Labelled
from results import Report, Table, add_options, finish, working_folder

from qcompile.bundle import load
from qcompile.compiler import compile_model
from qcompile.passes.power_of_two_report import Rescaled
from qcompile.scales import EXACT, POWER_OF_TWO, SCALES, SHIFT_ADD
from qcompile.targets import host_target

NETWORKS = (
    "resnet8_int8_qdq", "resnet8_int8_qoperator", "fmnist_cnn_w4a4_qonnx",
    "fmnist_cnn_w2a2_qonnx", "fmnist_cnn_w1a1_qonnx", "tfc_1w2a_qonnx",
)  # fmt: skip
COLUMNS = ["network", "scales", "samples", "exact top-1", "top-1", "difference", "same class"]
LAYER_COLUMNS = [
    "network", "scales", "layer", "operator", "shifts", "powers", "per channel", "error",
    "largest", "left exact",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy with scales without products.")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(LABELLED)}")
    parser.add_argument("--shared", type=Path, required=True, help="the folder of models and data")
    add_options(parser)
    options = parser.parse_args()
    rows, layers = [], []
    with working_folder(options.cache) as folder:
        for name in options.networks or NETWORKS:
            network = LABELLED[name]
            images, classes = network.samples(options.shared)
            exact, _ = outputs(network, options.shared, folder, images, EXACT)
            for scales in (each for each in SCALES if each != EXACT):
                shifted, rescaled = outputs(network, options.shared, folder, images, scales)
                rows.append([name, scales, *row(exact, shifted, classes)])
                if scales in (POWER_OF_TWO, SHIFT_ADD):
                    layers += [layer_row(name, scales, layer) for layer in rescaled]
    tables = [Table("Whole labelled sets", COLUMNS, rows), Table("Layers", LAYER_COLUMNS, layers)]
    finish(Report("vta_accuracy", tables), options)


def outputs(
    network: Labelled, shared: Path, folder: Path, images: np.ndarray, scales: str
) -> tuple[np.ndarray, tuple[Rescaled, ...]]:
    """Scores (samples, classes) of the network with such scales, and what became of its layers."""
    bundle_folder = folder / f"{network.name}_{scales}"
    made = compile_model(
        network.model(shared), host_target(), output=bundle_folder, batch=1, scales=scales
    )
    bundle = load(bundle_folder, threads=1)
    (scores,) = bundle.run_batches({bundle.inputs[0].name: images}).values()
    return scores, made.analysis.rescaled


def row(exact: np.ndarray, shifted: np.ndarray, classes: np.ndarray) -> list[str | int | float]:
    before, after = ((scores.argmax(1) == classes).mean() for scores in (exact, shifted))
    same = (exact.argmax(1) == shifted.argmax(1)).mean()
    difference = f"{100 * (after - before):+.2f} points"
    return [len(classes), f"{before:.2%}", f"{after:.2%}", difference, f"{same:.2%}"]


def layer_row(name: str, scales: str, layer: Rescaled) -> list[str | int | float]:
    shifts = " ".join(map(str, layer.shift))
    own = "yes" if layer.per_channel else ""
    largest = f"{layer.largest_error:.2%}" if layer.largest_error else ""
    found = [layer.op, shifts, layer.powers, own, f"{layer.error:.2%}", largest, layer.reason]
    return [name, scales, layer.layer, *found]


if __name__ == "__main__":
    main()
