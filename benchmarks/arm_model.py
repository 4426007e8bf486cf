"""ResNet-18 on ARM cores that are not here: modelled cycles against each core's arithmetic limit.

    python benchmarks/arm_model.py [--targets rpi4 rpi5] [--networks resnet18_w1a1] [--cache FOLDER]
                                   [--json] [--record]

All figures of ours are a model (`qcompile.model_device`), none is a measurement. A layer is its
kernel with the requantization behind it; its limit is that of the best instructions of the kernel's
kind on registers, by the same scheduling model: the int8 products of the target's instruction sets,
or `eor`, `cnt`, `add` divided by the layer's pairs of bit planes.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import low_bit_networks
import models
from arm_layers import alone_table
from arm_published import DABNN, RIPTIDE, published_table
from results import Report, Table, add_options, finish, working_folder

from qcompile.commands.model_bench import KIND, ModelBench, ModelledLayer, model_bench
from qcompile.compiler import compile_model
from qcompile.model_device.limits import bit_limit, int8_limit
from qcompile.targets import Target, load_processor

TARGETS = ("rpi3", "rpi4", "rpi5", "neoverse-n2")
FLOAT, INT8 = "resnet18_fp32", "resnet18_int8"
NETWORKS = (INT8, "resnet18_w1a1", "resnet18_w1a2", "resnet18_w2a2")
AIM = 0.7  # of the limit, on the 3x3 layers

# One of each shape, by its name in the networks.
LAYERS = {
    "conv1": "7x7 stem, 3 -> 64, 112x112",
    "layer1.0.conv1": "3x3, 64, 56x56",
    "layer2.0.conv1": "3x3 stride 2, 64 -> 128, 28x28",
    "layer2.0.shortcut": "1x1 stride 2, 64 -> 128, 28x28",
    "layer2.0.conv2": "3x3, 128, 28x28",
    "layer3.0.conv1": "3x3 stride 2, 128 -> 256, 14x14",
    "layer3.0.shortcut": "1x1 stride 2, 128 -> 256, 14x14",
    "layer3.0.conv2": "3x3, 256, 14x14",
    "layer4.0.conv1": "3x3 stride 2, 256 -> 512, 7x7",
    "layer4.0.shortcut": "1x1 stride 2, 256 -> 512, 7x7",
    "layer4.0.conv2": "3x3, 512, 7x7",
    "classifier": "product, 512 -> 1000",
}
THREE_BY_THREE = [name for name, what in LAYERS.items() if what.startswith("3x3")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Modelled cycles of ResNet-18 on ARM cores.")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    add_options(parser)
    options = parser.parse_args()
    targets = [load_processor(name) for name in options.targets]
    with working_folder(options.cache) as folder:
        found = {
            name: [modelled(name, target, folder) for target in targets]
            for name in (*options.networks, FLOAT)
        }
    tables = [alone_table(targets)]
    tables += [layer_table(name, targets, found[name]) for name in options.networks]
    tables += [whole_table(found, targets), published_table()]
    if "resnet18_w1a1" in found:
        tables.append(binary_table(targets, found["resnet18_w1a1"]))
    remarks = list(aims(targets, {name: found[name] for name in options.networks}))
    finish(Report("arm_model", tables, [*remarks, *speed_ups(found, targets)]), options)


def modelled(name: str, target: Target, folder: Path) -> ModelBench:
    """The network compiled for the target, and modelled."""
    if name in low_bit_networks.NETWORKS:
        model = low_bit_networks.model_file(name, folder)
    else:
        model = models.model_file("resnet18", name.removeprefix("resnet18_"), folder)
    bundle = folder / f"{name}-{target.name}"
    compile_model(model, target, output=bundle)
    return model_bench(bundle, f"{KIND}{target.name}")


def share(layer: ModelledLayer, facts: dict[str, int], target: Target) -> float:
    """The limit's cycles over the modelled ones."""
    pairs = facts["a_bits"] * facts["w_bits"]
    bits = layer.kernel.endswith("_bits")
    limit = bit_limit(target) / pairs if bits else int8_limit(target)
    return layer.macs / limit / layer.cycles


def layer_table(name: str, targets: Sequence[Target], found: Sequence[ModelBench]) -> Table:
    """A row for each shape, with a column of cycles and one of the limit's share for each core."""
    rows: list[list[str | int | float]] = []
    for layer, what in LAYERS.items():
        row: list[str | int | float] = [what]
        for target, bench in zip(targets, found, strict=True):
            one, facts = _layer(bench, layer)
            row += [round(one.cycles), f"{share(one, facts, target):.0%} {_kind(one)}"]
        rows.append(row)
    columns = ["layer"]
    for target, bench in zip(targets, found, strict=True):
        columns += [f"{target.name}: {bench.core}, cycles", "of the limit"]
    limits = "; ".join(
        f"{target.name} {int8_limit(target):.1f} int8, {bit_limit(target):.1f} bit"
        for target in targets
    )
    return Table(f"{name}, MODEL. Limits in MAC/cycle: {limits}", columns, rows)


def _layer(bench: ModelBench, name: str) -> tuple[ModelledLayer, dict[str, int]]:
    one = next(layer for layer in bench.layers if layer.name == name)
    return one, next(facts for facts in bench.manifest.layers if facts["name"] == name)


def _kind(layer: ModelledLayer) -> str:
    return layer.kernel.rpartition("_")[2]


def whole_table(found: dict[str, list[ModelBench]], targets: Sequence[Target]) -> Table:
    """Modelled cycles of whole networks, and what they come to at the clock of the target."""
    rows: list[list[str | int | float]] = [
        [
            *(name, target.name, f"{bench.core} {target.clock_hz / 1e9:g} GHz"),
            *(f"{bench.cycles / 1e6:.1f}", f"{bench.modelled_s * 1e3:.1f}"),
        ]
        for name, benches in found.items()
        for target, bench in zip(targets, benches, strict=True)
    ]
    columns = ["network", "target", "core", "million cycles", "modelled ms"]
    return Table("Whole networks, one core, MODEL", columns, rows)


def binary_table(targets: Sequence[Target], found: Sequence[ModelBench]) -> Table:
    """Our binary 3x3 layers, modelled, beside daBNN's on a Pixel 1, measured."""
    rows: list[list[str | int | float]] = []
    for name, measured_ms in DABNN.items():
        row: list[str | int | float] = [LAYERS[name], f"{measured_ms:.2f}"]
        for target, bench in zip(targets, found, strict=True):
            row.append(f"{_layer(bench, name)[0].cycles / target.clock_hz * 1e3:.2f}")
        rows.append(row)
    ours = [f"{target.name}, MODEL, ms" for target in targets]
    columns = ["W1A1 layer", "daBNN, Pixel 1, MEASURED, ms", *ours]
    return Table("Binary layers: our model against daBNN's measurement", columns, rows)


def aims(targets: Sequence[Target], found: dict[str, list[ModelBench]]) -> Iterator[str]:
    """Which 3x3 layers miss the aim, for each core."""
    for k, target in enumerate(targets):
        missed = [
            f"{name} {LAYERS[layer]} ({reached:.0%})"
            for name, benches in found.items()
            for layer in THREE_BY_THREE
            for reached in [share(*_layer(benches[k], layer), target)]
            if reached < AIM
        ]
        told = ", ".join(missed) or "none"
        yield f"{target.name}, MODEL: 3x3 layers below {AIM:.0%} of the limit: {told}."


def speed_ups(found: dict[str, list[ModelBench]], targets: Sequence[Target]) -> Iterator[str]:
    """How many times as fast as our float32 each network is, by the model."""
    for k, target in enumerate(targets):
        base = found[FLOAT][k].cycles
        times = [f"{n} {base / b[k].cycles:.1f}" for n, b in found.items() if n != FLOAT]
        told = f"; {RIPTIDE}" if target.llvm["mcpu"] == "cortex-a53" else ""
        yield f"{target.name}: times the speed of our fp32, MODEL: {', '.join(times)}{told}."


if __name__ == "__main__":
    main()
