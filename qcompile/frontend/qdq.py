"""QDQ and QCDQ: QuantizeLinear, Clip on integers, DequantizeLinear.

    QuantizeLinear(x, s, z)               -> qcompile.quantize(x, s, z)
    Clip(quantize(x, s, z), low, high)    -> quantize with fewer bits, when [low, high] is the range
                                             of some bits/signed/narrow
    DequantizeLinear(q, s, z)             -> qcompile.dequantize(q, s, z) with the bits of q
    QuantizeLinear(constant), its Clip    -> integer constants

Scales computed at run time become primitive operators, blocked scales the form of blocks.py.
ONNX QuantizeLinear and DequantizeLinear, opsets 10 to 25, and those of com.microsoft.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend import blocks
from qcompile.frontend.dynamic import dynamic_dequantize, dynamic_quantize
from qcompile.frontend.node import (
    Array,
    Codes,
    Emitter,
    Node,
    Value,
    array_of,
    constant,
    dtype_of,
    normalized_axis,
    shape_of,
)
from qcompile.frontend.tensors import SUB_BYTE, type_name
from qcompile.ops import dequantize, quantize
from qcompile.ops.quantize import QUANTIZE, code_range, is_bipolar, quantize_array, stored_dtype

PLAIN_CODES = {
    "int8": Codes(8, True),
    "uint8": Codes(8, False),
    "int16": Codes(16, True),
    "uint16": Codes(16, False),
    "int32": Codes(32, True),
}
OUTPUT_TYPES = {2: PLAIN_CODES["uint8"], 3: PLAIN_CODES["int8"], 4: PLAIN_CODES["uint16"]} | {
    5: PLAIN_CODES["int16"],
    **SUB_BYTE,
}


def codes_of(value: Value) -> Codes:
    """The range of an integer value. Raises Unsupported for anything but codes."""
    found = value.codes or PLAIN_CODES.get(dtype_of(value.expr))
    if found is None:
        known = ", ".join(PLAIN_CODES)
        raise Unsupported(f"quantized data of type {dtype_of(value.expr)}; known are {known}")
    return found


def scale_array(expr: relax.Expr) -> Array | None:
    """The constant scales as float32, 0-d when there is one. Raises InvalidModel unless all > 0."""
    array = array_of(expr)
    if array is None:
        return None
    if array.dtype.kind != "f":
        raise InvalidModel(f"a scale has type {array.dtype}")
    array = array.astype("float32")
    if not (np.isfinite(array).all() and (array > 0).all()):
        wrong = array[~(np.isfinite(array) & (array > 0))].reshape(-1)[0]
        raise InvalidModel(f"a scale is {wrong}; scales are finite and above zero")
    return array.reshape(()) if array.size == 1 else array


def zero_array(node: Node, index: int, codes: Codes, scale: Array) -> Array:
    """The zero points in the type that stores the codes, zeros when the node has none."""
    dtype = stored_dtype(codes.bits, codes.signed)
    if not node.has(index):
        return np.zeros(scale.shape, dtype)
    array = node.array(index, "a zero point beside a constant scale")
    if array.dtype.kind not in "iu":
        raise InvalidModel(f"a zero point has type {array.dtype}")
    low, high = code_range(codes.bits, codes.signed, False)
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        raise InvalidModel(f"a zero point lies outside of {low}..{high}, the range of the codes")
    if array.size == 1:
        array = np.full(scale.shape, array.reshape(()))
    if array.shape != scale.shape:
        raise InvalidModel(f"{list(scale.shape)} scales but {list(array.shape)} zero points")
    return array.astype(dtype)


def scale_axis(scale: Array, axis: int, shape: tuple[int, ...]) -> int:
    """The axis of `shape` that 1-d scales run along; 0 for a single scale."""
    if scale.ndim == 0:
        return 0
    if scale.ndim != 1:
        raise InvalidModel(f"scales of shape {list(scale.shape)} need a block_size")
    axis = normalized_axis(axis, len(shape))
    if shape[axis] != len(scale):
        raise InvalidModel(f"{len(scale)} scales along axis {axis} of {list(shape)}")
    return axis


def _output_codes(node: Node) -> Codes:
    """What QuantizeLinear produces: the zero point's type, or output_dtype, or uint8."""
    wanted = node.integer("output_dtype", 0)
    if wanted and wanted not in OUTPUT_TYPES:
        raise Unsupported(f"quantization to {type_name(wanted)}; integers of 2 to 16 bits work")
    if not node.has(2):
        return OUTPUT_TYPES[wanted] if wanted else PLAIN_CODES["uint8"]
    codes = codes_of(node.value(2))
    if wanted and codes != OUTPUT_TYPES[wanted]:
        raise InvalidModel("output_dtype and the type of the zero point differ")
    return codes


def quantize_linear(emit: Emitter, node: Node) -> Value:
    x, codes = node.expr(0), _output_codes(node)
    if dtype_of(x) == "int32":
        x = emit.emit(relax.op.astype(x, "float32"))
    if dtype_of(x) != "float32":
        raise Unsupported(f"quantization of {dtype_of(x)} data; float32 and float16 work")
    scale = scale_array(node.expr(1))
    if scale is None:
        return Value(dynamic_quantize(emit, node, x, codes), codes)
    zero = zero_array(node, 2, codes, scale)
    if node.integer("block_size", 0) or scale.ndim > 1:
        grouping = blocks.grouping(node, shape_of(x), scale.shape)
        return Value(blocks.quantize_blocks(emit, x, scale, zero, grouping, codes), codes)
    axis = scale_axis(scale, node.integer("axis", 1), shape_of(x))
    array = array_of(x)
    if array is not None:
        return Value(constant(quantized(array, scale, zero, axis, codes)), codes)
    call = quantize(x, constant(scale), constant(zero), axis=axis, **codes.attributes)
    return Value(emit.emit(call, node.name), codes)


def quantized(x: Array, scale: Array, zero: Array, axis: int, codes: Codes) -> Array:
    """The codes of constant values (float32), as qcompile.quantize computes them."""
    along = [-1 if i == axis else 1 for i in range(x.ndim)] if scale.ndim else []
    parameters = (scale.reshape(along), zero.reshape(along))
    return quantize_array(x, *parameters, **codes.attributes)


def dequantize_linear(emit: Emitter, node: Node) -> Value:
    q = node.value(0)
    codes = codes_of(q)
    scale = scale_array(node.expr(1))
    if scale is None:
        return Value(dynamic_dequantize(emit, node, q.expr))
    zero = zero_array(node, 2, codes, scale).astype(dtype_of(q.expr))
    if node.integer("block_size", 0) or scale.ndim > 1:
        grouping = blocks.grouping(node, shape_of(q.expr), scale.shape)
        result = blocks.dequantize_blocks(emit, q.expr, scale, zero, grouping, codes)
        return Value(emit.emit(result, node.name))
    axis = scale_axis(scale, node.integer("axis", 1), shape_of(q.expr))
    call = dequantize(q.expr, constant(scale), constant(zero), axis=axis, **codes.attributes)
    return Value(emit.emit(call, node.name))


def bits_of_range(low: int, high: int) -> Codes | None:
    """The bits, signedness and narrowness whose codes are exactly low..high, of at least two."""
    if low >= high:
        return None
    for bits in range(1, 17):
        for signed in (False, True):
            for narrow in (False, True):
                found = code_range(bits, signed, narrow)
                if found == (low, high) and not is_bipolar(bits, signed, narrow):
                    return Codes(bits, signed, narrow)
    return None


def clip_codes(emit: Emitter, node: Node, low: int, high: int) -> Value:
    """Clip on integer codes, for bounds inside of the codes' type."""
    q = node.value(0)
    old = codes_of(q)
    old_low, old_high = code_range(old.bits, old.signed, old.narrow)
    low, high = max(low, old_low), min(high, old_high)
    if low > high:
        raise Unsupported(f"a clip of the codes {old_low}..{old_high} leaves nothing")
    if (low, high) == (old_low, old_high):
        return q
    codes = bits_of_range(low, high)
    dtype = dtype_of(q.expr)
    if codes is not None and stored_dtype(codes.bits, codes.signed) != dtype:
        codes = codes if node.consumers == {"DequantizeLinear"} else None
    call = emit.bound(q.expr, QUANTIZE)
    array = array_of(q.expr)
    if codes is not None and array is not None:
        clipped = np.clip(array, low, high).astype(stored_dtype(codes.bits, codes.signed))
        return Value(constant(clipped), codes)
    if codes is not None and call is not None and str(call.attrs["rounding"]) == "half_even":
        x, scale, zero = call.args
        zero_values = array_of(zero)
        if zero_values is not None and low <= zero_values.min() and zero_values.max() <= high:
            zero = constant(zero_values.astype(stored_dtype(codes.bits, codes.signed)))
            call = quantize(x, scale, zero, axis=int(call.attrs["axis"]), **codes.attributes)
            return Value(emit.emit(call, node.name), codes)
    bounded = relax.op.minimum(q.expr, relax.const(high, dtype))
    bounded = relax.op.maximum(emit.emit(bounded), relax.const(low, dtype))
    return Value(emit.emit(bounded, node.name), q.codes)
