"""Operators: what is computed (TE) and how on a family of devices, one operator per file."""

from collections.abc import Callable, Mapping

import tvm
from tvm import s_tir, tirx

from qcompile.schedules.arithmetic import register_arithmetic
from qcompile.schedules.batch_matmul_f32 import schedule_batch_matmul_f32
from qcompile.schedules.batch_matmul_int8 import schedule_pack_columns
from qcompile.schedules.bits_of import pack_vectors, register_bits_of
from qcompile.schedules.byte_counts import register_byte_counts
from qcompile.schedules.conv2d_bits import schedule_conv2d_bits
from qcompile.schedules.conv2d_f32 import schedule_conv2d_f32
from qcompile.schedules.conv2d_int8 import schedule_conv2d_int8
from qcompile.schedules.dense_bits import schedule_dense_bits
from qcompile.schedules.dense_f32 import schedule_dense_f32
from qcompile.schedules.dense_int8 import schedule_dense_int8
from qcompile.schedules.dense_packed import schedule_dense_packed
from qcompile.schedules.depthwise_conv2d_f32 import schedule_depthwise_conv2d_f32
from qcompile.schedules.depthwise_conv2d_int8 import schedule_depthwise_conv2d_int8
from qcompile.schedules.epilogue import PACK
from qcompile.schedules.generic import PLAIN, has_blocks, schedule_generic
from qcompile.schedules.lookup import permute_lookups, register_lookup
from qcompile.schedules.pack_bits import packs_elements, schedule_pack_bits, schedule_packs
from qcompile.schedules.polynomials import import_polynomials, register_polynomials
from qcompile.schedules.pool2d_int8 import schedule_pool2d_int8
from qcompile.schedules.prepare import schedule_prepare
from qcompile.schedules.prepare_bits import schedule_prepare_bits
from qcompile.schedules.rounding import convert_rounding, register_rounding
from qcompile.schedules.saturation import register_saturation
from qcompile.schedules.small_integers import register_small
from qcompile.schedules.table import schedule_table
from qcompile.schedules.tails import cut_tails
from qcompile.targets import Target

ScheduleFunction = Callable[[s_tir.Schedule, s_tir.schedule.SBlockRV, Target], None]

SCHEDULES: Mapping[str, ScheduleFunction] = {
    "dense_int8": schedule_dense_int8,
    "dense_packed": schedule_dense_packed,
    "dense_bits": schedule_dense_bits,
    "conv2d_bits": schedule_conv2d_bits,
    "pack_columns": schedule_pack_columns,
    "table": schedule_table,
    PACK: schedule_pack_bits,
    "depthwise_conv2d_int8": schedule_depthwise_conv2d_int8,
    "prepare": schedule_prepare,
    "prepare_bits": schedule_prepare_bits,
    "pool2d_int8": schedule_pool2d_int8,
    "conv2d_int8": schedule_conv2d_int8,
    "batch_matmul_f32": schedule_batch_matmul_f32,
    "depthwise_conv2d_f32": schedule_depthwise_conv2d_f32,
    "conv2d_f32": schedule_conv2d_f32,
    "dense_f32": schedule_dense_f32,
}
"""What the block annotation `qcompile.schedule` names: one line for each operator."""


YIELDING = {"table": 1, PACK: 2}
"""Schedules that yield to another one in their function, most of all the last."""


def register_scalars() -> None:
    """Register the scalar intrinsics of all kernels with TVM; calling it again is harmless."""
    register_arithmetic()
    register_rounding()
    register_saturation()
    register_small()
    register_lookup()
    register_polynomials()
    register_byte_counts()
    register_bits_of()


def schedule(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`func`, computed the way the annotation of its anchor block asks for; it computes the same.

    A function without such a block is scheduled by what its blocks do (`schedule_generic`).
    """
    if not has_blocks(func):
        return import_polynomials(func.with_attr(PLAIN, True))
    sch = s_tir.Schedule(tvm.IRModule({"main": func}))
    named = [
        (str(name), block)
        for block in sch.get_child_blocks(sch.get_sblock("root"))
        if (name := sch.get(block).annotations.get("qcompile.schedule")) is not None
    ]
    # What TVM fused to another anchor is part of its operand or of its epilogue.
    name, block = min(named, key=lambda anchor: YIELDING.get(anchor[0], 0), default=("", None))
    if name == PACK and not packs_elements(sch, block):
        name = ""
    if name:
        SCHEDULES[name](sch, block, target)
        if name not in (PACK, "prepare_bits"):
            schedule_packs(sch, target)
        func = cut_tails(sch.mod["main"]).with_attr("tirx.is_scheduled", True)
    else:
        func = schedule_generic(func, target)
    func = import_polynomials(permute_lookups(convert_rounding(func, target), target))
    return pack_vectors(func, target)
