"""ResNet-18 in int8 against onnxruntime, its 3x3 layers against the peak; tuned against untuned.

    python benchmarks/x86_int8.py [--threads 1 2] [--records DB] [--cache FOLDER] [--record]

All run batch 1 in processes of their own, in alternating blocks, the others stopped. A layer's
time includes its epilogue (bias, requantization, residual, activation) and the padding of its
input. The peak is that of the VNNI dot product on registers, measured between the blocks. Kernels
are tuned by the records in DB and those that ship, of as many threads as they run on (`qcompile
tune --threads`); untuned ones take no record into account.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import onnx
from kernel_clock import Clock
from models import NETWORKS, model_file
from results import Report, Table, add_options, finish, working_folder

from qcompile.commands.manifest import Manifest, read_manifest, tuned_kernels
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.peers import Peer
from qcompile.commands.race import Latency, race
from qcompile.compiler import compile_model
from qcompile.targets import host_features, host_target

NETWORK = "resnet18"
VNNI = ("avx512vnni", "avxvnni")
LAYER_ROUNDS = 7
LAYER_INFERENCES = 20
TUNED_ROUNDS = 15  # gains are a few percent: more rounds than for other ratios
NOISE = 0.01  # equal networks are within this of each other


def main() -> None:
    parser = argparse.ArgumentParser(description="ResNet-18 int8 against onnxruntime.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--records", type=Path, metavar="DB", help="of `qcompile tune`")
    add_options(parser)
    options = parser.parse_args()
    if not set(VNNI) & set(host_features()):
        print(f"skipped: this processor has none of {', '.join(VNNI)}")
        return
    with working_folder(options.cache) as folder:
        model = model_file(NETWORK, "int8", folder)
        compile_model(model, host_target(), output=folder / NETWORK, records=options.records)
        manifest = read_manifest(folder / NETWORK)
        counts = [threads for threads in options.threads if threads <= (os.cpu_count() or 1)]
        latencies = {threads: against_onnxruntime(manifest, model, threads) for threads in counts}
        layers, peak = layer_table(manifest, model, Clock(host_target(), folder))
        tuned, gains = tuned_table(folder, options.records, counts)
    tables = [latency_table(latencies), layers, tuned]
    finish(Report("x86_int8", tables, [peak, gains]), options)


def against_onnxruntime(manifest: Manifest, model: Path, threads: int) -> list[Latency]:
    """Our latency, then onnxruntime's."""
    with closing(Peer("onnxruntime", model, threads, manifest.inputs)) as peer:
        return race([OwnBench(manifest, threads), peer])


def latency_table(latencies: dict[int, list[Latency]]) -> Table:
    rows = [
        [threads, f"{one.name} {one.version}", *_milliseconds(one), round(one.ratio, 2)]
        for threads, both in latencies.items()
        for one in both
    ]
    columns = ["threads", "framework", "median ms", "p10 ms", "p90 ms", "time over ours"]
    return Table("ResNet-18 int8, batch 1", columns, rows)


def _milliseconds(latency: Latency) -> list[float]:
    return [round(s * 1e3, 3) for s in (latency.median_s, latency.p10_s, latency.p90_s)]


def layer_table(manifest: Manifest, model: Path, clock: Clock) -> tuple[Table, str]:
    """Each layer on one thread, and what the 3x3 layers reach of the peak."""
    seconds: dict[str, list[float]] = defaultdict(list)
    peaks = [clock.peak()]
    for _ in range(LAYER_ROUNDS):
        for name, taken in layer_seconds(manifest, OwnBench(manifest, 1)):
            seconds[name].append(taken)
        peaks.append(clock.peak())
    peak, kernels = median(peaks), _kernel_sizes(model)
    rows, shares = [], []
    for layer in manifest.layers:
        name, taken = layer["name"], median(seconds[layer["name"]])
        rate = 2 * layer["macs"] / taken
        rows.append(
            [name, kernels.get(name, ""), f"{taken * 1e6:.1f}", f"{rate / 1e9:.0f}",
             f"{rate / peak:.1%}"]
        )  # fmt: skip
        if kernels.get(name) == "3x3":
            shares.append(rate / peak)
    remark = (
        f"VNNI peak of one core: {peak / 1e9:.0f} GOPS ({min(peaks) / 1e9:.0f} to "
        f"{max(peaks) / 1e9:.0f}). The {len(shares)} 3x3 layers reach {min(shares):.1%} to "
        f"{max(shares):.1%} of it."
    )
    columns = ["layer", "kernel", "us", "GOPS", "of the peak"]
    return Table("Layers, one thread", columns, rows), remark


def tuned_table(folder: Path, records: Path | None, counts: Sequence[int]) -> tuple[Table, str]:
    """Each network with kernels tuned for its threads, and untuned, in alternating blocks."""
    rows, slower = [], []
    for name in NETWORKS:
        untuned = folder / f"{name}_untuned"
        model = model_file(name, "int8", folder)
        compile_model(model, host_target(), output=untuned, shipped_records=False)
        for threads in counts:
            tuned = folder / f"{name}_{threads}"
            compile_model(model, host_target(), output=tuned, threads=threads, records=records)
            kernels = tuned_kernels(tuned)
            ours, before = tuned_race(tuned, untuned, threads)
            if before.ratio < 1 - NOISE:
                slower.append(f"{name} on {threads} threads")
            rows.append(
                [name, threads, f"{kernels.tuned} of {kernels.kernels}", *_milliseconds(before)[:1],
                 *_milliseconds(ours), f"{1 - 1 / before.ratio:.1%}"]
            )  # fmt: skip
    columns = ["network", "threads", "kernels tuned", "untuned ms"]
    columns += ["tuned ms", "p10 ms", "p90 ms", "gain"]
    remark = f"Slower than untuned by more than {NOISE:.0%}: {', '.join(slower) or 'none'}."
    return Table("Tuned against untuned, int8, batch 1", columns, rows), remark


def tuned_race(tuned: Path, untuned: Path, threads: int) -> list[Latency]:
    """The latency of the tuned bundle, then that of the untuned one."""
    with (
        closing(OwnBench(read_manifest(tuned), threads)) as ours,
        closing(OwnBench(read_manifest(untuned), threads)) as before,
    ):
        return race([ours, before], rounds=TUNED_ROUNDS)


def layer_seconds(manifest: Manifest, bench: OwnBench) -> Iterator[tuple[str, float]]:
    """Each layer's seconds, with those of the calls before it that prepare its input."""
    layers = {layer["name"] for layer in manifest.layers}
    waiting = 0.0
    for name, taken in bench.layers(LAYER_INFERENCES):
        waiting += taken
        if name in layers:
            yield name, waiting
            waiting = 0.0


def _kernel_sizes(model: Path) -> dict[str, str]:
    """The size of each convolution's kernel, by the node's name."""
    sizes: dict[str, Sequence[int]] = {
        node.name: attribute.ints
        for node in onnx.load(model).graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "kernel_shape"
    }
    return {name: "x".join(map(str, size)) for name, size in sizes.items()}


if __name__ == "__main__":
    main()
