"""A scheduled PrimFunc as loop nests over plain memory.

TVM's own passes, in TVM's order (`tvm.s_tir.pipeline`), without those for GPUs, without the packed
calling convention and without `LowerTVMBuiltin`, which would move buffers of 1024 bytes and more
from the stack to TVM's runtime.
"""

from typing import Any

import tvm
from tvm import s_tir, tirx

from qcompile.schedules.notes import without_notes


def lower(function: tirx.PrimFunc, target: tvm.target.Target) -> tirx.PrimFunc:
    """The function without blocks: buffers flat, indices int32 where they fit."""
    mod = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    with tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential(_passes(target))(mod)["main"]


def _passes(target: tvm.target.Target) -> list[Any]:
    return [
        tirx.transform.BindTarget(target.with_host(target)),
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.AnnotateIrregularLoop(),
        s_tir.transform.InjectSoftwarePipeline(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        s_tir.transform.InjectVirtualThread(),
        s_tir.transform.InjectDoubleBuffer(),
        tirx.transform.StorageRewrite(),
        s_tir.transform.HoistIfThenElse(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        tirx.transform.CommonSubexprElim(),
        tirx.transform.VerifyMemory(),
        # Before the loops lose their constant bounds: it needs to know which indices are >= 0.
        tirx.transform.LowerIntrin(),
    ]


def plain(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The scheduled function with nothing but its code: equal code, equal result."""
    # Tensors of a plan that are in use at the same time never overlap.
    attributes = tvm.ir.make_node("ir.DictAttrs", **{"s_tir": True, "tirx.noalias": True})
    body = without_notes(function.body)
    return tirx.PrimFunc(function.params, body, function.ret_type, attributes)
