"""Compare a quantized network with onnxruntime layer by layer, each on the reference's inputs.

A network whose layers run one after the other shows a flipped rounding of an early layer in every
later one. So the network is cut at its 8-bit tensors: each becomes an output of the layer that
makes it and, under another name, an input of the layers that read it. One compilation then holds
all layers, independent of each other. Networks of QONNX are cut at their quantizers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from qcompile.bundle import load
from qcompile.commands.qonnx_cut import GIVEN, cut_at_quantizers
from qcompile.commands.qonnx_expansion import expand_qonnx, is_qonnx
from qcompile.compiler import compile_model
from qcompile.targets import Target

Arrays = Mapping[str, np.ndarray]

PART = 300  # outputs compiled at once; ctypes passes at most 1024 pointers
FLOAT_ERROR = 1e-4  # of an output's range
TIE_ERROR = 1e-2  # of a step; sums and exponentials of hundreds of steps in float32
CODES = (np.dtype("int8"), np.dtype("uint8"))


@dataclass(frozen=True)
class Layer:
    """One cut tensor or output of the network, ours against the reference's.

    For codes `difference` is the largest in steps, and `tie` how far the reference's real values
    lie from a tie, in steps, where the codes differ: 0 to float error if ours are as right as its
    own. It is None where nothing differs or the real values are not in the file. For floats
    `difference` is the largest over the output's range.
    """

    name: str
    codes: bool
    elements: int
    different: int
    difference: float
    tie: float | None

    @property
    def agrees(self) -> bool:
        """Whether all differences are what float rounding explains."""
        if not self.codes:
            return self.difference <= FLOAT_ERROR
        return self.difference <= 1 and (self.tie or 0.0) <= TIE_ERROR


def summary(layers: Sequence[Layer]) -> str:
    """A sentence on all of them."""
    codes = [layer for layer in layers if layer.codes]
    different, total = sum(x.different for x in codes), sum(x.elements for x in codes)
    steps = max((layer.difference for layer in codes), default=0)
    tie = max((layer.tie or 0.0 for layer in codes), default=0)
    failed = [layer.name for layer in layers if not layer.agrees]
    verdict = f"DISAGREE: {', '.join(failed)}" if failed else "agree"
    told = f", by {steps:.0f}, at most {tie:.0e} from a tie" if different else ""
    return f"{len(layers)} tensors {verdict}; {different} of {total} codes differ{told}"


def compare_layers(
    model: Path, samples: Sequence[Arrays], target: Target, folder: Path
) -> list[Layer]:
    """Each layer of `model` on the samples, ours against onnxruntime's; works in `folder`.

    Every sample is one whole input of the model, batch included.
    """
    whole = onnx.load(model)
    runnable = expand_qonnx(whole) if is_qonnx(whole) else whole
    computed = [_every_tensor(runnable, inputs) for inputs in samples]
    cut, given = (cut_at_quantizers if is_qonnx(whole) else cut_at_codes)(whole, computed[0])
    names = [output.name for output in cut.graph.output]
    layers = []
    for start in range(0, len(names), PART):
        path = folder / f"{model.stem}_cut_{start}.onnx"
        onnx.save(_part(cut, names[start : start + PART]), path)
        compile_model(path, target, output=path.with_suffix(""))
        bundle = load(path.with_suffix(""), threads=1)
        ours = []
        for inputs, values in zip(samples, computed, strict=True):
            fed = {**inputs, **{name: values[tensor] for name, tensor in given.items()}}
            ours.append(bundle.run({spec.name: fed[spec.name] for spec in bundle.inputs}))
        for spec, results in zip(bundle.outputs, zip(*ours, strict=True), strict=True):
            real = [_real_values(whole, values, spec.name) for values in computed]
            expected = [values[spec.name] for values in computed]
            if spec.name in given.values():
                results, expected = (
                    [_codes(whole, spec.name, array) for array in arrays]
                    for arrays in (results, expected)
                )
            layers.append(_layer(spec.name, results, expected, real))
    return layers


def cut_at_codes(model: onnx.ModelProto, values: Arrays) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The network cut at every computed 8-bit tensor; the new inputs and the tensors they get.

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
    return cut, {name + GIVEN: name for name in given}


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
    """Every tensor as onnxruntime computes it, graph optimizations off; the inputs among them."""
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
    return {**inputs, **dict(zip(names, session.run(names, dict(inputs)), strict=True))}


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
        if name in node.output and node.op_type == "Quant":
            scale, zero = (known[parameter] for parameter in node.input[1:3])
            return np.asarray(known[node.input[0]] / scale + zero)
        if name in node.output and node.op_type == "BipolarQuant":
            return np.asarray(known[node.input[0]] + 0.5)  # its tie is 0
    return None


def _codes(model: onnx.ModelProto, name: str, array: np.ndarray) -> np.ndarray:
    """Codes, or for the result of a QONNX quantizer its steps from 0."""
    if array.dtype.kind != "f":
        return array
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    (node,) = (node for node in model.graph.node if name in node.output)
    return np.rint(array / constants[node.input[1]]).astype("int64")


def _layer(
    name: str,
    ours: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    real: Sequence[np.ndarray | None],
) -> Layer:
    result, reference = np.stack(ours), np.stack(expected)
    if reference.dtype.kind == "f":
        worst = float(np.abs(result - reference).max() / (np.ptp(reference) or 1))
        return Layer(name, False, reference.size, int((result != reference).sum()), worst, None)
    steps = np.abs(result.astype("int64") - reference)
    wrong = steps > 0
    tie = None
    if wrong.any() and (values := [array for array in real if array is not None]):
        missed = np.stack(values)[wrong]
        tie = float(np.abs(missed - np.floor(missed) - 0.5).max())
    return Layer(name, True, reference.size, int(wrong.sum()), float(steps.max(initial=0)), tie)
