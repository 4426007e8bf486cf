"""Layers: contractions with constant weights, as matrix products W @ columns(x) + bias."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from qcompile.quantizer.grid import Array
from qcompile.quantizer.operators import attributes_of
from qcompile.quantizer.windows import Windows, columns, from_columns

OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A node with its weights, (O, d) for O output channels and d inputs of each, and bias (O,).

    `output` is the name of its result, behind an addition of the bias where there was one.
    """

    name: str
    node: onnx.NodeProto
    output: str
    weights: Array
    bias: Array
    kernel: tuple[int, ...]
    groups: int

    @property
    def input(self) -> str:
        return str(self.node.input[0])

    def with_weights(self, weights: Array, bias: Array) -> "Layer":
        return replace(self, weights=weights.astype("float32"), bias=bias.astype("float32"))

    def columns(self, x: Array) -> Array:
        """(groups, d, positions) of an input."""
        if self.node.op_type != "Conv":
            return np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)[None]
        return columns(x, self._windows(x), self.groups)

    def from_columns(self, found: Array, x: Array) -> Array:
        """The sum over each value's places in `columns(x)`, in the shape of x: their adjoint."""
        if self.node.op_type != "Conv":
            return np.ascontiguousarray(found[0].T).reshape(x.shape)
        return from_columns(found, self._windows(x), x.shape)

    def product(self, found: Array) -> Array:
        """W @ columns + bias: (O, positions)."""
        weights = self.weights.reshape(self.groups, -1, self.weights.shape[1])
        total = np.matmul(weights, found).reshape(len(self.weights), -1)
        total += self.bias[:, None]
        return np.asarray(total)

    def shaped(self, total: Array, x: Array) -> Array:
        """The node's result for the input x, from (O, positions)."""
        if self.node.op_type != "Conv":
            return np.ascontiguousarray(total.T).reshape(*x.shape[:-1], len(total))
        counts = self._windows(x).counts(x.shape[2:])
        return np.ascontiguousarray(total.reshape(len(total), len(x), *counts).swapaxes(0, 1))

    def flat(self, y: Array) -> Array:
        """(O, positions) of a result: `shaped` the other way."""
        channels = y.swapaxes(0, 1) if self.node.op_type == "Conv" else np.moveaxis(y, -1, 0)
        return np.ascontiguousarray(channels).reshape(len(self.weights), -1)

    def __call__(self, x: Array) -> Array:
        return self.shaped(self.product(self.columns(x)), x)

    def tensor(self, matrix: Array) -> Array:
        """A matrix like `weights` in the shape of the node's weights."""
        if self.node.op_type == "Conv":
            return matrix.reshape(len(matrix), -1, *self.kernel)
        return matrix.T if self.transposed else matrix

    @property
    def transposed(self) -> bool:
        """Whether the node's weights are (d, O)."""
        return self.node.op_type == "MatMul" or (
            self.node.op_type == "Gemm" and not attributes_of(self.node).get("transB", 0)
        )

    @property
    def channel_axis(self) -> int:
        """Of output channels, in the node's weights."""
        return 1 if self.transposed else 0

    def _windows(self, x: Array) -> Windows:
        return Windows.of(attributes_of(self.node), self.kernel, x.shape[2:])


def layer_of(node: onnx.NodeProto, name: str, constants: dict[str, Array]) -> Layer | None:
    """The layer that a node is, or None where its weights are not constant, or its form is rare."""
    if node.op_type not in OPERATORS or node.input[1] not in constants:
        return None
    if node.input[0] in constants:
        return None
    weights = constants[node.input[1]]
    if weights.dtype != np.float32 or weights.size == 0:
        return None
    bias = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if bias is None:
        return None
    attributes = attributes_of(node)
    kernel, groups = (), 1
    if node.op_type == "Conv":
        kernel, groups = weights.shape[2:], int(attributes.get("group", 1))
        weights = weights.reshape(len(weights), prod(weights.shape[1:]))
    elif weights.ndim != 2 or attributes.get("transA", 0):
        return None
    else:
        transposed = node.op_type == "MatMul" or not attributes.get("transB", 0)
        weights = weights.T if transposed else weights
        weights = weights * np.float32(attributes.get("alpha", 1.0))
        bias = bias * attributes.get("beta", 1.0)
        if bias.shape not in ((), (1,), (len(weights),), (1, 1), (1, len(weights))):
            return None  # another bias for every row
    bias = np.broadcast_to(bias.reshape(-1), len(weights))
    plain = _without(node, "alpha", "beta")
    return Layer(name, plain, node.output[0], weights, bias.astype("float32"), kernel, groups)


def _without(node: onnx.NodeProto, *names: str) -> onnx.NodeProto:
    """A copy without attributes that the weights hold now."""
    copy = onnx.NodeProto.FromString(node.SerializeToString())
    kept = [each for each in copy.attribute if each.name not in names]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    return copy
