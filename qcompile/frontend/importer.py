"""From a checked ONNX graph to a Relax function of static shapes, node by node.

Every value is known as a constant or as a Relax variable of static type, so shape computations
fold as they are met (folding.py) and nothing dynamic remains. A node goes to our own converter
when converters.py has one, else to TVM's when it is a standard operator; operators of other domains
never reach TVM's, which ignore the domain.
"""

from collections import defaultdict
from collections.abc import Mapping

import onnx
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.errors import InvalidModel, QCompileError, Unsupported
from qcompile.frontend.converters import CONVERTERS, LAYERS
from qcompile.frontend.folding import evaluate, foldable
from qcompile.frontend.names import identifier, layer_names
from qcompile.frontend.node import (
    Emitter,
    Node,
    Result,
    Value,
    array_of,
    constant,
    dtype_of,
    shape_of,
)
from qcompile.frontend.shapes import real_inputs
from qcompile.frontend.stock import stock
from qcompile.frontend.tensors import PLAIN_TYPES, elements, to_array, type_name
from qcompile.frontend.validate import STANDARD_DOMAINS, describe

GRAPH_OUTPUT = ""
INPUT_TYPES = PLAIN_TYPES | {onnx.TensorProto.FLOAT16: "float16"}


class Importer:
    """Builds one module; `layers` are the names of its contractions afterwards."""

    def __init__(self, opset: int, shapes: Mapping[str, tuple[int, ...]]):
        self.opset = opset
        self.bb = relax.BlockBuilder()
        self.layers: list[str] = []
        self._shapes = shapes
        self._emitter = Emitter(self.bb)
        self._values: dict[str, Value] = {}

    def build(self, graph: onnx.GraphProto) -> IRModule:
        """The module whose "main" computes the graph's outputs from its real inputs."""
        for tensor in graph.initializer:
            array, codes = to_array(tensor)
            self._values[tensor.name] = Value(constant(array), codes)
        parameters = self._parameters(graph)
        with self.bb.function("main", params=list(parameters.values())):
            try:
                with self.bb.dataflow():
                    self._enter(graph, parameters)
                    self._convert_nodes(graph)
                    outputs = [self._output(value) for value in graph.output]
                    result = outputs[0] if len(outputs) == 1 else relax.Tuple(outputs)
                    result = self.bb.emit_output(result)
            except QCompileError:
                self.bb._end_block()  # else TVM warns on stderr about an unfinished block
                raise
            self.bb.emit_func_output(result)
        return relax.transform.DeadCodeElimination()(self.bb.get())

    def _parameters(self, graph: onnx.GraphProto) -> dict[str, relax.Var]:
        taken: set[str] = set()
        parameters = {}
        for value in real_inputs(graph):
            elem_type = value.type.tensor_type.elem_type
            dtype = (
                "float16" if elem_type == onnx.TensorProto.FLOAT16 else PLAIN_TYPES.get(elem_type)
            )
            if dtype is None:
                known = ", ".join(type_name(t) for t in INPUT_TYPES)
                raise Unsupported(
                    f"input '{value.name}' holds {type_name(elem_type)}; inputs can hold {known}"
                )
            name = identifier(value.name, taken)
            taken.add(name)
            shape = self._shapes[value.name]
            parameters[value.name] = relax.Var(name, relax.TensorType(shape, dtype))
        return parameters

    def _enter(self, graph: onnx.GraphProto, parameters: Mapping[str, relax.Var]) -> None:
        for name, variable in parameters.items():
            if dtype_of(variable) == "float16":
                variable = self.bb.emit(relax.op.astype(variable, "float32"))
            self._values[name] = Value(variable)

    def _output(self, value: onnx.ValueInfoProto) -> relax.Expr:
        expr = self._values[value.name].expr
        wanted = value.type.tensor_type.elem_type
        if wanted == onnx.TensorProto.FLOAT16 and dtype_of(expr) == "float32":
            return self.bb.emit(relax.op.astype(expr, "float16"))
        if wanted and PLAIN_TYPES.get(wanted) != dtype_of(expr):
            raise InvalidModel(
                f"output '{value.name}' is declared {type_name(wanted)} and computed as "
                f"{dtype_of(expr)}"
            )
        return expr

    def _convert_nodes(self, graph: onnx.GraphProto) -> None:
        consumers = _consumers(graph)
        for node, name in zip(graph.node, layer_names(graph.node), strict=True):
            try:
                self._convert_node(node, name, consumers)
            except QCompileError as error:
                raise type(error)(f"{describe(node)}: {error}") from error

    def _convert_node(
        self, proto: onnx.NodeProto, name: str, consumers: Mapping[str, set[str]]
    ) -> None:
        node = self._node(proto, name, consumers)
        arrays = [None if value is None else array_of(value.expr) for value in node.inputs]
        known = all(a is not None or v is None for a, v in zip(arrays, node.inputs, strict=True))
        standard = proto.domain in STANDARD_DOMAINS
        if node.operator in CONVERTERS:
            result = CONVERTERS[node.operator](self._emitter, node)
        elif standard and known and foldable(node.operator, arrays):
            result = [constant(array) for array in evaluate(proto, arrays, self.opset)]
        elif standard:
            result = stock(self._emitter, node)
        else:
            raise Unsupported(f"the operator {node.operator} is unknown")
        self._bind(proto, node, result)
        if node.operator in LAYERS:
            self.layers.append(name)

    def _node(self, proto: onnx.NodeProto, name: str, consumers: Mapping[str, set[str]]) -> Node:
        standard = proto.domain in STANDARD_DOMAINS
        return Node(
            name=name,
            operator=proto.op_type if standard else f"{proto.domain}::{proto.op_type}",
            opset=self.opset,
            inputs=tuple(self._values[i] if i else None for i in proto.input),
            attributes=self._attributes(proto),
            outputs=tuple(proto.output),
            consumers=frozenset(consumers[proto.output[0]]) if proto.output else frozenset(),
        )

    def _attributes(self, proto: onnx.NodeProto) -> dict[str, object]:
        return {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}

    def _bind(self, proto: onnx.NodeProto, node: Node, result: Result) -> None:
        results = result if isinstance(result, list) else self._unpacked(result)
        wanted = [name for name in node.outputs if name]
        if len(results) < len(node.outputs) and len(results) < len(wanted):
            raise Unsupported(f"{len(wanted)} results; {len(results)} work")
        for name, each in zip(node.outputs, results, strict=False):
            if not name:
                continue
            value = each if isinstance(each, Value) else Value(each)
            expr = self._emitter.emit(value.expr, node.name)
            self._values[name] = Value(self._static(expr), value.codes)

    def _unpacked(self, result: relax.Expr | Value) -> list[relax.Expr | Value]:
        if isinstance(result, Value):
            return [result]
        if isinstance(result, relax.Tuple):
            return list(result.fields)
        result = self._emitter.emit(self.bb.normalize(result))
        if isinstance(result.ty, relax.TupleType):
            count = len(result.ty.fields)
            return [self.bb.emit(relax.TupleGetItem(result, i)) for i in range(count)]
        return [result]

    def _static(self, expr: relax.Expr) -> relax.Expr:
        """`expr`, proved to be a tensor of static and reasonable shape."""
        tensor = expr.ty
        if not isinstance(tensor, relax.TensorType):
            raise Unsupported("its result is no tensor")
        shape = tensor.shape
        if shape is None or not all(isinstance(extent, tvm.tirx.IntImm) for extent in shape):
            raise Unsupported("the shape of its result depends on the data")
        elements(list(shape_of(expr)), "its result")
        if dtype_of(expr) in ("float16", "bfloat16"):
            return self.bb.emit(relax.op.astype(expr, "float32"))
        return expr


def _consumers(graph: onnx.GraphProto) -> Mapping[str, set[str]]:
    """For each value the operators that read it, GRAPH_OUTPUT for the graph itself."""
    consumers: defaultdict[str, set[str]] = defaultdict(set)
    for node in graph.node:
        for name in node.input:
            consumers[name].add(node.op_type)
    for value in graph.output:
        consumers[value.name].add(GRAPH_OUTPUT)
    return consumers
