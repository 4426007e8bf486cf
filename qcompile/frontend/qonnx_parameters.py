"""What QONNX's quantizers are given: bit widths, roundings, scales and zero points."""

from dataclasses import dataclass

import numpy as np

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Array, Codes, Node, array_of, shape_of
from qcompile.ops.quantize import code_range, is_bipolar, stored_dtype
from qcompile.ops.roundings import HALF_EVEN

ROUNDINGS = {
    "ROUND": HALF_EVEN,
    "HALF_EVEN": HALF_EVEN,
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "up",
    "DOWN": "down",
    "ROUND_TO_ZERO": "down",  # what Brevitas calls it
    "HALF_UP": "half_up",
    "HALF_DOWN": "half_down",
}
BIPOLAR = Codes(1, True, True)


def rounding_of(node: Node, default: str) -> str:
    """The attribute `rounding_mode`, as qcompile.ops.roundings calls it."""
    mode = node.text("rounding_mode", default)
    if mode.upper() not in ROUNDINGS:
        raise Unsupported(f"rounding_mode '{mode}'; {', '.join(ROUNDINGS)} work")
    return ROUNDINGS[mode.upper()]


def bit_width(node: Node, index: int, most: int) -> int:
    """The constant bit width at an input."""
    array = array_of(node.expr(index))
    if array is None:
        raise Unsupported("its bit width is computed at run time; only a constant works")
    widths = np.unique(array)
    if len(widths) != 1:
        raise Unsupported(f"{array.size} bit widths; one for the whole tensor works")
    width = float(widths[0])
    if not np.isfinite(width) or width != np.rint(width) or not 1 <= width <= most:
        raise Unsupported(f"a bit width of {width:g}; whole numbers from 1 to {most} work")
    return int(width)


def codes_of_width(bits: int, signed: bool, narrow: bool) -> Codes:
    """The range of the codes. One signed bit is bipolar, narrow or not."""
    if bits == 1 and signed:
        return BIPOLAR
    if bits == 1 and narrow:
        raise Unsupported("one unsigned bit that is narrow has the code 0 alone; narrow=0 works")
    return Codes(bits, signed, narrow)


def zero_points(node: Node, index: int) -> Array | None:
    """The zero points as float32, None where they are computed at run time."""
    array = array_of(node.expr(index))
    if array is None:
        return None
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InvalidModel("a zero point is no finite number")
    return array.astype("float32")


def check_spreads(node: Node, index: int, what: str) -> None:
    """Raises InvalidModel unless an input broadcasts to the data."""
    inner, shape = shape_of(node.expr(index)), shape_of(node.expr(0))
    aligned = shape[len(shape) - len(inner) :]
    if int(np.prod(inner)) == 1 or (
        len(inner) <= len(shape)
        and all(one in (1, extent) for one, extent in zip(inner, aligned, strict=True))
    ):
        return
    raise InvalidModel(
        f"{what} of shape {list(inner)} on data of shape {list(shape)}; one, or one a channel, work"
    )


@dataclass(frozen=True)
class Grid:
    """Scales (float32) and zero points (the stored type) as qcompile.quantize takes them."""

    scale: Array
    zero: Array
    axis: int

    def kept_rounding(self, rounding: str) -> str | None:
        """The rounding of x / s that gives the codes of x / s + z, None where none does.

        round(v) + z is round(v + z) where the ties of v go to the other neighbour for odd z.
        """
        if not self.zero.any():
            return rounding
        odd = self.zero.astype("int64") % 2 == 1
        if rounding != HALF_EVEN or (odd.any() and not odd.all()):
            return None
        return "half_odd" if odd.any() else HALF_EVEN


def grid_of(scale: Array, zero: Array, codes: Codes, rank: int) -> Grid | None:
    """None where the parameters vary along several axes, or where a zero point is no code."""
    scale, zero = _aligned(scale, rank), _aligned(zero, rank)
    varying = [axis for axis in range(rank) if max(scale.shape[axis], zero.shape[axis]) > 1]
    low, high = code_range(codes.bits, codes.signed, codes.narrow)
    whole = (zero == np.rint(zero)).all() and low <= zero.min() and zero.max() <= high
    if len(varying) > 1 or not whole:
        return None
    if is_bipolar(codes.bits, codes.signed, codes.narrow) and zero.any():
        return None
    dtype = stored_dtype(codes.bits, codes.signed)
    if not varying:
        return Grid(scale.reshape(()), zero.reshape(()).astype(dtype), 0)
    scale, zero = np.broadcast_arrays(scale, zero)
    return Grid(scale.reshape(-1), zero.reshape(-1).astype(dtype), varying[0])


def _aligned(array: Array, rank: int) -> Array:
    """A parameter of as many axes as the data."""
    if array.size == 1:
        return array.reshape((1,) * rank)
    return array.reshape((1,) * (rank - array.ndim) + array.shape)
