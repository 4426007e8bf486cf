"""What kernels need to know of a dot product that multiplies bytes."""

from dataclasses import dataclass

from tvm import tirx


@dataclass(frozen=True)
class Dot:
    """An instruction sequence `sums[lane] += (a[0:depth] - offset) . b[lane, 0:depth]`.

    a is uint8 and shared by the lanes, b int8, sums int32; `offset` is 128 where the instructions
    multiply signed bytes alone, and is the same for all dot products of a target. The sequence
    takes up to `together` such steps at once, a power of two: neighbours in `a`, which one load
    brings; runs of data are filled up to multiples of `unit` bytes. With `parts`, a vector of sums
    is as many registers, of partial sums for each lane, which are added up at the end: part p has
    the products of the bytes (2 p, 2 p + 1) of each 2 * parts. `rows` rows of data are taken at
    once, whose sums share registers.

    It keeps `held` registers for each vector of `b` that is in use, and `spare` more must be free.
    `slots` tells how long it takes, beside the other dot products of its target. Costs are in
    units of the sequence itself: to bring `depth` bytes of `a`, or a vector of `b`, into
    registers; `far_cost` is what a vector of `b` costs more that comes from the second cache.
    `in_flight` of them hide their latency.
    """

    name: str
    lanes: int
    depth: int
    offset: int
    held: int
    spare: int
    a_cost: float
    b_cost: float
    in_flight: int
    together: int = 1
    unit: int = 4
    parts: int = 1
    rows: int = 1
    slots: float = 1.0
    far_cost: float = 0.35

    def at_once(self, steps: int) -> int:
        """How many of so many steps, in whole groups, it takes at once."""
        return min(self.together, steps & -steps)


def factor(data: tirx.Expr, offset: int) -> tirx.Expr:
    """data - offset, as int32: what a byte of data contributes to a product."""
    value = data.astype("int32")
    return value - tirx.const(offset, "int32") if offset else value
