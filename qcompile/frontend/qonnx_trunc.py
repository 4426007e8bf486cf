"""QONNX Trunc: drops low bits of integers, behind sums and average pools.

    version 1, inputs x s z bits out_bits:
        (round(rint(x / s + z) / 2^(bits - out_bits)) - z) * s
    version 2, inputs x s z bits out_s out_bits, with k = 2^rint(log2(out_s / s)):
        (clamp(round(rint(x / s + z) / k), low, high) - z / k) * out_s

The clamp of version 2 makes its result codes, dequantized where z / k is one of them; version 1
sets no limits and becomes float operators. The qonnx package 1.0, trunc.py.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Codes, Emitter, Node, constant
from qcompile.frontend.qdq import scale_array
from qcompile.frontend.qonnx import MOST_BITS, data_of, plain_codes
from qcompile.frontend.qonnx_parameters import (
    bit_width,
    check_spreads,
    grid_of,
    rounding_of,
    zero_points,
)
from qcompile.ops import dequantize

INPUTS_OF_VERSION_2 = 6
MOST_INPUT_BITS = 32
SIMPLE = {
    "half_even": relax.op.round,
    "ceil": relax.op.ceil,
    "floor": relax.op.floor,
    "down": relax.op.trunc,
}
OF_MAGNITUDE = {  # what rounds |v| + shift; the sign comes back afterwards
    "up": (relax.op.ceil, 0.0),
    "half_up": (relax.op.floor, 0.5),
    "half_down": (relax.op.ceil, -0.5),
}


def trunc(emit: Emitter, node: Node) -> relax.Expr:
    check_spreads(node, 1, "scales")
    check_spreads(node, 2, "zero points")
    v = emit.emit(relax.op.divide(data_of(node), node.expr(1)))
    whole = emit.emit(relax.op.round(emit.emit(relax.op.add(v, node.expr(2)))))
    if len(node.inputs) == INPUTS_OF_VERSION_2:
        return _version_2(emit, node, whole)
    return _version_1(emit, node, whole)


def _version_1(emit: Emitter, node: Node, whole: relax.Expr) -> relax.Expr:
    bits, kept = (bit_width(node, index, MOST_INPUT_BITS) for index in (3, 4))
    shifted = emit.emit(relax.op.multiply(whole, relax.const(2.0 ** (kept - bits), "float32")))
    rounded = _rounded(emit, shifted, rounding_of(node, "FLOOR"))
    centred = emit.emit(relax.op.subtract(rounded, node.expr(2)))
    return relax.op.multiply(centred, node.expr(1))


def _rounded(emit: Emitter, v: relax.Expr, rounding: str) -> relax.Expr:
    """`v` rounded without limits."""
    if rounding in SIMPLE:
        return emit.emit(SIMPLE[rounding](v))
    towards, shift = OF_MAGNITUDE[rounding]
    size = emit.emit(relax.op.add(emit.emit(relax.op.abs(v)), relax.const(shift, "float32")))
    return emit.emit(relax.op.multiply(emit.emit(relax.op.sign(v)), emit.emit(towards(size))))


def _version_2(emit: Emitter, node: Node, whole: relax.Expr) -> relax.Expr:
    check_spreads(node, 4, "output scales")
    scale, target, zero = scale_array(node.expr(1)), scale_array(node.expr(4)), zero_points(node, 2)
    if scale is None or target is None or zero is None:
        raise Unsupported("scales or zero points computed at run time; constants work")
    steps = np.exp2(np.rint(np.log2(target / scale))).astype("float32")
    if np.unique(steps).size != 1:
        raise InvalidModel("output scales that drop another number of bits in each channel")
    step = steps.reshape(-1)[:1].reshape(())
    signed, narrow = bool(node.integer("signed", 1)), bool(node.integer("narrow", 0))
    codes = Codes(bit_width(node, 5, MOST_BITS), signed, narrow)
    if codes.bits == 1 and narrow:
        raise Unsupported("one bit that is narrow has the code 0 alone; narrow=0 works")
    shifted = emit.emit(relax.op.multiply(whole, constant(np.asarray(1 / step))))
    q = plain_codes(emit, shifted, codes, rounding_of(node, "FLOOR"))
    zero = zero / step
    grid = grid_of(target, zero, codes, len(whole.ty.shape))
    if grid is None:
        values = emit.emit(relax.op.astype(q, "float32"))
        centred = emit.emit(relax.op.subtract(values, constant(zero)))
        return relax.op.multiply(centred, constant(target))
    parameters = constant(grid.scale), constant(grid.zero)
    return dequantize(q, *parameters, axis=grid.axis, **codes.attributes)
