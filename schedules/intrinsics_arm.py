"""Dot products of ARM: what each instruction sequence means, beside the sequence.

All of them add to four int32 sums the products of four bytes `a` (uint8, less 128: the instructions
multiply signed bytes), which every lane shares, with four bytes of its own `b[lane]` (int8).
"""

from collections.abc import Callable

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.dot import Dot
from qcompile.targets import Target

DEPTH, LANES, OFFSET = 4, 4, 128

Sequence = Callable[[tirx.Expr, tirx.Expr, tirx.Expr], tirx.Expr]

SDOT = Dot(
    "qcompile.dot_sdot", LANES, DEPTH, OFFSET, held=1, spare=4, a_cost=0.5, b_cost=0.5, in_flight=8
)
WIDEN_64 = Dot(
    "qcompile.dot_smull", LANES, DEPTH, OFFSET, held=1, spare=6, a_cost=0.3, b_cost=0.2, in_flight=4
)
WIDEN_32 = Dot(
    "qcompile.dot_vmull", LANES, DEPTH, OFFSET, held=1, spare=6, a_cost=0.3, b_cost=0.2, in_flight=4
)


def arm_dot(target: Target) -> Dot:
    """The fastest dot product of the target."""
    if target.architecture.name == "armv7":
        return WIDEN_32
    return SDOT if "dotprod" in target.features else WIDEN_64


def register_arm_dots() -> None:
    """Make the dot products known to `Schedule.tensorize`; calling it again is harmless."""
    if TensorIntrin.get(SDOT.name, allow_missing=True) is not None:
        return
    for dot, sequence in ((SDOT, sdot), (WIDEN_64, smull), (WIDEN_32, vmull)):
        TensorIntrin.register(dot.name, meaning(), implementation(sequence))


def meaning() -> tirx.PrimFunc:
    """What every dot product computes."""

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((4, 4), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:4], B[0:4, 0:4])
            T.writes(C[0:4])
            for i, k in T.grid(4, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + (T.Cast("int32", A[vk]) - 128) * T.Cast("int32", B[vi, vk])

    return dot


def sdot(a: tirx.Expr, b: tirx.Expr, sums: tirx.Expr) -> tirx.Expr:
    instruction = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8")
    return T.call_llvm_pure_intrin(instruction, sums, b, a, dtype="int32x4")


def smull(a: tirx.Expr, b: tirx.Expr, sums: tirx.Expr) -> tirx.Expr:
    """16-bit products of two lanes at a time, added in pairs; then pairs of these."""
    pairwise = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.saddlp.v4i32.v8i16")
    join = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.addp.v4i32")
    low, high = (
        T.call_llvm_pure_intrin(pairwise, _products(a, b, half), dtype="int32x4") for half in (0, 1)
    )
    return sums + T.call_llvm_pure_intrin(join, low, high, dtype="int32x4")


def vmull(a: tirx.Expr, b: tirx.Expr, sums: tirx.Expr) -> tirx.Expr:
    """The same, with pairs of 64-bit vectors."""
    pairwise = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vpaddls.v4i32.v8i16")
    join = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vpadd.v2i32")
    halves = []
    for half in (0, 1):
        pairs = T.call_llvm_pure_intrin(pairwise, _products(a, b, half), dtype="int32x4")
        first, second = T.Shuffle([pairs], [0, 1]), T.Shuffle([pairs], [2, 3])
        halves.append(T.call_llvm_pure_intrin(join, first, second, dtype="int32x2"))
    return sums + T.Shuffle(halves, [0, 1, 2, 3])


def _products(a: tirx.Expr, b: tirx.Expr, half: int) -> tirx.Expr:
    order = list(range(8 * half, 8 * half + 8))
    return T.Cast("int16x8", T.Shuffle([a], order)) * T.Cast("int16x8", T.Shuffle([b], order))


def implementation(sequence: Sequence) -> tirx.PrimFunc:
    """The dot product by `sequence(data as signed bytes in all lanes, weights, sums)`."""

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((4, 4), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:4], B[0:4, 0:4])
            T.writes(C[0:4])
            C[T.ramp(T.int32(0), 1, 4)] = sequence(
                T.bitwise_xor(
                    T.reinterpret(
                        T.broadcast(T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"), 4),
                        dtype="int8x16",
                    ),
                    T.broadcast(T.int8(-128), 16),
                ),
                B.vload([0, 0], dtype="int8x16"),
                C.vload([0], dtype="int32x4"),
            )

    return dot
