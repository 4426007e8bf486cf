"""Dot products in which every lane has data of its own: meaning, beside the sequence.

    sums[lane] += a[lane, 0:depth] . b[lane, 0:depth]        sums int32, exact

With VNNI depth is 4, a uint8 and b int8. Without, vpmaddwd multiplies 16-bit numbers: depth is 2,
and a and b are int16 that hold such bytes. On ARM, smlal multiplies such numbers with depth 1. The
interleaving brings `depth` rows of bytes into the order of a. See `intrinsics` for the dot products
whose lanes share `a`.
"""

from dataclasses import dataclass

from tvm import tirx
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.intrinsics_x86 import VNNI_256, VNNI_512, WIDEN_256, WIDEN_512, x86_dots
from qcompile.schedules.registering import register_once
from qcompile.targets import Target


@dataclass(frozen=True)
class LaneDot:
    """One instruction (and an addition, without VNNI) on vectors of `lanes` sums."""

    instruction: str
    lanes: int
    depth: int
    data: str
    weights: str

    @property
    def vector_bytes(self) -> int:
        return 4 * self.lanes


LANE_DOTS = {
    VNNI_512.name: LaneDot("llvm.x86.avx512.vpdpbusd.512", 16, 4, "uint8", "int8"),
    VNNI_256.name: LaneDot("llvm.x86.avx512.vpdpbusd.256", 8, 4, "uint8", "int8"),
    WIDEN_512.name: LaneDot("llvm.x86.avx512.pmaddw.d.512", 16, 2, "int16", "int16"),
    WIDEN_256.name: LaneDot("llvm.x86.avx2.pmadd.wd", 8, 2, "int16", "int16"),
}

SMLAL = LaneDot("", 8, 1, "int16", "int16")


def lane_dot_of(target: Target) -> LaneDot:
    """The fastest such dot product of the target. Raises Unsupported on x86 below AVX2."""
    return LANE_DOTS[x86_dots(target)[0].name] if target.architecture.name == "x86_64" else SMLAL


def register_lane_dot(dot: LaneDot) -> str:
    """The name under which `Schedule.tensorize` now finds the dot product."""
    name = f"qcompile.lane_dot_{dot.lanes}_{dot.depth}"
    sequence = {4: vnni, 2: multiply_add, 1: multiply}[dot.depth]
    return register_once(name, lambda: (meaning(dot), sequence(dot)))


def register_interleave(dot: LaneDot, apart: int, turned: bool) -> str:
    """The name of the interleaving of rows (turned: columns) so far apart, made known to TVM."""
    name = f"qcompile.interleave_{dot.lanes}_{dot.depth}_{apart}{'_turned' if turned else ''}"
    return register_once(name, lambda: interleave(dot, apart, turned))


def meaning(dot: LaneDot) -> tirx.PrimFunc:
    """What the dot product computes."""
    lanes, depth, data, weights = dot.lanes, dot.depth, dot.data, dot.weights

    @T.prim_func(s_tir=True)
    def loops(
        A: T.Buffer((depth * lanes,), data, offset_factor=1),
        B: T.Buffer((lanes, depth), weights, offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : depth * lanes], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for i, k in T.grid(lanes, depth):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + T.Cast("int32", A[depth * vi + vk]) * T.Cast("int32", B[vi, vk])

    @T.prim_func(s_tir=True)
    def one_deep(
        A: T.Buffer((lanes,), data, offset_factor=1),
        B: T.Buffer((lanes, 1), weights, offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes], B[0:lanes, 0])
            T.writes(C[0:lanes])
            for i in range(lanes):
                with T.sblock("update"):
                    vi = T.axis.spatial(lanes, i)
                    C[vi] = C[vi] + T.Cast("int32", A[vi]) * T.Cast("int32", B[vi, 0])

    return one_deep if depth == 1 else loops


def vnni(dot: LaneDot) -> tirx.PrimFunc:
    """One vpdpbusd. LLVM takes both operands as signed bytes."""
    instruction, lanes, size = dot.instruction, dot.lanes, 4 * dot.lanes
    sums, unsigned, signed = f"int32x{lanes}", f"uint8x{size}", f"int8x{size}"

    @T.prim_func(s_tir=True)
    def sequence(
        A: T.Buffer((size,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:size], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                C.vload([0], dtype=sums),
                T.reinterpret(A.vload([0], dtype=unsigned), dtype=signed),
                B.vload([0, 0], dtype=signed),
                dtype=sums,
            )

    return sequence


def multiply_add(dot: LaneDot) -> tirx.PrimFunc:
    """One vpmaddwd, whose sums of two products of bytes fit, and one addition."""
    instruction, lanes, size = dot.instruction, dot.lanes, 2 * dot.lanes
    sums, words = f"int32x{lanes}", f"int16x{size}"

    @T.prim_func(s_tir=True)
    def sequence(
        A: T.Buffer((size,), "int16", offset_factor=1),
        B: T.Buffer((lanes, 2), "int16", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:size], B[0:lanes, 0:2])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = C.vload([0], dtype=sums) + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                A.vload([0], dtype=words),
                B.vload([0, 0], dtype=words),
                dtype=sums,
            )

    return sequence


def multiply(dot: LaneDot) -> tirx.PrimFunc:
    """Products of 16-bit numbers, widened and added: smlal and smlal2."""
    lanes = dot.lanes
    sums, words = f"int32x{lanes}", f"int16x{lanes}"

    @T.prim_func(s_tir=True)
    def sequence(
        A: T.Buffer((lanes,), "int16", offset_factor=1),
        B: T.Buffer((lanes, 1), "int16", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:lanes], B[0:lanes, 0:1])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = C.vload([0], dtype=sums) + (
                T.Cast(sums, A.vload([0], dtype=words)) * T.Cast(sums, B.vload([0, 0], dtype=words))
            )

    return sequence


def interleave(dot: LaneDot, apart: int, turned: bool) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """y[depth * lane + row] = x[apart * row, 0, lane]: as loops, as one permutation of the rows.

    Turned, the rows are columns: x[0, apart * row, lane].
    """
    lanes, depth, data = dot.lanes, dot.depth, dot.data
    order = [row * lanes + lane for lane in range(lanes) for row in range(depth)]
    row_bytes, size, words = f"uint8x{lanes}", depth * lanes, f"{data}x{depth * lanes}"
    reach = (depth - 1) * apart + 1
    height, width = (1, reach) if turned else (reach, 1)
    down, right = (0, apart) if turned else (apart, 0)

    @T.prim_func(s_tir=True)
    def loops(
        X: T.Buffer((height, width, lanes), "uint8", offset_factor=1),
        Y: T.Buffer((size,), data, offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(X[0:height, 0:width, 0:lanes])
            T.writes(Y[0:size])
            for i in range(size):
                with T.sblock("update"):
                    v = T.axis.spatial(size, i)
                    Y[v] = T.Cast(data, X[v % depth * down, v % depth * right, v // depth])

    @T.prim_func(s_tir=True)
    def permutation(x: T.handle, y: T.handle) -> None:
        row, column = T.int64(), T.int64()
        X = T.match_buffer(
            x, (height, width, lanes), "uint8", strides=[row, column, 1], offset_factor=1
        )
        Y = T.match_buffer(y, (size,), data, offset_factor=1)
        with T.sblock("root"):
            T.reads(X[0:height, 0:width, 0:lanes])
            T.writes(Y[0:size])
            Y[T.ramp(T.int32(0), 1, size)] = T.Cast(
                words,
                T.Shuffle(
                    [X.vload([down * k, right * k, 0], dtype=row_bytes) for k in range(depth)],
                    order,
                ),
            )

    return loops, permutation
