"""Write functions out: those the model defines, and standard operators that are defined by others.

A standard operator is expanded when neither we nor TVM convert it and ONNX defines it by a function
body (Celu, Swish, MeanVarianceNormalization, ...).
"""

from collections.abc import Callable, Iterable, Iterator

import onnx
from onnx import inliner

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.control import CONTROL
from qcompile.frontend.converters import CONVERTERS
from qcompile.frontend.stock import stock_operators
from qcompile.frontend.validate import STANDARD_DOMAINS, standard_opset, subgraphs

MAX_NODES = 100_000
MAX_DEPTH = 5  # of standard operators that are defined by others that are defined by ...

Key = tuple[str, str]


def expand_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions. Raises Unsupported when it would grow beyond MAX_NODES."""
    if model.functions:
        _check_growth(model)
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # the inliner raises RuntimeError and more
            raise InvalidModel(f"its functions cannot be written out: {error}") from error
    for _ in range(MAX_DEPTH):
        wanted = {("", op) for op in _operators(model.graph) if _defined_by_others(model, op)}
        if not wanted:
            break
        try:
            model = inliner.inline_selected_functions(
                model, sorted(wanted), exclude=False, inline_schema_functions=True
            )
        except Exception as error:
            names = ", ".join(sorted(op for _, op in wanted))
            raise Unsupported(f"{names} cannot be written out: {error}") from error
    return model


def _operators(graph: onnx.GraphProto) -> set[str]:
    """The standard operators of a graph and its subgraphs."""
    found = set()
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS:
            found.add(node.op_type)
        for inner in subgraphs(node):
            found |= _operators(inner)
    return found


def _defined_by_others(model: onnx.ModelProto, operator: str) -> bool:
    opset = standard_opset(model)
    if operator in CONVERTERS or operator in CONTROL or operator in stock_operators():
        return False
    if not onnx.defs.has(operator, opset):
        return False
    schema = onnx.defs.get_schema(operator, opset)
    return bool(schema.has_function or schema.has_context_dependent_function)


def _check_growth(model: onnx.ModelProto) -> None:
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[Key, int] = {}
    pending: set[Key] = set()

    def size(key: Key) -> int:
        """Nodes of a function written out; 1 for an operator."""
        if key not in functions:
            return 1
        if key in pending:
            raise InvalidModel(f"the function {'::'.join(key)} calls itself")
        if key not in sizes:
            pending.add(key)
            sizes[key] = sum(_calls(functions[key].node, size))
            pending.remove(key)
        return sizes[key]

    if (total := sum(_calls(model.graph.node, size))) > MAX_NODES:
        raise Unsupported(f"its functions written out have {total} nodes; {MAX_NODES} work")


def _calls(nodes: Iterable[onnx.NodeProto], size: Callable[[Key], int]) -> Iterator[int]:
    for node in nodes:
        yield size((node.domain, node.op_type))
        for graph in subgraphs(node):
            yield from _calls(graph.node, size)
