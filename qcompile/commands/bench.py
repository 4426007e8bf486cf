"""Measure a bundle's latency, alone or against other frameworks."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from qcompile.commands.manifest import Manifest, predicted_seconds, read_manifest
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.peers import Peer, PeerFailed
from qcompile.commands.progress import Progress, silent
from qcompile.commands.race import Contender, Latency, race
from qcompile.errors import InvalidInput
from qcompile.files import expect_regular

LAYER_INFERENCES = 200
PEERS = ("onnxruntime", "openvino", "litert")


@dataclass(frozen=True)
class LayerTime:
    """One kernel call: its layer, its kernel, the median seconds and its share of their sum.

    predicted_s: what the table of costs said of the whole layer on one core; None where it did not.
    """

    name: str
    kernel: str
    macs: int
    median_s: float
    share: float
    predicted_s: float | None


@dataclass(frozen=True)
class Bench:
    """Latencies, ours first. `failed` tells why a peer is not among them."""

    manifest: Manifest
    threads: int
    latencies: list[Latency]
    failed: dict[str, str]
    layers: list[LayerTime]


def bench(
    bundle: str | Path,
    *,
    variant: str | None = None,
    threads: int | None = None,
    repeat: int | None = None,
    per_layer: bool = False,
    against: Mapping[str, str | Path | None] | None = None,
    model: str | Path | None = None,
    progress: Progress = silent,
) -> Bench:
    """The latency of the bundle in the folder `bundle`, and of `against` on the ONNX file `model`.

    `variant` is the network to measure where the bundle has several. `against` maps peers
    (onnxruntime, openvino, litert) to a model file of their own, or None for `model`. All run with
    `threads` threads, alternately in blocks, `repeat` inferences each. A peer that refuses its
    model is told in `failed`; the others are measured. Raises QCompileError, before anything is
    measured, when a peer is not installed or its model cannot be read.
    """
    for name, number in (("threads", threads), ("repeat", repeat)):
        if number is not None and number < 1:
            raise InvalidInput(f"{name} is {number}; at least 1 is needed")
    if unknown := sorted(set(against or {}) - set(PEERS)):
        raise InvalidInput(f"unknown peers {unknown}: known are {', '.join(PEERS)}")
    manifest = read_manifest(bundle, variant)
    threads = threads or manifest.threads
    contenders: list[Contender] = [OwnBench(manifest, threads)]
    failed = {}
    with ExitStack() as stack:
        for name, file in (against or {}).items():
            if (path := file or model) is None:
                raise InvalidInput(f"{name}: which model it should run is not given")
            try:
                expect_regular(path)
                peer = Peer(name, path, threads, manifest.inputs)
                contenders.append(stack.enter_context(closing(peer)))
            except PeerFailed as error:
                failed[name] = str(error)
            except OSError as error:
                raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from error
        latencies = race(
            contenders,
            inferences=repeat,
            progress=lambda done, total: progress("measuring", done, total),
        )
    layers = _layers(manifest, threads, repeat) if per_layer else []
    return Bench(manifest, threads, latencies, failed, layers)


def _layers(manifest: Manifest, threads: int, repeat: int | None) -> list[LayerTime]:
    times = OwnBench(manifest, threads).layers(repeat or LAYER_INFERENCES)
    total = sum(seconds for _, seconds in times)
    facts = {layer["name"]: layer for layer in manifest.layers}
    predicted = predicted_seconds(manifest.folder)
    return [
        LayerTime(
            name=name,
            kernel=str(facts.get(name, {}).get("kernel", "")),
            macs=int(facts.get(name, {}).get("macs", 0)),
            median_s=seconds,
            share=seconds / total if total else 0.0,
            predicted_s=predicted.get(name),
        )
        for name, seconds in times
    ]
