"""Hold what QONNX annotates of a tensor against the quantizer that makes it.

A `quantization_annotation` of the graph names a tensor's integers: INT4, UINT2, BIPOLAR, TERNARY,
or SCALEDINT<4> for integers times a scale. A quantizer that makes others contradicts it; wider
annotations than needed are true. Quantizers whose parameters are computed are not looked at.
"""

import re
from collections.abc import Mapping

import numpy as np
import onnx

from qcompile.errors import InvalidModel
from qcompile.frontend.node import Array
from qcompile.frontend.tensors import to_array
from qcompile.frontend.validate import describe
from qcompile.ops.quantize import code_range

KEY = "finn_datatype"
NAMED = {"BINARY": (0, 1), "BIPOLAR": (-1, 1), "TERNARY": (-1, 1)}
QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")


def check_annotations(graph: onnx.GraphProto, domains: tuple[str, ...]) -> None:
    """Raises InvalidModel for the first quantizer that contradicts the type of its result."""
    types = {
        entry.tensor_name: pair.value
        for entry in graph.quantization_annotation
        for pair in entry.quant_parameter_tensor_names
        if pair.key == KEY
    }
    made = [node for node in graph.node if node.domain in domains and node.output]
    annotated = [n for n in made if n.op_type in QUANTIZERS and n.output[0] in types]
    if not annotated:
        return
    constants = {tensor.name: to_array(tensor)[0] for tensor in graph.initializer}
    for node in annotated:
        kind = types[node.output[0]]
        if _contradicts(node, kind, constants):
            raise InvalidModel(
                f"{describe(node)} contradicts the type {kind} annotated for '{node.output[0]}'; "
                "one of the two has to go"
            )


def _contradicts(node: onnx.NodeProto, kind: str, constants: Mapping[str, Array]) -> bool:
    parameters = [constants.get(name) for name in node.input[1:]]
    if any(array is None or not array.size for array in parameters):
        return False
    given = [array for array in parameters if array is not None]
    low, high = _codes(node, given)
    scaled = re.fullmatch(r"SCALEDINT<(\d{1,2})>", kind)
    if scaled:
        return high - low >= 2 ** int(scaled[1])
    limits = _limits(kind)
    if limits is None:
        return False
    zero = given[1] if len(given) > 1 else np.zeros(())
    values = (np.array([low, high]) - zero[..., None]) * given[0][..., None]
    return bool(values.min() < limits[0] or values.max() > limits[1])


def _codes(node: onnx.NodeProto, parameters: list[Array]) -> tuple[int, int]:
    if node.op_type == "BipolarQuant":
        return -1, 1
    given = {attribute.name: bool(attribute.i) for attribute in node.attribute}
    bits, signed = int(parameters[2].reshape(-1)[0]), given.get("signed", True)
    return code_range(bits, signed, given.get("narrow", True) or (bits == 1 and signed))


def _limits(kind: str) -> tuple[int, int] | None:
    """The range of an annotated integer type, None for other types."""
    whole = re.fullmatch(r"(U?)INT(\d{1,2})", kind)
    if whole:
        return code_range(int(whole[2]), not whole[1], False)
    return NAMED.get(kind)
