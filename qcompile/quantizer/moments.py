"""Means over a layer's inputs and wanted outputs: all that the choice of its weights needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer

MOST_POSITIONS = 2**18  # of outputs that are looked at: neighbours in an image tell little new


@dataclass(frozen=True)
class Moments:
    """Of inputs x (d) and wanted outputs y (O / groups), for each group of channels.

    covariance: (groups, d, d) of x; cross: (groups, O / groups, d) of y with x, both about the
    means `inputs`: (groups, d) and `outputs`: (O,); over so many positions.
    """

    covariance: Array
    cross: Array
    inputs: Array
    outputs: Array
    positions: int


def moments(layer: Layer, inputs: Sequence[Array], wanted: Sequence[Array]) -> Moments:
    """Those over batches of the layer's inputs and of the results that it should give."""
    groups, (channels, depth) = layer.groups, layer.weights.shape
    positions = sum(y.size for y in wanted) // channels
    stride = -(-positions // MOST_POSITIONS) | 1  # odd: it meets every column of an image
    square = np.zeros((groups, depth, depth))
    cross = np.zeros((groups, channels // groups, depth))
    sum_x, sum_y, count = np.zeros((groups, depth)), np.zeros(channels), 0
    for x, y in zip(inputs, wanted, strict=True):
        found = np.ascontiguousarray(layer.columns(x)[:, :, ::stride])
        aim = np.ascontiguousarray(layer.flat(y)[:, ::stride])
        square += np.matmul(found, found.swapaxes(1, 2))
        cross += np.matmul(aim.reshape(groups, -1, aim.shape[1]), found.swapaxes(1, 2))
        sum_x += found.sum(axis=2, dtype="float64")
        sum_y += aim.sum(axis=1, dtype="float64")
        count += aim.shape[1]
    mean_x, mean_y = sum_x / count, sum_y / count
    square = square / count - mean_x[:, :, None] * mean_x[:, None, :]
    cross = cross / count - mean_y.reshape(groups, -1, 1) * mean_x[:, None, :]
    return Moments(square, cross, mean_x, mean_y, count)
