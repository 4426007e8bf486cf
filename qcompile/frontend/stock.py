"""TVM's own converters, for standard operators that need nothing special.

`_get_convert_map` is a private name of TVM 0.27; the version is pinned.
"""

from collections.abc import Mapping
from typing import Any

import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Emitter, Node

OTHERS = ("Attention",)  # TVM has com.microsoft's under the name of a standard operator


def stock_operators() -> frozenset[str]:
    """The standard operators that TVM converts."""
    return frozenset(onnx_frontend._get_convert_map()) - set(OTHERS)


def check_inputs(node: Node) -> None:
    """Raises InvalidModel for a standard operator that lacks an input; TVM crashes on some."""
    if not onnx.defs.has(node.operator, node.opset):
        raise InvalidModel(f"opset {node.opset} has no operator {node.operator}")
    formal = onnx.defs.get_schema(node.operator, node.opset).inputs
    for index, value in enumerate(node.inputs):
        option = formal[min(index, len(formal) - 1)].option if formal else None
        if value is None and option != onnx.defs.OpSchema.FormalParameterOption.Optional:
            raise InvalidModel(f"input {index} is missing")


def stock(emit: Emitter, node: Node) -> relax.Expr:
    """What TVM makes of a standard operator."""
    if node.operator not in stock_operators():
        raise Unsupported("the operator has no lowering")
    return converted(emit, node, node.operator)


def converted(emit: Emitter, node: Node, operator: str) -> relax.Expr:
    """What TVM's converter of `operator` makes of the node's inputs and attributes."""
    inputs = onnx_frontend.onnx_input()
    inputs.extend(None if value is None else value.expr for value in node.inputs)
    converter = onnx_frontend._get_convert_map()[operator].get_converter(node.opset)
    attributes = _attributes(node.attributes)
    attributes["tvm_custom"] = {"name": node.name, "num_outputs": len(node.outputs)}
    try:
        result = converter(emit.block_builder, inputs, attributes, [{}, {}])
        return emit.block_builder.normalize(result) if isinstance(result, tvm.ir.Expr) else result
    except Exception as error:  # TVM's converters raise whatever comes
        raise Unsupported(f"TVM cannot convert it: {first_line(error)}") from error


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """As TVM's converters expect them: lists are tuples, and empty ones are absent."""
    pairs = ((k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items())
    return {name: value for name, value in pairs if value != ()}


def first_line(error: Exception) -> str:
    """What an exception of TVM says, without the trace that follows."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
