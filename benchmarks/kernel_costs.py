"""What the kernels of integer layers cost: measured, and as the table of a target predicts.

    python benchmarks/kernel_costs.py [TARGET...] [--all] [--write] [--quick]

Fits a table to a grid of layers on one thread, then tests it on other layers: a choice is right
when the kernel that is predicted to be the fastest is so, or at most 10 % slower. With --write the
table becomes qcompile/targets/costs/TARGET.toml.

Targets that cannot run here take the nearest measurement, which their tables tell:

    alderlake   vpdpbusd on 32 bytes measured as AVX512-VNNI: the same instruction
    znver5      znver4's table, by the clocks, and halved for what is done on vectors of 64 bytes:
                Zen 5 has twice the width for them (AMD, Software Optimization Guide, 58455)
    ARM         modelled (`qcompile.model_device`), not measured; neoverse-n1, aarch64, armv7 take
                the table of a target with such a core
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from datetime import date
from functools import partial
from statistics import median

from qcompile.measure.clock import QUICK, THOROUGH, seconds_of
from qcompile.measure.fit import Sample, fit
from qcompile.measure.layers import grid, modelled_grid, quick_grid, random_grid
from qcompile.measure.modelled import modelled_seconds
from qcompile.measure.samples import measure
from qcompile.model_device.core import load_core
from qcompile.passes.kernel_costs import estimate, possible_kernels
from qcompile.passes.kernel_work import LayerShape, Work
from qcompile.targets import Target, host_features, host_target, list_processors, load_processor
from qcompile.targets.costs import Costs, read_costs
from qcompile.targets.costs.table import FOLDER
from qcompile.targets.x86 import WIDE

TESTED = 60
MODELLED = 24  # a modelled layer takes longer
# Generic targets, and those of the same core: what they cost is told by another one.
RELATIVES = {
    **{"neoverse-n1": "rpi5", "aarch64": "rpi3"},
    **{"armv7": "armv7-a9", "armv7-a7": "armv7-a9"},
}
CLOSE = 1.1
ON_WIDE_VECTORS = ("step_s", "load_s", "sum_s", "output_s", "near_byte_s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure and fit what kernels cost.")
    parser.add_argument("targets", nargs="*", default=["host"])
    parser.add_argument("--all", action="store_true", help="all named targets")
    parser.add_argument("--write", action="store_true", help="write the tables of the targets")
    parser.add_argument("--quick", action="store_true", help="as `host` is measured once")
    options = parser.parse_args()
    names = [known.name for known in list_processors()] if options.all else options.targets
    for name in sorted(names, key=lambda name: name in RELATIVES):
        target = load_processor(name)
        print(f"\n{name}", flush=True)
        costs = table_of(target, options.quick)
        print(costs.to_toml(), flush=True)
        if options.write:
            (FOLDER / f"{name}.toml").write_text(costs.to_toml())


def table_of(target: Target, quick: bool) -> Costs:
    if target.name in RELATIVES:
        return of_relative(target, RELATIVES[target.name])
    if target.architecture.name != "x86_64":
        return modelled(target)
    return wider(target) if target.name == "znver5" else measured(target, quick)


def measured(target: Target, quick: bool) -> Costs:
    """The table of a target whose instructions this machine has; its test is printed."""
    processor = host_target().source.removeprefix("detected: ").partition(", scheduled")[0]
    source = f"measured by benchmarks/kernel_costs.py on {processor}, {date.today()}"
    if "avxvnni" in target.features and not target.runs_on(host_features()):
        others = [name for name in target.features if name != "avxvnni"]
        target = replace(target, features=(*others, *WIDE, "avx512vnni"))
        source += "; vpdpbusd in its AVX512-VNNI form"
    layers, bursts = (quick_grid(), QUICK) if quick else (grid(), THOROUGH)
    costs = fit(measure(layers, target, partial(seconds_of, bursts=bursts)), source)
    tested = measure(random_grid(TESTED), target, partial(seconds_of, bursts=THOROUGH))
    report(tested, costs, target, TESTED)
    return costs


def modelled(target: Target) -> Costs:
    """The table of an ARM target by the model of its core; its test is printed."""
    core = load_core(target)
    source = f"modelled, not measured: benchmarks/kernel_costs.py on the model of {core.name}"
    costs = fit(measure(modelled_grid(), target, modelled_seconds), source)
    tested = measure(random_grid(MODELLED), target, modelled_seconds)
    report(tested, costs, target, MODELLED)
    return costs


def of_relative(target: Target, relative: str) -> Costs:
    """The table of another target, by the clocks."""
    known = load_processor(relative)
    factor = known.clock_hz / target.clock_hz
    table = read_costs(FOLDER / f"{relative}.toml")
    return table.scaled(factor, f"{relative}'s times {factor:.3g} for the clocks: {table.source}")


def wider(target: Target) -> Costs:
    """The table of znver4 for a processor with twice the width."""
    known = load_processor("znver4")
    table = read_costs(FOLDER / "znver4.toml")
    factor = known.clock_hz / target.clock_hz
    source = f"znver4's times {factor:.3g} for the clocks, 64-byte vectors halved: {table.source}"
    costs = table.scaled(factor, source)
    kernels = {
        name: replace(cost, **{field: getattr(cost, field) / 2 for field in ON_WIDE_VECTORS})
        for name, cost in costs.kernels.items()
    }
    return replace(costs, kernels=kernels)


def report(samples: list[Sample], costs: Costs, target: Target, count: int) -> None:
    """Each layer's kernels, measured or modelled, predicted, and the share of right choices."""
    seconds: dict[Work, float] = defaultdict(float)
    for sample in samples:
        seconds[sample.work] += sample.seconds
    layers = list(dict.fromkeys(random_grid(count)))
    print(f"{'layer':32} {'bits':>5} {'kernel':>12} {'us':>8} {'predicted':>9} {'error':>6}  limit")
    errors, right = defaultdict(list), 0
    for layer in layers:
        taken = []
        for work in (work_of(layer, target) for work_of in possible_kernels(layer)):
            predicted = estimate(work, costs)
            error = 1e-6 * predicted.predicted_us / seconds[work] - 1
            errors[work.kernel].append(abs(error))
            taken.append((predicted.predicted_us, 1e6 * seconds[work]))
            print(
                f"{_name(layer):32} {layer.data_bits}x{layer.weight_bits:<3} {work.kernel:>12} "
                f"{taken[-1][1]:8.2f} {taken[-1][0]:9.2f} {error:6.0%}  {predicted.limit}"
            )
        chosen, least = min(taken)[1], min(time for _, time in taken)
        right += chosen <= CLOSE * least
        if chosen > CLOSE * least:
            print(f"    wrong: {chosen:.2f} us instead of {least:.2f}")
    for kernel, own in errors.items():
        print(f"{kernel}: median error {median(own):.0%}, largest {max(own):.0%}")
    print(f"choice right for {right} of {len(layers)} layers: {right / len(layers):.0%}\n")


def _name(layer: LayerShape) -> str:
    sizes = "x".join(map(str, layer.x[2:] if layer.pointwise else layer.x[1:]))
    return f"{layer.kind} {sizes} -> {layer.w[0]}, {layer.w[1]}x{layer.w[2]}"


if __name__ == "__main__":
    main()
