"""How pooling of 8-bit codes is computed, decided from its shapes and the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from qcompile.schedules.space import (
    DEFAULT,
    Decision,
    Decisions,
    Space,
    chunks,
    from_json,
    frozen,
)
from qcompile.targets import Target

MOST_IN_INT16 = (2**15 - 1) // (2**8 - 1)  # codes whose sum fits
LARGEST_UNROLLED_WINDOW = 25
SMALLEST_PARALLEL_BYTES = 1 << 19  # codes that one core pools in about 20 us
VECTORS = (1, 2, 4)  # of channels, pooled together
ORDERS = ("channels", "pixels")  # which follow each other
UNROLLED = ("all", "columns", "none")  # the positions of a window without a loop


@dataclass(frozen=True)
class Pool2dProblem:
    """What is computed: the largest codes of windows over x (N, H, W, C), or their sums.

    codes: the type of x. pads: (top, left, bottom, right). zero: the code outside of x, for sums.
    """

    x: tuple[int, ...]
    codes: str
    largest: bool
    kernel: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)
    ceil_mode: bool = False
    zero: int = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        rows, columns = (
            pooled_extent(
                self.x[1 + a],
                self.kernel[a],
                self.strides[a],
                self.pads[a],
                self.pads[a + 2],
                self.dilation[a],
                self.ceil_mode,
            )
            for a in (0, 1)
        )
        return rows, columns

    @property
    def sum_type(self) -> str:
        """The type that sums are added up in."""
        return "int16" if prod(self.kernel) <= MOST_IN_INT16 else "int32"

    @property
    def widened(self) -> bool:
        """Whether a block of its own turns the sums to int32."""
        return not self.largest and self.sum_type == "int16"


@dataclass(frozen=True)
class Pool2dPlan:
    """How one pooling is computed. x lies the same in all plans."""

    problem: Pool2dProblem
    vectors: int  # of channels, pooled together
    lanes: int
    pixels_inside: bool  # the windows of a row follow each other, of some channels
    unrolled: str  # one of UNROLLED
    chunks: str  # the loops that threads share

    @staticmethod
    def from_json(text: str) -> "Pool2dPlan":
        plan: Pool2dPlan = from_json(text, Pool2dPlan, Pool2dProblem)
        return plan


def pool2d_plan(
    problem: Pool2dProblem, target: Target, decisions: Decisions = DEFAULT
) -> Pool2dPlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    chosen = pool2d_space(problem, target).chosen(decisions)
    vectors, lanes = frozen(chosen["tile"])
    return Pool2dPlan(
        problem=problem,
        vectors=vectors,
        lanes=lanes,
        pixels_inside=chosen["order"] == "pixels",
        unrolled=str(chosen["unroll"]),
        chunks=str(chosen["chunks"]),
    )


def pool2d_space(problem: Pool2dProblem, target: Target) -> Space:
    """What may be decided: channels at once, the order of the loops, what is unrolled, threads.

    Several vectors are as many as the channels fill, but for the last one.
    """
    lanes = target.vector_bytes
    blocks = ceil(problem.x[3] / lanes)
    tiles = [(vectors, lanes) for vectors in VECTORS if blocks % vectors == 0]
    if lanes // 2 < problem.x[3]:
        tiles.append((1, lanes // 2))
    window = prod(problem.kernel)
    return Space(
        (
            Decision("tile", tuple(tiles)),
            Decision("order", ORDERS),
            Decision("unroll", unrolled_choices(problem.kernel)),
            chunks(_default_chunks(problem, window, target)),
        )
    )


def unrolled_choices(kernel: Sequence[int]) -> tuple[str, ...]:
    """What may be unrolled of a window without too much code, the default first."""
    if prod(kernel) <= LARGEST_UNROLLED_WINDOW:
        return UNROLLED
    return ("none", "columns") if kernel[1] <= LARGEST_UNROLLED_WINDOW else ("none",)


def _default_chunks(problem: Pool2dProblem, window: int, target: Target) -> str:
    codes = problem.x[0] * prod(problem.counts) * problem.x[3] * window
    if target.cores == 1 or codes < SMALLEST_PARALLEL_BYTES:
        return "none"
    return "outer" if problem.counts[0] > 1 else "tiles"


def pooled_extent(
    size: int, kernel: int, stride: int, first: int, last: int, dilation: int, ceil_mode: bool
) -> int:
    """Windows along one axis of `size`, padded by `first` and `last` (ONNX MaxPool, opset 22).

    With ceil_mode a last window may hang over the end, but starts inside x or its first pad.
    """
    steps = size + first + last - (kernel - 1) * dilation - 1
    if not ceil_mode:
        return steps // stride + 1
    windows = ceil(steps / stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + first else windows
