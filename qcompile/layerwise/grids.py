"""Which integers a quantized tensor holds, and a quantizer that keeps them.

    Quant, IntQuant, BipolarQuant, Trunc   value = (code - zero) * scale
    MultiThreshold                         the same; out_scale, -out_bias / out_scale
    Sign                                   value = code
    QuantizeLinear and others              the codes themselves

The results of QONNX's quantizers and of Sign are floats. What reads such a tensor is integer
only behind a quantizer; behind a given tensor stands one with the same grid that rounds to the
nearest, so that values on the grid stay what they are, whatever the model's own rounding is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from qcompile.commands.qonnx_expansion import DOMAINS

Array = NDArray[Any]
NEWER_TRUNC_INPUTS = 6  # with a scale of the output


@dataclass(frozen=True)
class Grid:
    """Parameters that broadcast to the tensor. step: between neighbours; signs are -1 and 1."""

    scale: Array
    zero: Array
    step: int = 1

    def codes(self, values: Array) -> NDArray[np.int64]:
        """The integers of values on the grid."""
        if values.dtype.kind != "f":
            return values.astype("int64")
        return np.rint(values / self.scale.astype("float64") + self.zero).astype("int64")

    def values(self, codes: Array) -> NDArray[np.float32]:
        """The values of integers."""
        return ((codes - self.zero) * self.scale).astype("float32")


CODES = Grid(np.ones(()), np.zeros(()))
SIGNS = Grid(np.ones(()), np.zeros(()), step=2)


def grid_of(node: onnx.NodeProto, known: Mapping[str, Array]) -> Grid | None:
    """The grid of the floats that a quantizer makes; None of other nodes, or at run time."""
    if node.op_type == "Sign":
        return SIGNS
    if node.domain not in DOMAINS:
        return None
    if node.op_type == "MultiThreshold":
        scale = np.asarray(_number(node, "out_scale", 1.0))
        return Grid(scale, -np.asarray(_number(node, "out_bias", 0.0)) / scale)
    if any(name not in known for name in node.input[1:]):
        return None
    scale = known[node.input[1]]
    if node.op_type == "BipolarQuant":
        return Grid(scale, np.zeros(()), step=2)
    zero = known[node.input[2]]
    if node.op_type == "Trunc" and len(node.input) == NEWER_TRUNC_INPUTS:
        return Grid(known[node.input[4]], zero / trunc_divisor(node, known))
    return Grid(scale, zero, step=2 if is_sign(node, known) else 1)


def is_sign(node: onnx.NodeProto, known: Mapping[str, Array]) -> bool:
    """Whether a Quant has one signed bit, which is a sign in QONNX."""
    signed = next((a.i for a in node.attribute if a.name == "signed"), 1)
    return node.op_type != "Trunc" and bool(signed) and bool((known[node.input[3]] == 1).all())


def trunc_divisor(node: onnx.NodeProto, known: Mapping[str, Array]) -> Array:
    """The power of two that a Trunc divides by; its older version tells it by two widths."""
    if len(node.input) == NEWER_TRUNC_INPUTS:
        return np.exp2(np.round(np.log2(known[node.input[4]] / known[node.input[1]])))
    return np.exp2(known[node.input[3]].astype("float64") - known[node.input[4]])


def clipped_grid(
    quantizer: onnx.NodeProto, node: onnx.NodeProto, known: Mapping[str, Array], rank: int
) -> Grid | None:
    """The grid of codes of fewer bits, QuantizeLinear and Clip; None of others, or at run time."""
    if quantizer is node or quantizer.op_type != "QuantizeLinear":
        return None
    if any(name and name not in known for name in (*quantizer.input[1:], *node.input[1:])):
        return None
    scale = known[quantizer.input[1]]
    zero = known[quantizer.input[2]] if len(quantizer.input) > 2 else np.zeros(scale.shape)
    spread = [1] * rank
    if scale.size > 1:
        spread[next((a.i for a in quantizer.attribute if a.name == "axis"), 1)] = -1
    scale, zero = (p.astype("float64").reshape(spread) for p in (scale, zero))
    return Grid(scale, zero)


def keeping(
    chain: Sequence[onnx.NodeProto], known: Mapping[str, Array], given: str, kept: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The quantizer `chain` from `given`, values on its grid, to the same values in `kept`.

    Its own constants come with it.
    """
    copies, constants = [], []
    for number, node in enumerate(chain):
        last = number == len(chain) - 1
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        copy.input[0], copy.output[0] = given, kept if last else f"{kept}_{number}"
        copy.name = given = copy.output[0]
        for index, array in _own_inputs(node, known).items():
            copy.input[index] = f"{copy.name}_{index}"
            tensor = numpy_helper.from_array(array.astype("float32"), copy.input[index])
            constants.append(tensor)
        if any(a.name == "rounding_mode" for a in copy.attribute) or node.op_type == "Trunc":
            rest = [each for each in copy.attribute if each.name != "rounding_mode"]
            del copy.attribute[:]
            copy.attribute.extend([*rest, helper.make_attribute("rounding_mode", "ROUND")])
        copies.append(copy)
    return copies, constants


def _own_inputs(node: onnx.NodeProto, known: Mapping[str, Array]) -> dict[int, Array]:
    """Inputs, by position, in which the quantizer behind a given tensor differs from `node`."""
    if node.op_type not in ("MultiThreshold", "Trunc"):
        return {}
    grid = grid_of(node, known)
    assert grid is not None
    if node.op_type == "MultiThreshold":
        # Halfway between the values, so that each of them reaches exactly its own threshold.
        levels = known[node.input[1]].shape[-1]
        return {1: ((np.arange(levels) + 0.5 - grid.zero) * grid.scale)[None]}
    same_bits = {} if len(node.input) == NEWER_TRUNC_INPUTS else {3: known[node.input[4]]}
    return {1: grid.scale, 2: grid.zero, **same_bits}


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(a.f) for a in node.attribute if a.name == name), default)
