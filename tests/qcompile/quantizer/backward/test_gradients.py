"""Gradients against differences of what ONNX's reference computes, in float64."""

import numpy as np
import pytest
from onnx import helper

from qcompile.errors import Unsupported
from qcompile.frontend.folding import evaluate
from qcompile.quantizer.backward import BACKWARD, backward, forward, layer_gradients, node_gradients
from qcompile.quantizer.network import load_network
from tests.qcompile.quantizer.float_networks import Graph, residual

OPSET = 17
REACH = 1e-6  # of a difference: its error is near REACH squared, and 1e-16 / REACH of rounding

POSITIVE, AXES = "positive", np.array([1, 2])
CASES = [
    ("Add", [(2, 3, 4), (3, 1)], {}),
    ("AveragePool", [(2, 3, 5, 6)], {"kernel_shape": [2, 3], "strides": [2, 1]}),
    ("AveragePool", [(1, 2, 5)], {"kernel_shape": [3], "pads": [1, 1]}),
    (
        "AveragePool",
        [(1, 2, 4, 4)],
        {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
    ),
    ("BatchNormalization", [(3, 2, 4), (2,), (2,), (2,), (2, POSITIVE)], {"epsilon": 0.1}),
    ("Clip", [(4, 5), np.array(-0.5), np.array(0.7)], {}),
    ("Clip", [(4, 5), None, np.array(0.7)], {}),
    ("Concat", [(2, 3), (2, 1), (2, 2)], {"axis": -1}),
    ("Conv", [(2, 3, 5, 6), (4, 3, 3, 2), (4,)], {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    ("Conv", [(2, 4, 7), (6, 2, 3)], {"group": 2, "dilations": [2]}),
    ("Conv", [(1, 3, 4, 4), (3, 1, 3, 3)], {"group": 3, "auto_pad": "SAME_LOWER"}),
    ("Div", [(2, 3), (2, 1, POSITIVE)], {}),
    ("Dropout", [(2, 3)], {}),
    ("Flatten", [(2, 3, 2)], {}),
    ("Gemm", [(3, 4), (4, 5), (5,)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", [(4, 3), (5, 4), (3, 1)], {"transA": 1, "transB": 1}),
    ("GlobalAveragePool", [(2, 3, 4, 2)], {}),
    ("HardSigmoid", [(5, 6)], {"alpha": 0.4}),
    ("HardSwish", [(5, 6)], {}),
    ("Identity", [(2, 3)], {}),
    ("LeakyRelu", [(5, 6)], {"alpha": 0.3}),
    ("LogSoftmax", [(3, 4, 2)], {"axis": 1}),
    ("MatMul", [(2, 1, 3, 4), (5, 4, 2)], {}),
    ("MatMul", [(4,), (3, 4, 2)], {}),
    ("MatMul", [(3, 4), (4,)], {}),
    ("MaxPool", [(2, 3, 5, 6)], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    ("Mul", [(2, 3, 4), (4,)], {}),
    ("ReduceMean", [(2, 3, 4)], {"axes": [-1, 0], "keepdims": 0}),
    ("ReduceMean", [(2, 3, 4)], {}),
    ("Relu", [(5, 6)], {}),
    ("Reshape", [(2, 6), np.array([3, -1])], {}),
    ("Sigmoid", [(2, 3)], {}),
    ("Softmax", [(3, 4)], {}),
    ("Squeeze", [(2, 1, 1, 3), AXES], {}),
    ("Sub", [(3, 1), (2, 3, 4)], {}),
    ("Sum", [(2, 3), (3,), (2, 1)], {}),
    ("Tanh", [(2, 3)], {}),
    ("Transpose", [(2, 3, 4)], {"perm": [2, 0, 1]}),
    ("Transpose", [(2, 3, 4)], {}),
    ("Unsqueeze", [(2, 3), AXES], {}),
]


def operand(rng, given):
    """An array of a given shape, or the given one."""
    if given is None or isinstance(given, np.ndarray):
        return given
    if given[-1] == POSITIVE:
        return rng.uniform(0.5, 2, given[:-1])
    return rng.normal(size=given)


def differences(function, arrays, k):
    """The gradient of a scalar function of arrays, with regard to the k-th."""
    found = np.zeros(arrays[k].shape)
    for index in np.ndindex(found.shape):
        values = []
        for sign in (-1, 1):
            moved = [None if a is None else a.copy() for a in arrays]
            moved[k][index] += sign * REACH
            values.append(function(moved))
        found[index] = (values[1] - values[0]) / (2 * REACH)
    return found


@pytest.mark.parametrize(("operator", "shapes", "attributes"), CASES)
def test_agrees_with_differences(operator, shapes, attributes):
    rng = np.random.default_rng(0)
    inputs = [operand(rng, shape) for shape in shapes]
    names = ["" if array is None else f"i{k}" for k, array in enumerate(inputs)]
    opset = 14 if operator == "HardSwish" else OPSET
    node = helper.make_node(operator, names, ["y"], **attributes)
    (result,) = evaluate(node, inputs, opset)
    upstream = rng.normal(size=result.shape)
    needed = [isinstance(shape, tuple) for shape in shapes]

    found = node_gradients(node, inputs, result, upstream, needed)
    for k, wanted in enumerate(needed):
        if not wanted:
            assert found[k] is None
            continue

        def value(arrays):
            return float((evaluate(node, arrays, opset)[0] * upstream).sum())

        expected = differences(value, inputs, k)
        assert found[k].dtype == np.float64 and found[k].shape == inputs[k].shape
        # Differences of float64 are good to about 1e-8 here, gradients are near 1.
        np.testing.assert_allclose(found[k], expected, atol=1e-6)


def test_every_operator_is_tested():
    assert {operator for operator, _, _ in CASES} == set(BACKWARD)


def test_one_of_equal_maxima_gets_the_gradient():
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2])
    x = np.ones((1, 1, 3))
    (found,) = node_gradients(node, [x], np.ones((1, 1, 2)), np.array([[[1.0, 2.0]]]), [True])
    np.testing.assert_array_equal(found, [[[1.0, 2.0, 0.0]]])


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("Erf", ["x"], ["y"], "e"), "'e'.*no gradient of Erf is known; known are"),
        (helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2]), "several results"),
        (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2], ceil_mode=1), "ceil_mode"),
    ],
)
def test_says_what_has_no_gradient(node, said):
    x = np.zeros((1, 1, 4))
    with pytest.raises(Unsupported, match=said):
        node_gradients(node, [x], x, x, [True])


@pytest.mark.parametrize("operator", ["Conv", "Gemm", "MatMul"])
def test_layers_have_the_gradients_of_their_nodes(operator):
    graph = Graph((4, 5, 5) if operator == "Conv" else (6,))
    if operator == "Conv":
        result = graph.conv("x", 4, 6, group=2, strides=[2, 2])
    elif operator == "Gemm":
        result = graph.gemm("x", 6, 5, transB=1)
    else:
        result = graph.node("MatMul", "x", graph.constant(graph.normal(6, 5)))
    network = load_network(graph.model(result))
    ((layer,), (node,)) = list(network.layers.values()), network.nodes
    x = graph.data(3)["x"]
    y = layer(x)
    upstream = graph.rng.normal(size=y.shape).astype("float32")
    inputs = [x, *(network.constants[name] for name in node.input[1:])]
    expected = node_gradients(node, inputs, y, upstream, [True] * len(inputs))

    back, weights, bias = layer_gradients(layer, x, layer.columns(x), upstream)
    # The same float32 sums of up to 50 terms near 1, in another order.
    np.testing.assert_allclose(back, expected[0], atol=1e-5)
    np.testing.assert_allclose(layer.tensor(weights), expected[1], atol=1e-4)
    if len(expected) > 2:
        np.testing.assert_allclose(bias, expected[2], atol=1e-4)


def test_goes_back_through_a_network():
    """A value that is read twice, and a gradient that enters in the middle."""
    graph, model = residual()
    network = load_network(model)
    x = graph.data(4)["x"]
    values = forward(network, {"x": x})
    (output,) = network.outputs
    middle = next(layer.output for layer in network.layers.values() if layer.name == "b1")
    rng = np.random.default_rng(0)
    seeds = {
        name: rng.normal(size=values[name].shape).astype("float32") for name in (output, middle)
    }
    found = backward(network, values, seeds)
    assert not set(found) & set(network.constants)

    direction = rng.normal(size=x.shape).astype("float32")
    reach = np.float32(1e-3)

    def value(moved):
        ran = forward(network, {"x": moved})
        return sum(float((ran[name].astype("float64") * seeds[name]).sum()) for name in seeds)

    slope = (value(x + reach * direction) - value(x - reach * direction)) / (2 * float(reach))
    # float32 results over a reach of 1e-3, and kinks of Relu within it.
    assert float((found["x"] * direction).sum()) == pytest.approx(slope, rel=0.02)
