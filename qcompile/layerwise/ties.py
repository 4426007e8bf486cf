"""How far a value that a quantizer rounded lies from where its code changes.

A code may differ from the reference's where float errors decide: next to a boundary between two
codes. That is a tie (c + 1/2) for rounding to the nearest, an integer for directed rounding, zero
for signs, a threshold for thresholds. Distances are in steps of the codes; signs and thresholds
have no step, so there they are parts of the largest value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from qcompile.frontend.qonnx_parameters import ROUNDINGS
from qcompile.layerwise.float_forms import float_result
from qcompile.layerwise.grids import is_sign, trunc_divisor
from qcompile.ops.roundings import round_array

Array = NDArray[Any]
Codes = NDArray[np.int64]
Known = Mapping[str, Array]

FLOAT_ERROR = 4e-5  # of the largest value: sums and exponentials of float32

BOUNDARIES: dict[str, Callable[[Codes], Array]] = {
    "ROUND": lambda c: c + 0.5,
    "HALF_EVEN": lambda c: c + 0.5,
    "HALF_UP": lambda c: c + 0.5,
    "HALF_DOWN": lambda c: c + 0.5,
    "FLOOR": lambda c: c + 1.0,
    "CEIL": lambda c: c + 0.0,
    "DOWN": lambda c: np.where(c >= 0, c + 1.0, c),
    "ROUND_TO_ZERO": lambda c: np.where(c >= 0, c + 1.0, c),
    "UP": lambda c: np.where(c >= 0, c, c + 1.0),
}


@dataclass(frozen=True)
class Rounded:
    """What a quantizer rounds: `values`, and where the codes c and c + 1 meet for elements `where`.

    unit: what a distance of one step is in `values`.
    """

    values: Array
    boundary: Callable[[Codes, Array], Array]
    unit: float = 1.0

    def distance(self, where: Array, codes: Codes) -> Array:
        """Steps between the values at `where` and the upper end of `codes`, one for each."""
        return np.abs(self.values[where] - self.boundary(codes, where)) / self.unit

    @property
    def float_error(self) -> float:
        """In steps."""
        finite = self.values[np.isfinite(self.values)]
        return FLOAT_ERROR * float(np.abs(finite).max(initial=0)) / self.unit


def rounded(node: onnx.NodeProto, known: Known) -> Rounded | None:
    """What the quantizer `node` rounds, of the tensors that are known; None where it rounds nothing
    or where that is not known."""
    if node.op_type in _FLOATS:
        return _FLOATS[node.op_type](node, known)
    operator = _STANDARD.get(node.op_type, float_result)
    values = operator(node, known)
    return None if values is None else Rounded(values, lambda codes, _: codes + 0.5)


def _quantize_linear(node: onnx.NodeProto, known: Known) -> Array | None:
    x, scale = known[node.input[0]].astype("float64"), known[node.input[1]]
    zero = known[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(())
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if scale.ndim > 1 or attributes.get("block_size"):
        return None
    spread = [1] * x.ndim
    if scale.size > 1:
        spread[attributes.get("axis", 1)] = -1
    scale, zero = (p.astype("float64").reshape(spread if p.size > 1 else ()) for p in (scale, zero))
    return np.asarray(x / scale + zero)


def _dynamic_quantize_linear(node: onnx.NodeProto, known: Known) -> Array:
    scale, zero = (known[name].astype("float64") for name in node.output[1:])
    return np.asarray(known[node.input[0]] / scale + zero)


def _quant(node: onnx.NodeProto, known: Known) -> Rounded:
    x, scale, zero = (known[name].astype("float64") for name in node.input[:3])
    values = x / scale + zero
    if is_sign(node, known):
        return _signs(values)
    boundary = BOUNDARIES[_text(node, "rounding_mode", "ROUND").upper()]
    return Rounded(values, lambda codes, _: boundary(codes))


def _sign(node: onnx.NodeProto, known: Known) -> Rounded:
    return _signs(known[node.input[0]].astype("float64"))


def _signs(values: Array) -> Rounded:
    return Rounded(values, lambda codes, _: np.zeros(codes.shape), _largest(values))


def _trunc(node: onnx.NodeProto, known: Known) -> Rounded:
    """Rounded twice: to the codes of the data, whose ties count, and after the division."""
    x, scale, zero = (known[name].astype("float64") for name in node.input[:3])
    values, divisor = x / scale + zero, float(trunc_divisor(node, known).reshape(-1)[0])
    mode = _text(node, "rounding_mode", "FLOOR").upper()

    def tie(codes: Codes, _: Array) -> Array:
        """Between the last integer that becomes c and the first that becomes c + 1."""
        exact = BOUNDARIES[mode](codes)
        rises = round_array(exact, ROUNDINGS[mode]) > codes  # whether the boundary is the first
        inner = exact * divisor
        return np.where(rises, np.ceil(inner) - 0.5, np.floor(inner) + 0.5)

    return Rounded(values, tie, divisor)


def _multi_threshold(node: onnx.NodeProto, known: Known) -> Rounded:
    x, thresholds = (known[name].astype("float64") for name in node.input[:2])
    layout = _text(node, "data_layout", {3: "NWC"}.get(x.ndim, "NC"))
    axis = layout.index("C")

    def reached(codes: Codes, where: Array) -> Array:
        channels = np.nonzero(where)[axis] if len(thresholds) > 1 else 0
        return np.asarray(thresholds[channels, codes])

    return Rounded(x, reached, _largest(x))


def _largest(values: Array) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1.0


def _text(node: onnx.NodeProto, name: str, default: str) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == name), default)


_STANDARD: dict[str, Callable[[onnx.NodeProto, Known], Array | None]] = {
    "QuantizeLinear": _quantize_linear,
    "DynamicQuantizeLinear": _dynamic_quantize_linear,
}
_FLOATS: dict[str, Callable[[onnx.NodeProto, Known], Rounded]] = {
    "BipolarQuant": _sign,
    "IntQuant": _quant,
    "MultiThreshold": _multi_threshold,
    "Quant": _quant,
    "Sign": _sign,
    "Trunc": _trunc,
}
