"""Cut a network at its quantized tensors.

Each such tensor becomes an output of the layer that makes it and, under another name, an input of
the layers that read it: one compilation then holds all layers, independent of each other, and a
flipped rounding of an early layer shows there alone. Integers of 8 bits are given as they are; what
is a float in the file (QONNX), or of fewer bits by a Clip (QCDQ), is given as floats, with a
quantizer behind. Between QuantizeLinear and its Clip, which are one quantizer, there is no cut.

What the cut changes is the form in which a layer hands its integers on: as outputs these are codes
or floats, where the whole network may pack them into planes of bits at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from qcompile.frontend.names import LayerNames
from qcompile.frontend.shapes import real_inputs
from qcompile.frontend.validate import names_read
from qcompile.layerwise.grids import CODES, Grid, clipped_grid, grid_of, keeping

Array = NDArray[Any]
Arrays = Mapping[str, Array]
GIVEN, KEPT = "_given", "_kept"  # behind a tensor's name: the input, and its quantizer's result
STORED = (np.dtype("int8"), np.dtype("uint8"))


@dataclass(frozen=True)
class Tensor:
    """A tensor to compare: one of the cuts, or an output of the network.

    grid: of its integers, None of floats; quantizer: the node that rounds it; given: whether the
    cut network takes it, as floats of the grid `floats` where there is one; segment: the names of
    the nodes between the nearest cuts and this tensor, in their order.
    """

    name: str
    grid: Grid | None
    quantizer: onnx.NodeProto
    given: bool
    floats: Grid | None
    segment: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """The network after the cut; its outputs are the `tensors`."""

    model: onnx.ModelProto
    tensors: tuple[Tensor, ...]

    def inputs(self, values: Arrays) -> dict[str, Array]:
        """What its further inputs get, where `values` are the reference's tensors."""
        fed = {}
        for tensor in self.tensors:
            if tensor.given:
                array = values[tensor.name]
                fed[tensor.name + GIVEN] = tensor.floats.values(array) if tensor.floats else array
        return fed


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node the name that it has as a layer, so that it survives the cut."""
    names = LayerNames(model.graph)
    for node in model.graph.node:
        node.name = names.next(node)


def cut_at_codes(model: onnx.ModelProto, inputs: Arrays, values: Arrays) -> Cut:
    """`model`, whose nodes are named, cut at every quantized tensor that its inputs change.

    inputs: of one run; values: what the reference computed of them for every tensor.
    """
    changing = _changing(model.graph)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    known |= {name: array for name, array in values.items() if name not in changing}
    makers = {name: node for node in model.graph.node for name in node.output}
    clipped = {node.input[0] for node in model.graph.node if node.op_type == "Clip"}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    renamed: dict[str, str] = {}
    found: dict[str, tuple[Grid, onnx.NodeProto, Grid | None]] = {}
    for node in model.graph.node:
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
        nodes[-1].input[:] = [renamed.get(name, name) for name in node.input]
        for name in node.output:
            grid = _grid(node, name, known, values)
            if grid is None or name not in changing or name in clipped:
                continue
            quantizer = makers.get(node.input[0], node) if node.op_type == "Clip" else node
            floats = clipped_grid(quantizer, node, known, values[name].ndim)
            renamed[name] = name + GIVEN
            if grid is not CODES or floats is not None:
                renamed[name] = name + KEPT
                chain = [node] if quantizer is node else [quantizer, node]
                added, further = keeping(chain, known, name + GIVEN, name + KEPT)
                nodes.extend(added)
                constants.extend(further)
            found[name] = (grid, quantizer, floats)
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    del cut.graph.node[:], cut.graph.value_info[:], cut.graph.input[:], cut.graph.output[:]
    cut.graph.node.extend(nodes)
    cut.graph.initializer.extend(constants)
    tensors = tuple(_tensors(model.graph, nodes, makers, found, values))
    cut.graph.input.extend(_declare(name, array) for name, array in inputs.items())
    result = Cut(cut, tensors)
    cut.graph.input.extend(_declare(n, array) for n, array in result.inputs(values).items())
    cut.graph.output.extend(_declare(t.name, values[t.name]) for t in tensors)
    return result


def part(model: onnx.ModelProto, outputs: list[str]) -> onnx.ModelProto:
    """What some of the outputs need."""
    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= names_read(node)
            nodes.append(node)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for field, kept in (
        (found.graph.node, nodes[::-1]),
        (found.graph.input, [i for i in model.graph.input if i.name in needed]),
        (found.graph.output, [o for o in model.graph.output if o.name in outputs]),
        (found.graph.initializer, [i for i in model.graph.initializer if i.name in needed]),
    ):
        del field[:]
        field.extend(kept)
    return found


def _changing(graph: onnx.GraphProto) -> set[str]:
    """The tensors that depend on the network's inputs."""
    names = {value.name for value in real_inputs(graph)}
    for node in graph.node:
        if names & set(names_read(node)):
            names |= set(node.output)
    return names


def _grid(node: onnx.NodeProto, name: str, known: Arrays, values: Arrays) -> Grid | None:
    array = values.get(name)
    if array is None or not array.ndim:
        return None
    return CODES if array.dtype in STORED else grid_of(node, known)


def _tensors(
    graph: onnx.GraphProto,
    nodes: list[onnx.NodeProto],
    makers: Mapping[str, onnx.NodeProto],
    found: Mapping[str, tuple[Grid, onnx.NodeProto, Grid | None]],
    values: Arrays,
) -> Iterator[Tensor]:
    """The cuts in their order, then outputs that are none."""
    outputs = [o.name for o in graph.output if o.name not in found and o.name in makers]
    rewired = {name: node for node in nodes for name in node.output}
    for name in (*found, *outputs):
        integers = CODES if values[name].dtype.kind != "f" else None
        grid, quantizer, floats = found.get(name, (integers, makers[name], None))
        yield Tensor(name, grid, quantizer, name in found, floats, _segment(name, rewired, nodes))


def _segment(
    name: str, makers: Mapping[str, onnx.NodeProto], nodes: list[onnx.NodeProto]
) -> tuple[str, ...]:
    reached, waiting = set(), [name]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in reached:
            reached.add(node.name)
            waiting.extend(names_read(node))
    return tuple(node.name for node in nodes if node.name in reached)


def _declare(name: str, array: Array) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)
