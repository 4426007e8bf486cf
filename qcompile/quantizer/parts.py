"""Nodes and constants of an ONNX model that is being made, quantizers in either dialect."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qcompile.quantizer.grid import Array, Quantizer
from qcompile.quantizer.network import Network
from qcompile.quantizer.placement import Place

QONNX_DOMAIN = "qonnx.custom_op.general"
LEAST_IR_VERSION = 8


@dataclass
class Parts:
    """`standard`: QuantizeLinear and DequantizeLinear, else the quantizers of QONNX."""

    network: Network
    standard: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    _written: dict[Place, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _shared: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nodes = self.network.nodes
        self._taken |= {name for node in nodes for name in (node.name, *node.input, *node.output)}
        self._taken |= {name for layer in self.network.layers.values() for name in (layer.output,)}

    def free(self, wanted: str) -> str:
        """A name that nothing has."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def constant(self, wanted: str, value: Array) -> str:
        name = self.free(wanted)
        self.constants[name] = value
        return name

    def shared(self, wanted: str, value: Array) -> str:
        """The name of a constant that is written once."""
        if wanted not in self._shared:
            self._shared[wanted] = self.constant(wanted, value)
        return self._shared[wanted]

    def node(self, operator: str, inputs: list[str], result: str, **attributes: object) -> str:
        """The result's name, free or as asked for."""
        name = self.free(f"{operator}_{result}")
        domain = QONNX_DOMAIN if operator in ("Quant", "BipolarQuant") else ""
        self.nodes.append(
            helper.make_node(operator, inputs, [result], name, domain=domain, **attributes)
        )
        return result

    def copy(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        del copy.input[:]
        copy.input.extend(inputs)
        known = self.network.constants
        self.constants.update({name: known[name] for name in inputs if name in known})
        self.nodes.append(copy)

    def activation(self, place: Place, quantizer: Quantizer) -> str:
        """The name of a quantized value."""
        if place not in self._written:
            wanted = f"{place.value}_quantized"
            scale = self.constant(f"{place.value}_scale", np.asarray(quantizer.scale, "float32"))
            if self.standard:
                dtype = np.int8 if quantizer.grid.signed else np.uint8
                zero = self.constant(f"{place.value}_zero", np.zeros((), dtype))
                codes = self.free(f"{place.value}_codes")
                self.node("QuantizeLinear", [place.value, scale, zero], codes)
                self.node("DequantizeLinear", [codes, scale, zero], self.free(wanted))
            else:
                self.quant(place.value, scale, quantizer, self.free(wanted))
            self._written[place] = self.nodes[-1].output[0]
        return self._written[place]

    def quant(self, value: str, scale: str, quantizer: Quantizer, result: str) -> str:
        """A quantizer of QONNX."""
        grid = quantizer.grid
        if grid.bipolar:
            return self.node("BipolarQuant", [value, scale], result)
        zero = self.shared("qonnx_zero", np.zeros((), "float32"))
        bits = self.shared(f"qonnx_bits_{grid.bits}", np.full((), grid.bits, "float32"))
        signs = {"signed": int(grid.signed), "narrow": 0, "rounding_mode": "ROUND"}
        return self.node("Quant", [value, scale, zero, bits], result, **signs)

    def model(self) -> onnx.ModelProto:
        source, known = self.network.model, self.network.constants
        self.constants.update({n: known[n] for n in self.network.outputs if n in known})
        graph = helper.make_graph(
            self.nodes,
            source.graph.name or "quantized",
            list(self.network.inputs),
            list(source.graph.output),
            [numpy_helper.from_array(np.asarray(v), n) for n, v in self.constants.items()],
        )
        imports = [entry for entry in source.opset_import if entry.domain in ("", "ai.onnx")]
        if not self.standard:
            imports.append(helper.make_opsetid(QONNX_DOMAIN, 1))
        return helper.make_model(
            graph,
            producer_name="qcompile",
            opset_imports=imports,
            ir_version=max(source.ir_version, LEAST_IR_VERSION),
        )
