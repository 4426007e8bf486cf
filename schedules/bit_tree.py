"""The bits of eight outputs at a time, 128 of each: meaning, beside the sequences of ARM.

    sums[o] += sum over k < 4 of popcount(x[k] op w[o, k])        o < 8

x, w: uint32; sums: uint16. cnt leaves 16 counts for every output; additions of neighbouring pairs
(addp, vpadd) make them two, side by side with those of the other outputs, and uadalp adds both to
the sum of the output: as many instructions as adding up in bytes, a register for eight sums, and
nothing to broadcast.
"""

from collections.abc import Callable

from tvm import tirx
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.registering import register_once

OUTPUTS, WORDS = 8, 4
MOST_BITS = 2**16 - 1  # that a sum can hold
VECTOR_BYTES = 16

Products = Callable[[int], tirx.Expr]  # the uint8x16 counts of an output


def tree_of(form: str, operation: str) -> str:
    """The name under which `Schedule.tensorize` now finds the sequence."""
    name = f"qcompile.bit_tree_{form}_{operation}"
    sums = {"addp": addp, "vpadd": vpadd}[form]
    return register_once(name, lambda: (meaning(operation), implementation(operation, sums)))


def meaning(operation: str) -> tirx.PrimFunc:
    product = _operation(operation)

    @T.prim_func(s_tir=True)
    def tree(
        X: T.Buffer((WORDS,), "uint32", offset_factor=1),
        W: T.Buffer((OUTPUTS, WORDS), "uint32", offset_factor=1),
        C: T.Buffer((OUTPUTS,), "uint16", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:OUTPUTS], X[0:WORDS], W[0:OUTPUTS, 0:WORDS])
            T.writes(C[0:OUTPUTS])
            for i, k in T.grid(OUTPUTS, WORDS):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + T.Cast("uint16", T.popcount(product(X[vk], W[vi, vk])))

    return tree


def implementation(
    operation: str, sums: Callable[[Products, tirx.Expr], tirx.Expr]
) -> tirx.PrimFunc:
    """The same by `sums(counts of an output, sums so far)`."""
    product = _operation(operation)

    @T.prim_func(s_tir=True)
    def tree(
        X: T.Buffer((WORDS,), "uint32", offset_factor=1),
        W: T.Buffer((OUTPUTS, WORDS), "uint32", offset_factor=1),
        C: T.Buffer((OUTPUTS,), "uint16", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:OUTPUTS], X[0:WORDS], W[0:OUTPUTS, 0:WORDS])
            T.writes(C[0:OUTPUTS])
            C[T.ramp(T.int32(0), 1, OUTPUTS)] = sums(
                lambda o: _counts(
                    product(X.vload([0], dtype="uint32x4"), W.vload([o, 0], dtype="uint32x4"))
                ),
                C.vload([0], dtype="uint16x8"),
            )

    return tree


def addp(counts: Products, sums: tirx.Expr) -> tirx.Expr:
    """128-bit vectors: 8 -> 4 -> 2 -> 1, each with two counts of every output at the end."""
    level = [counts(o) for o in range(OUTPUTS)]
    while len(level) > 1:
        level = [
            tirx.call_llvm_pure_intrin("uint8x16", "llvm.aarch64.neon.addp.v16i8", a, b)
            for a, b in zip(level[::2], level[1::2], strict=True)
        ]
    name = "llvm.aarch64.neon.uaddlp.v8i16.v16i8"
    return sums + tirx.call_llvm_pure_intrin("uint16x8", name, level[0])


def vpadd(counts: Products, sums: tirx.Expr) -> tirx.Expr:
    """64-bit vectors: 16 -> 8 -> 4 -> 2."""
    level = []
    for o in range(OUTPUTS):
        value = counts(o)
        level += [T.Shuffle([value], list(range(first, first + 8))) for first in (0, 8)]
    while len(level) > 2:
        level = [
            tirx.call_llvm_pure_intrin("uint8x8", "llvm.arm.neon.vpadd.v8i8", a, b)
            for a, b in zip(level[::2], level[1::2], strict=True)
        ]
    both = T.Shuffle(level, list(range(VECTOR_BYTES)))
    name = "llvm.arm.neon.vpadalu.v8i16.v16i8"
    return tirx.call_llvm_pure_intrin("uint16x8", name, sums, both)


def _counts(words: tirx.Expr) -> tirx.Expr:
    value = T.reinterpret(words, dtype=f"uint8x{VECTOR_BYTES}")
    return tirx.call_llvm_pure_intrin(f"uint8x{VECTOR_BYTES}", "llvm.ctpop", value)


def _operation(name: str) -> Callable[[tirx.Expr, tirx.Expr], tirx.Expr]:
    return T.bitwise_xor if name == "xor" else T.bitwise_and
