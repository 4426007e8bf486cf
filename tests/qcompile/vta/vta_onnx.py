"""Small quantized networks in ONNX's QDQ format, with seeded weights."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A graph that grows node by node; every tensor of data is quantized to uint8."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int = 0) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        self.x = self.codes("x", 1 / 64, 128)

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        self.count += 1
        output = f"{op}_{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def codes(self, x: str, scale: float, zero: int) -> str:
        """`x` through a pair of QuantizeLinear and DequantizeLinear."""
        names = [self.constant(np.float32(scale)), self.constant(np.uint8(zero))]
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *names), *names)

    def weights(self, shape: tuple[int, ...]) -> tuple[str, str]:
        """int8 weights with a scale for each output channel, and an int32 bias."""
        scales = self.rng.uniform(0.5, 2, shape[0]) / (64 * np.prod(shape[1:]) ** 0.5)
        codes = self.constant(self.rng.integers(-127, 128, shape, dtype="int8"))
        weights = self.node(
            "DequantizeLinear", codes, self.constant(scales.astype("float32")), axis=0
        )
        return weights, self.constant(self.rng.normal(0, 0.2, shape[0]).astype("float32"))

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, **attributes: object) -> str:
        groups = int(attributes.get("group", 1))
        weights, bias = self.weights((outputs, inputs // groups, kernel, kernel))
        return self.node("Conv", x, weights, bias, **attributes)

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        weights, bias = self.weights((outputs, inputs))
        return self.node("Gemm", x, weights, bias, transB=1)

    def save(self, folder: Path, outputs: dict[str, tuple[int, ...]]) -> Path:
        """The file of the model; outputs: their shapes by name."""
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path = folder / f"{self.name}.onnx"
        onnx.save(model, path)
        return path


def residual(folder: Path) -> Path:
    """A residual block with padding, a strided branch, an average and a dense layer."""
    net = Net("residual", (1, 3, 9, 11))
    x = net.codes(net.node("Relu", net.conv(net.x, 3, 20, 3, pads=[1] * 4)), 1 / 48, 0)
    y = net.codes(net.node("Relu", net.conv(x, 20, 20, 3, pads=[1] * 4)), 1 / 40, 0)
    y = net.codes(net.conv(y, 20, 20, 3, pads=[1] * 4), 1 / 32, 120)
    y = net.codes(net.node("Relu", net.node("Add", x, y)), 1 / 36, 0)
    y = net.codes(net.conv(y, 20, 40, 1, strides=[2, 2]), 1 / 32, 130)
    y = net.codes(net.node("GlobalAveragePool", y), 1 / 64, 128)
    y = net.codes(net.dense(net.node("Flatten", y), 40, 7), 1 / 50, 127)
    return net.save(folder, {y: (1, 7)})


def through_the_processor(folder: Path) -> Path:
    """Two segments with a function between them that VTA does not have."""
    net = Net("through", (2, 8, 6, 6), seed=1)
    x = net.codes(net.conv(net.x, 8, 16, 3, pads=[1] * 4), 1 / 32, 128)
    y = net.codes(net.node("Sigmoid", x), 1 / 255, 0)
    y = net.codes(net.conv(y, 16, 24, 3, strides=[2, 2], pads=[0, 0, 1, 1]), 1 / 100, 128)
    return net.save(folder, {x: (2, 16, 6, 6), y: (2, 24, 3, 3)})


def depthwise(folder: Path) -> Path:
    """Grouped and dilated convolutions, and a max pool."""
    net = Net("depthwise", (1, 16, 12, 12), seed=2)
    x = net.codes(net.conv(net.x, 16, 16, 3, group=16, pads=[1] * 4), 1 / 40, 128)
    x = net.codes(net.node("Relu", net.conv(x, 16, 32, 3, dilations=[2, 2], group=2)), 1 / 40, 0)
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.codes(net.conv(x, 32, 10, 4), 1 / 40, 128)
    return net.save(folder, {x: (1, 10, 1, 1)})


NETWORKS = {"residual": residual, "through": through_the_processor, "depthwise": depthwise}
