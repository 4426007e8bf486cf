"""The weights and bias of one layer on their grid, from the moments of its inputs and outputs."""

from dataclasses import dataclass

import numpy as np

from qcompile.quantizer.grid import Array, Grid, Quantizer
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.moments import Moments
from qcompile.quantizer.options import QuantizeOptions
from qcompile.quantizer.rounding import choose_steps, end_steps, nearest, round_weights

RIDGE = 0.01  # of the mean variance of an input: the least that holds the refit back
NOISE = 1e-5  # of the mean square of an input: what float32 sums leave of a variance of 0
SMALLEST_RIDGE = 1e-30  # where all inputs are 0


@dataclass(frozen=True)
class FittedLayer:
    """A layer whose weights are `codes` (O, d) times the quantizer's scale, (O, 1)."""

    layer: Layer
    codes: Array
    quantizer: Quantizer


def fit_layer(layer: Layer, bits: int, found: Moments, options: QuantizeOptions) -> FittedLayer:
    """The layer with weights of `bits` bits whose outputs are near those wanted."""
    grid, owners = Grid(bits, signed=True), _owners(layer, options.channels_per_scale)
    weights = layer.weights.astype("float64").reshape(layer.groups, -1, layer.weights.shape[1])
    if options.rounding == "hessian":
        hessian = _with_ridge(found)
        missing = found.cross - np.matmul(weights, found.covariance)
        weights = weights + np.linalg.solve(hessian, missing.swapaxes(1, 2)).swapaxes(1, 2)
        codes, steps = round_weights(weights, hessian, grid, owners)
    else:
        steps = _plain_steps(weights, grid, owners, options)
        codes = nearest(weights, steps, grid)
    return _finished(layer, codes, Quantizer(grid, steps), found, options)


def _owners(layer: Layer, channels: int | None) -> Array:
    """The number of each row's step: (groups, O / groups)."""
    rows = np.arange(len(layer.weights))
    return (rows // (channels or rows.size)).reshape(layer.groups, -1)


def _with_ridge(found: Moments) -> Array:
    """The covariance, made positive definite; the more so, the fewer positions for each input."""
    variance = np.diagonal(found.covariance, axis1=1, axis2=2).mean(axis=1)
    square = variance + np.square(found.inputs).mean(axis=1)
    depth = found.covariance.shape[1]
    share = max(RIDGE, depth / found.positions)
    ridge = np.maximum(np.maximum(share * variance, NOISE * square), SMALLEST_RIDGE)
    return np.asarray(found.covariance + ridge[:, None, None] * np.eye(depth))


def _plain_steps(weights: Array, grid: Grid, owners: Array, options: QuantizeOptions) -> Array:
    """Of the weights alone: their largest, a percentile of their sizes, or least squares."""
    if grid.bipolar:
        means = np.bincount(owners.ravel(), np.abs(weights).mean(axis=2).ravel())
        return np.asarray((means / np.bincount(owners.ravel()))[owners])
    if options.ranges == "minmax":
        return end_steps(weights, grid, owners)
    if options.ranges == "percentile":
        sizes = np.percentile(np.abs(weights), options.percentile, axis=2, keepdims=True)
        return end_steps(np.clip(weights, -sizes, sizes), grid, owners)
    eye = np.broadcast_to(np.eye(weights.shape[2]), (len(weights), *2 * (weights.shape[2],)))
    return choose_steps(weights, eye, grid, owners, in_turn=False)[1]


def _finished(
    layer: Layer, codes: Array, quantizer: Quantizer, found: Moments, options: QuantizeOptions
) -> FittedLayer:
    """With float32 steps, and the bias that leaves no mean error."""
    flat = codes.reshape(layer.weights.shape).astype("float32")
    scale = quantizer.scale.reshape(-1, 1).astype("float32")
    values = flat * scale
    bias = layer.bias.astype("float64")
    if options.correct_bias:
        means = np.matmul(values.reshape(codes.shape), found.inputs[:, :, None])
        bias = found.outputs - means.reshape(-1)
    return FittedLayer(layer.with_weights(values, bias), flat, Quantizer(quantizer.grid, scale))
