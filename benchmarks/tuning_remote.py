"""Tuning through ssh, through a farm of boards and on a modelled core; tuned against untuned there.

    python benchmarks/tuning_remote.py [--model MODEL] [--trials N] [--on ssh rpc model] [--record]

The boards are this machine: an ssh server of the program's own, and TVM's RPC tracker with two
servers, both used at once. The modelled core is a Raspberry Pi 4's. Each place starts with an empty
folder of records; then the network is compiled with these records and without any, and both bundles
run there in alternating blocks. Needs OpenSSH, qemu-user and llvm-19, and the extras test and rpc.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from results import Report, Table, add_options, finish, working_folder

import qcompile
from qcompile.cli.tune_progress import Lines
from qcompile.commands.manifest import read_manifest, tuned_kernels
from qcompile.commands.model_bench import model_bench
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.quantize import quantize
from qcompile.commands.race import race
from qcompile.compiler import compile_model
from qcompile.targets import load_processor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "qcompile" / "devices"))
from boards import Board  # noqa: E402 (the tests' own)
from farms import Farm  # noqa: E402

DATA = ROOT / "qcompile" / "demo_data"
SERVERS = 2
ROUNDS = 15
COLUMNS = ["device", "target", "trials", "kernels tuned", "kernels us", "after", "gain"]
COLUMNS += ["network us", "after", "gain"]


@contextmanager
def ssh(folder: Path) -> Iterator[list[str]]:
    """The address of this machine as a board with an ssh server."""
    board = Board(folder)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{board.client}:{before}"
    try:
        yield [board.address]
    finally:
        os.environ["PATH"] = before
        board.unplug()


@contextmanager
def rpc(folder: Path) -> Iterator[list[str]]:
    """The address of a farm, once for each of its boards."""
    farm = Farm(folder, servers=SERVERS)
    try:
        yield [f"{farm.address}/board"] * SERVERS
    finally:
        farm.unplug()


@contextmanager
def model(folder: Path) -> Iterator[list[str]]:
    yield ["model:rpi4"]


PLACES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "ssh": ("host", ssh),
    "rpc": ("host", rpc),
    "model": ("rpi4", model),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="an ONNX file (default: Fashion-MNIST, W1A1)")
    parser.add_argument("--trials", type=int, default=80, help="on each device; default: 80")
    parser.add_argument("--on", nargs="+", choices=PLACES, default=list(PLACES))
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        network = options.model or one_bit_network(folder)
        rows = [improved(network, place, options.trials, folder) for place in options.on]
    table = Table(f"{network.stem}, batch 1, one thread", COLUMNS, rows)
    finish(Report("tuning_remote", [table]), options)


def one_bit_network(folder: Path) -> Path:
    """The bundled Fashion-MNIST network with weights and activations of one bit."""
    images = np.load(DATA / "fashion_mnist_1k.npz")["x"][:, None] / np.float32(255)
    path = folder / "fmnist_cnn_w1a1.onnx"
    quantize(DATA / "fmnist_cnn_fp32.onnx", path, {"input": images}, weights=1, activations=1)
    return path


def improved(network: Path, place: str, trials: int, folder: Path) -> list[str | int | float]:
    """What tuning at one place made of the network's kernels, and of the whole network there."""
    name, opened = PLACES[place]
    target = load_processor(name)
    with tempfile.TemporaryDirectory() as own, opened(Path(own)) as devices:
        print(f"{place}: {' and '.join(devices)}", file=sys.stderr, flush=True)
        records = Path(own, "records")
        found = qcompile.tune(
            network, target, records, trials=trials, devices=devices, watcher=Lines()
        )
        tuned, untuned = folder / f"{place}_tuned", folder / f"{place}_untuned"
        compile_model(network, target, output=tuned, records=records, shipped_records=False)
        compile_model(network, target, output=untuned, shipped_records=False)
        before, after = seconds(untuned, tuned, devices[0])
    kernels = tuned_kernels(tuned)
    gains = [1 - found.after_s / found.before_s, 1 - after / before]
    return [
        " + ".join(devices), target.name, found.measured, f"{kernels.tuned} of {kernels.kernels}",
        1e6 * found.before_s, 1e6 * found.after_s, f"{gains[0]:.1%}",
        1e6 * before, 1e6 * after, f"{gains[1]:.1%}",
    ]  # fmt: skip


def seconds(untuned: Path, tuned: Path, device: str) -> tuple[float, float]:
    """Of one inference of each bundle, in turns where a clock tells it."""
    if device.startswith("model:"):
        return model_bench(untuned, device).modelled_s, model_bench(tuned, device).modelled_s
    with (
        closing(OwnBench(read_manifest(tuned), 1, device)) as ours,
        closing(OwnBench(read_manifest(untuned), 1, device)) as before,
    ):
        faster, slower = race([ours, before], rounds=ROUNDS)
    return slower.median_s, faster.median_s


if __name__ == "__main__":
    main()
