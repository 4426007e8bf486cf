"""Nodes of ONNX on NumPy arrays: the common ones fast, all others by ONNX's own reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qcompile.errors import Unsupported
from qcompile.frontend.folding import evaluate
from qcompile.frontend.validate import STANDARD_DOMAINS, describe, subgraphs
from qcompile.quantizer.windows import Windows, average_pool, max_pool

Array = NDArray[Any]


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def expect_evaluable(node: onnx.NodeProto) -> None:
    """Raise Unsupported for nodes that this file cannot compute."""
    if node.domain not in STANDARD_DOMAINS:
        raise Unsupported(f"{describe(node)}: quantizing takes the standard operators of ONNX")
    if subgraphs(node):
        raise Unsupported(f"{describe(node)}: quantizing takes no branches and loops")


def compute(node: onnx.NodeProto, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    """The node's results. Raises InvalidModel when the inputs do not fit the operator."""
    if len(node.output) == 1 and node.op_type in FAST:
        found = FAST[node.op_type](attributes_of(node), *inputs)
        if found is not None:
            return [found]
    return evaluate(node, inputs, opset)


def _relu(attributes: dict[str, Any], x: Array) -> Array:
    return np.maximum(x, x.dtype.type(0))


def _add(attributes: dict[str, Any], a: Array, b: Array) -> Array:
    return a + b


def _max_pool(attributes: dict[str, Any], x: Array) -> Array | None:
    windows = Windows.of(attributes, tuple(attributes["kernel_shape"]), x.shape[2:])
    return None if attributes.get("ceil_mode") else max_pool(x, windows)


def _average_pool(attributes: dict[str, Any], x: Array) -> Array | None:
    windows = Windows.of(attributes, tuple(attributes["kernel_shape"]), x.shape[2:])
    if attributes.get("ceil_mode"):
        return None
    return average_pool(x, windows, bool(attributes.get("count_include_pad", 0)))


def _global_average_pool(attributes: dict[str, Any], x: Array) -> Array:
    return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)


# None where an attribute asks for what only the reference knows.
FAST: dict[str, Callable[..., Array | None]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "MaxPool": _max_pool,
    "Relu": _relu,
}
