"""Cut a loop where a condition on its position changes.

    for c in range(96):                                 for c in range(64): y[c] = a[c]
        y[c] = if_then_else(c < 64, a[c], b[c - 64]) -> for c in range(32): y[c + 64] = b[c]

Concatenation and padding along the last axis become copies, which LLVM vectorizes.
"""

from itertools import pairwise
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

CUT = "qcompile.cut"  # annotation of an innermost loop over one block
COMPARISONS = (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)


def cut_conditions(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with the loops annotated `CUT` in parts."""

    def cut(loop: tirx.For) -> tirx.Stmt:
        return _cut(loop) if CUT in loop.annotations else loop

    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.For, cut)))


def _cut(loop: Any) -> tirx.Stmt:
    realize = loop.body
    axes = [
        axis
        for axis, value in zip(realize.block.iter_vars, realize.iter_values, strict=True)
        if value.same_as(loop.loop_var)
    ]
    bounds = [0, int(loop.extent)]
    if axes:
        bounds += [n for n in _changes(realize.block, axes[0].var) if 0 < n < bounds[1]]
    parts = [_part(loop, axes, a, b) for a, b in pairwise(sorted(set(bounds)))]
    return parts[0] if len(parts) == 1 else tirx.SeqStmt(parts)


def _part(loop: Any, axes: list[Any], begin: int, end: int) -> tirx.Stmt:
    """The iterations begin <= i < end, with what is known of their conditions."""
    variable = tirx.Var(loop.loop_var.name, loop.loop_var.ty)
    analyzer = sym.Analyzer()
    for axis in axes:
        analyzer.bind(axis.var, tvm.ir.Range(begin, end))

    def choose(call: tvm.ir.Call) -> tirx.Expr:
        if not _is_choice(call):
            return call
        condition = analyzer.simplify(call.args[0])
        if isinstance(condition, tirx.IntImm):
            return call.args[1] if int(condition) else call.args[2]
        return tirx.if_then_else(condition, call.args[1], call.args[2])

    def move(realize: Any) -> Any:
        moved = {loop.loop_var: variable + begin}
        values = [
            tvm_ffi.structural_map(value, (tirx.Var, lambda v: moved.get(v, v)))
            for value in realize.iter_values
        ]
        block = realize.block
        body = tvm_ffi.structural_map(block.body, (tvm.ir.Call, choose))
        inside = s_tir.SBlock(
            block.iter_vars, block.reads, block.writes, block.name_hint, body, block.init
        )
        return s_tir.SBlockRealize(values, realize.predicate, inside)

    zero, length = tirx.const(0, variable.ty), tirx.const(end - begin, variable.ty)
    return tirx.For(variable, zero, length, loop.kind, move(loop.body))


def _changes(block: s_tir.SBlock, variable: Any) -> list[int]:
    """The positions at which a comparison of the variable with a constant changes."""
    calls: list[Any] = []
    tvm_ffi.structural_walk(block.body, (tvm.ir.Call, calls.append))
    found: list[Any] = []
    for call in filter(_is_choice, calls):
        kinds = tuple((kind, found.append) for kind in COMPARISONS)
        tvm_ffi.structural_walk(call.args[0], kinds)
    return [n for comparison in found for n in _changes_of(comparison, variable)]


def _changes_of(comparison: Any, variable: Any) -> list[int]:
    terms = sym.detect_linear_equation(comparison.a - comparison.b, [variable])
    if len(terms) != 2 or not all(isinstance(term, tirx.IntImm) for term in terms):
        return []
    slope, base = map(int, terms)
    kind = type(comparison)

    def holds(n: int) -> bool:
        left = tirx.const(slope * n + base, "int64")
        return bool(int(sym.Analyzer().simplify(kind(left, tirx.const(0, "int64")))))

    zero = -base // slope if slope else 0
    return [n for n in range(zero - 1, zero + 3) if holds(n - 1) != holds(n)]


def _is_choice(call: Any) -> bool:
    return getattr(call.op, "name", "") == "prim.if_then_else"
