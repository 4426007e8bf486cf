"""Gradients of operators that only move values."""

import numpy as np

from qcompile.quantizer.backward.step import Array, Step

Found = list[Array | None]


def reshaped(step: Step) -> Found:
    """Of any operator that keeps the values and their order."""
    return [step.upstream.reshape(step.input(0).shape)]


def transpose(step: Step) -> Found:
    axes = step.attributes.get("perm", range(step.upstream.ndim)[::-1])
    return [step.upstream.transpose(np.argsort(axes))]


def concat(step: Step) -> Found:
    axis = step.attributes["axis"]
    extents = [step.input(k).shape[axis] for k in range(len(step.inputs))]
    return list(np.split(step.upstream, np.cumsum(extents)[:-1], axis=axis))
