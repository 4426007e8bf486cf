"""What each idea brings to a binary ResNet-18: one left out at a time, all others in place.

    python benchmarks/ablation.py [--cache FOLDER] [--json] [--record]

The ablation of Riptide (Fromm et al. 2020) on our kernels. Every variant is compiled by
the same passes with that one thing switched off, and gives exactly the same outputs, or the program
ends with an error. All run batch 1 on one thread in alternating blocks; the best also runs on two.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from unittest.mock import patch

import low_bit_networks
import numpy as np
import tvm
import tvm_ffi
from results import Report, Table, add_options, finish, working_folder
from tvm import tirx

import qcompile
from qcompile import schedules
from qcompile.commands.manifest import Manifest, read_manifest
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.race import race
from qcompile.export import export_bundle
from qcompile.frontend import import_onnx
from qcompile.pipeline import (
    Pass,
    fuse_passes,
    integer_form_passes,
    lower_passes,
    own_form_passes,
)
from qcompile.schedules import conv2d_bits_plan
from qcompile.schedules.tile import Tile
from qcompile.targets import Target, host_target
from qcompile.targets.costs import costs_of

NETWORK = "resnet18_w1a1"
# A layer of the table: what runs after the first of these until the second has run.
BEFORE, LAYER = "layer1.0.conv1", "layer1.0.conv2"
ROUNDS, INFERENCES = 5, 20
OPAQUE = 8  # TVM's kind of pattern that nothing is fused to
KERNELS, PACKS, BORDERS = ("conv2d", "dense", "batch_matmul"), ("pack",), ("border",)
COUNTERS = ("avx512vpopcntdq", "avx512bitalg")
SCALAR = ["-vectorize-loops=false", "-vectorize-slp=false"]  # LLVM's own vectors


@dataclass(frozen=True)
class Variant:
    """What is left out, the passes and the target that do so, and what holds while lowering."""

    left_out: str
    passes: Callable[[Target], list[Pass]] = lambda target: list(fuse_passes(target))
    change: Callable[[Target], Target] = lambda target: target
    during: Callable[[], AbstractContextManager[object]] = nullcontext


def variants() -> list[Variant]:
    """The best first."""
    return [
        Variant("nothing"),
        Variant("packing fused with thresholds", lambda target: _apart(target, PACKS + BORDERS)),
        Variant("epilogues fused with kernels", lambda target: _apart(target, KERNELS)),
        Variant("all fusion", _without_fusion),
        Variant("tiles of sums (bits)", during=_single_sums),
        Variant("popcount instruction (vpshufb for it)", change=_without_counters),
        Variant("vectors (bits, packing, glue)", _scalar, _without_llvm_vectors, _scalar_packing),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        model = low_bit_networks.model_file(NETWORK, folder)
        bundles = [_bundle(v, model, folder / f"ablation{k}") for k, v in enumerate(variants())]
        _expect_equal(bundles)
        table = _table(bundles)
    finish(Report("ablation", [table], ["The outputs of all variants are equal."]), options)


def _bundle(variant: Variant, model: Path, output: Path) -> Manifest:
    target = variant.change(host_target())
    imported = import_onnx(model)
    passes = [
        *own_form_passes(),
        *integer_form_passes(),
        *lower_passes(target, costs_of(host_target())),
        *variant.passes(target),
    ]
    with variant.during():
        kernels = tvm.transform.Sequential(passes)(imported.mod)
    export_bundle(kernels, name=NETWORK, target=target, output=output)
    return read_manifest(output)


def _expect_equal(bundles: list[Manifest]) -> None:
    """Ends the program where a variant's outputs, or the kernels of its layers, differ."""
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (1, 3, 224, 224)).astype("float32")
    best, *others = [qcompile.load(manifest.folder)(image) for manifest in bundles]
    layers = [
        [(layer["name"], layer["kernel"]) for layer in manifest.layers] for manifest in bundles
    ]
    for variant, scores, own in zip(variants()[1:], others, layers[1:], strict=True):
        if not np.array_equal(best, scores) or own != layers[0]:
            raise SystemExit(f"without {variant.left_out} the outputs or the kernels differ")


def _table(bundles: list[Manifest]) -> Table:
    names = [variant.left_out for variant in variants()]
    benches = [OwnBench(manifest, 1) for manifest in bundles]
    layers = [_layer_seconds(bench) for bench in benches]
    if (os.cpu_count() or 1) > 1:
        names.append("nothing, on two threads")
        benches.append(OwnBench(bundles[0], 2))
        layers.append(_layer_seconds(benches[-1]))
    rows: list[list[str | int | float]] = []
    for name, latency, layer_s in zip(names, race(benches), layers, strict=True):
        times = [round(s * 1e3, 3) for s in (latency.median_s, latency.p10_s, latency.p90_s)]
        factor, layer = round(latency.ratio, 2), round(layer_s * 1e6, 1)
        rows.append([name, *times, factor, layer, round(layer_s / layers[0], 2)])
    columns = ["left out", "median ms", "p10 ms", "p90 ms", "times the best"]
    columns += ["56x56x64 layer us", "times the best's"]
    return Table(f"{NETWORK}, batch 1, one thread", columns, rows)


def _layer_seconds(bench: OwnBench) -> float:
    """One 3x3 layer of 64 channels with its share of glue and packing."""
    found = []
    for _ in range(ROUNDS):
        calls = bench.layers(INFERENCES)
        names = [name for name, _ in calls]
        first, last = names.index(BEFORE) + 1, names.index(LAYER) + 1
        found.append(sum(taken for _, taken in calls[first:last]))
    return median(found)


def _apart(target: Target, prefixes: tuple[str, ...]) -> list[Pass]:
    """The passes, where nothing is fused to functions whose names begin so."""

    @tvm.transform.module_pass(opt_level=0, name="Apart")
    def mark(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
        functions = {
            var: function.with_attr("op_pattern", OPAQUE)
            if isinstance(function, tirx.PrimFunc) and var.name_hint.startswith(prefixes)
            else function
            for var, function in mod.functions.items()
        }
        return tvm.IRModule(functions, attrs=mod.attrs)

    return [
        step
        for own in fuse_passes(target)
        for step in ([mark, own] if own.info.name == "FuseOps" else [own])
    ]


def _without_fusion(target: Target) -> list[Pass]:
    return [own for own in fuse_passes(target) if own.info.name != "FuseOps"]


@contextmanager
def _single_sums() -> Iterator[None]:
    """Tiles of one vector of sums for one pixel."""
    with patch.object(conv2d_bits_plan, "bit_tiles", lambda *_: [Tile(1, 1)]):
        yield


def _without_counters(target: Target) -> Target:
    """Bits are counted by looking halves of bytes up."""
    return replace(target, features=tuple(f for f in target.features if f not in COUNTERS))


def _scalar(target: Target) -> list[Pass]:
    """The passes, then loops instead of vectors wherever no dot product of int8 needs them."""

    def serial(loop: tirx.For) -> tirx.For:
        if loop.kind != tirx.ForKind.VECTORIZED:
            return loop
        kind = tirx.ForKind.SERIAL
        return tirx.For(loop.loop_var, loop.min, loop.extent, kind, loop.body)

    @tvm.transform.module_pass(opt_level=0, name="Scalar")
    def loops(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
        functions = {
            var: function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, serial)))
            if isinstance(function, tirx.PrimFunc) and "int8" not in var.name_hint
            else function
            for var, function in mod.functions.items()
        }
        return tvm.IRModule(functions, attrs=mod.attrs)

    return [*fuse_passes(target), loops]


def _without_llvm_vectors(target: Target) -> Target:
    return replace(target, llvm={**target.llvm, "cl-opt": SCALAR})


@contextmanager
def _scalar_packing() -> Iterator[None]:
    """Words are put together bit by bit."""
    with patch.object(schedules, "pack_vectors", lambda function: function):
        yield


if __name__ == "__main__":
    main()
