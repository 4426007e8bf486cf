"""Counting bits: what each form means, and how it becomes instructions.

    words      vpopcntd: one instruction for 16 or 8 words of 32 bits; TIR's popcount of a vector
    pmadd      other x86: the counts of the four bytes of a word stay in those bytes (LLVM looks
               both halves of a byte up with vpshufb), are added up there for at most 31 words, and
               the four sums become one int32 with vpmaddubsw and vpmaddwd
    uadalp     AArch64: the same with cnt, and uaddlp and uadalp at the end
    udot       AArch64 with dot products: the same, and udot at the end
    vpadal     ARMv7: the same with vcnt, and vpaddl and vpadal
    addp       AArch64: the counts of 128 bits of each of eight outputs, added up in pairs to one
               vector of uint16 sums (`bit_tree`); whole vectors of the reduction
    vpadd      ARMv7: the same

All are exact. A product of bit planes is `popcount(a op b)` with op & or ^.
"""

from dataclasses import dataclass, replace
from math import ceil

from tvm import tirx

from qcompile.errors import Unsupported
from qcompile.schedules import bit_tree
from qcompile.schedules.byte_counts import SUMS
from qcompile.targets import Target
from qcompile.targets.arm import IN_ORDER

WORD_BITS = 32


@dataclass(frozen=True)
class Popcount:
    """A way to count the bits of vectors: `lanes` outputs by `step` words of the reduction.

    `spare` registers must be free besides the sums. Costs are in instructions: `cost` for one
    vector, its `op` and its addition included; to load a vector of weights, from the first or from
    the second cache; to bring the words of data for all lanes. `in_flight` vectors hide latencies.
    """

    form: str
    lanes: int
    spare: int
    cost: float
    load_cost: float = 0.5
    far_load_cost: float = 1.5
    broadcast_cost: float = 0.5
    step: int = 1
    in_flight: int = 8

    @property
    def name(self) -> str:
        """What tells it from the others of a target."""
        return f"{self.form}_{self.lanes}"

    @property
    def in_bytes(self) -> bool:
        """Whether counts are added up in bytes first."""
        return self.form in SUMS

    @property
    def as_tree(self) -> bool:
        """Whether the counts of several outputs are added up in pairs."""
        return self.step > 1

    def vectors(self, outputs: int) -> int:
        return ceil(outputs / self.lanes)

    def panel(self, words: int, planes: int) -> tuple[int, ...]:
        """The shape of the weights of one vector: (steps, planes, lanes[, words of a step])."""
        return words // self.step, planes, self.lanes, *([self.step] if self.as_tree else [])

    def weight(self, k: tirx.Expr, plane: tirx.Expr, lane: tirx.Expr) -> tuple[tirx.Expr, ...]:
        """Where word k of a plane and an output is in there."""
        if not self.as_tree:
            return k, plane, lane
        return k // self.step, plane, lane, k % self.step

    @property
    def sum_type(self) -> str:
        """The type of the sums."""
        return "uint16" if self.as_tree else "int32"


def popcounts_of(
    target: Target,
    words: int,
    positions: int = 1,
    *,
    outputs: int | None = None,
    every: bool = False,
) -> list[Popcount]:
    """What the target may count a reduction over `positions` of `words` with; at least one.

    words: 0 where weights cannot be in any order. outputs: within which vectors stay. every: also
    on vectors of the length that is not the usual one, after the others. Raises Unsupported on x86
    below AVX2.
    """
    if target.architecture.name == "x86_64":
        found = _x86_popcounts(target, outputs)
        return found if every else found[:1]
    in_bytes, tree = _ARM[target.architecture.name]
    if "dotprod" in target.features:
        in_bytes = replace(in_bytes, form="udot")
    if target.llvm["mcpu"] in IN_ORDER:
        in_bytes = replace(in_bytes, load_cost=0.5, far_load_cost=0.75, broadcast_cost=0.5)
    fits = positions * words * WORD_BITS <= bit_tree.MOST_BITS
    return [in_bytes, tree] if words and words % tree.step == 0 and fits else [in_bytes]


# Broadcasting a word takes an arithmetic unit, loading a vector, beside counts in bytes, nearly
# nothing; ARMv7 adds up pairs of 64-bit vectors.
_ARM = {
    "aarch64": (
        Popcount(
            "uadalp", 4, spare=10, cost=3, load_cost=0.12, far_load_cost=0.5, broadcast_cost=1
        ),
        Popcount(
            "addp", bit_tree.OUTPUTS, spare=18, cost=24, load_cost=2, far_load_cost=4,
            broadcast_cost=0.25, step=bit_tree.WORDS, in_flight=1,
        ),
    ),
    "armv7": (
        Popcount(
            "vpadal", 4, spare=6, cost=3, load_cost=0.25, far_load_cost=0.5, broadcast_cost=1
        ),
        Popcount(
            "vpadd", bit_tree.OUTPUTS, spare=12, cost=32, load_cost=2, far_load_cost=4,
            broadcast_cost=0.25, step=bit_tree.WORDS, in_flight=1,
        ),
    ),
}  # fmt: skip


def _x86_popcounts(target: Target, outputs: int | None) -> list[Popcount]:
    """On vectors of the usual length, and of the other one if it has as many registers."""
    has = target.features.__contains__
    wide = target.vector_bytes == 64 and has("avx512bw")
    lengths = [16] if wide else [8]
    if wide and has("avx512vl"):
        lengths = [8, 16] if outputs is not None and outputs % 16 else [16, 8]
    if has("avx512vpopcntdq") and (wide or has("avx512vl")):
        return [Popcount("words", lanes, spare=4, cost=3) for lanes in lengths]
    if has("avx2"):
        return [Popcount("pmadd", lanes, spare=6, cost=8) for lanes in lengths]
    raise Unsupported(f"target {target.name!r}: kernels on bits need avx2 or avx512vpopcntdq")
