"""If and Loop whose course is known at compile time: the branch taken, the loop unrolled.

Conditions and trip counts have to be constants, or fold to constants. Anything else would need
control flow in the compiled program and is Unsupported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Node, Value, array_of, shape_of

if TYPE_CHECKING:
    from qcompile.frontend.graph import GraphConverter, Scope

MAX_ITERATIONS = 1000
MAX_BYTES = 2**28  # of a body, times iterations


def branch(converter: GraphConverter, node: Node, scope: Scope) -> list[Value]:
    """If: the outputs of the branch that a constant condition chooses."""
    condition = _truth(node.value(0), "the condition")
    name = "then_branch" if condition else "else_branch"
    graph = node.attributes.get(name)
    if not isinstance(graph, onnx.GraphProto):
        raise InvalidModel(f"the attribute {name} is missing")
    return converter.convert(graph, scope.new_child())


def loop(converter: GraphConverter, node: Node, scope: Scope) -> list[Value]:
    """Loop: the last values of its variables, then what each iteration gave, stacked."""
    body = node.attributes.get("body")
    if not isinstance(body, onnx.GraphProto):
        raise InvalidModel("the attribute body is missing")
    limit = MAX_ITERATIONS + 1
    if node.has(0):
        limit = int(node.array(0, "the trip count").reshape(-1)[:1].sum())
    going = _truth(node.value(1), "the condition") if node.has(1) else True
    carried = [node.value(index) for index in range(2, len(node.inputs))]
    if len(body.input) != 2 + len(carried) or len(body.output) < 1 + len(carried):
        raise InvalidModel(f"{len(carried)} loop variables do not fit the body")
    scanned: list[list[Value]] = [[] for _ in body.output[1 + len(carried) :]]
    iteration = 0
    while going and iteration < limit:
        if iteration >= MAX_ITERATIONS or iteration * body.ByteSize() > MAX_BYTES:
            raise Unsupported(f"more than {iteration} iterations")
        counter, condition = _scalar(iteration, "int64"), _scalar(True, "bool")
        names = [value.name for value in body.input]
        inner = scope.new_child(dict(zip(names, [counter, condition, *carried], strict=True)))
        still, *results = converter.convert(body, inner)
        going = _truth(still, "the condition of the body")
        carried, scans = results[: len(carried)], results[len(carried) :]
        for values, value in zip(scanned, scans, strict=True):
            values.append(value)
        iteration += 1
    return carried + [_stacked(converter, values) for values in scanned]


CONTROL: dict[str, Callable[[GraphConverter, Node, Scope], list[Value]]] = {
    "If": branch,
    "Loop": loop,
}


def _truth(value: Value, what: str) -> bool:
    array = array_of(value.expr)
    if array is None:
        raise Unsupported(f"{what} depends on the data; only one known at compile time works")
    if array.size != 1:
        raise InvalidModel(f"{what} has {array.size} values")
    return bool(array.reshape(()))


def _scalar(value: int, dtype: str) -> Value:
    return Value(relax.const(value, dtype))


def _stacked(converter: GraphConverter, values: list[Value]) -> Value:
    if not values:
        raise Unsupported("a loop that never runs, with results of each iteration")
    if any(shape_of(value.expr) != shape_of(values[0].expr) for value in values):
        raise Unsupported("iterations give results of different shapes")
    rows = [converter.emit(relax.op.expand_dims(value.expr, 0)) for value in values]
    return Value(converter.emit(relax.op.concat(rows, 0)))
