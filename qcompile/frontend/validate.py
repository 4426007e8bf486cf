"""Check a model before anything is built from it, and put its nodes into topological order.

Raises InvalidModel with one message for the first fault: unknown versions, names used twice or
never defined, cycles, tensors whose data contradict their dimensions, and whatever ONNX's own
checker finds (wrong attributes, wrong number of inputs).
"""

from collections import defaultdict, deque
from collections.abc import Iterable

import onnx

from qcompile.errors import InvalidModel, QCompileError, Unsupported
from qcompile.frontend.external import all_tensors
from qcompile.frontend.tensors import check_tensor, elements, io_dtype

STANDARD_DOMAINS = ("", "ai.onnx")
OLDEST_OPSET = 7  # older opsets give the same operators other broadcasting rules


def standard_opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators. Raises InvalidModel or Unsupported."""
    versions = [o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(set(versions)) != 1:
        raise InvalidModel("it does not say which version of the ONNX operators it uses")
    if not OLDEST_OPSET <= versions[0] <= newest:
        raise Unsupported(f"opset {versions[0]}; opsets {OLDEST_OPSET} to {newest} work")
    return int(versions[0])


def validate(model: onnx.ModelProto) -> None:
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        raise Unsupported(f"IR version {model.ir_version}; 3 to {onnx.IR_VERSION} work")
    standard_opset(model)
    graph = model.graph
    if not graph.node or not graph.output:
        raise InvalidModel("the graph is empty")
    if graph.sparse_initializer:
        raise Unsupported("sparse initializers; store them as dense tensors")
    _check_inputs(graph)
    for tensor in graph.initializer:
        check_tensor(tensor)
    sort_nodes(graph, set())
    for node in graph.node:
        _check_attribute_tensors(node)
    _check_outputs(graph)


def _check_inputs(graph: onnx.GraphProto) -> None:
    _refuse_repeated((value.name for value in graph.input), "input")
    _refuse_repeated((tensor.name for tensor in graph.initializer), "initializer")
    initialized = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in initialized:
            continue
        if not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value") or "nothing"
            raise Unsupported(f"input '{value.name}' holds {kind}; only tensors work")
        _check_declared(value, f"input '{value.name}'")


def _check_declared(value: onnx.ValueInfoProto, what: str) -> None:
    tensor = value.type.tensor_type
    io_dtype(tensor.elem_type, what)
    elements([dim.dim_value for dim in tensor.shape.dim if dim.dim_value not in (0, -1)], what)


def _check_outputs(graph: onnx.GraphProto) -> None:
    _refuse_repeated((value.name for value in graph.output), "output")
    defined = {name for node in graph.node for name in node.output}
    defined |= {value.name for value in graph.input} | {t.name for t in graph.initializer}
    for value in graph.output:
        if value.name not in defined:
            raise InvalidModel(f"nothing computes the output '{value.name}'")
        if value.type.WhichOneof("value") not in (None, "tensor_type"):
            kind = value.type.WhichOneof("value")
            raise Unsupported(f"output '{value.name}' holds {kind}; only tensors work")
        if value.type.tensor_type.elem_type:
            _check_declared(value, f"output '{value.name}'")


def _refuse_repeated(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if not name:
            raise InvalidModel(f"an {what} has no name")
        if name in seen:
            raise InvalidModel(f"two {what}s are called '{name}'")
        seen.add(name)


def sort_nodes(graph: onnx.GraphProto, outer: set[str]) -> None:
    """Order the nodes so that each follows those it reads, subgraphs likewise.

    `outer` are names from around. Sorted graphs keep their order.
    """
    outside = outer | {value.name for value in graph.input} | {t.name for t in graph.initializer}
    producer = _producers(graph, outside - outer)
    waiting, readers = [], defaultdict(list)
    for index, node in enumerate(graph.node):
        needs = set()
        for name in names_read(node):
            if name in producer:
                needs.add(producer[name])
            elif name not in outside:
                raise InvalidModel(f"{describe(node)} reads '{name}', which nothing computes")
        waiting.append(len(needs))
        for source in needs:
            readers[source].append(index)
    if all(source < reader for source, found in readers.items() for reader in found):
        order = list(range(len(waiting)))
    else:
        order = _ordered(waiting, readers)
    if len(order) < len(waiting):
        stuck = graph.node[min(set(range(len(waiting))) - set(order))]
        raise InvalidModel(f"{describe(stuck)} waits for its own result: the graph has a cycle")
    if order != list(range(len(order))):
        nodes = [graph.node[index] for index in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    inside = outside | producer.keys()
    for node in graph.node:
        for inner in subgraphs(node):
            sort_nodes(inner, inside)


def _ordered(waiting: list[int], readers: dict[int, list[int]]) -> list[int]:
    waiting = list(waiting)
    ready = deque(index for index, count in enumerate(waiting) if not count)
    order = []
    while ready:
        order.append(ready.popleft())
        for reader in readers.get(order[-1], []):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return order


def _producers(graph: onnx.GraphProto, taken: set[str]) -> dict[str, int]:
    producer: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in producer or name in taken:
                raise InvalidModel(f"{describe(node)} computes '{name}', which exists already")
            producer[name] = index
    return producer


def names_read(node: onnx.NodeProto) -> set[str]:
    """The values a node reads, those that its subgraphs take from around included."""
    names = set(filter(None, node.input))
    for graph in subgraphs(node):
        inner = {value.name for value in graph.input} | {t.name for t in graph.initializer}
        inner |= {name for each in graph.node for name in each.output}
        for each in graph.node:
            names |= names_read(each) - inner
        names |= {value.name for value in graph.output} - inner
    return names


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    found = [a.g for a in node.attribute if a.HasField("g")]
    return found + [graph for a in node.attribute for graph in a.graphs]


def describe(node: onnx.NodeProto) -> str:
    """The node as messages call it: `Conv 'name'`, or by its first output when it has no name."""
    operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    if node.name:
        return f"{operator} '{node.name}'"
    return f"{operator} that computes '{node.output[0]}'" if node.output else f"a {operator}"


def _check_attribute_tensors(node: onnx.NodeProto) -> None:
    try:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                check_tensor(attribute.t)
        for graph in subgraphs(node):
            for tensor in all_tensors(graph):
                check_tensor(tensor)
    except QCompileError as error:
        raise type(error)(f"{describe(node)}: {error}") from error
