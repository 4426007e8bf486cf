"""What is asked of a measurement of sensitivities, read and checked."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from qcompile.arrays import Array, Samples
from qcompile.errors import InvalidInput
from qcompile.quantizer import Widths
from qcompile.quantizer.equalize import equalize
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import Network, load_network
from qcompile.quantizer.samples import cut, read_network_samples
from qcompile.records.canonical import canonical
from qcompile.search.sensitivity.options import KINDS, SensitivityOptions
from qcompile.search.sensitivity.scores import Score
from qcompile.search.sensitivity.store import Store, digest

LEAST_SAMPLES = 2  # one tells no standard error
LABEL_KINDS = ("accuracy", "hutchinson")  # that read labels where there are any


@dataclass(frozen=True)
class Request:
    """`keys`: by kind, what its scores depend on apart from layer and widths.

    `losses`: the samples whose loss has a Hessian, the calibration's where there are no labels.
    """

    network: Network
    choices: Mapping[str, tuple[Widths, ...]]
    calibration: Samples
    labelled: Samples | None
    losses: Samples
    options: SensitivityOptions
    seed: int
    shapes: Mapping[str, Sequence[int]] | None
    keys: Mapping[str, str]

    def batches(self, samples: Samples) -> dict[str, list[Array]]:
        return cut(self.network, samples, self.shapes)

    def missing(self, store: Store, kind: str, layer: str) -> list[Widths]:
        """The layer's widths without a score."""
        place = {"key": self.keys[kind], "kind": kind, "layer": layer}
        return [w for w in self.choices.get(layer, ()) if store.score(w, **place) is None]

    def collect(self, store: Store) -> dict[str, dict[str, dict[Widths, Score]]]:
        """All scores, which the store has to hold."""
        found: dict[str, dict[str, dict[Widths, Score]]] = {}
        for kind, key in self.keys.items():
            for layer, choices in self.choices.items():
                for widths in choices:
                    score = store.score(widths, key=key, kind=kind, layer=layer)
                    assert score is not None
                    found.setdefault(kind, {}).setdefault(layer, {})[widths] = score
        return found


def read_request(
    model: str | Path | onnx.ModelProto,
    calibration: str | Path | Mapping[str, Array],
    choices: Mapping[str, Sequence[Widths]],
    kinds: Sequence[str],
    labelled: str | Path | Mapping[str, Array] | None,
    seed: int,
    options: SensitivityOptions,
    shapes: Mapping[str, Sequence[int]] | None,
) -> Request:
    """The request. Raises QCompileError where it makes no sense."""
    network = fold(load_network(model))
    network = equalize(network) if options.quantize.equalize else network
    _expect_known([layer.name for layer in network.layers.values()], choices, kinds)
    drawn = draw(read_network_samples(network, calibration, shapes), options.samples, seed)
    images = None if labelled is None else read_network_samples(network, labelled, shapes)
    if "accuracy" in kinds and images is None:
        raise InvalidInput("accuracy needs labelled data: samples with their labels as the array y")
    if images is not None and images.labels is None:
        raise InvalidInput("the labelled data hold no labels: the array y (or label) would work")
    losses = drawn if images is None else draw(images, options.samples, seed)
    texts = [network.model.SerializeToString(deterministic=True)]
    texts.append(canonical(options.key()).encode())
    keys = {}
    for kind in dict.fromkeys(kinds):
        arrays = dict(drawn.inputs)
        if kind in LABEL_KINDS and images is not None:
            arrays |= {f"labelled {name}": array for name, array in images.inputs.items()}
            arrays["labels"] = np.asarray(images.labels)
        probes = f"{options.samples} {options.probes} {seed}".encode()
        keys[kind] = digest([*texts, probes] if kind == "hutchinson" else texts, arrays)
    unique = {name: tuple(dict.fromkeys(widths)) for name, widths in choices.items()}
    return Request(network, unique, drawn, images, losses, options, seed, shapes, keys)


def _expect_known(
    layers: Sequence[str], choices: Mapping[str, Sequence[Widths]], kinds: Sequence[str]
) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput(f"no kind of sensitivity is called '{kind}': {', '.join(KINDS)} are")
    for name in choices:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, n=1)
            hint = f"; is it '{near[0]}'?" if near else f"; layers: {', '.join(layers[:12])}"
            raise InvalidInput(f"no layer is called '{name}'{hint}")


def draw(samples: Samples, most: int, seed: int) -> Samples:
    """At most so many of the samples, drawn evenly, in their order."""
    if samples.count < LEAST_SAMPLES:
        raise InvalidInput(f"found {samples.count} sample; {LEAST_SAMPLES} or more would work")
    if samples.count <= most:
        return samples
    taken = np.sort(np.random.default_rng(seed).choice(samples.count, most, replace=False))
    labels = None if samples.labels is None else samples.labels[taken]
    return Samples({name: array[taken] for name, array in samples.inputs.items()}, labels)
