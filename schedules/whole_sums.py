"""Cut sums along memory whose length is no whole number of vectors.

    s[i] = sum(x[i, k] for k in range(197))
        ->  a[i] = sum(x[i, k] for k in range(192))
            b[i] = sum(x[i, k + 192] for k in range(5))
            s[i] = a[i] + b[i]

and products, maxima and minima alike. A condition on the last vector would do the same, but TVM's
`compute_at` drops it.
"""

from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from qcompile.schedules import access
from qcompile.targets import Target

COMBINERS = (tirx.Add, tirx.Mul, tirx.Max, tirx.Min)


def cut_sums(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`func` with every such sum cut; its blocks are loop nests below the root block."""
    root = func.body.block
    nests = list(root.body.seq) if isinstance(root.body, tirx.SeqStmt) else [root.body]
    buffers, parts = list(root.alloc_buffers), []
    for nest in nests:
        cut = _cut(nest, target)
        if cut is None:
            parts.append(nest)
        else:
            parts += cut[0]
            buffers += cut[1]
    if len(parts) == len(nests):
        return func
    body = s_tir.SBlock([], [], [], root.name_hint, tirx.SeqStmt(parts), None, buffers)
    return func.with_body(s_tir.SBlockRealize([], tirx.const(True, "bool"), body))


def _cut(nest: tirx.Stmt, target: Target) -> tuple[list[tirx.Stmt], list[Any]] | None:
    """The three nests and their two buffers; None for a nest that stays."""
    loops, inner = [], nest
    while isinstance(inner, tirx.For):
        loops.append(inner)
        inner = inner.body
    if not isinstance(inner, s_tir.SBlockRealize) or not sums_along_memory(inner.block):
        return None
    block = inner.block
    if not isinstance(block.body, tirx.BufferStore):
        return None
    extent = int(loops[-1].extent)
    lanes = target.vector_bytes // access.widest_bytes(block)
    whole = extent - extent % lanes
    if whole in (0, extent) or not loops[-1].loop_var.same_as(inner.iter_values[-1]):
        return None
    output = block.body.buffer
    first, second = (
        tirx.decl_buffer(output.ty.shape, access.element_type(output), f"{output.name}_{name}")
        for name in ("whole", "rest")
    )
    sums = [
        _copy(loops, inner, {output: first}, 0, whole),
        _copy(loops, inner, {output: second}, whole, extent - whole),
    ]
    return [*sums, _join(inner, first, second)], [first, second]


def sums_along_memory(block: s_tir.SBlock) -> bool:
    """Whether a block adds (multiplies, ...) up numbers along its last axis, a run of memory.

    It may have several results, each the sum of its own.
    """
    last = len(block.iter_vars) - 1
    if last < 0 or block.iter_vars[last].iter_type != tirx.IterVar.CommReduce:
        return False
    steps = [load.strides[last] for load in access.loads(block)]
    if 1 not in steps or not all(step in (0, 1) for step in steps):
        return False
    if isinstance(block.body, tirx.BufferStore):
        return isinstance(block.body.value, COMBINERS)
    statements = block.body.seq if isinstance(block.body, tirx.SeqStmt) else []
    bound = [part.value for part in statements if isinstance(part, tirx.Bind)]
    return bool(bound) and all(isinstance(value, tirx.Add) for value in bound)


def _copy(
    loops: list[Any], realize: Any, buffers: Mapping[Any, Any], begin: int, length: int
) -> tirx.Stmt:
    """The nest over `length` steps of its last loop, from `begin` on."""
    block = realize.block
    *outer, last = block.iter_vars
    axes = [tirx.IterVar(a.dom, tirx.Var(a.var.name, a.var.ty), a.iter_type) for a in outer]
    steps = tvm.ir.Range(0, tirx.const(length, last.var.ty))
    axes.append(tirx.IterVar(steps, tirx.Var(last.var.name, last.var.ty), last.iter_type))
    values = {old.var: new.var for old, new in zip(block.iter_vars, axes, strict=True)}
    values[last.var] = axes[-1].var + begin
    fresh = {loop.loop_var: tirx.Var(loop.loop_var.name, loop.loop_var.ty) for loop in loops}

    def changed(node: Any) -> Any:
        known = {**values, **buffers}
        return tvm_ffi.structural_map(node, (tirx.Var, lambda v: known.get(v, v)))

    inside = s_tir.SBlock(
        axes,
        [changed(region) for region in block.reads],
        [changed(region) for region in block.writes],
        f"{block.name_hint}_{'rest' if begin else 'whole'}",
        changed(block.body),
        changed(block.init),
    )
    arguments = [
        tvm_ffi.structural_map(value, (tirx.Var, lambda v: fresh.get(v, v)))
        for value in realize.iter_values
    ]
    nest = s_tir.SBlockRealize(arguments, realize.predicate, inside)
    for loop in reversed(loops):
        extent = length if loop is loops[-1] else int(loop.extent)
        variable = fresh[loop.loop_var]
        end = tirx.const(extent, variable.ty)
        nest = tirx.For(variable, tirx.const(0, variable.ty), end, tirx.ForKind.SERIAL, nest)
    return nest


def _join(realize: Any, first: Any, second: Any) -> tirx.Stmt:
    """output[i] = first[i] + second[i], or what the block combines by."""
    block = realize.block
    combine = type(block.body.value)
    shape = [int(length) for length in first.ty.shape]
    axes = [
        tirx.IterVar(
            tvm.ir.Range(0, tirx.const(length, "int64")),
            tirx.Var(f"v{k}", "int64"),
            tirx.IterVar.DataPar,
        )
        for k, length in enumerate(shape)
    ]
    at = [axis.var for axis in axes]
    value = combine(tirx.BufferLoad(first, at), tirx.BufferLoad(second, at))
    store = tirx.BufferStore(block.body.buffer, value, at)
    point = [tvm.ir.Range.from_min_extent(v, tirx.const(1, "int64")) for v in at]
    reads = [tirx.BufferRegion(buffer, point) for buffer in (first, second)]
    writes = [tirx.BufferRegion(block.body.buffer, point)]
    loops = [tirx.Var(f"i{k}", "int64") for k in range(len(shape))]
    inside = s_tir.SBlock(axes, reads, writes, f"{block.name_hint}_join", store)
    nest = s_tir.SBlockRealize(loops, tirx.const(True, "bool"), inside)
    for variable, length in reversed(list(zip(loops, shape, strict=True))):
        zero, end = tirx.const(0, "int64"), tirx.const(length, "int64")
        nest = tirx.For(variable, zero, end, tirx.ForKind.SERIAL, nest)
    return nest
