"""Gradients of BatchNormalization as it is used: its statistics are constants of the model."""

import numpy as np

from qcompile.quantizer.backward.step import Array, Step

Found = list[Array | None]


def batch_normalization(step: Step) -> Found:
    """Of (x - mean) / sqrt(variance + epsilon) * gamma + beta, of all five."""
    x, upstream = step.input(0), step.upstream
    shape = (1, -1, *[1] * (x.ndim - 2))
    gamma, _, mean, variance = (step.input(k) for k in range(1, 5))
    spread = np.sqrt(variance + variance.dtype.type(step.attributes.get("epsilon", 1e-5)))
    factor = gamma / spread
    axes = (0, *range(2, x.ndim))
    total = upstream.sum(axis=axes)
    along = (upstream * (x - mean.reshape(shape))).sum(axis=axes)
    return [
        upstream * factor.reshape(shape),
        along / spread,
        total,
        -total * factor,
        -along * factor / (2 * np.square(spread)),
    ]
