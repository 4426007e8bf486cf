"""One set of samples on its way through the network, and the scores that come from it."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from qcompile.errors import InvalidInput
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network
from qcompile.search.sensitivity.blocks import Block, blocks_of
from qcompile.search.sensitivity.classes import Classes, classes_of
from qcompile.search.sensitivity.flow import Change, Stream, Values, forward
from qcompile.search.sensitivity.kinds import (
    BlockError,
    CrossEntropy,
    Divergence,
    Kind,
    TopOne,
    score,
)
from qcompile.search.sensitivity.scores import Score

WHOLE = ("kl", "accuracy", "hutchinson")  # kinds that look at the network's classes


class Track:
    """`stream`: the float values; `kinds`: those of scores that this set of samples serves."""

    def __init__(
        self,
        network: Network,
        inputs: Mapping[str, list[Array]],
        kinds: Collection[str],
        labels: Array | None = None,
    ) -> None:
        self.kinds = tuple(kinds)
        self.stream = Stream(network, inputs)
        self._network, self._inputs, self._labels = network, inputs, labels
        self._whole: dict[str, Kind] = {}
        if set(kinds) & set(WHOLE):
            self._look_at_classes(classes_of(network))

    def blocks(self) -> list[Block]:
        """The network's, by the types that its values have on the first batch."""
        values = forward(self._network, {name: chunks[0] for name, chunks in self._inputs.items()})
        return blocks_of(self._network, {n for n, v in values.items() if v.dtype.kind == "f"})

    def measure(self, change: Change, kinds: Collection[str]) -> dict[str, Score]:
        """The scores of a layer of the current block."""
        wanted = {kind: self._kind(kind) for kind in kinds}
        found: dict[str, list[Array]] = {kind: [] for kind in kinds}
        for batch in range(len(self.stream.values)):
            changed = self.stream.inside(batch, change)
            if any(each.whole for each in wanted.values()):
                changed = self.stream.behind(batch, changed)
            for kind, each in wanted.items():
                found[kind].append(each.samples(batch, changed))
        return {kind: score(samples) for kind, samples in found.items()}

    def loss(self, batch: int, values: Values) -> Array:
        """Of each sample of a batch: by its label, or else by the float network's classes."""
        kind = "kl" if self._labels is None else "cross entropy"
        return self._whole[kind].samples(batch, values)

    def _kind(self, kind: str) -> Kind:
        return BlockError(self.stream) if kind == "block" else self._whole[kind]

    def _look_at_classes(self, classes: Classes) -> None:
        floats = []
        for batch in range(len(self.stream.values)):
            inputs = {name: chunks[batch] for name, chunks in self._inputs.items()}
            values = forward(self._network, inputs)
            floats.append(classes.log_probabilities(values[classes.value]))
        self._whole["kl"] = Divergence(classes, floats)
        if self._labels is not None:
            labels = _by_batch(floats, self._labels)
            self._whole["accuracy"] = TopOne(classes, floats, labels)
            self._whole["cross entropy"] = CrossEntropy(classes, labels)


def _by_batch(floats: Sequence[Array], labels: Array) -> list[Array]:
    """The labels of each batch. Raises InvalidInput where they do not fit the network's classes."""
    samples, positions, classes = sum(len(p) for p in floats), *floats[0].shape[1:]
    if positions != 1 or labels.shape != (samples,):
        raise InvalidInput(
            f"labels of shape {labels.shape} for {samples} samples with {positions} predictions "
            "each; one label for each sample of a classifier would work"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise InvalidInput(
            f"labels from {labels.min()} to {labels.max()}; the network has {classes} classes, "
            f"so labels from 0 to {classes - 1} would work"
        )
    ends = np.cumsum([len(p) for p in floats])[:-1]
    return list(np.split(labels, ends))
