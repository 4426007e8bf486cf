"""Up to which product of bit widths counting bits beats int8, on modelled ARM cores.

    python benchmarks/break_even.py [--targets rpi3 rpi4 rpi5 neoverse-n2] [--json] [--record]

The 3x3 convolution of 14 x 14 x 256 to 256 channels, on its int8 kernel and on bit planes, data and
weights of 1 to 4 bits, packing included. Times are of the model of each core, not measured; a
second line tells what the table of costs of the target says, by which `compile` chooses.
"""

import argparse
from collections import defaultdict

from results import Report, Table, add_options, finish

from qcompile.measure.layers import convolution
from qcompile.measure.modelled import modelled_seconds
from qcompile.measure.samples import measure
from qcompile.passes.kernel_costs import estimate
from qcompile.passes.kernel_work import Work, bits_work, int8_work
from qcompile.targets import load_processor
from qcompile.targets.costs import costs_of

TARGETS = ("rpi3", "rpi4", "pixel4", "rpi5", "neoverse-n2", "armv7-a9")
BITS = [(1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (4, 2), (3, 3), (4, 3), (4, 4)]
SIZES = (14, 256, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description="Where counting bits beats int8, on ARM cores.")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    add_options(parser)
    options = parser.parse_args()
    columns = ["target", "", "int8, MODEL us", *(f"A{a} W{w}" for a, w in BITS)]
    rows = [row for name in options.targets for row in rows_of(name)]
    title = "How many times faster bit planes are than int8, 3x3, by the model of each core"
    finish(Report("break_even", [Table(title, columns, rows)]), options)


def rows_of(name: str) -> list[list[str | float]]:
    """How many times faster bits are on a target, by the model and by its table of costs."""
    target = load_processor(name)
    layers = [convolution(*SIZES, bits) for bits in BITS]
    seconds: dict[Work, float] = defaultdict(float)
    for sample in measure(layers, target, modelled_seconds):
        seconds[sample.work] += sample.seconds
    costs = costs_of(target)
    modelled, predicted, int8_us = [], [], 0.0
    for layer in layers:
        int8, bits = int8_work(layer, target), bits_work(layer, target)
        int8_us = 1e6 * seconds[int8]
        modelled.append(f"{seconds[int8] / seconds[bits]:.2f}")
        times = [estimate(work, costs).predicted_us or 0.0 for work in (int8, bits)]
        predicted.append(f"{times[0] / times[1]:.2f}")
    return [
        [name, "modelled", round(int8_us), *modelled],
        [name, "its table", "", *predicted],
    ]


if __name__ == "__main__":
    main()
