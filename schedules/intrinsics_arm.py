"""The dot products of ARM, and those by sdot and usdot: their meaning, beside the instructions.

    sums[lane] += sum over s, k of (a[s, k] - offset) * b[s, lane, k]       four lanes, exact

a: (steps, depth) uint8, which every lane shares; b: (steps, lanes, depth) int8. One load brings all
of `a`, at most 16 bytes; the instructions take parts of that register.
"""

from collections.abc import Callable

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.dot import Dot, factor
from qcompile.schedules.intrinsics_i8mm import USMMLA
from qcompile.schedules.intrinsics_neon import (
    PAIRS_32,
    PAIRS_64,
    SINGLE_32,
    SINGLE_64,
    register_chains,
)
from qcompile.targets import Target

LANES, OFFSET = 4, 128

# (data as bytes, weights of each step, sums) -> sums
Sequence = Callable[[tirx.Expr, list[tirx.Expr], tirx.Expr], tirx.Expr]

USDOT = Dot("qcompile.dot_usdot", LANES, 4, 0, 4, 2, 0.1, 0.1, in_flight=8, together=4)
SDOT = Dot("qcompile.dot_sdot", LANES, 4, OFFSET, 4, 2, 0.25, 0.1, in_flight=8, together=4)


def arm_dots(target: Target, narrow: bool, pairs: bool) -> list[Dot]:
    """The dot products of the target, the fastest first.

    narrow: no weight is -128, pairs: rows come in two.
    """
    if target.architecture.name == "armv7":
        return [PAIRS_32, SINGLE_32] if narrow else [SINGLE_32]
    if "i8mm" in target.features:
        return [USMMLA, USDOT] if pairs else [USDOT]
    if "dotprod" in target.features:
        return [SDOT]
    return [PAIRS_64, SINGLE_64] if narrow else [SINGLE_64]


def register_arm_dots() -> None:
    """Make the dot products known to `Schedule.tensorize`; calling it again is harmless."""
    if TensorIntrin.get(f"{SDOT.name}_1", allow_missing=True) is not None:
        return
    for dot, sequence in ((USDOT, usdot), (SDOT, sdot)):
        steps = 1
        while steps <= dot.together:
            implemented = implementation(dot, steps, sequence)
            TensorIntrin.register(f"{dot.name}_{steps}", meaning(dot, steps), implemented)
            steps *= 2
    register_chains()


def meaning(dot: Dot, steps: int) -> tirx.PrimFunc:
    """What a dot product computes of so many steps at once."""
    lanes, depth, offset, size = dot.lanes, dot.depth, dot.offset, steps * dot.depth

    @T.prim_func(s_tir=True)
    def loops(
        A: T.Buffer((size,), "uint8", offset_factor=1),
        B: T.Buffer((steps, lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:size], B[0:steps, 0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for s, i, k in T.grid(steps, lanes, depth):
                with T.sblock("update"):
                    vi = T.axis.spatial(lanes, i)
                    vk = T.axis.reduce(size, s * depth + k)
                    C[vi] = C[vi] + factor(A[vk], offset) * T.Cast(
                        "int32", B[vk // depth, vi, vk % depth]
                    )

    @T.prim_func(s_tir=True)
    def one_step(
        A: T.Buffer((depth,), "uint8", offset_factor=1),
        B: T.Buffer((1, lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:depth], B[0, 0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for i, k in T.grid(lanes, depth):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + factor(A[vk], offset) * T.Cast("int32", B[0, vi, vk])

    return one_step if steps == 1 else loops


def usdot(a: tirx.Expr, b: list[tirx.Expr], sums: tirx.Expr) -> tirx.Expr:
    instruction = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.usdot.v4i32.v16i8")
    for step, weights in enumerate(b):
        data = repeated(a, 4, step)
        sums = T.call_llvm_pure_intrin(instruction, sums, data, weights, dtype="int32x4")
    return sums


def sdot(a: tirx.Expr, b: list[tirx.Expr], sums: tirx.Expr) -> tirx.Expr:
    instruction = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8")
    for step, weights in enumerate(b):
        data = repeated(a, 4, step)
        sums = T.call_llvm_pure_intrin(instruction, sums, weights, data, dtype="int32x4")
    return sums


def repeated(a: tirx.Expr, depth: int, step: int) -> tirx.Expr:
    """The bytes of one step of `a`, once for each lane."""
    steps, number = a.ty.dtype.lanes // depth, f"int{8 * depth}"
    numbers = T.reinterpret(a, dtype=number if steps == 1 else f"{number}x{steps}")
    one = numbers if steps == 1 else T.Shuffle([numbers], [step])
    return T.reinterpret(T.broadcast(one, LANES), dtype=f"int8x{LANES * depth}")


def implementation(dot: Dot, steps: int, sequence: Sequence) -> tirx.PrimFunc:
    """The dot product by the sequence."""
    lanes, depth, size = dot.lanes, dot.depth, steps * dot.depth

    def data(a: tirx.Expr) -> tirx.Expr:
        signed = T.reinterpret(a, dtype=f"int8x{size}")
        return T.bitwise_xor(signed, T.broadcast(T.int8(-128), size)) if dot.offset else signed

    @T.prim_func(s_tir=True)
    def fast(
        A: T.Buffer((size,), "uint8", offset_factor=1),
        B: T.Buffer((steps, lanes, depth), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:size], B[0:steps, 0:lanes, 0:depth])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = sequence(
                data(A.vload([0], dtype=f"uint8x{size}")),
                [B.vload([s, 0, 0], dtype=f"int8x{lanes * depth}") for s in range(steps)],
                C.vload([0], dtype=f"int32x{lanes}"),
            )

    return fast
