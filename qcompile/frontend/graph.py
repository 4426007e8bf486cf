"""Convert the nodes of an ONNX graph one by one.

Every value is known as a constant or as a Relax variable of static type, so shape computations
fold as they are met (folding.py) and nothing dynamic remains. A node goes to our own converter
when converters.py has one, else to TVM's when it is a standard operator; operators of other domains
never reach TVM's, which ignore the domain.
"""

from collections import ChainMap, defaultdict
from collections.abc import Mapping

import numpy as np
import onnx
import tvm
from tvm import relax

from qcompile.errors import InvalidModel, QCompileError, Unsupported
from qcompile.frontend.control import CONTROL
from qcompile.frontend.converters import CONVERTERS, LAYERS
from qcompile.frontend.folding import FOLDABLE, MAX_FOLDED, MOST_BYTES, evaluate, result_size
from qcompile.frontend.names import LayerNames
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
from qcompile.frontend.stock import check_inputs, first_line, stock
from qcompile.frontend.tensors import elements, to_array
from qcompile.frontend.validate import STANDARD_DOMAINS, describe, names_read

GRAPH_OUTPUT = ""
MAX_NODES = 100_000  # conversions, those of unrolled loops included

Scope = ChainMap[str, Value]


class GraphConverter:
    """Emits nodes; `layers` are the names of the contractions met so far."""

    def __init__(self, emitter: Emitter, opset: int, graph: onnx.GraphProto):
        self.layers: list[str] = []
        self._emitter = emitter
        self._opset = opset
        self._names = LayerNames(graph)
        for node in graph.node:  # else TVM may give an unnamed variable the name of a layer
            emitter.block_builder.get_unique_name(node.name or node.op_type)
        self._converted = 0

    def convert(self, graph: onnx.GraphProto, scope: Scope) -> list[Value]:
        """The graph's outputs; its initializers and results enter `scope`."""
        for tensor in graph.initializer:
            array, codes = to_array(tensor)
            scope[tensor.name] = Value(constant(array), codes)
            self._emitter.own(scope[tensor.name].expr)
        consumers = _consumers(graph)
        for node in graph.node:
            try:
                self._convert_node(node, scope, consumers)
            except QCompileError as error:
                raise type(error)(f"{describe(node)}: {error}") from error
            except Exception as error:  # TVM's type inference raises whatever comes
                raise InvalidModel(f"{describe(node)}: {first_line(error)}") from error
        return [scope[value.name] for value in graph.output]

    def emit(self, expr: relax.Expr) -> relax.Expr:
        return self._emitter.emit(expr)

    def _convert_node(
        self, proto: onnx.NodeProto, scope: Scope, consumers: Mapping[str, set[str]]
    ) -> None:
        self._converted += 1
        if self._converted > MAX_NODES:
            raise Unsupported(f"more than {MAX_NODES} nodes, unrolled loops included")
        node = self._node(proto, scope, consumers)
        if proto.domain in STANDARD_DOMAINS:
            check_inputs(node)
        result: Result
        if node.operator in CONTROL:
            result = list(CONTROL[node.operator](self, node, scope))
        elif (folded := self._folded(proto, node)) is not None:
            result = folded
        elif node.operator in CONVERTERS:
            result = CONVERTERS[node.operator](self._emitter, node)
        else:
            result = stock(self._emitter, node)
        self._bind(node, result, scope)
        if node.operator in LAYERS:
            self.layers.append(node.name)

    def _folded(self, proto: onnx.NodeProto, node: Node) -> Result | None:
        """The results of a cheap standard node whose inputs are all constants."""
        if proto.domain not in STANDARD_DOMAINS or node.operator not in FOLDABLE:
            return None
        arrays = [None if value is None else array_of(value.expr) for value in node.inputs]
        if any(a is None and v is not None for a, v in zip(arrays, node.inputs, strict=True)):
            return None
        size = result_size(node.operator, arrays)
        held = sum(array.size for array in arrays if array is not None)
        if size > max(MAX_FOLDED, held) or size * MOST_BYTES > self._emitter.free_bytes:
            raise Unsupported(f"its constant result would have {size:.0f} elements")
        return [constant(array) for array in evaluate(proto, arrays, self._opset)]

    def _node(self, proto: onnx.NodeProto, scope: Scope, consumers: Mapping[str, set[str]]) -> Node:
        standard = proto.domain in STANDARD_DOMAINS
        return Node(
            name=self._names.next(proto),
            operator=proto.op_type if standard else f"{proto.domain}::{proto.op_type}",
            opset=self._opset,
            inputs=tuple(scope[name] if name else None for name in proto.input),
            attributes={a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
            outputs=tuple(proto.output),
            consumers=frozenset(consumers.get(proto.output[0], ()))
            if proto.output
            else frozenset(),
        )

    def _bind(self, node: Node, result: Result, scope: Scope) -> None:
        results = result if isinstance(result, list) else self._unpacked(result)
        if any(node.outputs[len(results) :]):
            raise Unsupported(f"{len(node.outputs)} results; {len(results)} work")
        for name, each in zip(node.outputs, results, strict=False):
            value = each if isinstance(each, Value) else Value(each)
            if name:
                expr = self._emitter.emit(value.expr, node.name)
                scope[name] = Value(self._static(expr), value.codes)

    def _unpacked(self, result: relax.Expr | Value) -> list[relax.Expr | Value]:
        """The fields of a tuple, or the one result."""
        if isinstance(result, Value):
            return [result]
        if isinstance(result, relax.Tuple):
            return list(result.fields)
        if not isinstance(result.ty, relax.TupleType):
            return [result]
        whole = self._emitter.emit(result)
        count = len(whole.ty.fields)
        return [self._emitter.emit(relax.TupleGetItem(whole, i)) for i in range(count)]

    def _static(self, expr: relax.Expr) -> relax.Expr:
        """`expr`, proved to be a tensor of static and reasonable shape.

        float16 becomes float32, and what has no elements a constant.
        """
        if not isinstance(expr.ty, relax.TensorType):
            raise Unsupported("its result is no tensor")
        shape = expr.ty.shape
        if not isinstance(shape, relax.ShapeExpr) or not all(
            isinstance(extent, tvm.tirx.IntImm) for extent in shape
        ):
            raise Unsupported("the shape of its result depends on the data")
        if not elements(list(shape_of(expr)), "its result"):
            return constant(np.zeros(shape_of(expr), dtype_of(expr)))
        if dtype_of(expr) in ("float16", "bfloat16"):
            return self._emitter.emit(relax.op.astype(expr, "float32"))
        return expr


def _consumers(graph: onnx.GraphProto) -> Mapping[str, set[str]]:
    """For each value the operators that read it, GRAPH_OUTPUT for the graph itself."""
    consumers: defaultdict[str, set[str]] = defaultdict(set)
    for node in graph.node:
        for name in names_read(node):
            consumers[name].add(node.op_type)
    for value in graph.output:
        consumers[value.name].add(GRAPH_OUTPUT)
    return consumers
