"""QONNX MultiThreshold: counts the thresholds that a value reaches.

    MultiThreshold(x, t) = out_scale * sum_k(x >= t_k) + out_bias

    one threshold, values -a and a    -> dequantize(quantize(x - t, 1), a), bipolar
    otherwise                         -> dequantize(multi_threshold(x, t), out_scale, z)
    results that no (count - z) * out_scale gives exactly
                                      -> count * out_scale + out_bias

x >= t is x - t >= 0 in float32: the difference of unequal floats is never zero, because subnormal
numbers fill the gap around it, and an overflow keeps its sign; t is finite. thresholds: (C, T), or
(1, T) for all channels. FINN-R 2018, section 4.2; the qonnx package 1.0, multithreshold.py.
"""

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import (
    Array,
    Codes,
    Emitter,
    Node,
    constant,
    shape_of,
)
from qcompile.frontend.qonnx import data_of
from qcompile.frontend.qonnx_parameters import BIPOLAR
from qcompile.ops import dequantize, quantize
from qcompile.ops import multi_threshold as multi_threshold_codes

GUESSED_LAYOUTS = {2: "NC", 3: "NWC", 4: "NCHW"}  # by rank, as qonnx guesses
MOST_THRESHOLDS = 255


def multi_threshold(emit: Emitter, node: Node) -> relax.Expr:
    x = data_of(node)
    axis = _channel_axis(node, shape_of(x))
    thresholds = _thresholds(node, shape_of(x)[axis])
    scale, bias = (np.float32(node.number(*each)) for each in (("out_scale", 1), ("out_bias", 0)))
    if not (np.isfinite(scale) and np.isfinite(bias) and scale):
        raise InvalidModel(f"out_scale {scale:g}, out_bias {bias:g}; finite ones, not 0, work")
    high = scale + bias
    if thresholds.shape[1] == 1 and high == -bias and high > 0 and np.isfinite(thresholds).all():
        return _bipolar(emit, x, thresholds, axis, high)
    levels = np.arange(thresholds.shape[1] + 1, dtype="float32")
    codes = Codes(int(thresholds.shape[1]).bit_length(), False)
    count = emit.emit(multi_threshold_codes(x, constant(thresholds), axis=axis))
    zero = np.rint(-bias / scale)
    same = scale * levels + bias == (levels - zero) * scale
    if same.all() and 0 <= zero < 2**codes.bits and scale > 0:
        zero_point = relax.const(int(zero), "uint8")
        return dequantize(count, _scalar(scale), zero_point, **codes.attributes)
    values = emit.emit(relax.op.astype(count, "float32"))
    scaled = emit.emit(relax.op.multiply(values, _scalar(scale)))
    return relax.op.add(scaled, _scalar(bias))


def _bipolar(
    emit: Emitter, x: relax.Expr, thresholds: Array, axis: int, scale: np.float32
) -> relax.Expr:
    spread = [1] * len(shape_of(x))
    spread[axis] = len(thresholds)
    if thresholds.any():
        x = emit.emit(relax.op.subtract(x, constant(thresholds.reshape(spread))))
    zero = relax.const(0, "int8")
    q = emit.emit(quantize(x, relax.const(1.0, "float32"), zero, **BIPOLAR.attributes))
    return dequantize(q, _scalar(scale), zero, **BIPOLAR.attributes)


def _scalar(value: np.float32) -> relax.Expr:
    return constant(np.asarray(value, "float32"))


def _channel_axis(node: Node, shape: tuple[int, ...]) -> int:
    layout = node.text("data_layout", "") or GUESSED_LAYOUTS.get(len(shape), "NC")
    axis = layout.index("C") if "C" in layout else 1
    if axis >= len(shape) or (len(layout) != len(shape) and node.text("data_layout", "")):
        raise InvalidModel(f"data_layout '{layout}' on data of shape {list(shape)}")
    return axis


def _thresholds(node: Node, channels: int) -> Array:
    """(channels or 1, T) float32, not descending."""
    array = node.array(1, "a threshold")
    if array.ndim != 2 or len(array) not in (1, channels) or array.dtype.kind not in "fiu":
        shape = list(array.shape)
        raise InvalidModel(f"thresholds of shape {shape}; [{channels}, T] or [1, T] work")
    if not 1 <= array.shape[1] <= MOST_THRESHOLDS:
        raise Unsupported(f"{array.shape[1]} thresholds a channel; 1 to {MOST_THRESHOLDS} work")
    thresholds = array.astype("float32")
    if np.isnan(thresholds).any() or (thresholds != array).any():
        raise InvalidModel("a threshold is no number of float32; others would not be exact")
    if (np.diff(thresholds) < 0).any():
        raise InvalidModel("thresholds of a channel descend; ascending ones work")
    return thresholds
