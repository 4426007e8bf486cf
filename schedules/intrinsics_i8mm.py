"""Products of 8-bit matrices on ARM: what the instructions mean, beside them.

    sums[lane / 2, row, lane % 2] += sum over k of a[row, k] * b[k / 8, lane, k % 8]

a: two rows of uint8, `apart` from each other, or both in one axis; b: int8, four lanes. usmmla adds
to 2 x 2 sums, which share a register, products of eight bytes.
"""

from tvm import tirx
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.dot import Dot
from qcompile.schedules.registering import register_once

LANES, DEPTH, ROWS = 4, 8, 2

# A unit is two instructions and a vector of weights 32 bytes, as many as the second cache brings in
# their time: with four rows it waits behind the products of the vector before.
USMMLA = Dot(
    "qcompile.dot_usmmla", LANES, DEPTH, 0, 1, 7, 0.3, 0.1, in_flight=8,
    together=2, unit=8, rows=ROWS, far_cost=0.1,
)  # fmt: skip


def register_usmmla(steps: int, apart: int, flat: bool) -> str:
    """The name of the products of so many steps, made known to TVM.

    apart: from the first to the second row in their axis. flat: that is the one of the bytes.
    """
    name = f"{USMMLA.name}_{steps}_{apart}{'_flat' if flat else ''}"
    return register_once(name, lambda: usmmla(steps, apart, flat))


def register_part_rows() -> str:
    """The name of what brings 2 x 2 sums into rows, made known to TVM."""
    return register_once("qcompile.part_rows", part_rows)


def usmmla(steps: int, apart: int, flat: bool) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """As loops, and as instructions."""
    size = steps * DEPTH
    height, width = (1, apart + size) if flat else (apart + 1, size)
    down, right = (0, apart) if flat else (apart, 0)

    def row_of(data: tirx.Buffer, row: int) -> tirx.Expr:
        bytes_of_row = data.vload([row * down, row * right], dtype=f"uint8x{size}")
        return T.reinterpret(bytes_of_row, dtype=f"int8x{size}")

    @T.prim_func(s_tir=True)
    def loops(
        A: T.Buffer((height, width), "uint8", offset_factor=1),
        B: T.Buffer((steps, LANES, DEPTH), "int8", offset_factor=1),
        C: T.Buffer((LANES // 2, ROWS, 2), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(
                C[0 : LANES // 2, 0:ROWS, 0:2],
                A[0:height, 0:width],
                B[0:steps, 0:LANES, 0:DEPTH],
            )
            T.writes(C[0 : LANES // 2, 0:ROWS, 0:2])
            for s, j, i, k in T.grid(steps, ROWS, LANES, DEPTH):
                with T.sblock("update"):
                    vj = T.axis.spatial(ROWS, j)
                    vi = T.axis.spatial(LANES, i)
                    vk = T.axis.reduce(size, s * DEPTH + k)
                    C[vi // 2, vj, vi % 2] = C[vi // 2, vj, vi % 2] + T.Cast(
                        "int32", A[vj * down, vj * right + vk]
                    ) * T.Cast("int32", B[vk // DEPTH, vi, vk % DEPTH])

    @T.prim_func(s_tir=True)
    def one_step(
        A: T.Buffer((height, width), "uint8", offset_factor=1),
        B: T.Buffer((steps, LANES, DEPTH), "int8", offset_factor=1),
        C: T.Buffer((LANES // 2, ROWS, 2), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(
                C[0 : LANES // 2, 0:ROWS, 0:2],
                A[0:height, 0:width],
                B[0:steps, 0:LANES, 0:DEPTH],
            )
            T.writes(C[0 : LANES // 2, 0:ROWS, 0:2])
            for j, i, k in T.grid(ROWS, LANES, DEPTH):
                with T.sblock("update"):
                    vj, vi, vk = T.axis.remap("SSR", [j, i, k])
                    C[vi // 2, vj, vi % 2] = C[vi // 2, vj, vi % 2] + T.Cast(
                        "int32", A[vj * down, vj * right + vk]
                    ) * T.Cast("int32", B[0, vi, vk])

    def products(a: list[tirx.Expr], b: list[tirx.Expr], sums: tirx.Expr) -> tirx.Expr:
        instruction = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.usmmla.v4i32.v16i8")
        for rows, weights in zip(a, b, strict=True):
            sums = T.call_llvm_pure_intrin(instruction, sums, rows, weights, dtype="int32x4")
        return sums

    def both(first: tirx.Expr, second: tirx.Expr) -> list[tirx.Expr]:
        """The eight bytes of each step of both rows."""
        return [
            T.Shuffle(
                [first, second],
                [row * size + step * DEPTH + k for row in range(ROWS) for k in range(DEPTH)],
            )
            for step in range(steps)
        ]

    @T.prim_func(s_tir=True)
    def instructions(a: T.handle, b: T.handle, c: T.handle) -> None:
        stride = T.int64()
        A = T.match_buffer(a, (height, width), "uint8", offset_factor=1, strides=[stride, 1])
        B = T.match_buffer(b, (steps, LANES, DEPTH), "int8", offset_factor=1)
        C = T.match_buffer(c, (LANES // 2, ROWS, 2), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(
                C[0 : LANES // 2, 0:ROWS, 0:2],
                A[0:height, 0:width],
                B[0:steps, 0:LANES, 0:DEPTH],
            )
            T.writes(C[0 : LANES // 2, 0:ROWS, 0:2])
            for half in T.unroll(LANES // 2):
                C[half, 0, T.ramp(T.int32(0), 1, 4)] = products(
                    both(row_of(A, 0), row_of(A, 1)),
                    [B.vload([s, half * 2, 0], dtype="int8x16") for s in range(steps)],
                    C.vload([half, 0, 0], dtype="int32x4"),
                )

    return one_step if steps == 1 else loops, instructions


def part_rows() -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """sums[row, lane] = blocks[lane / 2, row, lane % 2]: as loops, as permutations."""

    @T.prim_func(s_tir=True)
    def loops(
        P: T.Buffer((LANES // 2, ROWS, 2), "int32", offset_factor=1, scope="local"),
        C: T.Buffer((ROWS, LANES), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(P[0 : LANES // 2, 0:ROWS, 0:2])
            T.writes(C[0:ROWS, 0:LANES])
            for j, i in T.grid(ROWS, LANES):
                with T.sblock("update"):
                    vj, vi = T.axis.remap("SS", [j, i])
                    C[vj, vi] = P[vi // 2, vj, vi % 2]

    @T.prim_func(s_tir=True)
    def permutations(p: T.handle, c: T.handle) -> None:
        stride = T.int64()
        P = T.match_buffer(p, (LANES // 2, ROWS, 2), "int32", offset_factor=1, scope="local")
        C = T.match_buffer(
            c, (ROWS, LANES), "int32", offset_factor=1, scope="local", strides=[stride, 1]
        )
        with T.sblock("root"):
            T.reads(P[0 : LANES // 2, 0:ROWS, 0:2])
            T.writes(C[0:ROWS, 0:LANES])
            for row in T.unroll(ROWS):
                C[row, T.ramp(T.int32(0), 1, 4)] = T.Shuffle(
                    [P.vload([half, row, 0], dtype="int32x2") for half in range(LANES // 2)],
                    [0, 1, 2, 3],
                )

    return loops, permutations
