"""Trained networks on simulated VTA: are the bytes the processor's, and how many cycles they take.

    python benchmarks/vta_networks.py --shared FOLDER [NETWORK...] [--board T] [--samples N]

FOLDER holds models/, cifar10-jpeg/, fashion-mnist/ and mnist/. Each network is compiled for the
board and, with the same powers of two, for this machine; outputs are compared byte for byte. Cycles
are the cycle simulator's, of VTA's part alone: no board is measured. What powers of two cost in
accuracy, on whole sets, is in vta_accuracy.py.
"""

import argparse
from pathlib import Path

import numpy as np
from labelled import LABELLED, Labelled
from results import Report, Table, add_options, finish, working_folder

import qcompile
from qcompile.bundle import Bundle
from qcompile.commands.sim_bench import sim_bench

NETWORKS = (
    "resnet8_int8_qdq",
    "fmnist_cnn_w4a4_qonnx",
    "fmnist_cnn_w2a2_qonnx",
    "tfc_1w2a_qonnx",
)
SAMPLES = 200
COLUMNS = [
    "network",
    "segments",
    "layers on VTA",
    "cycles",
    "ms",
    "GEMM busy",
    "same bytes",
    "top-1",
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks on simulated VTA.")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(LABELLED)}")
    parser.add_argument("--shared", type=Path, required=True, help="the folder of models and data")
    parser.add_argument("--board", default="vta-pynq", help="a target with VTA (vta-pynq)")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"to compare ({SAMPLES})")
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        rows = [
            row(LABELLED[name], options.shared, folder, options.board, options.samples)
            for name in options.networks or NETWORKS
        ]
    title = f"{options.board}, {options.samples} samples, cycles and milliseconds simulated"
    finish(Report("vta_networks", [Table(title, COLUMNS, rows)]), options)


def row(
    network: Labelled, shared: Path, folder: Path, board: str, count: int
) -> list[str | int | float]:
    """The bundle's simulated cycles, and whether its outputs are the processor's."""
    place, processor = folder / f"{network.name}_{board}", folder / f"{network.name}_shifted"
    qcompile.compile(network.model(shared), board, place, batch=1)
    qcompile.compile(network.model(shared), "host", processor, batch=1, scales="power-of-two")
    images, classes = (array[:count] for array in network.samples(shared))
    simulated, native = (scores(qcompile.load(bundle), images) for bundle in (place, processor))
    found = sim_bench(place)
    on_vta = sum(layer["kernel"] == "vta" for layer in found.manifest.layers)
    same = (simulated == native).reshape(count, -1).all(1).sum()
    return [
        network.name,
        len(found.segments),
        f"{on_vta} of {len(found.manifest.layers)}",
        f"{found.cycles:,}",
        f"{1e3 * found.simulated_s:.3f}",
        f"{sum(layer.gemm for layer in found.layers) / found.cycles:.1%}",
        f"{same} of {count}",
        f"{(simulated.reshape(count, -1).argmax(1) == classes).mean():.2%}",
    ]


def scores(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    """(samples, classes): the network's only output."""
    (found,) = bundle.run_batches({bundle.inputs[0].name: images}).values()
    return found


if __name__ == "__main__":
    main()
