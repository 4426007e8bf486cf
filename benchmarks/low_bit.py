"""ResNet-18 with inner layers of few bits beside int8: ours, onnxruntime's and OpenVINO's.

    python benchmarks/low_bit.py [--threads 1 2] [--layers resnet18_w1a1] [--cache FOLDER]
                                 [--json] [--record]

All run batch 1 in alternating blocks, each framework in a process of its own; the int8 peers run
the QDQ file. A layer's limit is that of its kernel's instructions on registers, measured between
the blocks: `vpopcntd` divided by the layer's pairs of planes, or the VNNI dot product. Packing is
every call that makes bit planes: thresholds, planes and the border in one pass over the data.
"""

import argparse
import os
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import low_bit_networks
import models
from kernel_clock import Clock
from results import Report, Table, add_options, finish, working_folder
from x86_int8 import LAYER_INFERENCES, LAYER_ROUNDS

from qcompile.commands.manifest import Manifest, read_manifest
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.peers import Peer
from qcompile.commands.race import Contender, Latency, race
from qcompile.compiler import compile_model
from qcompile.errors import MissingPackage
from qcompile.targets import host_target

NETWORKS = ("resnet18_w1a1", "resnet18_w1a2", "resnet18_w2a2", "resnet18_w4a4")
INT8, FLOAT = "resnet18_int8", "resnet18_fp32"
PEERS = ("onnxruntime", "openvino")
SMALLER = 10  # times that the binary network's library is smaller than float's, at least
INNER = "layer"  # begins the names of the layers of blocks, of which shortcuts have 8 bits
# Two 3x3 layers in each of two blocks; the first one of a later stage has half of the channels.
INNER_WEIGHTS = 9 * (4 * 64**2 + sum(3 * c**2 + c * c // 2 for c in (128, 256, 512)))
PACKS = "pack"  # in the name of a call that makes bit planes


def main() -> None:
    parser = argparse.ArgumentParser(description="ResNet-18 of few bits against int8.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", choices=NETWORKS, default=NETWORKS[0], help="one to look into")
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        bundles = {name: bundle(name, folder) for name in (INT8, *NETWORKS, FLOAT)}
        remarks = ["LiteRT is skipped: it reads TFLite files alone, and this network has none."]
        tables = []
        for threads in options.threads:
            if threads <= (os.cpu_count() or 1):
                found = _race(bundles, models.model_file("resnet18", "int8", folder), threads)
                tables.append(latency_table(found.latencies, threads))
                remarks += [text for text in found.skipped if text not in remarks]
        tables.append(size_table(bundles))
        layers, told = layer_table(bundles[options.layers], Clock(host_target(), folder))
        factor = bundles[FLOAT].library_bytes / bundles[NETWORKS[0]].library_bytes
    remarks += [told, f"The library of {NETWORKS[0]} is {factor:.1f} times smaller than float's."]
    finish(Report("low_bit", [*tables, layers], remarks), options)
    if factor < SMALLER:
        raise SystemExit(f"{NETWORKS[0]}: {factor:.1f} times smaller than float, not {SMALLER}")


def bundle(name: str, folder: Path) -> Manifest:
    """The network compiled for this machine."""
    if name in low_bit_networks.NETWORKS:
        model = low_bit_networks.model_file(name, folder)
    else:
        model = models.model_file("resnet18", name.removeprefix("resnet18_"), folder)
    compile_model(model, host_target(), output=folder / name)
    return read_manifest(folder / name)


@dataclass(frozen=True)
class Race:
    """Latencies, our int8 first, and why a peer did not run."""

    latencies: list[Latency]
    skipped: list[str]


def _race(bundles: dict[str, Manifest], int8_model: Path, threads: int) -> Race:
    contenders: list[Contender] = []
    skipped = []
    for name in (INT8, *NETWORKS):
        ours = OwnBench(bundles[name], threads)
        ours.name = name
        contenders.append(ours)
    with ExitStack() as running:
        for name in PEERS:
            try:
                peer = Peer(name, int8_model, threads, bundles[INT8].inputs)
            except MissingPackage as error:
                skipped.append(f"{name} is skipped: {error}.")
                continue
            contenders.append(running.enter_context(closing(peer)))
        return Race(race(contenders), skipped)


def latency_table(latencies: list[Latency], threads: int) -> Table:
    """Speed-ups are quotients of medians over rounds, in which all were measured."""
    peers = [one.ratio for one in latencies if one.name in PEERS]
    rows = []
    for one in latencies:
        who = f"{one.name} {one.version}, int8" if one.name in PEERS else f"qcompile {one.name}"
        times = [round(s * 1e3, 3) for s in (one.median_s, one.p10_s, one.p90_s)]
        best: float | str = round(min(peers) / one.ratio, 2) if peers else ""
        rows.append([who, *times, best, round(1 / one.ratio, 2)])
    columns = ["network", "median ms", "p10 ms", "p90 ms", "times best int8 peer", "times our int8"]
    return Table(f"ResNet-18, batch 1, threads: {threads}", columns, rows)


def size_table(bundles: dict[str, Manifest]) -> Table:
    """Bytes of libraries, and of the weights of the 3x3 layers inside of them."""
    rows: list[list[str | int | float]] = []
    for name, manifest in bundles.items():
        weights = sum(
            layer["weight_bytes"]
            for layer in manifest.layers
            if layer["name"].startswith(INNER) and not layer["name"].endswith("shortcut")
        )
        smaller = bundles[FLOAT].library_bytes / manifest.library_bytes
        rows.append(
            [
                *(name, round(manifest.library_bytes / 1024), round(smaller, 1)),
                *(round(manifest.weight_bytes / 1024), round(weights / 1024)),
                round(8 * weights / INNER_WEIGHTS, 2),
            ]
        )
    columns = ["network", "library KiB", "times smaller than float"]
    columns += ["constants KiB", "3x3 layers' KiB", "bits a weight"]
    return Table("Size", columns, rows)


def layer_table(manifest: Manifest, clock: Clock) -> tuple[Table, str]:
    """Each call on one thread against the limit of its kernel, and what packing takes of all."""
    seconds: dict[str, list[float]] = defaultdict(list)
    counts = "avx512vpopcntdq" in clock.target.features
    peaks, limits = [clock.peak()], [clock.popcount_limit()] if counts else []
    for _ in range(LAYER_ROUNDS):
        calls: dict[str, int] = defaultdict(int)
        for name, taken in OwnBench(manifest, 1).layers(LAYER_INFERENCES):
            calls[name] += 1
            seconds[name if calls[name] == 1 else f"{name} ({calls[name]})"].append(taken)
        peaks.append(clock.peak())
        limits += [clock.popcount_limit()] if counts else []
    times = {name: median(taken) for name, taken in seconds.items()}
    layers = {layer["name"]: layer for layer in manifest.layers}
    whole = sum(times.values())
    rows: list[list[str | int | float]] = []
    for name, taken in times.items():
        row: list[str | int | float] = [name, "", f"{taken * 1e6:.1f}", f"{taken / whole:.1%}", ""]
        if layer := layers.get(name):
            row[1] = layer["kernel"]
            bits = layer["kernel"].endswith("_bits")
            pairs = layer["a_bits"] * layer["w_bits"] if bits else 1
            if known := limits if bits else peaks:
                row[4] = f"{2 * layer['macs'] / taken / (median(known) / pairs):.1%}"
        rows.append(row)
    packing = sum(taken for name, taken in times.items() if PACKS in name) / whole
    told = f"Packing takes {packing:.1%} of {manifest.name}. VNNI peak of one core: "
    told += f"{median(peaks) / 1e9:.0f} GOPS"
    told += f"; popcount limit: {median(limits) / 1e9:.0f} GOPS of one bit." if limits else "."
    return Table(f"{manifest.name}, one thread", ["call", "kernel", "us", "share", "of the limit"],
                 rows), told  # fmt: skip


if __name__ == "__main__":
    main()
