"""Top-1 of networks quantized after training, without labels, beside what is required.

    python benchmarks/quantizer.py --shared FOLDER [NETWORK...] [--only w4a4,w2a8] [--record]
        [--fine-tune [STEPS]]

FOLDER holds models/, cifar10-jpeg/ and fashion-mnist/. First and last layers keep 8 bits.
Calibration images are training images. Accuracies are those of the written file on the whole test
set, by onnxruntime with its graph optimizations off.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labelled import LABELLED, read_idx
from results import Report, Table, add_options, finish, working_folder

import qcompile
from qcompile.commands.reference import load_reference
from qcompile.quantizer import QuantizeOptions
from qcompile.widths import FINE_TUNE_STEPS

BATCH = 200  # images at a time
COLUMNS = ["network", "widths", "top-1", "required", "float", "seconds", "samples", "KiB"]
# With fine-tuning, the aim: top-1 in percent.
AIMS = {("resnet8_fp32", 2, 8): 73.5, ("resnet8_fp32", 3, 3): 72.5}
# Network, bits of weights and activations, required top-1 in percent.
CONFIGURATIONS = [
    ("resnet8_fp32", 8, 8, 74.0),
    ("resnet8_fp32", 5, 8, 74.0),
    ("resnet8_fp32", 4, 8, 74.0),
    ("resnet8_fp32", 3, 8, 73.0),
    ("resnet8_fp32", 2, 8, 69.0),
    ("resnet8_fp32", 4, 4, 72.5),
    ("resnet8_fp32", 3, 3, 69.5),
    ("fmnist_cnn_fp32", 4, 4, 91.2),
    ("fmnist_cnn_fp32", 3, 4, 91.2),
    ("fmnist_cnn_fp32", 2, 4, 90.8),
    ("fmnist_cnn_fp32", 2, 2, 88.5),
]
CALIBRATION_SAMPLES = {"resnet8_fp32": 1000, "resnet8_ft_fp32": 1000, "fmnist_cnn_fp32": 2000}


@dataclass(frozen=True)
class Measured:
    """Of one configuration; accuracies in percent."""

    top_1: float
    seconds: float
    samples: int
    weight_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of networks quantized after training.")
    parser.add_argument("networks", nargs="*", help="resnet8_fp32, fmnist_cnn_fp32 (default: both)")
    parser.add_argument("--shared", type=Path, required=True, help="the folder of models and data")
    parser.add_argument("--only", help="widths, as w4a4,w2a8")
    parser.add_argument(
        "--fine-tune", type=int, nargs="?", const=FINE_TUNE_STEPS, default=0, metavar="STEPS"
    )
    add_options(parser)
    options = parser.parse_args()
    rows = []
    with working_folder(options.cache) as folder:
        for name, weights, activations, required in CONFIGURATIONS:
            widths = f"w{weights}a{activations}"
            if options.networks and name not in options.networks:
                continue
            if options.only and widths not in options.only.split(","):
                continue
            found = measure(name, (weights, activations), options.fine_tune, options.shared, folder)
            if options.fine_tune:
                required = AIMS.get((name, weights, activations), required)
            whole = top_1(LABELLED[name].model(options.shared), name, options.shared)
            accuracies = [f"{found.top_1:.2f}", required, f"{whole:.2f}"]
            kibibytes = f"{found.weight_bytes / 1024:.1f}"
            costs = [f"{found.seconds:.1f}", found.samples, kibibytes]
            rows.append([name, widths, *accuracies, *costs])
    title = "After training, without labels"
    if options.fine_tune:
        title += f", fine-tuned in {options.fine_tune} steps against the float network"
    name = "quantizer_fine_tuned" if options.fine_tune else "quantizer"
    finish(Report(name, [Table(title, COLUMNS, rows)]), options)


def measure(name: str, bits: tuple[int, int], steps: int, shared: Path, folder: Path) -> Measured:
    """One configuration, quantized into `folder` and run on the whole test set."""
    weights, activations = bits
    out, options = (
        folder / f"{name}_w{weights}a{activations}.onnx",
        QuantizeOptions(fine_tune=steps),
    )
    images = {"input": calibration(name, shared)}
    network = LABELLED[name].model(shared)
    found = qcompile.quantize(
        network, out, images, weights=weights, activations=activations, options=options
    )
    return Measured(top_1(out, name, shared), found.seconds, found.samples, found.weight_bytes)


def calibration(name: str, shared: Path) -> np.ndarray:
    """Training images as the network takes them."""
    if LABELLED[name].data == "cifar10-jpeg":
        images = np.load(shared / "cifar10-jpeg" / "calib1k.npz")["x"].transpose(0, 3, 1, 2)
    else:
        images = read_idx(shared / "fashion-mnist" / "train10k-images-idx3-ubyte.gz", "images")
        images = images.reshape(-1, 1, 28, 28)
    images = images[: CALIBRATION_SAMPLES[name]].astype("float32")
    return np.ascontiguousarray(images * np.float32(LABELLED[name].scale))


def top_1(model: Path, name: str, shared: Path) -> float:
    """onnxruntime's, in percent, on the test images of the network `name`."""
    images, classes = LABELLED[name].samples(shared)
    run = load_reference(model)
    starts = range(0, len(images), BATCH)
    scores = np.concatenate([run({"input": images[k : k + BATCH]})[0] for k in starts])
    return 100 * float((scores.argmax(axis=1) == classes).mean())


if __name__ == "__main__":
    main()
