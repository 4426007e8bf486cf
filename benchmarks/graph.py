"""Write ONNX networks with seeded random weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17
IR_VERSION = 10  # what onnxruntime's releases of the last years read


class Graph:
    """A network under construction: every method adds a node and returns its output's name."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> str:
        """Declare an input; strings are open dimensions."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """Keep `array` as an initializer."""
        name = name or f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def scalar(self, value: float, dtype: str = "float32") -> str:
        return self.constant(np.array(value, dtype))

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operator with one output."""
        return self.nodes(op, *inputs, name=name, outputs=1, **attributes)[0]

    def nodes(
        self, op: str, *inputs: str, name: str = "", outputs: int, **attributes: Any
    ) -> list[str]:
        """Add an operator with several outputs."""
        name = name or f"{op}_{len(self._nodes)}"
        results = [name if outputs == 1 else f"{name}_{k}" for k in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, results, name=name, **attributes))
        return results

    def weights(self, *shape: int, fan_in: int, gain: float = 1.0) -> str:
        """Random weights that keep the variance of rectified inputs (He et al. 2015, eq. 10)."""
        deviation = gain * np.sqrt(2 / fan_in)
        return self.constant(self.rng.normal(0, deviation, shape).astype("float32"))

    def bias(self, size: int) -> str:
        return self.constant(self.rng.normal(0, 0.05, size).astype("float32"))

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        gain: float = 1.0,
        name: str = "",
        **attributes: Any,
    ) -> str:
        """A square 2-D convolution with bias, padded to keep the size at stride 1."""
        depth = inputs // groups
        weights = self.weights(outputs, depth, kernel, kernel, fan_in=depth * kernel**2, gain=gain)
        return self.node(
            "Conv",
            x,
            weights,
            self.bias(outputs),
            name=name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
            **attributes,
        )

    def dense(self, x: str, inputs: int, outputs: int, *, gain: float = 1.0, name: str = "") -> str:
        """x @ weights + bias over the last axis."""
        weights = self.weights(inputs, outputs, fan_in=inputs, gain=gain)
        return self.node("Add", self.node("MatMul", x, weights, name=name), self.bias(outputs))

    def gemm(self, x: str, inputs: int, outputs: int, *, name: str = "") -> str:
        weights = self.weights(outputs, inputs, fan_in=inputs)
        return self.node("Gemm", x, weights, self.bias(outputs), name=name, transB=1)

    def model(
        self,
        outputs: Mapping[str, Sequence[int | str]],
        *,
        dtype: str = "float32",
        opsets: Mapping[str, int] | None = None,
    ) -> onnx.ModelProto:
        """The network with these outputs and their shapes, checked."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        results = [helper.make_tensor_value_info(o, kind, s) for o, s in outputs.items()]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, results, self._constants)
        versions = {"": OPSET, **(opsets or {})}
        imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model
