"""Four rows of bytes, interleaved into the order of dot products: meaning, beside the sequence."""

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T  # noqa: N812

DEPTH = 4  # rows that a dot product takes at a time


def interleave_of(lanes: int) -> str:
    """The name of the interleaving of four rows of so many bytes: 4, 8 or 16."""
    return f"qcompile.interleave_columns_{lanes}"


def register_interleave() -> None:
    """Make them known to `Schedule.tensorize`; calling it again is harmless."""
    for lanes in (4, 8, 16):
        if TensorIntrin.get(interleave_of(lanes), allow_missing=True) is None:
            TensorIntrin.register(interleave_of(lanes), meaning(lanes), permutation(lanes))


def meaning(lanes: int) -> tirx.PrimFunc:
    @T.prim_func(s_tir=True)
    def interleave(
        X: T.Buffer((4, lanes), "int8", offset_factor=1, scope="local"),
        Y: T.Buffer((lanes, 4), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(X[0:4, 0:lanes])
            T.writes(Y[0:lanes, 0:4])
            for i, k in T.grid(lanes, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SS", [i, k])
                    Y[vi, vk] = X[vk, vi]

    return interleave


def permutation(lanes: int) -> tirx.PrimFunc:
    """One permutation of all bytes, which LLVM makes of unpacking instructions."""
    order = [row * lanes + lane for lane in range(lanes) for row in range(DEPTH)]
    row_bytes, all_bytes = f"int8x{lanes}", DEPTH * lanes

    @T.prim_func(s_tir=True)
    def interleave(x: T.handle, y: T.handle) -> None:
        stride = T.int64()
        X = T.match_buffer(
            x, (4, lanes), "int8", strides=[stride, 1], offset_factor=1, scope="local"
        )
        Y = T.match_buffer(y, (lanes, 4), "int8", offset_factor=1)
        with T.sblock("root"):
            T.reads(X[0:4, 0:lanes])
            T.writes(Y[0:lanes, 0:4])
            Y[0, T.ramp(T.int32(0), 1, all_bytes)] = T.Shuffle(
                [X.vload([row, 0], dtype=row_bytes) for row in range(4)], order
            )

    return interleave
