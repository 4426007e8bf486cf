"""Calibration data made from BatchNormalization statistics."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import qcompile
from qcompile.cli import main
from qcompile.commands.reference import load_tensors
from qcompile.errors import Unsupported
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network
from qcompile.quantizer.distillation import distil
from qcompile.quantizer.distillation.graph import StatisticsGraph
from qcompile.quantizer.distillation.statistics import Statistics
from qcompile.quantizer.network import load_network
from tests.qcompile.quantizer.float_networks import Graph, chain
from tests.qcompile.quantizer.normalized import EPSILON, with_batch_normalization

DEMO = Path(qcompile.__file__).parent / "demo_data"
STEP = 1e-2  # along the gradient: float32 sums tell the difference
CLOSE = 0.02  # relative: what a step across the kinks of Relu and Clip leaves


def normalization(graph, x, channels):
    values = [graph.rng.uniform(0.5, 2, channels).astype("float32") for _ in range(4)]
    return graph.node("BatchNormalization", x, *map(graph.constant, values), epsilon=EPSILON)


def through(graph, operator):
    """The operator in front of a normalization of 8 channels, behind one of 4."""
    x = normalization(graph, graph.conv("x", 3, 4), 4)
    y = graph.conv(x, 4, 4, strides=[2, 2]) if operator == "strides" else x
    attributes = {"alpha": 0.3} if operator == "LeakyRelu" else {}
    if operator in ("Add", "Mul", "Sub"):
        y = graph.node(operator, y, graph.conv("x", 3, 4, kernel=1))
    elif operator == "Concat":
        return graph.node("Concat", y, graph.conv("x", 3, 4), axis=1)
    elif operator == "Clip":
        y = graph.node("Clip", y, *(graph.constant(np.float32(v)) for v in (0, 1)))
    elif operator in ("MaxPool", "AveragePool"):
        y = graph.node(operator, y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    elif operator == "Transpose":
        y = graph.node(operator, y, perm=[0, 1, 3, 2])
    elif operator == "Reshape":
        y = graph.node(operator, y, graph.constant(np.array([0, 4, 4, 16])))
    elif operator == "groups":
        return graph.conv(y, 4, 8, group=4, dilations=[2, 2])
    elif operator == "Gemm":
        y = graph.node("Flatten", graph.node("GlobalAveragePool", y))
        return graph.gemm(y, 4, 8, transB=1)
    elif operator == "MatMul":
        y = graph.node("Squeeze", graph.node("GlobalAveragePool", y), graph.axes((2, 3)))
        y = graph.node("MatMul", y, graph.constant(graph.normal(8, 4).T))
        return graph.node("Unsqueeze", y, graph.axes((2,)))
    elif operator != "strides":
        y = graph.node(operator, y, **attributes)
    return graph.conv(y, 4, 8)


OPERATORS = [
    *("Add", "AveragePool", "Clip", "Concat", "Gemm", "Identity", "LeakyRelu", "MatMul", "MaxPool"),
    *("Mul", "Relu", "Reshape", "Sigmoid", "Sub", "Tanh", "Transpose", "groups", "strides"),
]


@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_are_those_of_the_loss(operator):
    graph = Graph((3, 8, 8))
    graph.axes = lambda axes: graph.constant(np.array(axes))
    model = graph.model(normalization(graph, through(graph, operator), 8))
    found, x = StatisticsGraph(load_network(model)), graph.data(8)["x"]

    loss, gradients = found.loss({"x": x})

    direction = gradients["x"] / np.linalg.norm(gradients["x"])
    above, below = (found.loss({"x": x + s * direction})[0] for s in (STEP, -STEP))
    assert (above - below) / (2 * STEP) == pytest.approx(np.linalg.norm(gradients["x"]), rel=CLOSE)
    other = graph.rng.normal(size=x.shape).astype("float32")
    above, below = (found.loss({"x": x + s / 10 * other})[0] for s in (STEP, -STEP))
    expected = float((gradients["x"] * other).sum())
    assert (above - below) / (STEP / 5) == pytest.approx(expected, rel=2 * CLOSE, abs=CLOSE * loss)


def test_the_loss_compares_means_and_deviations():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (10, 4, 5, 5)).astype("float32")
    mean, deviation = rng.normal(size=4), rng.uniform(1, 2, 4)

    loss, _ = Statistics("x", mean.astype("float32"), deviation.astype("float32")).loss(x)

    by_channel = x.astype("float64").swapaxes(0, 1).reshape(4, -1)
    apart = np.square(by_channel.mean(axis=1) - mean) + np.square(
        by_channel.std(axis=1) - deviation
    )
    assert loss == pytest.approx((apart / deviation**2).mean(), rel=1e-4)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's network with its BatchNormalization nodes, test images and their classes."""
    content = np.load(DEMO / "fashion_mnist_1k.npz")
    images, labels = content["x"][:, None].astype("float32") / 255, content["y"]
    model = with_batch_normalization(
        onnx.load(DEMO / "fmnist_cnn_fp32.onnx"), {"input": images[:300]}
    )
    path = tmp_path_factory.mktemp("demo") / "normalized.onnx"
    onnx.save(model, path)
    return path, images, labels


def test_distilled_data_serve_8_bits(demo):
    path, images, labels = demo
    network = load_network(path)
    found = distil(network, samples=48, steps=60)
    graph, rng = StatisticsGraph(network), np.random.default_rng(1)
    white = rng.normal(size=found.inputs["input"].shape).astype("float32")

    assert found.noise_loss > 10 * found.loss
    assert graph.loss({"input": white})[0] > 10 * found.loss
    assert graph.loss(found.inputs)[0] == pytest.approx(found.loss, rel=1e-3)

    options = QuantizeOptions(rounding="nearest")  # as without calibration data
    model = quantize_network(path, found.inputs, options).model
    right = {}
    for name, each in (("float", onnx.load(path)), ("int8", model)):
        scores = load_tensors(each, name)({"input": images})[each.graph.output[0].name]
        right[name] = (scores.argmax(axis=1) == labels).mean()
    assert right["int8"] >= right["float"] - 0.003


def test_quantize_distils_without_calibration(tmp_path, capfd):
    graph, model = chain()
    path = tmp_path / "chain.onnx"
    onnx.save(with_batch_normalization(model, graph.data()), path)

    code = main(["quantize", str(path), "-o", str(tmp_path / "int8.onnx")])

    said = capfd.readouterr().out
    assert "these samples were distilled from BatchNormalization statistics" in said
    assert code == 0
    assert (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(("widths", "rounding"), [(8, "nearest"), (4, "hessian")])
def test_weights_of_8_bits_are_not_refitted_to_distilled_data(widths, rounding):
    graph, model = chain()
    model = with_batch_normalization(model, graph.data())
    made = quantize_network(model, None, QuantizeOptions(Widths(widths, 8)))
    assert made.distilled is not None
    options = QuantizeOptions(Widths(widths, 8), rounding=rounding)
    same = quantize_network(model, made.distilled.inputs, options)
    assert same.model == made.model


def test_batches_are_those_of_the_model():
    graph = Graph((3, 8, 8))
    model = graph.model(normalization(graph, graph.conv("x", 3, 4), 4), batch=5)
    found = distil(load_network(model), samples=12, steps=2)
    assert found.inputs["x"].shape == (15, 3, 8, 8)
    again = distil(load_network(model), samples=12, steps=2)
    np.testing.assert_array_equal(found.inputs["x"], again.inputs["x"])


def test_refuses_networks_without_statistics():
    _, model = chain()
    with pytest.raises(Unsupported, match=r"no BatchNormalization nodes.*calibration data would"):
        quantize_network(model, None)


def test_names_the_operator_without_a_gradient():
    graph = Graph((3, 8, 8))
    x = graph.node("Erf", graph.conv("x", 3, 4), name="odd")
    model = graph.model(normalization(graph, x, 4))
    with pytest.raises(Unsupported, match=r"'odd'.*no gradient of Erf.*Calibration data would"):
        quantize_network(model, None)
