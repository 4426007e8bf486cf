"""Find the codes of float weights that are few multiples of one scale in each output channel.

    conv(dequantize(x), w)    -> conv(dequantize(x), dequantize(codes, s))
    matmul(dequantize(x), w)  -> matmul(dequantize(x), dequantize(codes, s))

w: constant float32 with w == float32(codes * s) in every entry, codes of 1 to 4 bits, s one value
an output channel: -a, a become bipolar codes, -a, 0, a ternary ones. Networks trained with few
bits are often written this way, their quantized weights as floats. Operators that move or select
values may stand between dequantize and product. Left alone: anything that is not exact, products of
data that are no codes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize
from qcompile.ops.quantize import code_range
from qcompile.passes.facts import constant, is_dequantize
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions

Array = NDArray[Any]
MOST_BITS = 4
LARGEST = 2 ** (MOST_BITS - 1)  # magnitude of a code
CHANNEL_AXIS = {"relax.nn.conv1d": 0, "relax.nn.conv2d": 0, "relax.matmul": 1}  # of the weights
MOVES = {
    *(f"relax.{name}" for name in ("permute_dims", "reshape", "squeeze", "expand_dims")),
    *(f"relax.{name}" for name in ("flatten", "strided_slice", "nn.pad", "nn.max_pool2d")),
}


class _RecoverWeights(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operands = float_weights(self, call)
        if operands is None:
            return None
        weights, axis = operands
        found = recovered(np.moveaxis(weights, axis, 0))
        if found is None:
            return None
        codes, scale = np.moveaxis(found[0], 0, axis), found[1]
        kind = _kind(codes)
        w = dequantize(
            relax.const(np.ascontiguousarray(codes), "int8"),
            relax.const(scale, "float32"),
            relax.const(np.zeros(scale.shape, "int8"), "int8"),
            axis=axis,
            **kind,
        )
        return tvm.ir.Call(call.op, [call.args[0], self.emit(w)], call.attrs, call.ty_args)


def float_weights(rewriter: BindingRewriter, call: tvm.ir.Call) -> tuple[Array, int] | None:
    """The float32 weights by which a call multiplies codes, and their axis of output channels."""
    axis = CHANNEL_AXIS.get(operator_name(call))
    if axis is None:
        return None
    weights = constant(rewriter.definition(call.args[1]))
    if weights is None or weights.ndim <= axis or not _quantized(rewriter, call.args[0]):
        return None
    if str(weights.dtype) != "float32" or (axis == 1 and weights.ndim != 2):
        return None
    return weights, axis


def _quantized(rewriter: BindingRewriter, data: relax.Expr) -> bool:
    """Whether `data` is codes, perhaps moved."""
    found = rewriter.definition(data)
    while operator_name(found) in MOVES:
        found = rewriter.definition(found.args[0])
    return is_dequantize(found)


def recovered(weights: Array) -> tuple[Array, Array] | None:
    """Codes (int8) and scales (float32, one for each entry of the first axis), or None."""
    rows = weights.reshape(len(weights), -1)
    codes, scales = np.zeros(rows.shape, "int8"), np.ones(len(rows), "float32")
    for index, row in enumerate(rows):
        sizes = np.unique(np.abs(row[row != 0]))
        if len(sizes) > LARGEST or not np.isfinite(row).all():
            return None
        scale = _scale(sizes)
        if scale is None:
            return None
        codes[index], scales[index] = np.rint(row / scale), scale
    return codes.reshape(weights.shape), scales


def _scale(sizes: Array) -> np.float32 | None:
    """A scale of which all sizes (ascending, not 0) are multiples; the largest one."""
    if not len(sizes):
        return np.float32(1)
    if sizes[0] < np.finfo("float32").tiny:
        return None
    for scale in _candidates(sizes[0]):
        codes = np.rint(sizes / scale)
        if codes[-1] < LARGEST and (codes * scale == sizes).all():
            return scale
    return None


def _candidates(smallest: np.float32) -> Iterator[np.float32]:
    """Scales whose small multiples may be `smallest`; a product rounds by half a step at most."""
    for code in range(1, LARGEST):
        quotient = np.float32(smallest / np.float32(code))
        yield quotient
        yield np.nextafter(quotient, np.float32(0))
        yield np.nextafter(quotient, np.float32(np.inf))


def _kind(codes: Array) -> dict[str, Any]:
    """The fewest bits that hold the codes."""
    if codes.all() and np.abs(codes).max() == 1:
        return {"bits": 1, "signed": True, "narrow": True}
    widths = range(2, MOST_BITS + 1)
    bits = next(b for b in widths if np.abs(codes).max() <= code_range(b, True, True)[1])
    return {"bits": bits, "signed": True, "narrow": True}


@tvm.transform.module_pass(opt_level=0, name="RecoverWeights")
class RecoverWeights:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _RecoverWeights)
