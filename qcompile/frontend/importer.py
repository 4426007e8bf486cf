"""From a checked ONNX graph to the Relax function "main".

Its parameters are the graph's real inputs; float16 enters and leaves by a cast, float32 is computed
in between.
"""

from collections import ChainMap
from collections.abc import Mapping

import onnx
from tvm import relax
from tvm.ir import IRModule

from qcompile.errors import InvalidModel, QCompileError, Unsupported
from qcompile.frontend.graph import GraphConverter
from qcompile.frontend.names import identifier
from qcompile.frontend.node import Emitter, Value, dtype_of
from qcompile.frontend.shapes import real_inputs
from qcompile.frontend.tensors import io_dtype


def build_module(
    graph: onnx.GraphProto, opset: int, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[IRModule, list[str]]:
    """The module, and the names of its layers. `shapes`: of every real input."""
    builder = relax.BlockBuilder()
    converter = GraphConverter(Emitter(builder), opset, graph)
    parameters = _parameters(graph, shapes)
    with builder.function("main", params=list(parameters.values())):
        try:
            with builder.dataflow():
                scope = ChainMap({n: _entered(builder, p) for n, p in parameters.items()})
                values = converter.convert(graph, scope)
                pairs = zip(graph.output, values, strict=True)
                outputs = [_output(builder, declared, value) for declared, value in pairs]
                result = outputs[0] if len(outputs) == 1 else relax.Tuple(outputs)
                result = builder.emit_output(result)
        except QCompileError:
            builder._end_block()  # else TVM warns on stderr about an unfinished block
            raise
        builder.emit_func_output(result)
    return relax.transform.DeadCodeElimination()(builder.get()), converter.layers


def _parameters(
    graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, relax.Var]:
    taken: set[str] = set()
    parameters = {}
    for value in real_inputs(graph):
        if 0 in shapes[value.name]:
            raise Unsupported(f"input '{value.name}' is empty: {list(shapes[value.name])}")
        name = identifier(value.name, taken)
        taken.add(name)
        dtype = io_dtype(value.type.tensor_type.elem_type, f"input '{value.name}'")
        parameters[value.name] = relax.Var(name, relax.TensorType(shapes[value.name], dtype))
    return parameters


def _entered(builder: relax.BlockBuilder, parameter: relax.Var) -> Value:
    if dtype_of(parameter) == "float16":
        return Value(builder.emit(relax.op.astype(parameter, "float32")))
    return Value(parameter)


def _output(builder: relax.BlockBuilder, declared: onnx.ValueInfoProto, value: Value) -> relax.Expr:
    """The value in its declared type."""
    expr, wanted = value.expr, declared.type.tensor_type.elem_type
    if not wanted:
        return expr
    dtype = io_dtype(wanted, f"output '{declared.name}'")
    if dtype == "float16" and dtype_of(expr) == "float32":
        return builder.emit(relax.op.astype(expr, "float16"))
    if dtype != dtype_of(expr):
        raise InvalidModel(
            f"output '{declared.name}' is declared {dtype} and computed as {dtype_of(expr)}"
        )
    return expr
