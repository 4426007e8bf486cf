"""What the passes ask about quantized values: constants, parameters of dequantize, widths."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.quantize import code_range, is_bipolar
from qcompile.passes.rewriter import BindingRewriter, dtype_of, operator_name

CONSTANT = "relax.constant"


def constant(expression: relax.Expr) -> NDArray[Any] | None:
    """The array of a constant expression, or None."""
    value: Any = getattr(expression, "value", None)
    return value.numpy() if hasattr(value, "numpy") else None


def array_of(expression: relax.Expr) -> NDArray[Any]:
    """The array of an expression that is known to be constant."""
    array = constant(expression)
    assert array is not None
    return array


@dataclass(frozen=True)
class Codes:
    """Integer codes and what they stand for: value = (codes - zero) * scale.

    scale: float32 and zero: integers, 0-d or along `axis` of `data`.
    """

    data: relax.Expr
    scale: NDArray[np.float32]
    zero: NDArray[np.int64]
    axis: int
    bits: int
    signed: bool
    narrow: bool = False

    @property
    def bipolar(self) -> bool:
        """Whether the codes are -1 and 1."""
        return is_bipolar(self.bits, self.signed, self.narrow)

    @property
    def lattice(self) -> tuple[int, int]:
        """The lowest code and the step between codes."""
        low, high = code_range(self.bits, self.signed, self.narrow)
        return low, high - low if self.bipolar else 1

    @property
    def per_tensor(self) -> bool:
        return self.scale.size == 1 and self.zero.size == 1

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantization."""
        return int(self.zero.reshape(-1)[0])

    @property
    def dtype(self) -> str:
        return str(self.data.ty.dtype.dtype)

    @property
    def eight_bits(self) -> bool:
        return self.dtype in ("int8", "uint8")


def codes_behind(rewriter: BindingRewriter, value: relax.Expr) -> Codes | None:
    """The codes that `value` dequantizes, when it is a dequantize with constant parameters."""
    call = rewriter.call_of(value, "qcompile.dequantize")
    return None if call is None else codes_of(rewriter, call)


def codes_of(rewriter: BindingRewriter, call: tvm.ir.Call) -> Codes | None:
    scale, zero = (constant(rewriter.definition(argument)) for argument in call.args[1:3])
    if scale is None or zero is None:
        return None
    rank = len(call.args[0].ty.shape)
    return Codes(
        data=call.args[0],
        scale=scale.astype("float32"),
        zero=zero.astype("int64"),
        axis=int(call.attrs["axis"]) % max(rank, 1),
        bits=int(call.attrs["bits"]),
        signed=bool(call.attrs["signed"]),
        narrow=bool(call.attrs["narrow"]),
    )


def every_code(data: relax.Expr) -> tuple[int, int]:
    """The lattice of codes that fill their type."""
    return (-128 if dtype_of(data) == "int8" else 0), 1


def constant_codes(rewriter: BindingRewriter, value: relax.Expr) -> NDArray[Any] | None:
    """The constant behind `value`, or None."""
    return constant(rewriter.definition(value))


def real_constant(rewriter: BindingRewriter, value: relax.Expr) -> NDArray[Any] | None:
    """The array of a constant, or the float32 values of constant codes behind a dequantize."""
    codes = codes_behind(rewriter, value)
    array = constant_codes(rewriter, value if codes is None else codes.data)
    if codes is None or array is None:
        return array
    spread = [-1 if axis == codes.axis else 1 for axis in range(array.ndim)]
    scale, zero = (
        p.reshape(spread) if p.size > 1 else p.reshape(()) for p in (codes.scale, codes.zero)
    )
    return (array.astype("int64") - zero).astype("float32") * scale


def is_dequantize(expression: relax.Expr) -> bool:
    return operator_name(expression) == "qcompile.dequantize"


def channels_last(call: tvm.ir.Call) -> bool:
    """Whether a conv2d reads and writes NHWC, with weights OIHW."""
    layouts = (call.attrs.data_layout, call.attrs.out_layout, call.attrs.kernel_layout)
    return tuple(str(layout) for layout in layouts) == ("NHWC", "NHWC", "OIHW")


def scalar(value: float | np.floating[Any], dtype: str = "float32") -> relax.Expr:
    return relax.const(np.asarray(value, dtype), dtype)


def vector(values: NDArray[Any], dtype: str) -> relax.Expr:
    return relax.const(np.ascontiguousarray(values.astype(dtype)), dtype)
