"""Tiles at the edge of a tensor, apart from those inside it.

A tile size that does not divide an extent leaves a condition around the innermost statements:

    for t in range(3):                              for t in range(3):
        for k in range(100):                            if t <= 1:
            for i in unroll(13):                            for k, for i in unroll(13): f
                if t * 13 + i < 37: f           ->      else:
                                                            for k, for i in unroll(13): if i < 11: f

so that the conditions which are left are known at compile time. The same for vectors, whose last,
shorter part is cut into vectors of 8, 4, 2 and 1 lanes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import s_tir, tirx
from tvm.sym import Analyzer

TILE = "qcompile.tile"  # annotation of the loop over tiles
REDUCTION = 2  # IterVar.CommReduce
TRUE = tirx.const(True, "bool")


@dataclass(frozen=True)
class _Edge:
    """A condition `base + inner < extent`; inner is in range(size), base is a multiple of size."""

    base: tirx.Expr
    inner: tirx.Expr
    size: int
    extent: int


def cut_tails(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with full tiles and vectors free of conditions.

    Tiles: what the loops annotated `TILE` contain, as far as a reduction depends on a condition.
    Vectors: vectorized loops over one block.
    """
    root = func.body.block
    registers = [b for b in root.alloc_buffers if b.scope() == "local"]
    copies: list[tirx.Buffer] = []

    def cut(loop: tirx.For) -> tirx.Stmt:
        if loop.kind == tirx.ForKind.VECTORIZED and isinstance(loop.body, s_tir.SBlockRealize):
            return _cut_vector(loop)
        if TILE in loop.annotations:
            own = {buffer: _copy(buffer) for buffer in registers}
            copies.extend(own.values())
            return _cut_tile(loop, own)
        return loop

    body = tvm_ffi.structural_map(func.body, (tirx.For, cut))
    return func.with_body(_with_buffers(body, copies)) if copies else func.with_body(body)


def _cut_tile(loop: tirx.For, own: Mapping[tirx.Buffer, tirx.Buffer]) -> tirx.Stmt:
    """The loop with its body twice, for a full tile and for the last, if its reduction needs it.

    The last has buffers of its `own`, which TVM then allocates inside of it, as small as they can
    be.
    """
    body, sizes = loop.body, {}
    tvm_ffi.structural_walk(body, (tirx.For, lambda f: sizes.update({f.loop_var: int(f.extent)})))
    edges = [
        _edge(condition, sizes)
        for realize in _realizes(body)
        if any(axis.iter_type == REDUCTION for axis in realize.block.iter_vars)
        for condition in _conditions(realize)
    ]
    if edges:
        edge = edges[0]

        def same(condition: tirx.Expr) -> _Edge | None:
            found = _edge(condition, sizes)
            equal = tvm_ffi.structural_equal(found.base, edge.base) and found.extent == edge.extent
            return found if equal else None

        rest = edge.extent % edge.size
        inside = _with_conditions(body, lambda c: TRUE if same(c) else c)
        outside = _with_conditions(body, lambda c: found.inner < rest if (found := same(c)) else c)
        outside = _substituted(outside, own)
        body = tirx.IfThenElse(edge.base <= edge.extent - edge.size, inside, outside)
    notes = {key: value for key, value in loop.annotations.items() if str(key) != TILE}
    return _loop(loop.loop_var, int(loop.extent), loop.kind, body, notes)


def _cut_vector(loop: tirx.For) -> tirx.Stmt:
    """One vector without the condition on its lanes, or shorter ones for those that are there."""
    lanes = int(loop.extent)
    sizes = {loop.loop_var: lanes}
    on_lanes = [c for c in _conditions(loop.body) if _edge(c, sizes).size > 1]
    if not on_lanes:
        return loop
    edge = _edge(on_lanes[0], sizes)
    body = _with_conditions(loop.body, lambda c: TRUE if _edge(c, sizes).size > 1 else c)

    def part(first: int, width: int) -> tirx.Stmt:
        lane = tirx.Var(loop.loop_var.name, loop.loop_var.ty)
        kind = tirx.ForKind.VECTORIZED if width > 1 else tirx.ForKind.SERIAL
        return _loop(lane, width, kind, _substituted(body, {loop.loop_var: lane + first}), {})

    # TVM would solve the conditions for the loops' variables to bound what the statements read.
    base = edge.base.astype("int32")
    rest, parts = edge.extent % lanes, []
    for width in (1 << bit for bit in reversed(range(lanes.bit_length() - 1))):
        if rest & width:
            parts.append(part(rest & -(2 * width), width))
    last = None
    if parts:
        shorter = tirx.SeqStmt(parts) if len(parts) > 1 else parts[0]
        last = tirx.IfThenElse(base < edge.extent, shorter, None)
    return tirx.IfThenElse(base <= edge.extent - lanes, part(0, lanes), last)


def _edge(condition: tirx.Expr, sizes: Mapping[tirx.Var, int]) -> _Edge:
    """The condition `a < extent`, split at the loops inside the tile."""
    assert isinstance(condition, tirx.LT), condition
    simplify = Analyzer().simplify
    base = simplify(_substituted(condition.a, {v: tirx.const(0, v.ty) for v in sizes}))
    inner = simplify(condition.a - base)
    last = _substituted(inner, {v: tirx.const(n - 1, v.ty) for v, n in sizes.items()})
    return _Edge(base, inner, int(simplify(last)) + 1, int(condition.b))


def _realizes(stmt: tirx.Stmt) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(stmt, (s_tir.SBlockRealize, found.append))
    return found


def _conditions(realize: Any) -> list[tirx.Expr]:
    """The predicate of a block as conditions that must all hold."""

    def split(condition: tirx.Expr) -> list[tirx.Expr]:
        if isinstance(condition, tirx.And):
            return split(condition.a) + split(condition.b)
        return [condition] if isinstance(condition, tirx.LT) else []

    return split(realize.predicate)


def _with_conditions(stmt: tirx.Stmt, change: Callable[[tirx.Expr], tirx.Expr]) -> tirx.Stmt:
    """A copy of the statement with the conditions of its blocks changed."""

    def changed(realize: Any) -> Any:
        predicate = TRUE
        for condition in _conditions(realize):
            predicate = tirx.all(predicate, change(condition))
        return s_tir.SBlockRealize(realize.iter_values, predicate, realize.block)

    return tvm_ffi.structural_map(stmt, (s_tir.SBlockRealize, changed))


def _substituted(node: Any, values: Mapping[tirx.Var, tirx.Expr]) -> Any:
    return tvm_ffi.structural_map(node, (tirx.Var, lambda v: values.get(v, v)))


def _loop(
    variable: tirx.Var, extent: int, kind: int, body: tirx.Stmt, notes: Mapping[str, Any]
) -> tirx.For:
    zero, end = tirx.const(0, variable.ty), tirx.const(extent, variable.ty)
    return tirx.For(variable, zero, end, kind, body, annotations=notes)


def _copy(buffer: tirx.Buffer) -> tirx.Buffer:
    return tirx.Var(f"{buffer.name}_last", buffer.ty)


def _with_buffers(realize: Any, buffers: Sequence[tirx.Buffer]) -> Any:
    """The root block with more buffers."""
    block = realize.block
    block = s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        block.body,
        block.init,
        [*block.alloc_buffers, *buffers],
        block.match_buffers,
        block.annotations,
    )
    return s_tir.SBlockRealize(realize.iter_values, realize.predicate, block)
