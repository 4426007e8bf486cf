"""Instructions of VTA: what each means as plain loops, beside the call that stands for it.

One call is an instruction with one micro-op: `extents` are its two loops, and the factors of dst
and src are how far the elements of rows and of columns are apart in their buffers. ALU works in
place; here each result is a tensor of its own, as TE has them, and dst and src are the same
element but of two tensors.

    vta_gemm_reset(dst, extents, dst factors, element)
    vta_gemm(dst, src, wgt, extents, dst factors, src factors, element)
    vta_alu(op, dst, a, extents, dst factors, a factors, immediate, element)
    vta_alu_tensor(op, dst, a, src, extents, dst, a and src factors, element)

element: (BATCH, BLOCK). All are `int32_t` functions; they return 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import s_tir, tirx
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.registering import register_once
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.instructions import AluOp

INP, WGT, ACC, OUT = "local.INP", "local.WGT", "local.ACC", "local.OUT"

Apply = Callable[[tirx.Expr, tirx.Expr], tirx.Expr]
OPERATIONS: dict[AluOp, Apply] = {
    AluOp.MIN: tirx.min,
    AluOp.MAX: tirx.max,
    AluOp.ADD: lambda a, c: a + c,
    AluOp.SHR: lambda a, c: a >> c,
}


@dataclass(frozen=True)
class Loops:
    """The two loops of an instruction over elements of (batch, block)."""

    rows: int
    columns: int
    batch: int
    block: int

    @staticmethod
    def of(rows: int, columns: int, config: Config) -> Loops:
        assert config.block_in == config.block_out
        return Loops(rows, columns, config.batch, config.block_out)

    @property
    def suffix(self) -> str:
        return f"{self.rows}x{self.columns}_{self.batch}x{self.block}"


def gemm_reset(loops: Loops) -> str:
    """The name of the intrinsic that clears sums."""
    return _registered(f"vta_gemm_reset_{loops.suffix}", lambda: _reset(loops))


def gemm(loops: Loops, strides: tuple[int, int]) -> str:
    """The same of the one that multiplies and adds; strides: of inputs, by rows and columns."""
    name = f"vta_gemm_{loops.suffix}_s{strides[0]}x{strides[1]}"
    return _registered(name, lambda: (_gemm_meaning(loops, strides), _gemm_call(loops, strides)))


def alu(op: AluOp, loops: Loops, immediate: int) -> str:
    """The same of an operation with an immediate."""
    name = f"vta_alu_{op.name}_{immediate}_{loops.suffix}".replace("-", "m")
    return _registered(name, lambda: _alu(op, loops, immediate))


def alu_tensor(op: AluOp, loops: Loops, vector: bool) -> str:
    """The same of one with two operands; vector: one element as the second for all positions."""
    name = f"vta_alu_{op.name}_{'vector' if vector else 'tensor'}_{loops.suffix}"
    return _registered(name, lambda: _alu_tensor(op, loops, 0 if vector else 1))


def _registered(name: str, make: Callable[[], tuple[tirx.PrimFunc, tirx.PrimFunc]]) -> str:
    def without_units() -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
        meaning, call = make()
        return _without_units(meaning), call

    return register_once(name, without_units)


def _without_units(meaning: tirx.PrimFunc) -> tirx.PrimFunc:
    """The loops whose block has no axes of one step, as `Schedule.blockize` leaves them out."""

    def changed(realize: Any) -> Any:
        block = realize.block
        axes = list(zip(block.iter_vars, realize.iter_values, strict=True))
        kept = [(axis, value) for axis, value in axes if int(axis.dom.extent) > 1]
        zeros = {axis.var: tirx.const(0, axis.var.ty) for axis, _ in axes}
        for axis, _ in kept:
            del zeros[axis.var]
        inside = s_tir.SBlock(
            [axis for axis, _ in kept],
            block.reads,
            block.writes,
            block.name_hint,
            block.body,
            block.init,
            block.alloc_buffers,
            block.match_buffers,
            block.annotations,
        )
        inside = tvm_ffi.structural_map(inside, (tirx.Var, lambda v: zeros.get(v, v)))
        return s_tir.SBlockRealize([value for _, value in kept], realize.predicate, inside)

    body = tvm_ffi.structural_map(meaning.body, (s_tir.SBlockRealize, changed))
    return meaning.with_body(body)


def _reset(loops: Loops) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    rows, columns, batch, block = loops.rows, loops.columns, loops.batch, loops.block
    size = batch * block

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((rows, columns, batch, block), "int32", offset_factor=1, scope=ACC),
    ) -> None:
        with T.sblock("root"):
            T.reads()
            T.writes(A[0:rows, 0:columns, 0:batch, 0:block])
            for y, x, b, o in T.grid(rows, columns, batch, block):
                with T.sblock("reset"):
                    vy, vx, vb, vo = T.axis.remap("SSSS", [y, x, b, o])
                    A[vy, vx, vb, vo] = T.int32(0)

    @T.prim_func(s_tir=True)
    def call(dst: T.handle) -> None:
        outer, inner = T.int32(), T.int32()
        A = T.match_buffer(
            dst,
            (rows, columns, batch, block),
            "int32",
            strides=[outer, inner, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        with T.sblock("root"):
            T.reads()
            T.writes(A[0:rows, 0:columns, 0:batch, 0:block])
            T.evaluate(
                T.call_extern(
                    "int32",
                    "vta_gemm_reset",
                    T.address_of(A[0, 0, 0, 0]),
                    rows,
                    columns,
                    outer // size,
                    inner // size,
                    batch,
                    block,
                )
            )

    return meaning, call


def _gemm_meaning(loops: Loops, strides: tuple[int, int]) -> tirx.PrimFunc:
    rows, columns, batch, block = loops.rows, loops.columns, loops.batch, loops.block
    down, right = strides
    tall, wide = (rows - 1) * down + 1, (columns - 1) * right + 1

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((rows, columns, batch, block), "int32", offset_factor=1, scope=ACC),
        X: T.Buffer((tall, wide, batch, block), "int8", offset_factor=1, scope=INP),
        W: T.Buffer((block, block), "int8", offset_factor=1, scope=WGT),
    ) -> None:
        with T.sblock("root"):
            T.reads(
                A[0:rows, 0:columns, 0:batch, 0:block],
                X[0:tall, 0:wide, 0:batch, 0:block],
                W[0:block, 0:block],
            )
            T.writes(A[0:rows, 0:columns, 0:batch, 0:block])
            for y, x, b, o, i in T.grid(rows, columns, batch, block, block):
                with T.sblock("update"):
                    vy, vx, vb, vo, vi = T.axis.remap("SSSSR", [y, x, b, o, i])
                    A[vy, vx, vb, vo] = A[vy, vx, vb, vo] + T.Cast(
                        "int32", X[vy * down, vx * right, vb, vi]
                    ) * T.Cast("int32", W[vo, vi])

    return meaning


def _gemm_call(loops: Loops, strides: tuple[int, int]) -> tirx.PrimFunc:
    rows, columns, batch, block = loops.rows, loops.columns, loops.batch, loops.block
    down, right = strides
    tall, wide = (rows - 1) * down + 1, (columns - 1) * right + 1
    size = batch * block

    @T.prim_func(s_tir=True)
    def call(dst: T.handle, src: T.handle, wgt: T.handle) -> None:
        outer, inner, row, column = T.int32(), T.int32(), T.int32(), T.int32()
        A = T.match_buffer(
            dst,
            (rows, columns, batch, block),
            "int32",
            strides=[outer, inner, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        X = T.match_buffer(
            src,
            (tall, wide, batch, block),
            "int8",
            strides=[row, column, block, 1],
            offset_factor=1,
            scope=INP,
        )
        W = T.match_buffer(wgt, (block, block), "int8", offset_factor=1, scope=WGT)
        with T.sblock("root"):
            T.reads(
                A[0:rows, 0:columns, 0:batch, 0:block],
                X[0:tall, 0:wide, 0:batch, 0:block],
                W[0:block, 0:block],
            )
            T.writes(A[0:rows, 0:columns, 0:batch, 0:block])
            T.evaluate(
                T.call_extern(
                    "int32",
                    "vta_gemm",
                    T.address_of(A[0, 0, 0, 0]),
                    T.address_of(X[0, 0, 0, 0]),
                    T.address_of(W[0, 0]),
                    rows,
                    columns,
                    outer // size,
                    inner // size,
                    row * down // size,
                    column * right // size,
                    batch,
                    block,
                )
            )

    return call


def _alu(op: AluOp, loops: Loops, immediate: int) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    rows, columns, batch, block = loops.rows, loops.columns, loops.batch, loops.block
    apply, size, code = OPERATIONS[op], batch * block, int(op)

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((rows, columns, batch, block), "int32", offset_factor=1, scope=ACC),
        D: T.Buffer((rows, columns, batch, block), "int32", offset_factor=1, scope=ACC),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:rows, 0:columns, 0:batch, 0:block])
            T.writes(D[0:rows, 0:columns, 0:batch, 0:block])
            for y, x, b, o in T.grid(rows, columns, batch, block):
                with T.sblock("apply"):
                    vy, vx, vb, vo = T.axis.remap("SSSS", [y, x, b, o])
                    D[vy, vx, vb, vo] = apply(A[vy, vx, vb, vo], T.int32(immediate))

    @T.prim_func(s_tir=True)
    def call(a: T.handle, d: T.handle) -> None:
        row, column, outer, inner = T.int32(), T.int32(), T.int32(), T.int32()
        A = T.match_buffer(
            a,
            (rows, columns, batch, block),
            "int32",
            strides=[row, column, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        D = T.match_buffer(
            d,
            (rows, columns, batch, block),
            "int32",
            strides=[outer, inner, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        with T.sblock("root"):
            T.reads(A[0:rows, 0:columns, 0:batch, 0:block])
            T.writes(D[0:rows, 0:columns, 0:batch, 0:block])
            T.evaluate(
                T.call_extern(
                    "int32",
                    "vta_alu",
                    code,
                    T.address_of(D[0, 0, 0, 0]),
                    T.address_of(A[0, 0, 0, 0]),
                    rows,
                    columns,
                    outer // size,
                    inner // size,
                    row // size,
                    column // size,
                    immediate,
                    batch,
                    block,
                )
            )

    return meaning, call


def _alu_tensor(op: AluOp, loops: Loops, apart: int) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    rows, columns, batch, block = loops.rows, loops.columns, loops.batch, loops.block
    apply, size, code = OPERATIONS[op], batch * block, int(op)
    tall, wide = (rows - 1) * apart + 1, (columns - 1) * apart + 1

    @T.prim_func(s_tir=True)
    def meaning(
        A: T.Buffer((rows, columns, batch, block), "int32", offset_factor=1, scope=ACC),
        S: T.Buffer((tall, wide, batch, block), "int32", offset_factor=1, scope=ACC),
        D: T.Buffer((rows, columns, batch, block), "int32", offset_factor=1, scope=ACC),
    ) -> None:
        with T.sblock("root"):
            T.reads(A[0:rows, 0:columns, 0:batch, 0:block], S[0:tall, 0:wide, 0:batch, 0:block])
            T.writes(D[0:rows, 0:columns, 0:batch, 0:block])
            for y, x, b, o in T.grid(rows, columns, batch, block):
                with T.sblock("apply"):
                    vy, vx, vb, vo = T.axis.remap("SSSS", [y, x, b, o])
                    D[vy, vx, vb, vo] = apply(A[vy, vx, vb, vo], S[vy * apart, vx * apart, vb, vo])

    @T.prim_func(s_tir=True)
    def call(a: T.handle, s: T.handle, d: T.handle) -> None:
        row, column, outer, inner = T.int32(), T.int32(), T.int32(), T.int32()
        down, right = T.int32(), T.int32()
        A = T.match_buffer(
            a,
            (rows, columns, batch, block),
            "int32",
            strides=[row, column, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        S = T.match_buffer(
            s,
            (tall, wide, batch, block),
            "int32",
            strides=[down, right, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        D = T.match_buffer(
            d,
            (rows, columns, batch, block),
            "int32",
            strides=[outer, inner, block, 1],
            offset_factor=1,
            scope=ACC,
        )
        with T.sblock("root"):
            T.reads(A[0:rows, 0:columns, 0:batch, 0:block], S[0:tall, 0:wide, 0:batch, 0:block])
            T.writes(D[0:rows, 0:columns, 0:batch, 0:block])
            T.evaluate(
                T.call_extern(
                    "int32",
                    "vta_alu_tensor",
                    code,
                    T.address_of(D[0, 0, 0, 0]),
                    T.address_of(A[0, 0, 0, 0]),
                    T.address_of(S[0, 0, 0, 0]),
                    rows,
                    columns,
                    outer // size,
                    inner // size,
                    row // size,
                    column // size,
                    apart * down // size,
                    apart * right // size,
                    batch,
                    block,
                )
            )

    return meaning, call
