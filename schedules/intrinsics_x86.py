"""Dot products of x86: what each instruction sequence means, beside the sequence.

All of them add to `lanes` int32 sums the products of four bytes `a` (uint8), which every lane
shares, with four bytes of its own `b[lane]` (int8). The sums are exact: the sequences without
VNNI widen to 16 bits and multiply with vpmaddwd; vpmaddubsw would saturate.
"""

from collections.abc import Callable
from dataclasses import replace

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

from qcompile.errors import Unsupported
from qcompile.schedules.dot import Dot
from qcompile.targets import Target
from qcompile.targets.x86 import HALF_WIDTH

DEPTH = 4  # bytes of `a` in one step

Sequence = Callable[[tirx.Expr, tirx.Expr, tirx.Expr], tirx.Expr]


# `spare` as measured: with less, LLVM moves sums between registers or to the stack.
VNNI_512 = Dot("qcompile.dot_vnni_512", 16, DEPTH, 0, 1, 5, a_cost=0.15, b_cost=0.15, in_flight=10)
VNNI_256 = Dot("qcompile.dot_vnni_256", 8, DEPTH, 0, 1, 1, a_cost=0.15, b_cost=0.15, in_flight=10)
WIDEN_512 = Dot("qcompile.dot_widen_512", 16, DEPTH, 0, 2, 13, a_cost=0.5, b_cost=0.75, in_flight=4)
WIDEN_256 = Dot("qcompile.dot_widen_256", 8, DEPTH, 0, 2, 4, a_cost=0.5, b_cost=0.75, in_flight=4)

# Where 512 bits take two passes: but for what the fewer instructions save.
LONG_SLOTS = 1.85


def x86_dots(target: Target) -> list[Dot]:
    """The dot products of the target, the fastest first. Raises Unsupported below AVX2."""
    has = target.features.__contains__
    wide, vnni_256 = target.vector_bytes == 64, has("avxvnni") or has("avx512vl")
    if wide and has("avx512vnni"):
        slots = LONG_SLOTS if target.llvm["mcpu"] in HALF_WIDTH else 1.0
        return [replace(VNNI_512, slots=slots), *([VNNI_256] if vnni_256 else [])]
    if wide and has("avx512bw"):
        return [WIDEN_512, WIDEN_256] if has("avx512vl") else [WIDEN_512]
    if has("avxvnni") or (has("avx512vnni") and has("avx512vl")):
        return [VNNI_256]
    if has("avx2"):
        return [WIDEN_256]
    raise Unsupported(f"target {target.name!r}: int8 kernels need avx2, avxvnni or avx512bw")


def register_x86_dots() -> None:
    """Make the dot products known to `Schedule.tensorize`; calling it again is harmless."""
    if TensorIntrin.get(f"{VNNI_512.name}_1", allow_missing=True) is not None:
        return
    for dot, sequence, instruction in (
        (VNNI_512, vnni, "llvm.x86.avx512.vpdpbusd.512"),
        (VNNI_256, vnni, "llvm.x86.avx512.vpdpbusd.256"),
        (WIDEN_512, widen, "llvm.x86.avx512.pmaddw.d.512"),
        (WIDEN_256, widen, "llvm.x86.avx2.pmadd.wd"),
    ):
        TensorIntrin.register(f"{dot.name}_1", meaning(dot.lanes), sequence(instruction, dot.lanes))


def meaning(lanes: int) -> tirx.PrimFunc:
    """What every dot product computes."""

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            for i, k in T.grid(lanes, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + T.Cast("int32", A[vk]) * T.Cast("int32", B[vi, vk])

    return dot


def vnni(instruction: str, lanes: int) -> tirx.PrimFunc:
    """One vpdpbusd. LLVM takes its operands as bytes."""

    def sequence(a: tirx.Expr, b: tirx.Expr, sums: tirx.Expr) -> tirx.Expr:
        data = T.reinterpret(T.broadcast(a, lanes), dtype=f"int8x{DEPTH * lanes}")
        return T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id(instruction), sums, data, b, dtype=f"int32x{lanes}"
        )

    return implementation(sequence, lanes)


def widen(instruction: str, lanes: int) -> tirx.PrimFunc:
    """Two vpmaddwd: of the bytes 1 and 3 and of the bytes 0 and 2, each widened to 16 bits.

    Shifts and masks widen in place; an unpacking instruction would need the one shuffle port.
    """
    pairs = 2 * lanes
    unsigned, signed = f"uint16x{pairs}", f"int16x{pairs}"

    def products(a: tirx.Expr, b: tirx.Expr) -> tirx.Expr:
        return T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id(instruction),
            T.reinterpret(a, dtype=signed),
            b,
            dtype=f"int32x{lanes}",
        )

    def sequence(a: tirx.Expr, b: tirx.Expr, sums: tirx.Expr) -> tirx.Expr:
        a = T.reinterpret(T.broadcast(a, lanes), dtype=unsigned)
        b = T.reinterpret(b, dtype=signed)
        byte, byte_mask = T.broadcast(T.uint16(8), pairs), T.broadcast(T.uint16(255), pairs)
        shift = T.broadcast(T.int16(8), pairs)
        odd = products(T.shift_right(a, byte), T.shift_right(b, shift))
        even = products(T.bitwise_and(a, byte_mask), T.shift_right(T.shift_left(b, shift), shift))
        return sums + odd + even

    return implementation(sequence, lanes)


def implementation(sequence: Sequence, lanes: int) -> tirx.PrimFunc:
    """The dot product by `sequence(four bytes as int32, weights as bytes, sums)`."""
    sums, data = f"int32x{lanes}", f"int8x{DEPTH * lanes}"

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = sequence(
                T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"),
                B.vload([0, 0], dtype=data),
                C.vload([0], dtype=sums),
            )

    return dot
