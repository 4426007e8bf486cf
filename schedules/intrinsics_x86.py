"""Dot products of x86: what each instruction sequence means, beside the sequence.

All of them add to `lanes` int32 sums the products of four bytes `a` (uint8), which every lane
shares, with four bytes of its own `b[lane]` (int8). The sums are exact: the sequences without
VNNI widen to 16 bits and multiply with vpmaddwd; vpmaddubsw would saturate.
"""

from dataclasses import dataclass

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

from qcompile.errors import Unsupported
from qcompile.targets import Target

DEPTH = 4  # bytes of `a` in one step


@dataclass(frozen=True)
class Dot:
    """An instruction sequence `sums[lane] += a[0:4] . b[lane, 0:4]`.

    It keeps `held` registers for each vector of `b` that is in use, and needs `scratch` more.
    """

    name: str
    lanes: int
    held: int
    scratch: int


VNNI_512 = Dot("qcompile.dot_vnni_512", lanes=16, held=1, scratch=2)
VNNI_256 = Dot("qcompile.dot_vnni_256", lanes=8, held=1, scratch=2)
WIDEN_512 = Dot("qcompile.dot_widen_512", lanes=16, held=2, scratch=4)
WIDEN_256 = Dot("qcompile.dot_widen_256", lanes=8, held=2, scratch=4)


def dot_of(target: Target) -> Dot:
    """The fastest dot product of the target. Raises Unsupported below AVX2."""
    has = target.features.__contains__
    if target.vector_bytes == 64 and has("avx512vnni"):
        return VNNI_512
    if target.vector_bytes == 64 and has("avx512bw"):
        return WIDEN_512
    if has("avxvnni") or (has("avx512vnni") and has("avx512vl")):
        return VNNI_256
    if has("avx2"):
        return WIDEN_256
    raise Unsupported(f"target {target.name!r}: int8 kernels need avx2, avxvnni or avx512bw")


def dot_shape(target: Target) -> tuple[int, int]:
    """(lanes, depth): the channels and the bytes of each that one step multiplies."""
    return dot_of(target).lanes, DEPTH


def register_intrinsics() -> None:
    """Make the dot products known to `Schedule.tensorize`; calling it again is harmless."""
    if TensorIntrin.get(VNNI_512.name, allow_missing=True) is not None:
        return
    for dot, sequence, instruction in (
        (VNNI_512, vnni, "llvm.x86.avx512.vpdpbusd.512"),
        (VNNI_256, vnni, "llvm.x86.avx512.vpdpbusd.256"),
        (WIDEN_512, widen, "llvm.x86.avx512.pmaddw.d.512"),
        (WIDEN_256, widen, "llvm.x86.avx2.pmadd.wd"),
    ):
        TensorIntrin.register(dot.name, meaning(dot.lanes), sequence(instruction, dot.lanes))


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
    sums, data = f"int32x{lanes}", f"int8x{4 * lanes}"

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                C.vload([0], dtype=sums),
                T.reinterpret(
                    T.broadcast(T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"), lanes),
                    dtype=data,
                ),
                B.vload([0, 0], dtype=data),
                dtype=sums,
            )

    return dot


def widen(instruction: str, lanes: int) -> tirx.PrimFunc:
    """Two vpmaddwd: of the bytes 1 and 3 and of the bytes 0 and 2, each widened to 16 bits.

    Shifts and masks widen in place; an unpacking instruction would need the one shuffle port.
    """
    sums, data = f"int32x{lanes}", f"int8x{4 * lanes}"
    words, signed = f"uint16x{2 * lanes}", f"int16x{2 * lanes}"

    @T.prim_func(s_tir=True)
    def dot(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            a = T.reinterpret(
                T.broadcast(T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"), lanes),
                dtype=words,
            )
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
