"""Measure a bundle's latency, alone or against other frameworks."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from qcompile.commands.manifest import Manifest, predicted_seconds, read_manifest
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.peers import Peer, PeerFailed
from qcompile.commands.progress import Progress, silent
from qcompile.commands.race import LEAST_INFERENCES, Contender, Latency, LostInRace, race
from qcompile.commands.simulation import expect_place
from qcompile.devices import LOCAL, SIM
from qcompile.errors import DeviceLost, InvalidInput
from qcompile.files import expect_regular

LAYER_INFERENCES, LAYER_S = 200, 10.0  # at most, of a bench of layers
PEERS = ("onnxruntime", "openvino", "litert")
THROTTLED = 1.1  # drifts above this are no noise of a quiet board


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
    """Latencies, ours first. `failed` tells why a peer is not among them.

    emulated: the times say nothing about the speed of any processor. warnings: what makes them
    doubtful. lost: how the device disappeared in the middle; what was measured before is here.
    """

    manifest: Manifest
    device: str
    emulated: bool
    threads: int
    latencies: list[Latency]
    failed: dict[str, str]
    layers: list[LayerTime]
    warnings: list[str]
    lost: str | None


def bench(
    bundle: str | Path,
    *,
    variant: str | None = None,
    threads: int | None = None,
    repeat: int | None = None,
    per_layer: bool = False,
    against: Mapping[str, str | Path | None] | None = None,
    model: str | Path | None = None,
    device: str = LOCAL,
    progress: Progress = silent,
) -> Bench:
    """The latency of the bundle in the folder `bundle`, and of `against` on the ONNX file `model`.

    `device` is where the bundle runs (see `open_device`); peers run on this machine alone.
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
    if against and device != LOCAL:
        raise InvalidInput(f"{', '.join(against)}: peers run on this machine, not on {device}")
    manifest = read_manifest(bundle, variant)
    if device == SIM:
        raise InvalidInput(f"{device}: simulates cycles: qcompile.commands.sim_bench gives them")
    expect_place(manifest, device)
    threads = threads or manifest.threads
    failed: dict[str, str] = {}
    layers: list[LayerTime] = []
    with ExitStack() as stack:
        ours = stack.enter_context(closing(OwnBench(manifest, threads, device)))
        contenders: list[Contender] = [ours]
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
        latencies, lost = _race(contenders, repeat, progress)
        if per_layer and lost is None:
            try:
                layers = _layers(manifest, ours, latencies[0].median_s, repeat)
            except DeviceLost as error:
                lost = f"{error}; the layers were not measured"
    found = list(ours.placed.preflight.warnings)
    emulated = ours.placed.device.emulated
    if latencies[0].drift > THROTTLED and not emulated:
        found.append(
            f"the last rounds took {latencies[0].drift:.2f} times as long as the first ones: the "
            "processor is throttled against heat, or does other work"
        )
    return Bench(manifest, device, emulated, threads, latencies, failed, layers, found, lost)


def _race(
    contenders: list[Contender], repeat: int | None, progress: Progress
) -> tuple[list[Latency], str | None]:
    """The latencies, and how the device disappeared where it did after the first round."""
    try:
        latencies = race(
            contenders,
            inferences=repeat,
            progress=lambda done, total: progress("measuring", done, total),
        )
    except LostInRace as error:
        rounds = "one round" if error.rounds == 1 else f"{error.rounds} rounds"
        return error.latencies, f"{error}; what is told was measured in {rounds} before"
    return latencies, None


def _layers(
    manifest: Manifest, ours: OwnBench, latency_s: float, repeat: int | None
) -> list[LayerTime]:
    fitting = max(LEAST_INFERENCES, min(LAYER_INFERENCES, int(LAYER_S / max(latency_s, 1e-9))))
    times = ours.layers(repeat or fitting)
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
