"""Measure all scores that are missing, block by block in the order of the data."""

import math
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from qcompile.commands.progress import Progress
from qcompile.errors import UndefinedLoss
from qcompile.quantizer import Widths
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.search.sensitivity.alone import alone, edges_of
from qcompile.search.sensitivity.hutchinson import layer_moments, omegas
from qcompile.search.sensitivity.request import Request
from qcompile.search.sensitivity.scores import Score
from qcompile.search.sensitivity.store import Store
from qcompile.search.sensitivity.traces import Prober, Traces
from qcompile.search.sensitivity.track import Track

COMPARED = ("block", "kl")  # kinds that compare on the calibration samples
TRACED = "hutchinson"


class Course:
    """One request's."""

    def __init__(self, request: Request, store: Store, progress: Progress) -> None:
        self._request, self._store, self._progress = request, store, progress
        self._done, self._total = 0, sum(len(widths) for widths in request.choices.values())

    def run(self) -> None:
        """Put every score of the request into the store."""
        request = self._request
        if not any(self._missing(name) for name in request.choices):
            return
        self._progress("running the float network")
        with np.errstate(over="ignore", invalid="ignore"):  # no score that is not finite is kept
            tracks = self._tracks()
            for block in tracks[0].blocks():
                for track in tracks:
                    track.stream.advance(block)
                for node in request.network.nodes[block.start : block.stop]:
                    layer = request.network.layer(node)
                    if layer is not None and layer.name in request.choices:
                        self._measure(layer, tracks)

    def _tracks(self) -> list[Track]:
        """The calibration samples, and behind them the labelled ones where a kind needs them."""
        request, kinds = self._request, self._request.keys
        drawn, losses, labelled = request.calibration, request.losses, request.labelled
        compared = [kind for kind in COMPARED if kind in kinds]
        if TRACED in kinds and losses is drawn:
            compared.append(TRACED)
        tracks = [Track(request.network, request.batches(drawn), compared)]
        if TRACED in kinds and losses is not drawn:
            batches = request.batches(losses)
            tracks.append(Track(request.network, batches, [TRACED], losses.labels))
        if "accuracy" in kinds and labelled is not None:
            batches = request.batches(labelled)
            tracks.append(Track(request.network, batches, ["accuracy"], labelled.labels))
        return tracks

    def _missing(self, layer: str) -> dict[Widths, list[str]]:
        """The kinds without a score, by widths."""
        found: dict[Widths, list[str]] = {}
        for kind in self._request.keys:
            for widths in self._request.missing(self._store, kind, layer):
                found.setdefault(widths, []).append(kind)
        return found

    def _measure(self, layer: Layer, tracks: Sequence[Track]) -> None:
        """All that the layer misses, each score kept as soon as it is known."""
        request, missing = self._request, self._missing(layer.name)
        self._done += len(request.choices[layer.name]) - len(missing)
        inputs, options = tracks[0].stream.chunks(layer.input), request.options.quantize
        traced = [widths for widths, kinds in missing.items() if TRACED in kinds]
        if traced:
            self._progress(f"traces of {layer.name}", self._done, self._total)
            traces = self._traces(layer, inputs, tracks)
            for widths, score in omegas(layer, traces, inputs, traced, options).items():
                self._keep(layer, widths, TRACED, score)
        compared = [widths for widths, kinds in missing.items() if kinds != [TRACED]]
        for widths, change in alone(request.network, layer, inputs, compared, options):
            self._progress(f"sensitivity of {layer.name}", self._done, self._total)
            for track in tracks:
                kinds = [k for k in missing[widths] if k in track.kinds and k != TRACED]
                for kind, score in (track.measure(change, kinds) if kinds else {}).items():
                    self._keep(layer, widths, kind, score)
            self._done += 1
        self._done += len(missing) - len(compared)

    def _traces(self, layer: Layer, inputs: Sequence[Array], tracks: Sequence[Track]) -> Traces:
        """Those of the layer, from the store where it knows them."""
        request, options = self._request, self._request.options
        place = {"key": request.keys[TRACED], "kind": "trace", "layer": layer.name}
        known = self._store.find(**place)
        if known is not None:
            return _traces_of(known)
        track = next(track for track in tracks if TRACED in track.kinds)
        narrowest = min(request.choices[layer.name], key=lambda widths: widths.activations)
        edges = edges_of(request.network, layer, narrowest)
        corrected = options.quantize.correct_bias
        means = layer_moments(layer, inputs).inputs if corrected else None
        rng = np.random.default_rng([request.seed, crc32(layer.name.encode())])
        traces = Prober(track.stream, track.loss, layer, edges, means).traces(options.probes, rng)
        for what, score in (("weights", traces.weights), ("inputs", traces.inputs)):
            _expect_finite(f"layer '{layer.name}': the trace by its {what}", score)
        self._store.add(_line_of(traces), **place)
        return traces

    def _keep(self, layer: Layer, widths: Widths, kind: str, score: Score) -> None:
        bits = f"{widths.weights}-bit weights and {widths.activations}-bit inputs"
        _expect_finite(f"layer '{layer.name}' with {bits}: {kind}", score)
        place = {"key": self._request.keys[kind], "kind": kind, "layer": layer.name}
        self._store.add_score(score, widths, **place)


def _line_of(traces: Traces) -> dict[str, float]:
    return {
        "weights": traces.weights.value,
        "weights_error": traces.weights.standard_error,
        "inputs": traces.inputs.value,
        "inputs_error": traces.inputs.standard_error,
    }


def _traces_of(line: Mapping[str, float]) -> Traces:
    weights = Score(line["weights"], line["weights_error"])
    return Traces(weights, Score(line["inputs"], line["inputs_error"]))


def _expect_finite(what: str, score: Score) -> None:
    if not (math.isfinite(score.value) and math.isfinite(score.standard_error)):
        raise UndefinedLoss(
            f"{what} is {score.value} +- {score.standard_error}; data as the network was trained "
            "on, smaller weights, or more bits would work"
        )
