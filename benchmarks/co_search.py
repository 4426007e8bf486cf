"""Bit widths and VTA's design chosen together, against the board's own design at 8 bits.

    python benchmarks/co_search.py --shared FOLDER [NETWORK...] [--board T] [--points N] [--record]

FOLDER holds models/, fashion-mnist/, and what other networks take. Times are the cycle simulator's
of the compiled programs at the board's clock, with the processor's part as its table of costs
predicts it: no board is measured, and none was synthesized. Top-1 is of all labelled samples, by
this machine with the same scales; the outputs of some are compared with simulated VTA byte by byte.
With --cache, a run that was killed goes on.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from labelled import LABELLED, Labelled, read_idx
from results import Report, Table, add_options, finish, working_folder

import qcompile
from qcompile.quantizer import Widths
from qcompile.quantizer.network import load_network
from qcompile.search.accelerator import CoSearch, Limits, Point, co_search
from qcompile.search.accelerator.networks import FloatNetwork
from qcompile.search.sensitivity import measure_sensitivity

NETWORKS = ("fmnist_cnn_fp32",)
BITS = "8,4,2"
CALIBRATION, SCORED = 500, 200
COMPARED = 200
MAX_DROP, REFINED = 0.01, 4
COLUMNS = [
    "design", "bits (weights/inputs)", "cycles", "ms", "x", "predicted", "top-1", "DSP", "LUT",
    "BRAM", "status",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Widths and VTA's design together.")
    parser.add_argument("networks", nargs="*", help="float networks of labelled.py")
    parser.add_argument("--shared", type=Path, required=True, help="the folder of models and data")
    parser.add_argument("--board", default="vta-ultra96", help="a target with VTA (vta-ultra96)")
    parser.add_argument("--bits", default=BITS, help=f"widths of layers ({BITS})")
    parser.add_argument("--points", type=int, default=12, help="to simulate (12)")
    parser.add_argument("--samples", type=int, default=COMPARED, help=f"compared ({COMPARED})")
    add_options(parser)
    options = parser.parse_args()
    tables, remarks = [], []
    with working_folder(options.cache) as folder:
        for name in options.networks or NETWORKS:
            found, remark = searched(LABELLED[name], options, folder / name)
            title = f"{name} on {found.board} ({found.part}), best first"
            tables.append(Table(title, COLUMNS, rows(found)))
            remarks.append(remark)
    finish(Report("co_search", tables, remarks), options)


def searched(network: Labelled, options: argparse.Namespace, folder: Path) -> tuple[CoSearch, str]:
    """The search of one network, and what there is to say beside its table."""
    folder.mkdir(parents=True, exist_ok=True)
    model = network.model(options.shared)
    images, classes = network.samples(options.shared)
    name = onnx.load(model).graph.input[0].name
    calibration = {name: calibration_images(network, options.shared)}
    bits = [int(each) for each in options.bits.split(",")]
    choices = widths_of(model, bits)
    begin = time.perf_counter()
    found = co_search(
        model,
        options.board,
        choices,
        scores(model, calibration, choices, folder),
        calibration,
        {name: images, "y": classes},
        limits=Limits(points=options.points, max_drop=MAX_DROP, refined=REFINED),
        folder=folder,
    )
    seconds = time.perf_counter() - begin
    told = (
        f"{network.name}: {found.designs:,} designs can be built, "
        f"{sum(found.refused.values()):,} of the space cannot; {found.tried:,} estimated, "
        f"{found.skipped:,} ruled out by least costs; {found.estimated:,} points within 2% of the "
        f"front, {len(found.points)} simulated; times predicted to {found.error:.2%}; "
        f"{seconds:,.0f} s in this run."
    )
    if found.best is None:
        return found, f"{told} {found.remark}"
    same = compared(found.best, model, calibration, images[: options.samples], folder)
    faster = found.baseline.seconds / found.best.seconds
    drop = 100 * ((found.baseline.accuracy or 0) - (found.best.accuracy or 0))
    return found, (
        f"{told} The best is {faster:.2f} times as fast as {found.baseline.design.name} at 8 bits, "
        f"{drop:+.2f} points of top-1 lost; outputs of {same} of {options.samples} samples are the "
        "simulated ones byte by byte."
    )


def calibration_images(network: Labelled, shared: Path) -> np.ndarray:
    """Samples of the training part, as the network takes them."""
    if network.data == "fashion-mnist":
        file = shared / "fashion-mnist" / "train10k-images-idx3-ubyte.gz"
        images = read_idx(file, "images").reshape(-1, 1, 28, 28)[:CALIBRATION]
    else:
        content = np.load(shared / "cifar10-jpeg" / "calib1k.npz")
        images = content["x"].transpose(0, 3, 1, 2)[:CALIBRATION]
    return images.astype("float32") * np.float32(network.scale)


def widths_of(model: Path, bits: Sequence[int]) -> dict[str, list[Widths]]:
    """Every pair of widths for every layer."""
    names = [layer.name for layer in load_network(model).layers.values()]
    return {name: [Widths(w, a) for w in bits for a in bits] for name in names}


def scores(
    model: Path,
    calibration: Mapping[str, np.ndarray],
    choices: Mapping[str, list[Widths]],
    folder: Path,
) -> dict[str, dict[Widths, float]]:
    """The error of each layer's block, one layer narrow at a time."""
    few = {name: array[:SCORED] for name, array in calibration.items()}
    kind = "block"
    found = measure_sensitivity(model, few, choices, kinds=(kind,), folder=folder / "sensitivity")
    return {
        layer: {widths: score.value for widths, score in own.items()}
        for layer, own in found.scores[kind].items()
    }


def compared(
    point: Point,
    model: Path,
    calibration: Mapping[str, np.ndarray],
    images: np.ndarray,
    folder: Path,
) -> int:
    """How many samples have the same outputs on simulated VTA and here. Uses `best.toml`."""
    path = folder / "best.onnx"
    onnx.save(FloatNetwork(model, calibration).quantized(point.widths).model, path)
    outputs = []
    for target, place in ((str(folder / "best.toml"), "board"), ("host", "processor")):
        qcompile.compile(path, target, folder / place, batch=1, scales=point.design.scales)
        bundle = qcompile.load(folder / place)
        (found,) = bundle.run_batches({bundle.inputs[0].name: images}).values()
        outputs.append(found.reshape(len(images), -1))
    return int((outputs[0] == outputs[1]).all(axis=1).sum())


def rows(found: CoSearch) -> list[list[str | int | float]]:
    """The best, the baseline, and what is on the front."""
    best = [found.best] if found.best is not None else []
    told = [*best, found.baseline, *found.front]
    return [row(point, found) for k, point in enumerate(told) if point not in told[:k]]


def row(point: Point, found: CoSearch) -> list[str | int | float]:
    shares = point.area.shares
    predicted = "" if point.predicted_s is None else f"{1e3 * point.predicted_s:.4f}"
    return [
        point.design.name,
        " ".join(f"{one.weights}/{one.activations}" for one in point.widths.values()),
        f"{point.simulated.cycles:,}",
        f"{1e3 * point.seconds:.4f}",
        f"{found.baseline.seconds / point.seconds:.2f}",
        predicted,
        "" if point.accuracy is None else f"{point.accuracy:.2%}",
        f"{shares['dsp']:.0%}",
        f"{shares['lut']:.0%}",
        f"{shares['bram18']:.0%}",
        "best" if point is found.best else point.status,
    ]


if __name__ == "__main__":
    main()
