"""Back through nodes of ONNX: from the gradient of a result to those of the inputs."""

from collections.abc import Callable, Mapping, Sequence

import onnx

from qcompile.errors import QCompileError, Unsupported
from qcompile.frontend.validate import describe
from qcompile.quantizer.backward import (
    contractions,
    elementwise,
    layout,
    normalization,
    pools,
)
from qcompile.quantizer.backward.step import Array, Step
from qcompile.quantizer.network import Network
from qcompile.quantizer.operators import attributes_of, compute

BACKWARD: dict[str, Callable[[Step], list[Array | None]]] = {
    "Add": elementwise.add,
    "AveragePool": pools.average_pool,
    "BatchNormalization": normalization.batch_normalization,
    "Clip": elementwise.clip,
    "Concat": layout.concat,
    "Conv": contractions.conv,
    "Div": elementwise.divide,
    "Dropout": layout.reshaped,
    "Flatten": layout.reshaped,
    "Gemm": contractions.gemm,
    "GlobalAveragePool": pools.global_average_pool,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "Identity": layout.reshaped,
    "LeakyRelu": elementwise.leaky_relu,
    "LogSoftmax": elementwise.log_softmax,
    "MatMul": contractions.matmul,
    "MaxPool": pools.max_pool,
    "Mul": elementwise.multiply,
    "ReduceMean": pools.reduce_mean,
    "Relu": elementwise.relu,
    "Reshape": layout.reshaped,
    "Sigmoid": elementwise.sigmoid,
    "Softmax": elementwise.softmax,
    "Squeeze": layout.reshaped,
    "Sub": elementwise.subtract,
    "Sum": elementwise.add,
    "Tanh": elementwise.tanh,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.reshaped,
}

# Their other inputs are shapes, axes and ends.
OF_FIRST_INPUT = ("Clip", "Dropout", "ReduceMean", "Reshape", "Squeeze", "Unsqueeze")


def expect_differentiable(node: onnx.NodeProto) -> None:
    """Raise Unsupported for nodes whose gradient this room does not know."""
    if node.op_type not in BACKWARD or any(node.output[1:]):
        what = "several results" if node.op_type in BACKWARD else node.op_type
        raise Unsupported(
            f"{describe(node)}: no gradient of {what} is known; known are "
            f"{', '.join(sorted(BACKWARD))}, with one result"
        )


def node_gradients(
    node: onnx.NodeProto,
    inputs: Sequence[Array | None],
    result: Array,
    upstream: Array,
    needed: Sequence[bool],
) -> list[Array | None]:
    """The gradient of each input that is needed; None for others. Raises Unsupported.

    inputs and result: of the forward run; upstream: the gradient of the result.
    """
    expect_differentiable(node)
    step = Step(attributes_of(node), inputs, result, upstream, needed)
    try:
        found = BACKWARD[node.op_type](step)
    except QCompileError as error:
        raise type(error)(f"{describe(node)}: {error}") from error
    known = [*found, *[None] * (len(inputs) - len(found))]
    return [one if wanted else None for one, wanted in zip(known, needed, strict=True)]


def expect_all_differentiable(network: Network) -> None:
    """Raise Unsupported where no gradient comes back from the results to a layer or an input."""
    reached = set(network.outputs)
    for node in reversed(network.nodes):
        layer = network.layer(node)
        if reached.isdisjoint(node.output if layer is None else (layer.output,)):
            continue
        if layer is None:
            expect_differentiable(node)
        first = layer is not None or node.op_type in OF_FIRST_INPUT
        reached.update(node.input[:1] if first else node.input)


def forward(network: Network, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of the float network on one batch, by name, constants included."""
    values = {**network.constants, **inputs}
    for node in network.nodes:
        layer = network.layer(node)
        if layer is not None:
            values[layer.output] = layer(values[layer.input])
        else:
            arguments = [values[name] if name else None for name in node.input]
            values.update(zip(node.output, compute(node, arguments, network.opset), strict=True))
    return values


def backward(
    network: Network, values: Mapping[str, Array], seeds: Mapping[str, Array]
) -> dict[str, Array]:
    """The gradients of values that lead to those of `seeds`, by name; constants have none.

    values: of `forward`, on a network that is not folded; seeds: gradients of values at any place.
    """
    found = dict(seeds)
    for node in reversed(network.nodes):
        upstream = found.get(node.output[0])
        if upstream is None:
            continue
        needed = [bool(name) and name not in network.constants for name in node.input]
        arguments = [values[name] if name else None for name in node.input]
        parts = node_gradients(node, arguments, values[node.output[0]], upstream, needed)
        for name, part in zip(node.input, parts, strict=True):
            if part is not None:
                found[name] = found[name] + part if name in found else part
    return found
