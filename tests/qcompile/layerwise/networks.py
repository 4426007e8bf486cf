"""One small network in every format: three layers of integers between quantizers."""

import numpy as np
from onnx import helper, numpy_helper

from tests.qcompile.layerwise.quantizers import OPSETS, QONNX

SIZES = (6, 8, 8, 4)
STEP = np.float32(2**-4)
SAMPLES = 3


class Network:
    """Nodes in a row over x: (1, 6)."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator, x, *constants, domain="", **attributes):
        inputs = [x, *(self.constant(array) for array in constants)]
        result = f"{operator}_{len(self.nodes)}"
        made = helper.make_node(operator, inputs, [result], result, domain=domain, **attributes)
        self.nodes.append(made)
        return result

    def weights(self, layer):
        return self.rng.integers(-1, 2, (SIZES[layer], SIZES[layer + 1]))

    def model(self, result):
        inputs = [helper.make_tensor_value_info("x", 1, [1, SIZES[0]])]
        outputs = [helper.make_tensor_value_info(result, 1, [1, SIZES[-1]])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=10)


def qonnx(rounding="ROUND"):
    """Quant of 3 bits and BipolarQuant between the layers."""
    net = Network()

    def product(x, layer):
        scale, zero, bits = np.float32(STEP), np.float32(0), np.float32(2)
        w = (net.weights(layer) * STEP).astype("float32")
        net.nodes.append(
            helper.make_node(
                "Quant",
                [net.constant(w), *map(net.constant, (scale, zero, bits))],
                [f"w{layer}"],
                f"w{layer}",
                domain=QONNX,
                signed=1,
                narrow=1,
            )
        )
        name = f"product{layer}"
        net.nodes.append(helper.make_node("MatMul", [x, f"w{layer}"], [name], name))
        return name

    def quant(x, bits, **attributes):
        constants = (STEP, np.float32(0), np.float32(bits))
        return net.node("Quant", x, *constants, domain=QONNX, **attributes)

    x = quant("x", 4, signed=1, narrow=0)
    x = net.node("Mul", product(x, 0), np.float32(3.7))
    x = quant(x, 3, signed=0, narrow=0, rounding_mode=rounding)
    x = net.node("BipolarQuant", product(x, 1), STEP, domain=QONNX)
    return net.model(product(x, 2))


def qdq(clip=None):
    """QuantizeLinear, a Clip to fewer bits where limits are given, DequantizeLinear."""
    net = Network()

    def quantized(x, scale):
        zero = np.uint8(8)
        x = net.node("QuantizeLinear", x, np.float32(scale), zero)
        if clip:
            x = net.node("Clip", x, *(np.uint8(limit) for limit in clip))
        return net.node("DequantizeLinear", x, np.float32(scale), zero)

    x = "x"
    for layer in range(3):
        x = quantized(x, STEP * (layer + 1))
        codes = net.constant(net.weights(layer).astype("int8"))
        w = f"w{layer}"
        net.nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [codes, net.constant(np.float32(0.83)), net.constant(np.int8(0))],
                [w],
                w,
            )
        )
        name = f"product{layer}"
        net.nodes.append(helper.make_node("MatMul", [x, w], [name], name))
        x = name
    return net.model(x)


def qoperator():
    """QLinearMatMul."""
    net = Network()
    scale, zero = np.float32(STEP), np.uint8(128)
    x = net.node("QuantizeLinear", "x", scale, zero)
    for layer in range(3):
        weights = (net.weights(layer).astype("int8"), np.float32(0.37), np.int8(0))
        x = net.node("QLinearMatMul", x, scale, zero, *weights, scale, zero)
        net.nodes[-1].name = f"product{layer}"
    return net.model(net.node("DequantizeLinear", x, scale, zero))


NETWORKS = {
    "qonnx": qonnx,
    "qonnx floor": lambda: qonnx("FLOOR"),
    "qdq": qdq,
    "qcdq": lambda: qdq((0, 15)),
    "qoperator": qoperator,
}


def samples(count=SAMPLES):
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(0, 0.4, (1, SIZES[0])).astype("float32")} for _ in range(count)]
