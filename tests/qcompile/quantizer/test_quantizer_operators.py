"""Layers and pools in NumPy, against onnxruntime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.commands.reference import load_tensors
from qcompile.quantizer.network import load_network
from qcompile.quantizer.operators import compute
from tests.qcompile.quantizer.float_networks import Graph

pytest.importorskip("onnxruntime")
PADDINGS = ({}, {"pads": [1, 0, 2, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "VALID"})
POOLS = ({}, {"pads": [1, 0, 1, 1], "strides": [2, 2]}, {"ceil_mode": 1, "strides": [2, 3]})
CLOSE = 1e-5  # float32 sums in another order


def expect_same(graph, model):
    data = graph.data(3)
    network = load_network(model)
    (node,) = network.nodes
    layer = network.layer(node)
    ours = layer(data["x"]) if layer else compute(node, [data["x"]], network.opset)[0]
    theirs = load_tensors(model, "test")(data)[model.graph.output[0].name]
    np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=CLOSE)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([1, 2, 4]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from(PADDINGS),
)
def test_convolves(groups, kernel, stride, dilation, padding):
    graph = Graph((4, 9, 8))
    spread = {"strides": [stride] * 2}
    if padding.get("auto_pad") != "SAME_UPPER":
        spread["dilations"] = [dilation] * 2  # onnxruntime refuses both
    y = graph.conv("x", 4, 8, kernel=kernel, group=groups, **spread, **padding)
    expect_same(graph, graph.model(y))


def test_convolves_along_one_axis():
    graph = Graph((4, 20))
    weights = graph.constant(graph.normal(6, 4, 5))
    expect_same(graph, graph.model(graph.node("Conv", "x", weights, strides=[2], pads=[1, 3])))


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
def test_multiplies(attributes):
    graph = Graph((10,))
    expect_same(graph, graph.model(graph.gemm("x", 10, 6, **attributes)))


def test_multiplies_batches():
    graph = Graph((5, 10))
    y = graph.node("MatMul", "x", graph.constant(graph.normal(6, 10).T))
    expect_same(graph, graph.model(y))


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("attributes", POOLS)
def test_pools(operator, attributes):
    graph = Graph((4, 9, 8))
    y = graph.conv("x", 4, 4, name="layer")
    model = graph.model(graph.node(operator, y, kernel_shape=[3, 2], **attributes))
    data = graph.data(2)
    theirs = load_tensors(model, "test")(data)
    network = load_network(model)
    (ours,) = compute(network.nodes[1], [theirs[y]], network.opset)
    np.testing.assert_allclose(ours, theirs[model.graph.output[0].name], rtol=CLOSE, atol=CLOSE)
