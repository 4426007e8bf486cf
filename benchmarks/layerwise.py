"""Compare a quantized network with onnxruntime layer by layer, each on the reference's inputs.

A network whose layers run one after the other shows a flipped rounding of an early layer in every
later one. So the network is cut at its 8-bit tensors: each becomes an output of the layer that
makes it and, under another name, an input of the layers that read it. One compilation then holds
all layers, independent of each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from qcompile.bundle import load
from qcompile.compiler import compile_model
from qcompile.targets import Target

Arrays = Mapping[str, np.ndarray]

PART = 300  # outputs compiled at once; ctypes passes at most 1024 pointers
GIVEN = "_given"  # the name of a cut tensor as an input
CODES = (np.dtype("int8"), np.dtype("uint8"))


@dataclass(frozen=True)
class Layer:
    """One cut tensor or output of the network: elements, steps between ours and the reference.

    `ties` is how far, in steps, the reference's real values lie from a tie where the codes
    differ: differences are roundings of one value only where it is within float error of 0. It is
    None where that value is not in the file. For float outputs `steps` is the difference over the
    output's range.
    """

    name: str
    elements: int
    different: int
    steps: float
    tie: float | None


def compare_layers(model: Path, inputs: Arrays, target: Target, folder: Path) -> list[Layer]:
    """Each layer of `model` on `inputs`, ours against onnxruntime's; works in `folder`."""
    whole = onnx.load(model)
    values = _every_tensor(whole, inputs)
    cut, given = cut_at_codes(whole, values)
    fed = {**inputs, **{name + GIVEN: values[name] for name in given}}
    names = [output.name for output in cut.graph.output]
    layers = []
    for start in range(0, len(names), PART):
        path = folder / f"{model.stem}_cut_{start}.onnx"
        onnx.save(_part(cut, names[start : start + PART]), path)
        compile_model(path, target, output=path.with_suffix(""))
        bundle = load(path.with_suffix(""), threads=1)
        ours = bundle.run({spec.name: fed[spec.name] for spec in bundle.inputs})
        for spec, result in zip(bundle.outputs, ours, strict=True):
            real = _real_values(whole, values, spec.name)
            layers.append(_layer(spec.name, result, values[spec.name], real))
    return layers


def cut_at_codes(model: onnx.ModelProto, values: Arrays) -> tuple[onnx.ModelProto, list[str]]:
    """The network cut at every computed 8-bit tensor, and the names of those.

    values: what onnxruntime computed for every tensor. Between QuantizeLinear and Clip, which
    together are one quantizer, there is no cut.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    clipped = {node.input[0] for node in model.graph.node if node.op_type == "Clip"}
    made = [name for node in model.graph.node for name in node.output if name in values]
    given = [n for n in made if values[n].dtype in CODES and values[n].ndim and n not in clipped]
    for node in cut.graph.node:
        node.input[:] = [name + GIVEN if name in given else name for name in node.input]
    declared = {output.name for output in cut.graph.output}
    cut.graph.input.extend(_declare(name + GIVEN, values[name]) for name in given)
    cut.graph.output.extend(_declare(n, values[n]) for n in given if n not in declared)
    del cut.graph.value_info[:]
    return cut, given


def _part(model: onnx.ModelProto, outputs: list[str]) -> onnx.ModelProto:
    """What some of the outputs need."""
    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    part = onnx.ModelProto()
    part.CopyFrom(model)
    for field, kept in (
        (part.graph.node, nodes[::-1]),
        (part.graph.input, [i for i in model.graph.input if i.name in needed]),
        (part.graph.output, [o for o in model.graph.output if o.name in outputs]),
        (part.graph.initializer, [i for i in model.graph.initializer if i.name in needed]),
    ):
        del field[:]
        field.extend(kept)
    return part


def _every_tensor(model: onnx.ModelProto, inputs: Arrays) -> dict[str, np.ndarray]:
    """Every tensor that onnxruntime computes, graph optimizations off."""
    names = [n for node in model.graph.node for n in node.output if n]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    declared = {output.name for output in model.graph.output}
    shown.graph.output.extend(
        helper.make_empty_tensor_value_info(n) for n in names if n not in declared
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options)
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _declare(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)


def _real_values(model: onnx.ModelProto, values: Arrays, name: str) -> np.ndarray | None:
    """What the quantizer that made `name` rounds: its input over its scale."""
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    known = {**constants, **values}
    for node in model.graph.node:
        if name in node.output and node.op_type == "QuantizeLinear":
            scale = known[node.input[1]]
            if scale.size == 1 and node.input[0] in known:
                return np.asarray(known[node.input[0]] / scale.reshape(()))
    return None


def _layer(name: str, ours: np.ndarray, reference: np.ndarray, real: np.ndarray | None) -> Layer:
    if reference.dtype.kind == "f":
        span = float(np.ptp(reference)) or 1.0
        worst = float(np.abs(ours - reference).max()) / span
        return Layer(name, reference.size, 0, worst, None)
    steps = np.abs(ours.astype("int64") - reference)
    wrong = steps > 0
    tie = None
    if real is not None and wrong.any():
        tie = float(np.abs(np.abs(real[wrong] - np.floor(real[wrong])) - 0.5).max())
    return Layer(name, reference.size, int(wrong.sum()), float(steps.max(initial=0)), tie)
