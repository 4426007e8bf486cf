"""What the kernels of integer layers cost: measured, and as the table of a target predicts.

    python benchmarks/kernel_costs.py [TARGET] [--write] [--quick]

Fits a table to a grid of layers on one thread, then tests it on other layers: a choice is right
when the kernel that is predicted to be faster is so, or at most 10 % slower. With --write the table
becomes qcompile/targets/costs/TARGET.toml.
"""

import argparse
from collections import defaultdict
from datetime import date
from statistics import median

from qcompile.measure.clock import QUICK, THOROUGH
from qcompile.measure.fit import Sample, fit
from qcompile.measure.layers import grid, quick_grid, random_grid
from qcompile.measure.samples import measure
from qcompile.passes.kernel_costs import bits_impossible, estimate
from qcompile.passes.kernel_work import LayerShape, Work, bits_work, int8_work
from qcompile.targets import Target, host_target, load_target
from qcompile.targets.costs import Costs
from qcompile.targets.costs.table import FOLDER

TESTED = 60
CLOSE = 1.1


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure and fit what kernels cost.")
    parser.add_argument("target", nargs="?", default="host")
    parser.add_argument("--write", action="store_true", help="write the target's table")
    parser.add_argument("--quick", action="store_true", help="as `host` is measured once")
    options = parser.parse_args()
    target = load_target(options.target)
    layers, bursts = (quick_grid(), QUICK) if options.quick else (grid(), THOROUGH)
    machine = host_target().source.removeprefix("detected: ")
    costs = fit(measure(layers, target, bursts), f"measured on {machine}, {date.today()}")
    tested = measure(random_grid(TESTED), target, THOROUGH)
    print(costs.to_toml())
    report(tested, costs, target)
    if options.write:
        file = FOLDER / f"{target.name}.toml"
        file.write_text(costs.to_toml())
        print(f"wrote {file}")


def report(samples: list[Sample], costs: Costs, target: Target) -> None:
    """Each layer's kernels, measured and predicted, and how many choices are right."""
    seconds: dict[Work, float] = defaultdict(float)
    for sample in samples:
        seconds[sample.work] += sample.seconds
    layers = list(dict.fromkeys(s.layer for s in samples if not bits_impossible(s.layer)))
    print(
        f"{'layer':34} {'bits':>5} {'kernel':>11} {'us':>8} {'predicted':>10} {'error':>6}  limit"
    )
    errors, wrong = defaultdict(list), 0
    for layer in layers:
        taken = []
        for work in (int8_work(layer, target), bits_work(layer, target)):
            predicted = estimate(work, costs)
            error = 1e-6 * predicted.predicted_us / seconds[work] - 1
            errors[work.kernel].append(abs(error))
            taken.append((predicted.predicted_us, seconds[work]))
            print(
                f"{_name(layer):34} {layer.data_bits}x{layer.weight_bits:<3} {work.kernel:>11} "
                f"{1e6 * seconds[work]:8.1f} {predicted.predicted_us:10.1f} {error:6.0%}  "
                f"{predicted.limit}"
            )
        chosen, least = min(taken)[1], min(measured for _, measured in taken)
        if chosen > CLOSE * least:
            wrong += 1
            print(f"    wrong: {1e6 * chosen:.1f} us instead of {1e6 * least:.1f}")
    for kernel, own in errors.items():
        print(f"{kernel}: median error {median(own):.0%}, largest {max(own):.0%}")
    print(f"choice right for {len(layers) - wrong} of {len(layers)}: {1 - wrong / len(layers):.0%}")


def _name(layer: LayerShape) -> str:
    sizes = "x".join(map(str, layer.x[1:] if layer.x[1] > 1 else layer.x[2:]))
    return f"{layer.kind} {sizes} -> {layer.w[0]}, {layer.w[1]}x{layer.w[2]}"


if __name__ == "__main__":
    main()
