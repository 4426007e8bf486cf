"""What a code is made of: sums of a layer, or another code, times a scale."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.bounds import bounded
from qcompile.passes.facts import array_of, constant
from qcompile.passes.power_of_two_weights import MAX_FACTOR, Operand
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of

HALF_CEIL = "half_ceil"
NEAREST = ("half_even", "half_odd", "half_up", "half_down", HALF_CEIL)
BEFORE_ROUNDING = dict.fromkeys(NEAREST, 0.0) | {"floor": -0.5, "ceil": 0.5}
EIGHT = 8
LARGEST = 119  # of 8 bits: what two signed digits of 4 bits reach, for hardware of 4 bits
MOST_OF_CODES = 4 * MAX_FACTOR  # one tap that is read four times costs little beside others
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Term:
    """factor * (data - zero) + offset, in steps of the codes that it becomes or is added to.

    data: the call of a convolution or product, whose zero is 0, or codes. factor, offset: (O,).
    error: of its weights where it makes codes by itself. free_zero: the zero point of these where
    they reach as far as their type, so that no clamp is a part of the model.
    """

    data: relax.Expr
    factor: Array
    offset: Array
    zero: int = 0
    free_zero: int | None = None
    error: float = 0.0

    @property
    def is_product(self) -> bool:
        return bool(operator_name(self.data))

    def times(self, scale: float) -> "Term":
        """The same in steps of a sum whose operand it is."""
        return replace(self, factor=self.factor * scale, offset=self.offset * scale)

    def operand(self, bits: int) -> Operand:
        """Its weights with their scales; bits: of those of narrow layers (bits_of)."""
        if not self.is_product:
            largest = max(abs(code - self.zero) for code in _every_code(self.data))
            return Operand(self.factor[:, None], largest, MOST_OF_CODES)
        weights = array_of(self.data.args[1]).astype("float64")
        scaled = weights * self.factor.reshape(-1, *[1] * (weights.ndim - 1))
        width = bits_of(self.data, bits)
        most = LARGEST if width == EIGHT else 2 ** (width - 1) - 1
        return Operand(scaled, _largest(self.data), most)


def bits_of(product: tvm.ir.Call, bits: int) -> int:
    """Of the weights that carry a layer's scale: `bits` where its own have no more, else 8."""
    return bits if int(product.attrs["w_bits"]) <= bits else EIGHT


def term_of(call: tvm.ir.Call, product: tvm.ir.Call) -> Term | str:
    """The requantized sums of a layer; a reason why they are no term."""
    channels = shape_of(call)[-1]
    parameters = [_along_channels(constant(a), channels) for a in call.args[1:]]
    if any(parameter is None for parameter in parameters):
        return "its scale varies along other axes than the channels'"
    factor, *offset = (parameter for parameter in parameters if parameter is not None)
    before = BEFORE_ROUNDING.get(str(call.attrs["rounding"]))
    if before is None:
        return f"its rounding is {call.attrs['rounding']}"
    bias = array_of(product.args[2]).astype("float64") - int(call.attrs["input_zero"])
    low, high = _every_code(call)
    free = int(call.attrs["low"]) == low and int(call.attrs["high"]) == high
    constants = sum(offset, start=bias * factor + before)
    return Term(
        product, factor, constants, free_zero=int(call.attrs["zero_point"]) if free else None
    )


def codes_term(codes: relax.Expr, zero: int) -> Term:
    """Codes as a summand."""
    channels = shape_of(codes)[-1]
    return Term(codes, np.ones(channels), np.zeros(channels), zero)


def _every_code(data: relax.Expr) -> tuple[int, int]:
    return (-128, 127) if dtype_of(data) == "int8" else (0, 255)


def _along_channels(array: Array | None, channels: int) -> NDArray[np.float64] | None:
    """(channels,) values of a constant that varies along the last axis at most."""
    if array is None or (array.size != 1 and array.size != array.shape[-1]):
        return None
    return np.broadcast_to(array.reshape(-1).astype("float64"), (channels,))


def _largest(product: tvm.ir.Call) -> int:
    """The largest |code - zero| of the data of a layer."""
    found = bounded(product, None)
    assert found is not None
    zero = int(product.attrs["zero_point"])
    return max(1, *(abs(code - zero) for code in found[0]))
