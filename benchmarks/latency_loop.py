"""Latencies predicted before they were measured, round by round.

    python benchmarks/latency_loop.py [--models FOLDER] [--only NETWORK] [--device DEVICE]
                                      [--rounds N] [--records DB] [--record]

Mixed assignments of widths, random from a fixed seed, on this machine, on the model of a Raspberry
Pi 4, and on VTA's simulator. The kernels are those that the model finds fastest. Each assignment is
predicted, then compiled and measured, and the model corrected. `--records` keeps what is measured;
the same command goes on from there.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from results import Report, Table

from qcompile.devices import LOCAL, SIM
from qcompile.frontend.shapes import static_shapes
from qcompile.quantizer import Widths
from qcompile.quantizer.network import load_network
from qcompile.search.latency import LatencyLaboratory, LatencyModel

MODELS = Path(__file__).parents[2] / "shared" / "data" / "models"
NETWORKS = ("fmnist_cnn_fp32", "resnet8_ft_fp32")
DEVICES = {LOCAL: "host", "model:rpi4": "rpi4", SIM: "vta-pynq"}
PAIRS = [Widths(w, a) for w in (8, 4, 2) for a in (8, 4, 2)]
SAMPLES = 4  # of noise: what a layer takes does not depend on values
COLUMNS = ["network", "device", "round", "predicted us", "measured us", "spread", "error", "agrees"]


def corrected(path: Path, device: str, rounds: int, records: Path | None) -> LatencyModel:
    """The model after so many rounds."""
    network, rng = load_network(path), np.random.default_rng(0)
    shapes = static_shapes(network.model.graph, 1, {})
    noise = {
        value.name: rng.random((SAMPLES, *shapes[value.name][1:]), dtype="float32")
        for value in network.inputs
    }
    with LatencyLaboratory(
        path,
        dict.fromkeys((layer.name for layer in network.layers.values()), PAIRS),
        DEVICES[device],
        noise,
        device=device,
        records=records,
        progress=lambda *told: print(*told, file=sys.stderr),
    ) as laboratory:
        model = laboratory.survey()
        for _ in range(rounds):
            drawn = {name: PAIRS[int(rng.integers(len(PAIRS)))] for name in model.choices}
            model = model.correct(laboratory.measure(model.with_kernels(drawn)))
    return model


def rows(name: str, device: str, model: LatencyModel) -> list[list[str]]:
    return [
        [
            *(name, device, str(number)),
            f"{1e6 * each.predicted_s:.2f}",
            f"{1e6 * each.measured.seconds:.2f}",
            f"{each.measured.spread_s / each.measured.seconds:.2%}",
            f"{each.error:+.2%}",
            "yes" if model.agrees(each) else "no",
        ]
        for number, each in enumerate(model.rounds, 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=MODELS, help="the folder of the networks")
    parser.add_argument("--only", choices=NETWORKS, help="one of the networks")
    parser.add_argument("--device", choices=list(DEVICES), help="one of the devices")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=Path, help="keep what is measured in this folder")
    parser.add_argument("--record", action="store_true", help="also append to RESULTS.md")
    options = parser.parse_args()
    found, remarks = [], []
    for name in [options.only] if options.only else NETWORKS:
        for device in [options.device] if options.device else DEVICES:
            path = options.models / f"{name}.onnx"
            model = corrected(path, device, options.rounds, options.records)
            found += rows(name, device, model)
            remarks.append(f"{name}, {device}: surveyed with {len(model.survey)} networks.")
    report = Report("latency_loop.py", [Table("Mixed assignments", COLUMNS, found)], remarks)
    print(report)
    if options.record:
        report.append()


if __name__ == "__main__":
    main()
