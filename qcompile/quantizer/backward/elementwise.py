"""Gradients of operators that compute each value for itself, operands broadcast."""

import numpy as np

from qcompile.quantizer.backward.step import Array, Step, as_large_as

Found = list[Array | None]


def relu(step: Step) -> Found:
    return [step.upstream * (step.input(0) > 0)]


def leaky_relu(step: Step) -> Found:
    slope = step.upstream.dtype.type(step.attributes.get("alpha", 0.01))
    return [np.where(step.input(0) > 0, step.upstream, slope * step.upstream)]


def clip(step: Step) -> Found:
    """Nothing comes back from values at or past an end."""
    inside = np.ones(step.upstream.shape, bool)
    for end, within in zip(step.inputs[1:], (np.greater, np.less), strict=False):
        if end is not None:
            inside &= within(step.input(0), end)
    return [step.upstream * inside]


def sigmoid(step: Step) -> Found:
    return [step.upstream * step.result * (1 - step.result)]


def tanh(step: Step) -> Found:
    return [step.upstream * (1 - np.square(step.result))]


def hard_sigmoid(step: Step) -> Found:
    slope = step.upstream.dtype.type(step.attributes.get("alpha", 0.2))
    return [step.upstream * slope * ((step.result > 0) & (step.result < 1))]


def hard_swish(step: Step) -> Found:
    """Of x * clip(x / 6 + 1/2, 0, 1)."""
    x = step.input(0)
    gate = np.clip(x / 6 + x.dtype.type(0.5), 0, 1)
    return [step.upstream * (gate + x / 6 * ((gate > 0) & (gate < 1)))]


def add(step: Step) -> Found:
    """Of a sum of any number of operands."""
    return [as_large_as(step.upstream, step.input(k)) for k in range(len(step.inputs))]


def subtract(step: Step) -> Found:
    a, b = add(step)
    return [a, None if b is None else -b]


def multiply(step: Step) -> Found:
    a, b = step.input(0), step.input(1)
    return [as_large_as(step.upstream * b, a), as_large_as(step.upstream * a, b)]


def divide(step: Step) -> Found:
    a, b = step.input(0), step.input(1)
    share = step.upstream / b
    return [as_large_as(share, a), as_large_as(-share * step.result, b)]


def softmax(step: Step) -> Found:
    axis = step.attributes.get("axis", -1)
    pulled = step.upstream * step.result
    return [pulled - step.result * pulled.sum(axis=axis, keepdims=True)]


def log_softmax(step: Step) -> Found:
    axis = step.attributes.get("axis", -1)
    total = step.upstream.sum(axis=axis, keepdims=True)
    return [step.upstream - np.exp(step.result) * total]
