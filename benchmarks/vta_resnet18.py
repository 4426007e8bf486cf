"""ResNet-18's convolutions on VTA in simulated cycles, beside what the old flow of TVM took.

    python benchmarks/vta_resnet18.py [--json] [--record]

All convolutions but the first, 8 bits, the default configuration and a memory port of 64 bits; each
has a bias by channel, a shift, relu and a limit, and is a program of its own. Cycles are those of
the cycle simulator; utilisation is products over what the GEMM unit could do in these cycles. The
functional simulator runs each program once and its integers are compared with NumPy's.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from results import Report, Table, add_options, finish

from qcompile.errors import Disagreement
from qcompile.targets.vta import functional
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.cycles import simulate
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.layers import Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.planner import plan_segment
from qcompile.targets.vta.planner.packing import packed, unpacked
from qcompile.targets.vta.program import Program
from qcompile.targets.vta.reference import reference

PORT_BYTES = 8
PUBLISHED = 7_729_601  # tvm-vta, pull request 30 (2021): the same layers, same configuration
AIM = 7_450_000
LEAST_UTILISATION = 0.87  # of 3x3 convolutions without a stride
COLUMNS = [
    "layer",
    "times",
    "cycles",
    "GEMM, ideal",
    "utilisation",
    "instructions",
    "plan s",
    "run s",
]


@dataclass(frozen=True)
class Convolution:
    """times: how often the network has it. image: the size of its input."""

    image: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    times: int

    def __str__(self) -> str:
        size, kernel = f"{self.image}x{self.image}", f"{self.kernel}x{self.kernel}"
        return f"{kernel}/{self.stride} {size} {self.inputs}-{self.outputs}"

    @property
    def size(self) -> int:
        return self.image // self.stride

    @property
    def products(self) -> int:
        """Matrix products of the GEMM unit."""
        macs = self.size**2 * self.inputs * self.outputs * self.kernel**2
        return macs // (DEFAULT.batch * DEFAULT.block_in * DEFAULT.block_out)


CONVOLUTIONS = [
    Convolution(56, 64, 64, 3, 1, 4),
    Convolution(56, 64, 128, 3, 2, 1),
    Convolution(56, 64, 128, 1, 2, 1),
    Convolution(28, 128, 128, 3, 1, 3),
    Convolution(28, 128, 256, 3, 2, 1),
    Convolution(28, 128, 256, 1, 2, 1),
    Convolution(14, 256, 256, 3, 1, 3),
    Convolution(14, 256, 512, 3, 2, 1),
    Convolution(14, 256, 512, 1, 2, 1),
    Convolution(7, 512, 512, 3, 1, 3),
]


def segment_of(layer: Convolution, rng: np.random.Generator) -> Segment:
    """The layer with random weights of 8 bits."""
    x = VtaTensor("x", (1, layer.image, layer.image, layer.inputs), 0, -128, 127)
    y = VtaTensor("y", (1, layer.size, layer.size, layer.outputs), 0, -128, 127)
    weights = rng.integers(-128, 128, (layer.outputs, layer.kernel, layer.kernel, layer.inputs))
    pad = layer.kernel // 2
    source = Source("x", weights, (layer.stride,) * 2, (pad,) * 4)
    bias = rng.integers(-20_000, 20_000, layer.outputs)
    return Segment("one", (x,), ("x",), ("y",), (Sums("conv", (source,), bias, 11, 0, 127, y),))


def measure(layer: Convolution) -> tuple[list[str | int | float], int]:
    """A row of the table, and the cycles. Raises Disagreement."""
    rng = np.random.default_rng(0)
    segment = segment_of(layer, rng)
    begin = time.perf_counter()
    program = plan_segment(segment, DEFAULT, PORT_BYTES)
    planned = time.perf_counter()
    cycles = simulate(DEFAULT, PORT_BYTES, program.instructions).cycles
    run_s = run(segment, program, rng)
    row = [
        *(str(layer), layer.times, cycles, layer.products),
        *(f"{layer.products / cycles:.1%}", len(program.instructions)),
        *(f"{planned - begin:.2f}", f"{run_s:.3f}"),
    ]
    return row, cycles


def run(segment: Segment, program: Program, rng: np.random.Generator) -> float:
    """Seconds of the functional simulation without its checks for races. Raises Disagreement."""
    x = rng.integers(-128, 128, segment.tensors[0].shape)
    image = program.image.copy()
    given, made = program.placements["x"], program.placements["y"]
    first = given.address - IMAGE_ADDRESS
    image[first : first + given.bytes] = packed(x, given, DEFAULT)
    begin = time.perf_counter()
    functional.run(DEFAULT, program.instructions, image, find_races=False)
    seconds = time.perf_counter() - begin
    first = made.address - IMAGE_ADDRESS
    found = unpacked(image[first : first + made.bytes], made, DEFAULT)
    if not np.array_equal(found, reference(segment, {"x": x})["y"]):
        raise Disagreement(f"{segment.layers[0].name}: the simulator's integers are not NumPy's")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    rows, total, ideal, seconds = [], 0, 0, 0.0
    least = 1.0
    for layer in CONVOLUTIONS:
        row, cycles = measure(layer)
        rows.append(row)
        total += layer.times * cycles
        ideal += layer.times * layer.products
        seconds += layer.times * float(row[-1])
        if layer.kernel == 3 and layer.stride == 1:
            least = min(least, layer.products / cycles)
    table = Table("ResNet-18's convolutions but the first, one program each", COLUMNS, rows)
    remarks = [
        f"All together {total:,} cycles ({ideal / total:.1%} utilisation): at 100 MHz "
        f"{total / 1e5:.1f} ms. The old flow of TVM: {PUBLISHED:,} (tvm-vta pull request 30), "
        f"{PUBLISHED / total:.3f} times as many; aim: {AIM:,} or less.",
        f"3x3 convolutions without a stride use the GEMM unit at least {least:.1%} of the time "
        f"(aim: {LEAST_UTILISATION:.0%}).",
        f"Functional simulation of all of them: {seconds:.1f} s on one core.",
    ]
    finish(Report("vta_resnet18", [table], remarks), options)


if __name__ == "__main__":
    main()
