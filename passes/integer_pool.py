"""Average codes by exact integer sums.

    avg_pool2d(dequantize(x, s, z))           -> dequantize(sum_pool2d(x - z), s / n, 0)
    adaptive_avg_pool2d(dequantize(x, s, z))  -> the same over windows that tile the image
    mean(dequantize(x, s, z), rows, columns)  -> the same over the whole image
    mean(dequantize(x, s, z), other axes)     -> dequantize(sum(int32(x)), s / n, z * n)

x: (N, H, W, C), for other means of any shape, of up to 8 bits with one scale; n: positions in the
window. Windows that reach over the border and count only the image (count_include_pad = 0) have a
factor 1 / n per position. Left alone: windows that do not tile the image or do not meet it, sums
over 2^23 positions, other means that anything but a quantize reads.
"""

from math import prod

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize, sum_pool2d
from qcompile.ops.quantize import QUANTIZE
from qcompile.passes.facts import Codes, codes_behind, scalar, vector
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)

IMAGE_RANK = 4
MAX_POSITIONS = 2**23  # 2^23 positions of magnitude 255 fit an int32


class _IntegerPool(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        rule = {
            "relax.nn.avg_pool2d": self._average,
            "relax.nn.adaptive_avg_pool2d": self._adaptive,
            "relax.mean": self._mean,
        }.get(operator_name(call))
        if rule is None:
            return None
        codes = codes_behind(self, call.args[0])
        if codes is None or not codes.per_tensor or not codes.eight_bits:
            return None
        return rule(call, codes, name)

    def _average(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr | None:
        attributes = call.attrs
        if str(attributes.layout) != "NHWC" or len(shape_of(call)) != IMAGE_RANK:
            return None
        window = [int(extent) for extent in attributes.pool_size]
        padding = _covering(call, window)
        geometry = {
            "kernel": window,
            "strides": [int(stride) for stride in attributes.strides],
            "padding": padding,
            "dilation": [int(d) for d in attributes.dilation],
        }
        counts = None
        if any(padding) and (not bool(attributes.count_include_pad) or bool(attributes.ceil_mode)):
            counts = _counts(call, geometry)
        return self._sums(codes, geometry, name, counts)

    def _adaptive(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr | None:
        if str(call.attrs.layout) != "NHWC" or call.attrs.output_size is None:
            return None
        _, height, width, _ = shape_of(call.args[0])
        rows, columns = (int(extent) for extent in call.attrs.output_size)
        if height % rows or width % columns:
            return None
        window = [height // rows, width // columns]
        return self._sums(codes, _tiling(window), name)

    def _mean(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr | None:
        shape = shape_of(call.args[0])
        axes = range(len(shape)) if call.attrs.axis is None else call.attrs.axis
        axes = sorted(int(axis) % len(shape) for axis in axes)
        if len(shape) != IMAGE_RANK or axes != [1, 2]:
            return self._mean_of_any(call, codes, axes, name)
        means = self._sums(codes, _tiling([shape[1], shape[2]]), name)
        if means is None or bool(call.attrs.keepdims):
            return means
        sums, scale, zero = means.args
        flat = self.emit(relax.op.reshape(sums, shape_of(call)))
        return dequantize(flat, scale, zero, bits=32, signed=True)

    def _mean_of_any(
        self, call: tvm.ir.Call, codes: Codes, axes: list[int], name: str
    ) -> relax.Expr | None:
        positions = prod(shape_of(codes.data)[axis] for axis in axes)
        if not 0 < positions <= MAX_POSITIONS or set(self.readers(self.reading)) != {QUANTIZE}:
            return None
        wide = self.emit(relax.op.astype(codes.data, "int32"))
        sums = self.emit(relax.op.sum(wide, axes, bool(call.attrs.keepdims)), name)
        scale = float(codes.scale.reshape(-1)[0]) / positions
        zero = scalar(codes.zero_point * positions, "int32")
        return dequantize(sums, scalar(scale), zero, bits=32, signed=True)

    def _sums(
        self,
        codes: Codes,
        geometry: dict[str, list[int]],
        name: str,
        counts: NDArray[np.float64] | None = None,
    ) -> tvm.ir.Call | None:
        """The averages, over `counts` (1, OH, OW, 1) positions where those are not the window's."""
        positions = geometry["kernel"][0] * geometry["kernel"][1]
        if not 0 < positions <= MAX_POSITIONS or (counts is not None and not counts.all()):
            return None
        pooled = self.emit(sum_pool2d(codes.data, **geometry, zero_point=codes.zero_point), name)
        scale = float(codes.scale.reshape(-1)[0]) / (positions if counts is None else 1)
        sums = dequantize(pooled, scalar(scale), scalar(0, "int32"), bits=32, signed=True)
        if counts is None:
            return sums
        return relax.op.multiply(self.emit(sums), vector(1 / counts, "float32"))


def _tiling(window: list[int]) -> dict[str, list[int]]:
    return {"kernel": window, "strides": window, "padding": [0] * 4, "dilation": [1, 1]}


def _covering(call: tvm.ir.Call, window: list[int]) -> list[int]:
    """The padding, with what ceil_mode adds at the bottom and on the right."""
    padding = [int(extent) for extent in call.attrs.padding]
    for i in (0, 1):
        stride, dilation = int(call.attrs.strides[i]), int(call.attrs.dilation[i])
        reach = (shape_of(call)[i + 1] - 1) * stride + dilation * (window[i] - 1) + 1
        padding[i + 2] = max(padding[i + 2], reach - shape_of(call.args[0])[i + 1] - padding[i])
    return padding


def _counts(call: tvm.ir.Call, geometry: dict[str, list[int]]) -> NDArray[np.float64]:
    """How many positions each window averages over: (1, OH, OW, 1)."""
    declared = [int(extent) for extent in call.attrs.padding]
    counted = declared if bool(call.attrs.count_include_pad) else [0] * 4
    sides = []
    for i in (0, 1):
        extent, rows = shape_of(call.args[0])[i + 1], shape_of(call)[i + 1]
        start = np.arange(rows) * geometry["strides"][i] - geometry["padding"][i]
        taps = start[:, None] + np.arange(geometry["kernel"][i]) * geometry["dilation"][i]
        inside = (taps >= -counted[i]) & (taps < extent + counted[i + 2])
        sides.append(inside.sum(axis=1))
    return np.outer(*sides)[None, :, :, None].astype("float64")


@tvm.transform.module_pass(opt_level=0, name="IntegerPool")
class IntegerPool:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _IntegerPool)
