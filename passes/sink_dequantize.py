"""Let operators that only move or select values work on the codes.

    f(dequantize(x, s, z)) -> dequantize(f(x), s, z)

f: permute_dims, reshape, squeeze, expand_dims, flatten, strided_slice, split, take, tile, repeat,
broadcast_to, flip, concat (operands with equal s and z), max and min (s positive), max_pool2d (s
positive, no window outside the image), nearest resize2d, pad with a value that has a code. A scale
per channel follows its axis through permute_dims and reshape. Constants are moved at once. Left
alone: sums (int32), whose neighbours are epilogues.
"""

from dataclasses import replace
from math import prod

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize
from qcompile.ops.quantize import code_range
from qcompile.passes.facts import Codes, codes_behind, constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)
from qcompile.passes.windows import windows_meet_image

ACCUMULATOR_BITS = 32
RESHAPES = ("relax.reshape", "relax.squeeze", "relax.expand_dims", "relax.flatten")
PER_TENSOR = (
    *(f"relax.{name}" for name in ("strided_slice", "tile", "repeat", "broadcast_to", "flip")),
)


class _SinkDequantize(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator == "relax.concat":
            return self._concat(call, name)
        codes = codes_behind(self, call.args[0]) if call.args else None
        if codes is None or self._is_accumulator(codes):
            return None
        if operator == "relax.permute_dims":
            return self._permute(call, codes, name)
        if operator in RESHAPES:
            return self._reshape(call, codes, name)
        if not codes.per_tensor:
            return None
        if keeps_values(call, positive=bool(codes.scale > 0)):
            moved = tvm.ir.Call(call.op, [codes.data, *call.args[1:]], call.attrs, call.ty_args)
            return self._dequantized(moved, codes, name)
        rule = {"relax.split": self._split, "relax.nn.pad": self._pad}.get(operator)
        return None if rule is None else rule(call, codes, name)

    def _is_accumulator(self, codes: Codes) -> bool:
        wide = codes.bits == ACCUMULATOR_BITS
        return wide and constant(self.definition(codes.data)) is None

    def _dequantized(self, data: relax.Expr, codes: Codes, name: str) -> relax.Expr:
        if not isinstance(data, relax.Var):
            data = data if constant(data) is not None else self.emit(data, f"{name}_codes")
        return dequantize(
            data,
            relax.const(codes.scale, "float32"),
            relax.const(codes.zero.astype(codes.dtype), codes.dtype),
            axis=codes.axis,
            bits=codes.bits,
            signed=codes.signed,
            narrow=codes.narrow,
        )

    def _permute(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr:
        rank = len(shape_of(codes.data))
        axes = call.attrs.axes
        order = [int(a) % rank for a in axes] if axes is not None else list(range(rank))[::-1]
        array = constant(self.definition(codes.data))
        moved = (
            relax.op.permute_dims(codes.data, order)
            if array is None
            else relax.const(np.ascontiguousarray(array.transpose(order)), codes.dtype)
        )
        return self._dequantized(moved, replace(codes, axis=order.index(codes.axis)), name)

    def _reshape(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr | None:
        shape = tuple(int(extent) for extent in call.ty.shape)
        axis = codes.axis if codes.per_tensor else _same_axis(codes, shape)
        if axis is None:
            return None
        array = constant(self.definition(codes.data))
        moved = (
            relax.op.reshape(codes.data, shape)
            if array is None
            else relax.const(array.reshape(shape), codes.dtype)
        )
        return self._dequantized(moved, replace(codes, axis=axis), name)

    def _concat(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operands = [codes_behind(self, field) for field in self.fields(call.args[0])]
        known = [c for c in operands if c is not None and c.per_tensor]
        if not known or len(known) < len(operands) or call.attrs.axis is None:
            return None
        if self._is_accumulator(known[0]) or any(not _alike(known[0], codes) for codes in known):
            return None
        joined = relax.op.concat([codes.data for codes in known], int(call.attrs.axis))
        widest = max(known, key=lambda codes: (codes.bits, not codes.narrow))
        return self._dequantized(joined, replace(widest, axis=known[0].axis), name)

    def _split(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr:
        parts = self.emit(tvm.ir.Call(call.op, [codes.data], call.attrs, call.ty_args), name)
        count = len(parts.ty.fields)
        items = [self.emit(relax.TupleGetItem(parts, index)) for index in range(count)]
        return relax.Tuple([self.emit(self._dequantized(item, codes, name)) for item in items])

    def _pad(self, call: tvm.ir.Call, codes: Codes, name: str) -> relax.Expr | None:
        if str(call.attrs.pad_mode) != "constant":
            return None
        code = float(call.attrs.pad_value) / float(codes.scale.reshape(-1)[0]) + codes.zero_point
        low, high = code_range(codes.bits, codes.signed, codes.narrow)
        if not low <= code <= high or code != int(code) or (codes.bipolar and not code):
            return None
        widths = [int(width) for width in call.attrs.pad_width]
        return self._dequantized(
            relax.op.nn.pad(codes.data, widths, pad_value=int(code)), codes, name
        )


def keeps_values(call: tvm.ir.Call, positive: bool) -> bool:
    """Whether an operator that selects values selects them from codes as well.

    positive: the sign of the codes' scale; a negative one turns the order around.
    """
    if operator_name(call) == "relax.nn.max_pool2d":
        return positive and windows_meet_image(call)
    if operator_name(call) in ("relax.max", "relax.min"):
        return positive
    if operator_name(call) == "relax.take":
        return str(call.attrs.mode) != "nan"
    if operator_name(call) == "relax.image.resize2d":
        extrapolates = str(call.attrs.coordinate_transformation_mode) == "tf_crop_and_resize"
        nearest = str(call.attrs.method) == "nearest_neighbor"
        return nearest and not extrapolates and not str(call.attrs.out_dtype or "")
    return operator_name(call) in PER_TENSOR


def _alike(a: Codes, b: Codes) -> bool:
    if a.bipolar != b.bipolar:
        return False
    return a.dtype == b.dtype and a.zero_point == b.zero_point and bool(a.scale == b.scale)


def _same_axis(codes: Codes, shape: tuple[int, ...]) -> int | None:
    """Where the quantized axis stands after a reshape that keeps it whole."""
    before = shape_of(codes.data)
    inner = prod(before[codes.axis + 1 :])
    for axis, extent in enumerate(shape):
        if extent == before[codes.axis] and prod(shape[axis + 1 :]) == inner:
            return axis
    return None


@tvm.transform.module_pass(opt_level=0, name="SinkDequantize")
class SinkDequantize:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _SinkDequantize)
