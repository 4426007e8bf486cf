"""Codes as the kernels on bits read them: planes of bits, 32 channels in a word, and a border."""

from collections.abc import Sequence
from math import prod

import tvm
from tvm import relax, te, tirx

from qcompile.ops.contractions import BATCH_MATMUL
from qcompile.passes.bit_planes import DataPlanes
from qcompile.passes.declared_patterns import ELEMENTWISE, INJECTIVE
from qcompile.passes.layers import rows_alone
from qcompile.passes.lowering import Lowering, matrix_shape
from qcompile.passes.rewriter import operator_name, shape_of
from qcompile.passes.sink_reshape import EPILOGUES
from qcompile.schedules.max_pool_bits import max_pool2d_bits
from qcompile.schedules.pack_bits import pack_bits
from qcompile.schedules.prepare_bits import prepare_bits


def packed_codes(
    lowering: Lowering, x: relax.Expr, data: DataPlanes, groups: int = 1
) -> relax.Expr:
    """x (..., C) int8 or uint8 as words (..., planes, groups * ceil(C / groups / 32)) uint32.

    Declared elementwise, so that it joins the kernel that makes the codes, in the shape in which it
    makes them. Codes of one bit are packed before a max pooling that nothing else reads: it is an
    or of words.
    """
    pool = lowering.call_of(x, "relax.nn.max_pool2d")
    if pool is not None and data.bits == 1 and lowering.reads.get(x) == 1 and _last(pool):
        return _pooled(lowering, packed_codes(lowering, pool.args[0], data, groups), pool)

    def compute(x: te.Tensor) -> te.Tensor:
        return pack_bits(unsigned_codes(x, data), data.bits, groups)

    made = lowering.reshaped(x, kernel_shape(lowering, x))
    words = lowering.kernel(compute, [made], "pack", pattern=ELEMENTWISE)
    return lowering.reshaped(words, (*shape_of(x)[:-1], *shape_of(words)[-2:]))


def kernel_shape(lowering: Lowering, x: relax.Expr) -> tuple[int, ...]:
    """The shape of x where the kernel, or what follows it, makes it; the last axis is the same."""
    found, shape = lowering.definition(x), shape_of(x)
    name = operator_name(found)
    if name in EPILOGUES:
        whole = [a for a in found.args if isinstance(a, relax.Var) and shape_of(a) == shape]
        made = {kernel_shape(lowering, a) for a in whole}
        return made.pop() if len(made) == 1 else shape
    if name == "relax.reshape" and shape_of(found.args[0])[-1:] == shape[-1:]:
        return kernel_shape(lowering, found.args[0])
    if name == BATCH_MATMUL:
        return prod(shape[:-2]), *shape[-2:]
    return matrix_shape(x) if rows_alone(found) else shape


def unsigned_codes(x: te.Tensor, data: DataPlanes) -> te.Tensor:
    """The u of codes `low + step * u`, uint8."""

    def unsigned(*index: tirx.Var) -> tirx.Expr:
        code = x(*index) - tirx.const(data.low, str(x.dtype))
        return (code // tirx.const(data.step, str(x.dtype))).astype("uint8")

    return te.compute(x.shape, unsigned, name="bits")


def packed_rows(lowering: Lowering, x: relax.Expr, data: DataPlanes) -> relax.Expr:
    """x (..., K) as words (..., planes, ceil(K / 32)).

    Codes that were split into groups or moved, as the heads of attention are, are packed before it:
    there packing joins the kernel that makes them, and fewer bytes are moved.
    """
    moved, rank = lowering.call_of(x, "relax.permute_dims"), len(shape_of(x))
    if moved is not None and moved.attrs.axes and int(moved.attrs.axes[-1]) == rank - 1:
        words = packed_rows(lowering, moved.args[0], data)
        order = [*(int(axis) for axis in moved.attrs.axes[:-1]), rank - 1, rank]
        return lowering.emit(relax.op.permute_dims(words, order))
    split = lowering.call_of(x, "relax.reshape")
    if split is None or not _splits_last(shape_of(split.args[0]), shape_of(x)):
        return packed_codes(lowering, x, data)
    *leading, groups, _ = shape_of(x)
    words = packed_codes(lowering, split.args[0], data, groups)
    grouped = lowering.reshaped(words, (*leading, data.bits, groups, shape_of(words)[-1] // groups))
    order = [*range(rank - 2), rank - 1, rank - 2, rank]
    return lowering.emit(relax.op.permute_dims(grouped, order))


def _splits_last(source: tuple[int, ...], result: tuple[int, ...]) -> bool:
    return len(result) > 1 and source == (*result[:-2], result[-2] * result[-1])


def _last(pool: tvm.ir.Call) -> bool:
    return str(pool.attrs.layout) == "NHWC"


def _pooled(lowering: Lowering, words: relax.Expr, pool: tvm.ir.Call) -> relax.Expr:
    attributes = pool.attrs
    kernel, strides, pads, dilation = (
        [int(value) for value in getattr(attributes, key)]
        for key in ("pool_size", "strides", "padding", "dilation")
    )

    def compute(x: te.Tensor) -> te.Tensor:
        return max_pool2d_bits(
            x,
            kernel=kernel,
            strides=strides,
            pads=pads,
            dilation=dilation,
            ceil_mode=bool(attributes.ceil_mode),
        )

    return lowering.kernel(compute, [words], "max_pool2d_bits", pattern=INJECTIVE)


def bordered_words(
    lowering: Lowering,
    words: relax.Expr,
    data: DataPlanes,
    *,
    pads: Sequence[int],
    columns: int,
    group_channels: int,
) -> relax.Expr:
    """words (N, H, W, planes, words) with the code of 0 around, or no bits where 0 has no code.

    pads: (top, left, bottom, right); the result has `columns` columns, at least left + W.
    """
    if not any(pads) and columns == shape_of(words)[2]:
        return words

    def compute(x: te.Tensor) -> te.Tensor:
        return prepare_bits(
            x,
            pads=tuple(pads),
            columns=columns,
            code=data.padding or 0,
            group_channels=group_channels,
        )

    return lowering.kernel(compute, [words], "border", pattern=INJECTIVE)
