"""Dot products of plain NEON: what each instruction sequence means, beside the sequence.

    parts[p] += sum over h, k of (a[8 h + 2 p + k] - 128) * b[8 h + 2 p + k]         four parts

a: 16 bytes of data (uint8, less 128: the instructions multiply signed bytes), b: as many weights of
one output. smull multiplies eight bytes, smlal2 adds the products of eight more, sadalp adds these
to the partial sums by twos. In the end, addp adds the partial sums of four outputs up.
"""

from collections.abc import Callable

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.dot import Dot, factor
from qcompile.schedules.registering import register_once
from qcompile.targets import Target

LANES, OFFSET = 4, 128

# Of weights that are at least -127: two products fit 16 bits.
PAIRS_64 = Dot("qcompile.dot_smlal", LANES, 16, OFFSET, 2, 8, 0.1, 0.1, 2, unit=16, parts=4)
SINGLE_64 = Dot("qcompile.dot_smull", LANES, 16, OFFSET, 2, 8, 0.1, 0.1, 2, 1, 16, 4, slots=4 / 3)
PAIRS_32 = Dot("qcompile.dot_vmlal", LANES, 16, OFFSET, 1, 5, 0.1, 0.1, 2, unit=16, parts=4)
SINGLE_32 = Dot("qcompile.dot_vmull", LANES, 16, OFFSET, 1, 5, 0.1, 0.1, 2, 1, 16, 4, slots=4 / 3)


def register_chains() -> None:
    """Make the dot products known to `Schedule.tensorize`."""
    for dot, pairwise, pairs in (
        (PAIRS_64, "llvm.aarch64.neon.saddlp.v4i32.v8i16", True),
        (SINGLE_64, "llvm.aarch64.neon.saddlp.v4i32.v8i16", False),
        (PAIRS_32, "llvm.arm.neon.vpaddls.v4i32.v8i16", True),
        (SINGLE_32, "llvm.arm.neon.vpaddls.v4i32.v8i16", False),
    ):
        TensorIntrin.register(f"{dot.name}_1", *widen(dot, pairwise, pairs))


def register_add_parts(target: Target) -> str:
    """The name of the addition of four partial sums for each of four sums, made known to TVM."""
    bits = 32 if target.architecture.name == "armv7" else 64
    name = f"qcompile.add_parts_{bits}"
    return register_once(name, lambda: add_parts(pairs_32 if bits == 32 else pairs_64))


def widen(dot: Dot, pairwise: str, pairs: bool) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """16-bit products of eight bytes, added to the partial sums by twos: as loops, and as sequence.

    With `pairs`, products of both halves of 16 bytes are added first. That fits: |a - 128| <= 128
    and |b| <= 127, so two of them are at most 32512.
    """
    depth, offset = dot.depth, dot.offset

    @T.prim_func(s_tir=True)
    def loops(
        A: T.Buffer((depth,), "uint8", offset_factor=1),
        B: T.Buffer((depth,), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:depth], B[0:depth])
            T.writes(C[0:4])
            for h, i, k in T.grid(depth // 8, 4, 2):
                with T.sblock("update"):
                    vi, vh, vk = T.axis.remap("SRR", [i, h, k])
                    C[vi] = C[vi] + factor(A[vh * 8 + vi * 2 + vk], offset) * T.Cast(
                        "int32", B[vh * 8 + vi * 2 + vk]
                    )

    def summed(a: tirx.Expr, b: tirx.Expr, sums: tirx.Expr) -> tirx.Expr:
        a = T.bitwise_xor(T.reinterpret(a, dtype=f"int8x{depth}"), T.broadcast(T.int8(-128), depth))
        halves = [list(range(first, first + 8)) for first in range(0, depth, 8)]
        products = [
            T.Cast("int16x8", T.Shuffle([a], half)) * T.Cast("int16x8", T.Shuffle([b], half))
            for half in halves
        ]
        if pairs:
            products = [sum(products[1:], products[0])]
        for product in products:
            instruction = T.llvm_lookup_intrinsic_id(pairwise)
            sums = sums + T.call_llvm_pure_intrin(instruction, product, dtype="int32x4")
        return sums

    @T.prim_func(s_tir=True)
    def sequence(
        A: T.Buffer((depth,), "uint8", offset_factor=1),
        B: T.Buffer((depth,), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:depth], B[0:depth])
            T.writes(C[0:4])
            C[T.ramp(T.int32(0), 1, 4)] = summed(
                A.vload([0], dtype=f"uint8x{depth}"),
                B.vload([0], dtype=f"int8x{depth}"),
                C.vload([0], dtype="int32x4"),
            )

    return loops, sequence


def add_parts(
    pairs: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """sums[i] += sum over k of parts[i, k]: as loops, as additions of neighbours."""

    @T.prim_func(s_tir=True)
    def loops(
        P: T.Buffer((4, 4), "int32", offset_factor=1, scope="local"),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], P[0:4, 0:4])
            T.writes(C[0:4])
            for i, k in T.grid(4, 4):
                with T.sblock("update"):
                    vk, vi = T.axis.remap("RS", [k, i])
                    C[vi] = C[vi] + P[vi, vk]

    @T.prim_func(s_tir=True)
    def sequence(
        P: T.Buffer((4, 4), "int32", offset_factor=1, scope="local"),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], P[0:4, 0:4])
            T.writes(C[0:4])
            C[T.ramp(T.int32(0), 1, 4)] = C.vload([0], dtype="int32x4") + pairs(
                pairs(P.vload([0, 0], dtype="int32x4"), P.vload([1, 0], dtype="int32x4")),
                pairs(P.vload([2, 0], dtype="int32x4"), P.vload([3, 0], dtype="int32x4")),
            )

    return loops, sequence


def pairs_64(a: tirx.Expr, b: tirx.Expr) -> tirx.Expr:
    """Sums of the neighbours of a, then of b."""
    instruction = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.addp.v4i32")
    return T.call_llvm_pure_intrin(instruction, a, b, dtype="int32x4")


def pairs_32(a: tirx.Expr, b: tirx.Expr) -> tirx.Expr:
    """The same with vectors of two sums."""
    instruction = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vpadd.v2i32")
    halves = [
        T.call_llvm_pure_intrin(
            instruction, T.Shuffle([x], [0, 1]), T.Shuffle([x], [2, 3]), dtype="int32x2"
        )
        for x in (a, b)
    ]
    return T.Shuffle(halves, [0, 1, 2, 3])
