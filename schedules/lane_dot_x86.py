"""Dot products of x86 in which every lane has data of its own: meaning, beside the sequence.

    sums[lane] += a[lane, 0:4] . b[lane, 0:4]           a uint8, b int8, sums int32, exact

and the interleaving that brings four rows of bytes into that order. See intrinsics_x86 for the
dot products whose lanes share `a`.
"""

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.intrinsics_x86 import (
    DEPTH,
    VNNI_256,
    VNNI_512,
    WIDEN_256,
    WIDEN_512,
    dot_of,
)
from qcompile.targets import Target


def lane_dot_of(target: Target) -> str:
    """The name of the fastest such dot product of the target."""
    return f"{dot_of(target).name}_lane"


def register_lane_dots() -> None:
    """Make them known to `Schedule.tensorize`; calling it again is harmless."""
    for dot, sequence in (
        (VNNI_512, vnni("llvm.x86.avx512.vpdpbusd.512", 16)),
        (VNNI_256, vnni("llvm.x86.avx512.vpdpbusd.256", 8)),
        (WIDEN_512, widen("llvm.x86.avx512.pmaddw.d.512", 16)),
        (WIDEN_256, widen("llvm.x86.avx2.pmadd.wd", 8)),
    ):
        TensorIntrin.register(f"{dot.name}_lane", meaning(dot.lanes), sequence, override=True)


def register_interleave(lanes: int, apart: int, turned: bool) -> str:
    """The name of the interleaving of rows (turned: columns) so far apart, made known to TVM."""
    name = f"qcompile.interleave_{lanes}_{apart}{'_turned' if turned else ''}"
    TensorIntrin.register(name, *interleave(lanes, apart, turned), override=True)
    return name


def meaning(lanes: int) -> tirx.PrimFunc:
    """What every dot product computes."""

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4 * lanes,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : 4 * lanes], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            for i, k in T.grid(lanes, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + T.Cast("int32", A[4 * vi + vk]) * T.Cast("int32", B[vi, vk])

    return dot


def vnni(instruction: str, lanes: int) -> tirx.PrimFunc:
    """One vpdpbusd. LLVM takes its operands as bytes."""
    sums, data = f"int32x{lanes}", f"int8x{4 * lanes}"
    unsigned = f"uint8x{4 * lanes}"

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4 * lanes,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : 4 * lanes], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                C.vload([0], dtype=sums),
                T.reinterpret(A.vload([0], dtype=unsigned), dtype=data),
                B.vload([0, 0], dtype=data),
                dtype=sums,
            )

    return dot


def widen(instruction: str, lanes: int) -> tirx.PrimFunc:
    """Two vpmaddwd: of the bytes 1 and 3 and of the bytes 0 and 2, each widened to 16 bits."""
    sums, data = f"int32x{lanes}", f"int8x{4 * lanes}"
    unsigned = f"uint8x{4 * lanes}"
    words, signed = f"uint16x{2 * lanes}", f"int16x{2 * lanes}"

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4 * lanes,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0 : 4 * lanes], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            a = T.reinterpret(A.vload([0], dtype=unsigned), dtype=words)
            b = T.reinterpret(B.vload([0, 0], dtype=data), dtype=signed)
            eight, mask = T.broadcast(T.uint16(8), 2 * lanes), T.broadcast(T.uint16(255), 2 * lanes)
            shift = T.broadcast(T.int16(8), 2 * lanes)
            odd = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                T.reinterpret(T.shift_right(a, eight), dtype=signed),
                T.shift_right(b, shift),
                dtype=sums,
            )
            even = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                T.reinterpret(T.bitwise_and(a, mask), dtype=signed),
                T.shift_right(T.shift_left(b, shift), shift),
                dtype=sums,
            )
            C[T.ramp(T.int32(0), 1, lanes)] = C.vload([0], dtype=sums) + odd + even

    return dot


def interleave(lanes: int, apart: int, turned: bool) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """y[4 * lane + row] = x[apart * row, 0, lane] for four rows: as loops, as one permutation.

    Turned, the rows are columns: x[0, apart * row, lane].
    """
    order = [row * lanes + lane for lane in range(lanes) for row in range(DEPTH)]
    row_bytes, all_bytes, reach = f"uint8x{lanes}", DEPTH * lanes, (DEPTH - 1) * apart + 1
    height, width = (1, reach) if turned else (reach, 1)
    down, right = (0, apart) if turned else (apart, 0)

    @T.prim_func(s_tir=True)
    def loops(
        X: T.Buffer((height, width, lanes), "uint8", offset_factor=1),
        Y: T.Buffer((all_bytes,), "uint8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(X[0:height, 0:width, 0:lanes])
            T.writes(Y[0:all_bytes])
            for i in range(all_bytes):
                with T.sblock("update"):
                    vi = T.axis.spatial(all_bytes, i)
                    Y[vi] = X[vi % 4 * down, vi % 4 * right, vi // 4]

    @T.prim_func(s_tir=True)
    def permutation(x: T.handle, y: T.handle) -> None:
        row, column = T.int64(), T.int64()
        X = T.match_buffer(
            x, (height, width, lanes), "uint8", strides=[row, column, 1], offset_factor=1
        )
        Y = T.match_buffer(y, (all_bytes,), "uint8", offset_factor=1)
        with T.sblock("root"):
            T.reads(X[0:height, 0:width, 0:lanes])
            T.writes(Y[0:all_bytes])
            Y[T.ramp(T.int32(0), 1, all_bytes)] = T.Shuffle(
                [X.vload([down * k, right * k, 0], dtype=row_bytes) for k in range(4)], order
            )

    return loops, permutation
