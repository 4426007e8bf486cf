"""What the commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qcompile.cli.choices import show_choices
from qcompile.cli.show_vta import show_programs
from qcompile.cli.tables import (
    count,
    kibibytes,
    milliseconds,
    percent,
    print_facts,
    print_table,
    printable,
)
from qcompile.scales import EXACT

if TYPE_CHECKING:
    from qcompile.arrays import TensorSpec
    from qcompile.commands.bench import Bench, LayerTime
    from qcompile.commands.check import Check, Comparison
    from qcompile.commands.demo import Demo
    from qcompile.commands.manifest import Manifest
    from qcompile.commands.run import Run
    from qcompile.targets import Target


def lacking(target: Target) -> str:
    """What this machine lacks to run code for the target; "" where it runs it."""
    from qcompile.targets import host_architecture, host_features

    if host_architecture() != target.architecture:
        return f"this machine is no {target.architecture.name}"
    missing = [name for name in target.features if name not in host_features()]
    return f"this machine lacks {', '.join(missing)}" if missing else ""


def show_targets(targets: Sequence[Target]) -> None:
    """All targets, and whether this machine runs their code."""
    rows = [
        (
            target.name,
            "no" if lacking(target) else "yes",
            dot_product(target),
            str(8 * target.vector_bytes),
            f"{target.cores} x {target.clock_hz / 1e9:.1f} GHz",
            "/".join(str(size // 1024) for size in _caches(target)),
        )
        for target in targets
    ]
    columns = [
        "target",
        "runs here",
        "int8 dot product",
        ">bits",
        "cores",
        ">L1d/L2/L3 KiB",
    ]
    print_table(columns, rows)


def show_target(target: Target) -> None:
    """One target's facts."""
    missing = lacking(target)
    print_facts(
        [
            ("target", target.name),
            ("runs here", f"no: {missing}" if missing else "yes"),
            ("architecture", target.architecture.name),
            ("cores", f"{target.cores} at {target.clock_hz / 1e9:.2f} GHz"),
            ("vectors", f"{target.vector_registers} registers of {8 * target.vector_bytes} bits"),
            ("int8 dot product", dot_product(target)),
            ("L1d / L2 / L3", " / ".join(kibibytes(size) for size in _caches(target))),
            ("features", " ".join(target.features)),
            ("LLVM", " ".join(f"{key}={value}" for key, value in target.llvm.items())),
            ("source", target.source),
        ]
    )


def dot_product(target: Target) -> str:
    """The instruction that multiplies and sums int8 on that target."""
    if target.architecture.name == "armv7":
        return "vmlal, vpadal"
    if target.architecture.name == "aarch64":
        names = {"i8mm": "usmmla", "dotprod": "sdot", "neon": "smlal, sadalp"}
        return next(text for name, text in names.items() if name in target.features)
    if "avx512vnni" in target.features:
        return "AVX512-VNNI"
    if "avxvnni" in target.features:
        return "AVX-VNNI"
    return "16-bit products"


def show_bundle(manifest: Manifest) -> None:
    """What `compile` made."""
    layers = f"{len(manifest.layers)}, {count(sum(x['macs'] for x in manifest.layers))} MACs"
    print_facts(
        [
            ("bundle", str(manifest.folder)),
            ("name", f"{manifest.name} for {manifest.target}"),
            ("inputs", _tensors(manifest.inputs)),
            ("outputs", _tensors(manifest.outputs)),
            ("layers", layers),
            ("float operators", str(len(manifest.float_ops))),
            ("weights", kibibytes(manifest.weight_bytes)),
            ("workspace", kibibytes(manifest.workspace_bytes)),
            ("library", kibibytes(manifest.library_bytes)),
        ]
    )
    if manifest.variants:
        rows = [
            (
                variant.name,
                variant.entry,
                str(variant.layers),
                kibibytes(variant.workspace_bytes),
                kibibytes(variant.weight_bytes_alone),
            )
            for variant in manifest.variants
        ]
        print()
        print_table(["variant", "runs by", ">layers", ">workspace", ">weights alone"], rows)


def show_check(found: Check) -> None:
    """Every layer, the float operators, totals, and the comparison."""
    analysis = found.analysis
    rows = [
        (
            layer.name,
            layer.op,
            f"{code(layer.a_format, layer.a_bits)} x {code(layer.w_format, layer.w_bits)}",
            count(layer.macs),
            kibibytes(layer.weight_bytes).removesuffix(" KiB"),
            "integer" if layer.integer else "float",
            layer.kernel,
        )
        for layer in analysis.layers
    ]
    columns = ["layer", "operator", "data x weights", ">MACs", ">KiB", "runs as", "kernel"]
    print(f"{printable(str(found.model))} on {found.target.name}: {found.target.source}\n")
    print_table(columns, rows)
    show_choices(analysis)
    if analysis.vta is not None:
        show_programs(analysis.vta)
    _show_float_ops(found)
    macs = sum(layer.macs for layer in analysis.layers)
    integers = [layer for layer in analysis.layers if layer.integer]
    share = sum(layer.macs for layer in integers) / macs if macs else None
    print(
        f"\n{len(integers)} of {len(analysis.layers)} layers integer, "
        f"{percent(share)} of {count(macs)} multiply-adds; "
        f"weights {kibibytes(sum(layer.weight_bytes for layer in analysis.layers))}"
    )
    if found.comparison is not None:
        print()
        _show_comparison(found.comparison, found.scales)


def code(stored: str, bits: int) -> str:
    """u8, s4, f32: signedness and width of the codes, whatever they are stored in."""
    return f"{'f' if 'float' in stored else 'u' if stored.startswith('u') else 's'}{bits}"


def _show_float_ops(found: Check) -> None:
    """Operators left in float, those of one kind and reason in one row."""
    groups: dict[tuple[str, str], list[str]] = {}
    for op in found.analysis.float_ops:
        groups.setdefault((op.op, op.reason), []).append(op.name)
    if not groups:
        print("\nno operator stays float")
        return
    rows = [
        (op, str(len(names)), ", ".join(names[:2]) + (", ..." if len(names) > 2 else ""), reason)
        for (op, reason), names in groups.items()
    ]
    print()
    print_table(["stays float", ">count", "nodes", "why"], rows)


def _show_comparison(comparison: Comparison, scales: str) -> None:
    facts = [("samples", str(comparison.samples))]
    if scales != EXACT:
        facts.append(("scales", f"{scales}; onnxruntime's are the model's own"))
    if comparison.accuracy is not None:
        facts += [
            ("accuracy", percent(comparison.accuracy)),
            ("onnxruntime's", percent(comparison.reference_accuracy)),
        ]
    if comparison.same_top1 is not None:
        facts.append(("same top-1", percent(comparison.same_top1)))
    facts += [
        (
            f"largest difference, {name}",
            f"{difference:.3g} (values span {comparison.reference_range[name]:.3g})",
        )
        for name, difference in comparison.max_difference.items()
    ]
    print_facts(facts)


def show_run(found: Run) -> None:
    """The shape of each output, and the accuracy when there were labels."""
    facts = [(name, f"{array.dtype} {array.shape}") for name, array in found.outputs.items()]
    if found.accuracy is not None:
        facts.append(("accuracy", f"{percent(found.accuracy)} of {found.samples} samples"))
    print_facts(facts)


def show_bench(found: Bench) -> None:
    """Latencies, ours first, and layers when they were measured."""
    rows = [
        (
            f"{latency.name} {latency.version}",
            milliseconds(latency.median_s),
            f"{milliseconds(latency.p10_s)} - {milliseconds(latency.p90_s)}",
            f"{latency.ratio:.2f}",
            str(latency.inferences),
        )
        for latency in found.latencies
    ]
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    variant = "" if found.manifest.variant is None else f", {found.manifest.variant}"
    place = "" if found.device == "local" else f", on {printable(found.device)}"
    print(f"{found.manifest.name}{variant} for {found.manifest.target}, {threads}{place}\n")
    if found.emulated:
        print("emulated: these times say nothing about the speed of any processor\n")
    median = ">emulated ms" if found.emulated else ">median ms"
    columns = [median, ">10th - 90th percentile", ">times ours", ">inferences"]
    print_table(["framework", *columns], rows)
    for reason in found.failed.values():
        print(f"not measured: {printable(reason)}")
    for warning in found.warnings:
        print(f"warning: {printable(warning)}")
    if found.layers:
        print()
        _show_layers(found)


def _show_layers(found: Bench) -> None:
    rows = [
        (
            layer.name,
            layer.kernel,
            f"{1e6 * layer.median_s:.1f}",
            "" if found.emulated or layer.predicted_s is None else f"{1e6 * layer.predicted_s:.1f}",
            percent(layer.share),
            "" if found.emulated else _giga_macs(layer),
        )
        for layer in found.layers
    ]
    times = [">emulated us" if found.emulated else ">median us", ">predicted us"]
    print_table(["layer", "kernel", *times, ">share", ">GMAC/s"], rows)


def _giga_macs(layer: LayerTime) -> str:
    return f"{layer.macs / layer.median_s / 1e9:.1f}" if layer.macs and layer.median_s else "-"


def show_demo(found: Demo) -> None:
    """Accuracy, latency and size of every bundled network, onnxruntime's beside them."""
    rows = [
        (
            network.name,
            percent(network.accuracy),
            milliseconds(network.latency_s),
            kibibytes(network.library_bytes),
            percent(network.reference_accuracy),
            "-" if network.reference_s is None else milliseconds(network.reference_s),
        )
        for network in found.networks
    ]
    print(f"{found.images} Fashion-MNIST test images, one thread, {found.target.source}\n")
    ours = [">accuracy", ">ms an image", ">library"]
    print_table(["network", *ours, ">onnxruntime: accuracy", ">ms an image"], rows)
    if found.reference_missing:
        print(f"\n{found.reference_missing}")
    if found.folder is not None:
        print(f"\n{found.folder} holds the networks, the images (test.npz) and the bundles; try:")
        print(f"    qcompile check {found.folder}/int8.onnx --data {found.folder}/test.npz")
        print(f"    qcompile bench {found.folder}/int8 --per-layer")


def _caches(target: Target) -> tuple[int, int, int]:
    return target.l1d_bytes, target.l2_bytes, target.l3_bytes


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{s.name} {s.dtype} {'x'.join(map(str, s.shape))}" for s in specs)
