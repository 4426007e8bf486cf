"""Rows of bytes, interleaved into the order of dot products: meaning, beside the sequence."""

from tvm import tirx
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.registering import register_once


def register_interleave(lanes: int, depth: int) -> str:
    """The name of the interleaving of `depth` rows of so many bytes, made known to TVM."""
    name = f"qcompile.interleave_columns_{lanes}_{depth}"
    return register_once(name, lambda: (meaning(lanes, depth), permutation(lanes, depth)))


def meaning(lanes: int, depth: int) -> tirx.PrimFunc:
    @T.prim_func(s_tir=True)
    def interleave(
        X: T.Buffer((depth, lanes), "int8", offset_factor=1, scope="local"),
        Y: T.Buffer((lanes, depth), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(X[0:depth, 0:lanes])
            T.writes(Y[0:lanes, 0:depth])
            for i, k in T.grid(lanes, depth):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SS", [i, k])
                    Y[vi, vk] = X[vk, vi]

    return interleave


def permutation(lanes: int, depth: int) -> tirx.PrimFunc:
    """One permutation of all bytes, which LLVM makes of unpacking instructions."""
    order = [row * lanes + lane for lane in range(lanes) for row in range(depth)]
    row_bytes, all_bytes = f"int8x{lanes}", depth * lanes

    @T.prim_func(s_tir=True)
    def interleave(x: T.handle, y: T.handle) -> None:
        stride = T.int64()
        X = T.match_buffer(
            x, (depth, lanes), "int8", strides=[stride, 1], offset_factor=1, scope="local"
        )
        Y = T.match_buffer(y, (lanes, depth), "int8", offset_factor=1)
        with T.sblock("root"):
            T.reads(X[0:depth, 0:lanes])
            T.writes(Y[0:lanes, 0:depth])
            Y[0, T.ramp(T.int32(0), 1, all_bytes)] = T.Shuffle(
                [X.vload([row, 0], dtype=row_bytes) for row in range(depth)], order
            )

    return interleave
