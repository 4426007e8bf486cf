"""Traces of Hessians of the loss by second differences.

    z^T H z ~ (L(v + e z) - 2 L(v) + L(v - e z)) / e^2,  z Rademacher: its mean is the trace of H

v: a layer's weights, or its input. Forward passes alone tell it (Hutchinson 1990; as a sensitivity
Dong et al. 2020, HAWQ-V2). Each batch of samples has its own z; a probe is a pass over all batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.search.sensitivity.flow import Change, Edge, Stream, Values
from qcompile.search.sensitivity.scores import Score

STEP = 0.01  # of the root mean square of v: float32 sums still tell the differences
Losses = Callable[[int, Values], Array]  # of each sample of a batch


@dataclass(frozen=True)
class Traces:
    """Of the mean loss over samples: by all weights, and by the input of one sample."""

    weights: Score
    inputs: Score


class Prober:
    """Second differences of `losses` by a layer of the stream's block.

    edges: those that read the layer's input with it. means: (groups, d) of the layer's columns, if
    its bias takes up what other weights change in the mean of its outputs; else None.
    """

    def __init__(
        self,
        stream: Stream,
        losses: Losses,
        layer: Layer,
        edges: frozenset[Edge],
        means: Array | None = None,
    ) -> None:
        self._stream, self._losses, self._layer, self._means = stream, losses, layer, means
        self._still = Change(layer.node.output[0], layer, lambda x: x, edges)
        self._base = [self._loss(k, self._still) for k in range(len(stream.values))]

    def traces(self, probes: int, rng: np.random.Generator) -> Traces:
        """The estimates from so many probes, with their standard errors."""
        size = step_of([self._layer.weights])
        weights = [self._probe(lambda k: self._weights(size, rng), size) for _ in range(probes)]
        size = step_of(self._stream.chunks(self._layer.input))
        inputs = [self._probe(lambda k: self._inputs(k, size, rng), size) for _ in range(probes)]
        return Traces(_estimate(weights), _estimate(inputs))

    def _probe(self, changes: Callable[[int], tuple[Change, Change]], size: float) -> float:
        """The mean over samples of z^T H z."""
        total, count = 0.0, 0
        for batch, base in enumerate(self._base):
            above, below = (self._loss(batch, change) for change in changes(batch))
            total += float((above - 2 * base + below).sum()) / size**2
            count += len(base)
        return total / count

    def _loss(self, batch: int, change: Change) -> Array:
        changed = self._stream.inside(batch, change)
        return self._losses(batch, self._stream.behind(batch, changed))

    def _weights(self, size: float, rng: np.random.Generator) -> tuple[Change, Change]:
        layer, still = self._layer, self._still
        shift, bias = size * _signs(layer.weights, rng), np.zeros(1, "float32")
        if self._means is not None:
            by_group = shift.reshape(layer.groups, -1, shift.shape[1])
            bias = np.matmul(by_group, self._means[:, :, None]).reshape(-1)
        above = layer.with_weights(layer.weights + shift, layer.bias - bias)
        below = layer.with_weights(layer.weights - shift, layer.bias + bias)
        return replace(still, layer=above), replace(still, layer=below)

    def _inputs(self, batch: int, size: float, rng: np.random.Generator) -> tuple[Change, Change]:
        shift = size * _signs(self._stream.values[batch][self._layer.input], rng)
        above = replace(self._still, inputs=lambda x: x + shift)
        return above, replace(self._still, inputs=lambda x: x - shift)


def step_of(chunks: Sequence[Array]) -> float:
    """e for values: STEP of their root mean square, or STEP where all are 0."""
    square = sum(float(np.square(chunk, dtype="float64").sum()) for chunk in chunks)
    return STEP * (float(np.sqrt(square / sum(chunk.size for chunk in chunks))) or 1.0)


def _signs(like: Array, rng: np.random.Generator) -> Array:
    return rng.integers(0, 2, like.shape).astype("float32") * 2 - 1


def _estimate(probes: Sequence[float]) -> Score:
    return Score(float(np.mean(probes)), float(np.std(probes, ddof=1) / np.sqrt(len(probes))))
