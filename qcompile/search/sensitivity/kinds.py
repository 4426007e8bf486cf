"""Kinds of scores that compare a network with one layer changed to the float one, by samples."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from qcompile.quantizer.grid import Array
from qcompile.search.sensitivity.classes import Classes
from qcompile.search.sensitivity.flow import Stream, Values
from qcompile.search.sensitivity.scores import Score

SMALLEST = 1e-30  # a variance, where a tensor never varies


class Kind(Protocol):
    """`whole`: it needs the values behind the block, too."""

    whole: bool

    def samples(self, batch: int, changed: Values) -> Array:
        """The score of each sample of a batch."""


class BlockError:
    """The mean squared error of the block's outputs over their variance."""

    whole = False

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._variances = {name: _variance(stream.chunks(name)) for name in stream.block.outputs}

    def samples(self, batch: int, changed: Values) -> Array:
        floats, total = self._stream.values[batch], np.zeros(1)
        for name, variance in self._variances.items():
            if name in changed:
                error = np.square(changed[name].astype("float64") - floats[name])
                total = total + error.reshape(len(error), -1).mean(axis=1) / variance
        return total


class Divergence:
    """KL of the float network's classes from the changed one's, averaged over positions."""

    whole = True

    def __init__(self, classes: Classes, floats: Sequence[Array]) -> None:
        self._classes, self._floats = classes, floats

    def samples(self, batch: int, changed: Values) -> Array:
        p = self._floats[batch]
        q = self._classes.log_probabilities(changed[self._classes.value])
        return np.asarray((np.exp(p) * (p - q)).sum(axis=2).mean(axis=1))


class CrossEntropy:
    """Minus the logarithm of the label's probability."""

    whole = True

    def __init__(self, classes: Classes, labels: Sequence[Array]) -> None:
        self._classes, self._labels = classes, labels

    def samples(self, batch: int, changed: Values) -> Array:
        q, labels = self._classes.log_probabilities(changed[self._classes.value]), self._labels
        return np.asarray(-q[np.arange(len(q)), 0, labels[batch]])


class TopOne:
    """1 where the changed network loses a right answer, -1 where it finds one, else 0."""

    whole = True

    def __init__(self, classes: Classes, floats: Sequence[Array], labels: Sequence[Array]) -> None:
        self._classes, self._labels = classes, labels
        self._right = [_right(p, y) for p, y in zip(floats, labels, strict=True)]

    def samples(self, batch: int, changed: Values) -> Array:
        q = self._classes.log_probabilities(changed[self._classes.value])
        return self._right[batch] - _right(q, self._labels[batch])


def score(samples: Sequence[Array]) -> Score:
    """The mean over samples, and its standard error."""
    values = np.concatenate(samples)
    return Score(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def _variance(chunks: Sequence[Array]) -> float:
    count = sum(chunk.size for chunk in chunks)
    mean = sum(float(chunk.sum(dtype="float64")) for chunk in chunks) / count
    spread = sum(float(np.square(chunk.astype("float64") - mean).sum()) for chunk in chunks)
    return max(spread / count, SMALLEST)


def _right(log_probabilities: Array, labels: Array) -> Array:
    return (log_probabilities[:, 0].argmax(axis=1) == labels).astype("float64")
