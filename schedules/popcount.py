"""Counting bits: what each form means, and how it becomes instructions.

    vpopcntd   one instruction for 16 or 8 words of 32 bits; TIR's popcount of such a vector
    cnt        ARM: the counts of bytes, added up there and then in pairs, as in the next form
    bytes      other x86: the counts of the four bytes of a word stay in those bytes (LLVM looks
               both halves of a byte up with vpshufb), are added up there for at most 31 words, and
               the four sums become one int32 with vpmaddubsw and vpmaddwd

Both are exact. A product of bit planes is `popcount(a op b)` with op & or ^.
"""

from dataclasses import dataclass

import tvm
import tvm.ir._ffi_api
from tvm import tirx
from tvm.ir import register_op_attr
from tvm.script import tirx as T  # noqa: N812

from qcompile.errors import Unsupported
from qcompile.targets import Target

WORD_BITS = 32
MOST_IN_BYTES = (2**8 - 1) // 8  # words whose counts fit the bytes of one
BYTE_COUNTS, BYTE_SUM = "qcompile.byte_counts", "qcompile.byte_sum"


@dataclass(frozen=True)
class Popcount:
    """A way to count the bits of vectors of `lanes` words.

    `spare` registers must be free besides the sums. `cost` counts the
    instructions for one vector, its `op` and its addition included.
    """

    lanes: int
    in_bytes: bool
    spare: int
    cost: float


def popcount_of(target: Target, outputs: int | None = None) -> Popcount:
    """The fastest way of the target, for vectors within `outputs` where that is given.

    Raises Unsupported on x86 below AVX2.
    """
    if target.architecture.name != "x86_64":
        return Popcount(4, True, spare=6, cost=3)
    has = target.features.__contains__
    wide = target.vector_bytes == 64 and has("avx512bw")
    if wide and outputs is not None and outputs % 16 and has("avx512vl"):
        wide = False
    if has("avx512vpopcntdq") and (wide or has("avx512vl")):
        return Popcount(16 if wide else 8, False, spare=4, cost=3)
    if has("avx2"):
        return Popcount(16 if wide else 8, True, spare=6, cost=8)
    raise Unsupported(f"target {target.name!r}: kernels on bits need avx2 or avx512vpopcntdq")


def register_popcounts() -> None:
    """Register the intrinsics of the form `bytes`; calling it again is harmless."""
    known = set(tvm.ir._ffi_api.ListOpNames())
    for name, meaning, lowering in (
        (BYTE_COUNTS, "The counts of set bits of the bytes of a uint32, in the bytes.", _counts),
        (BYTE_SUM, "The int32 sum of the bytes of a uint32, each at most 248.", _sum),
    ):
        if name in known:
            continue
        tvm.ir._ffi_api.RegisterOp(name, meaning)
        register_op_attr(name, "TVectorizable", True)
        register_op_attr(name, "TScriptPrinterName", name.removeprefix("qcompile."))
        register_op_attr(name, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.register_intrin_lowering(name, target="llvm", f=lowering)


def byte_counts(word: tirx.Expr) -> tirx.Expr:
    """The counts of set bits of the four bytes of `word`, as the bytes of a uint32."""
    register_popcounts()
    return tirx.call_intrin("uint32", tvm.ir.Op.get(BYTE_COUNTS), word)


def byte_sum(counts: tirx.Expr) -> tirx.Expr:
    """The sum of the four bytes of `counts`, as int32; each is at most 248."""
    register_popcounts()
    return tirx.call_intrin("int32", tvm.ir.Op.get(BYTE_SUM), counts)


def _counts(call: tvm.ir.Call) -> tirx.Expr:
    lanes = tvm.DataType(str(call.ty)).lanes
    word = T.reinterpret(call.args[0], dtype=f"uint8x{4 * lanes}")
    return T.reinterpret(
        tirx.call_llvm_pure_intrin(f"uint8x{4 * lanes}", "llvm.ctpop", word), dtype=str(call.ty)
    )


def _sum(call: tvm.ir.Call) -> tirx.Expr:
    lanes = tvm.DataType(str(call.ty)).lanes
    if lanes not in (8, 16):
        return _folded(call.args[0], lanes)
    pairs, add = {
        8: ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
        16: ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    }[lanes]
    halves = tirx.call_llvm_pure_intrin(
        f"int16x{2 * lanes}",
        pairs,
        T.reinterpret(call.args[0], dtype=f"int8x{4 * lanes}"),
        T.broadcast(T.int8(1), 4 * lanes),
    )
    ones = T.broadcast(T.int16(1), 2 * lanes)
    return tirx.call_llvm_pure_intrin(f"int32x{lanes}", add, halves, ones)


def _folded(counts: tirx.Expr, lanes: int) -> tirx.Expr:
    """The same in additions of pairs."""

    def all_lanes(number: int) -> tirx.Expr:
        value = tirx.const(number, "uint32")
        return value if lanes == 1 else T.broadcast(value, lanes)

    odd = T.bitwise_and(T.shift_right(counts, all_lanes(8)), all_lanes(0x00FF00FF))
    halves = T.bitwise_and(counts, all_lanes(0x00FF00FF)) + odd
    total = T.bitwise_and(halves + T.shift_right(halves, all_lanes(16)), all_lanes(0xFFFF))
    return T.Cast("int32" if lanes == 1 else f"int32x{lanes}", total)
