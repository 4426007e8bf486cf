"""Measure all scores that are missing, block by block in the order of the data."""

import math
from collections.abc import Sequence

from qcompile.commands.progress import Progress
from qcompile.errors import UndefinedLoss
from qcompile.quantizer import Widths
from qcompile.quantizer.layers import Layer
from qcompile.search.sensitivity.alone import alone
from qcompile.search.sensitivity.flow import Change
from qcompile.search.sensitivity.request import Request
from qcompile.search.sensitivity.scores import Score
from qcompile.search.sensitivity.store import Store
from qcompile.search.sensitivity.track import Track

COMPARED = ("block", "kl")  # kinds that compare on the calibration samples


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
        tracks = self._tracks()
        network = request.network
        for block in tracks[0].blocks():
            for track in tracks:
                track.stream.advance(block)
            for node in network.nodes[block.start : block.stop]:
                layer = network.layer(node)
                if layer is not None and layer.name in request.choices:
                    self._measure(layer, tracks)

    def _tracks(self) -> list[Track]:
        """The calibration samples, and behind them the labelled ones where a kind needs them."""
        request, kinds = self._request, self._request.keys
        drawn = request.batches(request.calibration)
        tracks = [Track(request.network, drawn, [kind for kind in COMPARED if kind in kinds])]
        if "accuracy" in kinds:
            assert request.labelled is not None
            images = request.batches(request.labelled)
            labels = request.labelled.labels
            tracks.append(Track(request.network, images, ["accuracy"], labels))
        return tracks

    def _missing(self, layer: str) -> dict[Widths, list[str]]:
        """The kinds without a score, by widths."""
        found: dict[Widths, list[str]] = {}
        for kind in self._request.keys:
            for widths in self._request.missing(self._store, kind, layer):
                found.setdefault(widths, []).append(kind)
        return found

    def _measure(self, layer: Layer, tracks: Sequence[Track]) -> None:
        request, missing = self._request, self._missing(layer.name)
        self._done += len(request.choices[layer.name]) - len(missing)
        inputs = tracks[0].stream.chunks(layer.input)
        options = request.options.quantize
        for widths, change in alone(request.network, layer, inputs, list(missing), options):
            self._progress(f"sensitivity of {layer.name}", self._done, self._total)
            self._compare(layer, widths, change, missing[widths], tracks)
            self._done += 1

    def _compare(
        self,
        layer: Layer,
        widths: Widths,
        change: Change,
        missing: Sequence[str],
        tracks: Sequence[Track],
    ) -> None:
        for track in tracks:
            kinds = [kind for kind in missing if kind in track.kinds]
            for kind, score in (track.measure(change, kinds) if kinds else {}).items():
                _expect_finite(layer, widths, kind, score)
                place = {"key": self._request.keys[kind], "kind": kind, "layer": layer.name}
                self._store.add_score(score, widths, **place)


def _expect_finite(layer: Layer, widths: Widths, kind: str, score: Score) -> None:
    if not (math.isfinite(score.value) and math.isfinite(score.standard_error)):
        raise UndefinedLoss(
            f"layer '{layer.name}' at {widths.weights}-bit weights and {widths.activations}-bit "
            f"inputs: {kind} is {score.value}; more or other calibration samples, or more bits for "
            "this layer would work"
        )
