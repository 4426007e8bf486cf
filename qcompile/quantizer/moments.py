"""Means over a layer's inputs and wanted outputs: all that the choice of its weights needs."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer


@dataclass(frozen=True)
class Moments:
    """Of inputs x (d) and wanted outputs y (O / groups), for each group of channels.

    covariance: (groups, d, d) of x; cross: (groups, O / groups, d) of y with x, both about the
    means `inputs`: (groups, d) and `outputs`: (O,).
    """

    covariance: Array
    cross: Array
    inputs: Array
    outputs: Array


def moments(layer: Layer, pairs: Iterable[tuple[Array, Array]]) -> Moments:
    """Those over pairs of the layer's input and wanted result."""
    groups, (channels, depth) = layer.groups, layer.weights.shape
    square = np.zeros((groups, depth, depth))
    cross = np.zeros((groups, channels // groups, depth))
    inputs, outputs, count = np.zeros((groups, depth)), np.zeros(channels), 0
    for x, y in pairs:
        found, wanted = layer.columns(x), layer.flat(y)
        square += np.matmul(found, found.swapaxes(1, 2))
        cross += np.matmul(wanted.reshape(groups, -1, wanted.shape[1]), found.swapaxes(1, 2))
        inputs += found.sum(axis=2, dtype="float64")
        outputs += wanted.sum(axis=1, dtype="float64")
        count += wanted.shape[1]
    inputs, outputs = inputs / count, outputs / count
    square = square / count - inputs[:, :, None] * inputs[:, None, :]
    means = outputs.reshape(groups, -1, 1) * inputs[:, None, :]
    return Moments(square, cross / count - means, inputs, outputs)
