"""Small float networks with seeded random weights, and data for them."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

SAMPLES = 96


class Graph:
    """Nodes one after the other; `x` is the input of shape (N, *shape)."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shape, self.nodes, self.constants = shape, [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator, *inputs, name="", **attributes):
        result = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [result], name, **attributes))
        return result

    def normal(self, *shape):
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        return (self.rng.normal(size=shape) * scale).astype("float32")

    def conv(self, x, inputs, outputs, kernel=3, bias=True, name="", **attributes):
        weights = self.normal(outputs, inputs // attributes.get("group", 1), kernel, kernel)
        constants = [self.constant(weights)]
        constants += [self.constant(0.2 * self.normal(outputs))] * bias
        pads = {} if "auto_pad" in attributes else {"pads": [kernel // 2] * 4}
        return self.node("Conv", x, *constants, name=name, **{**pads, **attributes})

    def gemm(self, x, inputs, outputs, name="", **attributes):
        weights = self.normal(outputs, inputs)
        weights = weights if attributes.get("transB") else weights.T
        bias = self.constant(0.2 * self.normal(outputs))
        return self.node("Gemm", x, self.constant(weights), bias, name=name, **attributes)

    def model(self, result, opset=17, batch="N"):
        shape = [batch, *self.shape]
        inputs = [helper.make_tensor_value_info("x", 1, shape)]
        outputs = [helper.make_tensor_value_info(result, 1, None)]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", opset)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return onnx.shape_inference.infer_shapes(made)

    def data(self, samples=SAMPLES):
        """Samples that differ in size and mean, so that results differ behind averages, too."""
        apart = (samples, *self.shape[:1], *[1] * (len(self.shape) - 1))
        sizes, means = self.rng.uniform(0.2, 2, apart), self.rng.normal(size=apart)
        noise = self.rng.normal(size=(samples, *self.shape))
        return {"x": (sizes * noise + means).astype("float32")}


def chain(seed=0):
    """Three convolutions, the middle one depthwise, with pooling, and a dense layer."""
    graph = Graph((3, 8, 8), seed)
    x = graph.node("Relu", graph.conv("x", 3, 8, name="first"))
    x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.node("Relu", graph.conv(x, 8, 8, group=8, name="depthwise"))
    x = graph.node("Relu", graph.conv(x, 8, 12, kernel=1, name="point"))
    x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
    return graph, graph.model(graph.gemm(x, 12, 5, transB=1, name="last"))


def residual(seed=0):
    """A block whose shortcut is its input, and one whose shortcut is a convolution."""
    graph = Graph((3, 8, 8), seed)
    x = graph.node("Relu", graph.conv("x", 3, 8, name="first"))
    y = graph.node("Relu", graph.conv(x, 8, 8, name="a1"))
    x = graph.node("Relu", graph.node("Add", x, graph.conv(y, 8, 8, name="a2")))
    y = graph.conv(graph.node("Relu", graph.conv(x, 8, 12, name="b1")), 12, 12, name="b2")
    x = graph.node("Add", graph.conv(x, 8, 12, kernel=1, name="shortcut"), y)
    x = graph.node("Flatten", graph.node("GlobalAveragePool", graph.node("Relu", x)))
    return graph, graph.model(graph.gemm(x, 12, 5, transB=1, name="last"))


def dense(seed=0):
    """Products with and without an added vector, unnamed, and data below zero."""
    graph = Graph((10,), seed)
    x = graph.node("MatMul", "x", graph.constant(graph.normal(16, 10).T))
    x = graph.node("Tanh", graph.node("Add", x, graph.constant(graph.normal(16))))
    x = graph.node("Relu", graph.node("MatMul", x, graph.constant(graph.normal(16, 16).T)))
    return graph, graph.model(graph.gemm(x, 16, 4))
