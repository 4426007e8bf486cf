"""Gradients of convolutions and matrix products, with regard to both operands."""

from math import prod

import numpy as np

from qcompile.quantizer.backward.step import Array, Step, as_large_as
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.windows import Windows, columns, from_columns

Found = list[Array | None]


def conv(step: Step) -> Found:
    x, weights = step.input(0), step.input(1)
    windows = Windows.of(step.attributes, weights.shape[2:], x.shape[2:])
    groups = step.attributes.get("group", 1)
    matrix = weights.reshape(groups, -1, prod(weights.shape[1:]))
    flat = np.ascontiguousarray(step.upstream.swapaxes(0, 1)).reshape(*matrix.shape[:2], -1)
    found: Found = [None] * len(step.inputs)
    if step.needed[0]:
        found[0] = from_columns(np.matmul(matrix.swapaxes(1, 2), flat), windows, x.shape)
    if step.needed[1]:
        product = np.matmul(flat, columns(x, windows, groups).swapaxes(1, 2))
        found[1] = product.reshape(weights.shape)
    if len(found) > 2:
        found[2] = flat.sum(axis=2).reshape(-1)
    return found


def matmul(step: Step) -> Found:
    """Of stacks of matrices, broadcast; vectors stand for matrices of one row or column."""
    a, b = step.input(0), step.input(1)
    rows = a[None, :] if a.ndim == 1 else a
    columns_ = b[:, None] if b.ndim == 1 else b
    upstream = step.upstream[..., None] if b.ndim == 1 else step.upstream
    upstream = upstream[..., None, :] if a.ndim == 1 else upstream
    found: Found = [None, None]
    if step.needed[0]:
        first = np.matmul(upstream, columns_.swapaxes(-1, -2))
        found[0] = as_large_as(first, rows).reshape(a.shape)
    if step.needed[1]:
        second = np.matmul(rows.swapaxes(-1, -2), upstream)
        found[1] = as_large_as(second, columns_).reshape(b.shape)
    return found


def gemm(step: Step) -> Found:
    """Of alpha op(A) op(B) + beta C."""
    a, b = step.input(0), step.input(1)
    a = a.T if step.attributes.get("transA", 0) else a
    b = b.T if step.attributes.get("transB", 0) else b
    scaled = step.upstream * step.upstream.dtype.type(step.attributes.get("alpha", 1.0))
    first, second = scaled @ b.T, a.T @ scaled
    found: Found = [
        first.T if step.attributes.get("transA", 0) else first,
        second.T if step.attributes.get("transB", 0) else second,
    ]
    if len(step.inputs) > 2 and step.inputs[2] is not None:
        beta = step.upstream.dtype.type(step.attributes.get("beta", 1.0))
        found.append(as_large_as(beta * step.upstream, step.input(2)))
    return found


def layer_gradients(
    layer: Layer, x: Array, found: Array, upstream: Array
) -> tuple[Array, Array, Array]:
    """Of a layer's input, weights (O, d) and bias (O,).

    found: `layer.columns(x)`; upstream: the gradient of `layer(x)`.
    """
    flat = layer.flat(upstream)
    weights = layer.weights.reshape(layer.groups, -1, layer.weights.shape[1])
    grouped = flat.reshape(*weights.shape[:2], -1)
    back = np.matmul(weights.swapaxes(1, 2), grouped)
    product = np.matmul(grouped, found.swapaxes(1, 2)).reshape(layer.weights.shape)
    return layer.from_columns(back, x), product, flat.sum(axis=1)
