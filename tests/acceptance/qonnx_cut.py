"""Cut a QONNX network at its quantizers, so that every layer can be run on given inputs.

    y = Quant(x, s, z, b)      -> y is an output; its readers get Quant(y_given, s, z, b, ROUND)
    y = BipolarQuant(x, s)     -> the same with BipolarQuant
    y = MultiThreshold(x, t)   -> the same with Quant, where its results are codes of one scale

y_given is an input of the shape of y. The second quantizer changes no value: y lies on its grid,
and rounding to nearest finds the code again whatever the rounding of y / s. It lets a compiler see
that y_given holds codes. Quantizers of constants stay; other results are given as they are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from qcompile.commands.qonnx_expansion import DOMAINS

Array = NDArray[Any]
GIVEN = "_given"  # the name of a cut tensor as an input
REGRIDDED = "_regridded"  # the same behind its second quantizer
QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant", "MultiThreshold", "Trunc")


def cut_at_quantizers(
    model: onnx.ModelProto, values: Mapping[str, Array]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The cut network, and for each input that it has more than `model` the tensor to give it.

    values: what the reference computes for each tensor.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    quantizers = [node for node in _computed(model.graph) if node.op_type in QUANTIZERS]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    del cut.graph.node[:], cut.graph.value_info[:]
    renamed: dict[str, str] = {}
    given: dict[str, str] = {}
    seconds: list[onnx.NodeProto] = []
    declared = {output.name for output in cut.graph.output}
    for node in quantizers:
        y = node.output[0]
        kind = helper.np_dtype_to_tensor_dtype(values[y].dtype)
        cut.graph.input.append(helper.make_tensor_value_info(y + GIVEN, kind, values[y].shape))
        if y not in declared:
            cut.graph.output.append(helper.make_tensor_value_info(y, kind, values[y].shape))
        given[y + GIVEN] = y
        second = _second(node, constants, cut.graph)
        renamed[y] = y + GIVEN if second is None else second.output[0]
        seconds += [] if second is None else [second]
    for node in model.graph.node:
        copy = cut.graph.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [renamed.get(name, name) for name in node.input]
    copies = [*seconds, *cut.graph.node]
    del cut.graph.node[:]
    cut.graph.node.extend(copies)
    return cut, given


def _computed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of QONNX whose data depend on an input."""
    constants = {tensor.name for tensor in graph.initializer}
    live = {value.name for value in graph.input} - constants
    found = []
    for node in graph.node:
        if live & set(node.input):
            live |= set(node.output)
            found += [node] if node.domain in DOMAINS else []
    return found


def _second(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], graph: onnx.GraphProto
) -> onnx.NodeProto | None:
    """The quantizer that reads the given values, None where there is none of one scale."""
    if node.op_type == "MultiThreshold":
        return _of_thresholds(node, constants, graph)
    if node.op_type == "Trunc":
        return None
    second = onnx.NodeProto()
    second.CopyFrom(node)
    second.name = f"{node.name or node.output[0]}{REGRIDDED}"
    second.input[0], second.output[0] = node.output[0] + GIVEN, node.output[0] + REGRIDDED
    kept = [a for a in second.attribute if a.name != "rounding_mode"]
    del second.attribute[:]
    second.attribute.extend(kept)  # without a mode it rounds to nearest
    return second


def _of_thresholds(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], graph: onnx.GraphProto
) -> onnx.NodeProto | None:
    """Quant(y_given, out_scale, z, b) for counts of up to 2^b - 1 thresholds."""
    if node.input[1] not in constants:
        return None
    count = constants[node.input[1]].dims[-1]
    attributes = {a.name: a.f for a in node.attribute}
    scale = np.float32(attributes.get("out_scale", 1.0))
    bias = np.float32(attributes.get("out_bias", 0.0))
    bits, zero = int(count).bit_length(), np.rint(-bias / scale)
    levels = np.arange(count + 1, dtype="float32")
    if (scale * levels + bias != (levels - zero) * scale).any():
        return None
    y = node.output[0]
    parameters = {f"{y}_scale": scale, f"{y}_zero": zero, f"{y}_bits": np.float32(bits)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, "float32"), name)
        for name, value in parameters.items()
    )
    inputs = [y + GIVEN, *parameters]
    options = {"signed": 0, "narrow": 0, "domain": node.domain, "name": f"{y}_again"}
    return helper.make_node("Quant", inputs, [y + REGRIDDED], **options)
