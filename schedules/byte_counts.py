"""Counts of bits in the bytes of words, added up there: intrinsics, and what they become.

What the forms of `popcount` that count in bytes are made of. A byte holds the counts of at most 31
words.
"""

from collections.abc import Callable

import tvm
import tvm.ir._ffi_api
from tvm import te, tirx
from tvm.ir import register_op_attr
from tvm.script import tirx as T  # noqa: N812

MOST_IN_BYTES = (2**8 - 1) // 8  # words whose counts fit the bytes of one
BYTE_COUNTS, BYTE_ADD, BYTE_SUM = "byte_counts", "byte_add", "byte_sum"


def register_byte_counts() -> None:
    """Register the intrinsics of counts in bytes; calling it again is harmless."""
    known = set(tvm.ir._ffi_api.ListOpNames())
    meanings = [
        (BYTE_COUNTS, "The counts of set bits of the bytes of a uint32, in the bytes.", _counts),
        (BYTE_ADD, "The sums of the bytes of two uint32, which fit them.", _add),
        *((f"{BYTE_SUM}_{form}", "The int32 sum of the bytes of a uint32.", _sum(instructions))
          for form, instructions in SUMS.items()),
    ]  # fmt: skip
    for name, meaning, lowering in meanings:
        own = f"qcompile.{name}"
        if own in known:
            continue
        tvm.ir._ffi_api.RegisterOp(own, meaning)
        register_op_attr(own, "TVectorizable", True)
        register_op_attr(own, "TScriptPrinterName", name)
        register_op_attr(own, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.register_intrin_lowering(own, target="llvm", f=lowering)


def byte_counts(word: tirx.Expr) -> tirx.Expr:
    """The counts of set bits of the four bytes of `word`, as the bytes of a uint32."""
    return _call("uint32", BYTE_COUNTS, word)


def byte_total(form: str) -> Callable[..., tirx.Expr]:
    """The reducer that adds up counts in the bytes of uint32, each at most 248.

    LLVM puts the terms of a sum in another order, which keeps twice the sums in registers. An
    addition that saturates, here never, stays where it is.
    """
    if form == "pmadd":
        return te.sum
    return te.comm_reducer(
        lambda a, b: _call("uint32", BYTE_ADD, a, b), lambda _: tirx.const(0, "uint32"), "bytes"
    )


def byte_sum(counts: tirx.Expr, form: str) -> tirx.Expr:
    """The sum of the four bytes of `counts`, as int32; each is at most 248."""
    return _call("int32", f"{BYTE_SUM}_{form}", counts)


def _call(dtype: str, name: str, *operands: tirx.Expr) -> tirx.Expr:
    register_byte_counts()
    return tirx.call_intrin(dtype, tvm.ir.Op.get(f"qcompile.{name}"), *operands)


def _counts(call: tvm.ir.Call) -> tirx.Expr:
    counts = tirx.call_llvm_pure_intrin(_bytes(call), "llvm.ctpop", _as_bytes(call, 0))
    return T.reinterpret(counts, dtype=str(call.ty))


def _add(call: tvm.ir.Call) -> tirx.Expr:
    total = tirx.call_llvm_pure_intrin(
        _bytes(call), "llvm.uadd.sat", _as_bytes(call, 0), _as_bytes(call, 1)
    )
    return T.reinterpret(total, dtype=str(call.ty))


def _bytes(call: tvm.ir.Call) -> str:
    return f"uint8x{4 * tvm.DataType(str(call.ty)).lanes}"


def _as_bytes(call: tvm.ir.Call, operand: int) -> tirx.Expr:
    return T.reinterpret(call.args[operand], dtype=_bytes(call))


def _pmadd(counts: tirx.Expr, lanes: int) -> tirx.Expr:
    pairs, add = {
        8: ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
        16: ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    }[lanes]
    halves = tirx.call_llvm_pure_intrin(
        f"int16x{2 * lanes}",
        pairs,
        T.reinterpret(counts, dtype=f"int8x{4 * lanes}"),
        T.broadcast(T.int8(1), 4 * lanes),
    )
    ones = T.broadcast(T.int16(1), 2 * lanes)
    return tirx.call_llvm_pure_intrin(f"int32x{lanes}", add, halves, ones)


def _pairs(name: str) -> Callable[[tirx.Expr, int], tirx.Expr]:
    """Sums of neighbouring pairs by the instruction, twice; four lanes."""

    def total(counts: tirx.Expr, lanes: int) -> tirx.Expr:
        halves = tirx.call_llvm_pure_intrin(
            "int16x8", f"{name}.v8i16.v16i8", T.reinterpret(counts, dtype="int8x16")
        )
        return tirx.call_llvm_pure_intrin("int32x4", f"{name}.v4i32.v8i16", halves)

    return total


def _udot(counts: tirx.Expr, lanes: int) -> tirx.Expr:
    """The sums of four bytes times 1; four lanes."""
    zero, ones = T.broadcast(T.int32(0), 4), T.broadcast(T.int8(1), 16)
    name, four = "llvm.aarch64.neon.udot.v4i32.v16i8", T.reinterpret(counts, dtype="int8x16")
    return tirx.call_llvm_pure_intrin("int32x4", name, zero, four, ones)


Instructions = Callable[[tirx.Expr, int], tirx.Expr]
SUMS: dict[str, tuple[tuple[int, ...], Instructions]] = {
    "pmadd": ((8, 16), _pmadd),
    "uadalp": ((4,), _pairs("llvm.aarch64.neon.uaddlp")),
    "udot": ((4,), _udot),
    "vpadal": ((4,), _pairs("llvm.arm.neon.vpaddlu")),
}


def _sum(instructions: tuple[tuple[int, ...], Instructions]) -> Callable[[tvm.ir.Call], tirx.Expr]:
    """The instructions for vectors of the lanes that they have, for others `_folded`."""
    known, vector = instructions

    def lowered(call: tvm.ir.Call) -> tirx.Expr:
        lanes = tvm.DataType(str(call.ty)).lanes
        return vector(call.args[0], lanes) if lanes in known else _folded(call.args[0], lanes)

    return lowered


def _folded(counts: tirx.Expr, lanes: int) -> tirx.Expr:
    """The same in additions of pairs."""

    def all_lanes(number: int) -> tirx.Expr:
        value = tirx.const(number, "uint32")
        return value if lanes == 1 else T.broadcast(value, lanes)

    odd = T.bitwise_and(T.shift_right(counts, all_lanes(8)), all_lanes(0x00FF00FF))
    halves = T.bitwise_and(counts, all_lanes(0x00FF00FF)) + odd
    total = T.bitwise_and(halves + T.shift_right(halves, all_lanes(16)), all_lanes(0xFFFF))
    return T.Cast("int32" if lanes == 1 else f"int32x{lanes}", total)
