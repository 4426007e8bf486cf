"""Gradients of means and maxima over windows and whole images."""

from math import prod

import numpy as np

from qcompile.errors import Unsupported
from qcompile.quantizer.backward.step import Array, Step
from qcompile.quantizer.windows import Windows

Found = list[Array | None]


def max_pool(step: Step) -> Found:
    """The first of equal maxima of a window gets its gradient."""
    x, windows = step.input(0), _windows(step)
    free, pieces = np.ones(step.result.shape, bool), []
    for view in windows.views(x, -np.inf):
        first = free & (view == step.result)
        free &= ~first
        pieces.append(step.upstream * first)
    return [windows.sums(pieces, x.shape)]


def average_pool(step: Step) -> Found:
    x, windows = step.input(0), _windows(step)
    places = prod(windows.kernel)
    share = step.upstream / step.upstream.dtype.type(places)
    if not step.attributes.get("count_include_pad", 0):
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        share = step.upstream / sum(windows.views(ones, 0.0))
    return [windows.sums([share] * places, x.shape)]


def global_average_pool(step: Step) -> Found:
    x = step.input(0)
    share = step.upstream / step.upstream.dtype.type(prod(x.shape[2:]))
    return [np.broadcast_to(share, x.shape)]


def reduce_mean(step: Step) -> Found:
    """Axes from the attribute, or from the second input (from opset 18 on)."""
    x = step.input(0)
    axes = step.attributes.get("axes")
    if len(step.inputs) > 1 and step.inputs[1] is not None:
        axes = step.input(1).tolist()
    if not axes and step.attributes.get("noop_with_empty_axes", 0):
        return [step.upstream]
    axes = tuple(axis % x.ndim for axis in axes) if axes else tuple(range(x.ndim))
    kept = [1 if k in axes else n for k, n in enumerate(x.shape)]
    count = prod(x.shape[k] for k in axes)
    share = step.upstream.reshape(kept) / step.upstream.dtype.type(count)
    return [np.broadcast_to(share, x.shape)]


def _windows(step: Step) -> Windows:
    if step.attributes.get("ceil_mode"):
        raise Unsupported("no gradient of pools with ceil_mode")
    kernel = tuple(step.attributes["kernel_shape"])
    return Windows.of(step.attributes, kernel, step.input(0).shape[2:])
