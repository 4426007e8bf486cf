"""Networks compiled for ARM and run under emulation, against the x86 library and onnxruntime.

    python benchmarks/arm_networks.py --shared FOLDER [--samples 64] [--targets rpi3 rpi4 ...]

FOLDER holds the trained networks and their images (`labelled.py`). Every network has to give the
bytes of the x86 library; one with float operators may instead differ from onnxruntime, its
optimizations off, by 1e-4 of the range. The program ends with 1 where one does not. Nothing here is
about speed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labelled import LABELLED
from results import Report, Table, add_options, finish, working_folder

from qcompile.commands.manifest import read_manifest
from qcompile.commands.reference import load_reference
from qcompile.commands.run import run
from qcompile.compiler import compile_model
from qcompile.targets import host_target, load_processor

TARGETS = ("rpi3", "rpi4", "rpi5", "armv7-a9")
TOLERANCE = 1e-4  # of the range of float outputs


@dataclass(frozen=True)
class Emulated:
    """Outputs (samples, classes) of a network on a target, on x86, and of onnxruntime."""

    target: str
    float_operators: int
    ours: np.ndarray
    x86: np.ndarray
    reference: np.ndarray

    @property
    def different(self) -> int:
        """Numbers whose bytes are not those of the x86 library."""
        return int((self.ours.view("uint32") != self.x86.view("uint32")).sum())

    @property
    def of_range(self) -> float:
        """The largest difference to onnxruntime, as a share of the range of its outputs."""
        return float(np.abs(self.ours - self.reference).max() / np.ptp(self.reference))

    @property
    def right(self) -> bool:
        close = self.float_operators > 0 and self.of_range <= TOLERANCE
        return self.different == 0 or close


def main() -> None:
    parser = argparse.ArgumentParser(description="Run networks on emulated ARM processors.")
    parser.add_argument("--shared", type=Path, required=True, help="networks and their images")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--networks", nargs="+", default=list(LABELLED))
    add_options(parser)
    options = parser.parse_args()
    rows = []
    with working_folder(options.cache) as folder:
        for name in options.networks:
            network = LABELLED[name]
            images = network.samples(options.shared)[0][: options.samples]
            model = network.model(options.shared)
            for found in emulate(model, images, options.targets, folder):
                rows.append([name, *cells(found)])
                print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
        columns = ["network", "target", "samples", "same class", "numbers differ from x86"]
        columns += ["difference to onnxruntime, of range", "right"]
        title = "Networks on emulated ARM processors"
        finish(Report("arm_networks", [Table(title, columns, rows)]), options)
    sys.exit(1 if any(row[-1] != "yes" for row in rows) else 0)


def emulate(
    model: Path, images: np.ndarray, targets: Sequence[str], folder: Path
) -> list[Emulated]:
    """The outputs of `model` on the images, compiled for x86 and for every target."""
    inputs = folder / "images.npz"
    np.savez(inputs, x=images)
    compile_model(model, host_target(), output=folder / "x86", batch=1)
    name = read_manifest(folder / "x86").inputs[0].name
    ((output, x86),) = run(folder / "x86", inputs).outputs.items()
    ask = load_reference(model)
    reference = np.concatenate([ask({name: images[k : k + 1]})[0] for k in range(len(images))])
    found = []
    for target in targets:
        made = compile_model(model, load_processor(target), output=folder / target, batch=1)
        ours = run(folder / target, inputs, device="qemu").outputs[output]
        found.append(Emulated(target, len(made.analysis.float_ops), ours, x86, reference))
    return found


def cells(found: Emulated) -> list[str | int | float]:
    same = (found.ours.argmax(1) == found.reference.argmax(1)).sum()
    return [
        found.target,
        len(found.ours),
        int(same),
        found.different,
        f"{found.of_range:.1e}",
        "yes" if found.right else "NO",
    ]


if __name__ == "__main__":
    main()
