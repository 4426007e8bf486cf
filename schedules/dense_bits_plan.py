"""How a product of packed rows is laid out and tiled, decided from its shapes and the target."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, cast

from qcompile.schedules.bit_product import Coefficients, Planes
from qcompile.schedules.bit_space import (
    Choice,
    best_choices,
    choice_of,
    splits_and_unrolls,
    tile_decision,
    value_of,
)
from qcompile.schedules.bit_tile import bit_tile_cost, bit_tiles, tiles_of_word
from qcompile.schedules.popcount import WORD_BITS, Popcount, popcounts_of
from qcompile.schedules.space import (
    DEFAULT,
    Decision,
    Decisions,
    Space,
    chunks,
    frozen,
    to_json,
)
from qcompile.schedules.tile import SMALLEST_PARALLEL_S, Tile, round_up
from qcompile.targets import Target


@dataclass(frozen=True)
class DenseBitsProblem:
    """What is computed: x (rows, depth) times w (columns, depth), or `batch` of both.

    operation, coefficients: of their planes, as `Planes` has them. start: what every sum of a batch
    begins with.
    """

    rows: int
    depth: int
    columns: int
    operation: str
    coefficients: Coefficients
    batch: int = 0
    start: int = 0

    @property
    def planes(self) -> Planes:
        return Planes(self.operation, self.coefficients)

    @property
    def words(self) -> int:
        return ceil(self.depth / WORD_BITS)

    @property
    def products(self) -> int:
        """Multiplications of bits."""
        pairs = self.planes.pairs
        return pairs * max(self.batch, 1) * self.rows * self.depth * self.columns


@dataclass(frozen=True)
class DenseBitsPlan:
    """Shapes of a product's operands, and the decisions on its tile and loops."""

    problem: DenseBitsProblem
    batch: int  # products; 0: one, whose operands have no such axis, of a constant matrix
    rows: int
    words: int
    columns: int
    popcount: Popcount
    tile_rows: int
    tile_vectors: int
    word_tiles: int  # tiles, one after the other, that make whole words of outputs
    unroll: int  # steps of the words that follow each other without a loop
    weights_stay: bool  # a panel of weights stays in cache while all rows pass by, or the reverse
    chunks: str  # the loops that threads share

    @property
    def parallel(self) -> bool:
        """Whether threads share the work."""
        return self.chunks != "none"

    @property
    def planes(self) -> Planes:
        return self.problem.planes

    @property
    def input_shape(self) -> tuple[int, ...]:
        return *self._batch, self.rows, self.planes.data, self.words

    @property
    def vectors(self) -> int:
        """Vectors of outputs: whole tiles."""
        return round_up(self.popcount.vectors(self.columns), self.tile_vectors)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(vectors, steps, planes, lanes, words of a step if several), after the batch if any."""
        return *self._batch, self.vectors, *self.popcount.panel(self.words, self.planes.weights)

    @property
    def _batch(self) -> tuple[int, ...]:
        return (self.batch,) if self.batch else ()

    def to_json(self) -> str:
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> "DenseBitsPlan":
        fields: dict[str, Any] = json.loads(text)
        problem = {name: frozen(value) for name, value in fields.pop("problem").items()}
        popcount = Popcount(**fields.pop("popcount"))
        return DenseBitsPlan(DenseBitsProblem(**problem), popcount=popcount, **fields)


def plan_dense_bits(
    rows: int,
    depth: int,
    columns: int,
    planes: Planes,
    target: Target,
    batch: int = 0,
    start: int = 0,
    form: str | None = None,
) -> DenseBitsPlan:
    """The default plan of `DenseBitsProblem`; form: of the popcount, instead of the cheapest."""
    problem = DenseBitsProblem(
        rows, depth, columns, planes.operation, planes.coefficients, batch, start
    )
    if form is None:
        return dense_bits_plan(problem, target)
    tile = value_of(_choices(problem, target), form)
    return dense_bits_plan(problem, target, {"tile": tile})


def dense_bits_plan(
    problem: DenseBitsProblem, target: Target, decisions: Decisions = DEFAULT
) -> DenseBitsPlan:
    """The plan with these decisions, the others by default. Raises UnknownDecision."""
    choices = _choices(problem, target)
    chosen = _space(problem, target, choices).chosen(decisions)
    choice = choice_of(choices, chosen["tile"])
    popcount, tile = choice.popcount, Tile(*choice.tile)
    return DenseBitsPlan(
        problem=problem,
        batch=problem.batch,
        rows=problem.rows,
        words=problem.words,
        columns=problem.columns,
        popcount=popcount,
        tile_rows=tile.rows,
        tile_vectors=tile.vectors,
        word_tiles=tiles_of_word(tile, popcount, popcount.vectors(problem.columns)),
        unroll=cast(int, chosen["unroll"]),
        weights_stay=chosen["order"] == "weights",
        chunks=str(chosen["chunks"]),
    )


def dense_bits_space(problem: DenseBitsProblem, target: Target) -> Space:
    """What may be decided: popcount and tile, the order of the loops, how the sums run, threads."""
    return _space(problem, target, _choices(problem, target))


def _space(problem: DenseBitsProblem, target: Target, choices: Sequence[Choice]) -> Space:
    popcount, words = choices[0].popcount, problem.words
    vectors = popcount.vectors(problem.columns)
    weight_bytes = vectors * popcount.lanes * words * problem.planes.weights * 4
    stay = weight_bytes > target.l2_bytes // 2
    divided = splits_and_unrolls(choices, (words,), most_splits=1)
    work_s = max(problem.batch, 1) * choices[0].cost / target.clock_hz
    return Space(
        (
            tile_decision(choices),
            Decision("order", ("weights", "data") if stay else ("data", "weights")),
            Decision("unroll", tuple(unroll for _, unroll in divided)),
            chunks("tiles" if work_s >= 2 * SMALLEST_PARALLEL_S else "none"),
        )
    )


def _choices(problem: DenseBitsProblem, target: Target) -> list[Choice]:
    """Popcounts with the best of their tiles, the default first."""
    words, planes, columns = problem.words, problem.planes, problem.columns

    def popcounts(every: bool) -> list[Popcount]:
        return popcounts_of(target, 0 if problem.batch else words, outputs=columns, every=every)

    def costs(popcount: Popcount) -> Iterator[tuple[tuple[int, ...], float]]:
        vectors = popcount.vectors(columns)
        for tile in bit_tiles(target, popcount, planes, problem.rows, vectors):
            full, rest = divmod(problem.rows, tile.rows)
            cost = sum(
                count * bit_tile_cost(t, words, popcount, planes, target)
                for count, t in ((full, tile), (int(rest > 0), Tile(rest, tile.vectors)))
            )
            yield (tile.rows, tile.vectors), ceil(vectors / tile.vectors) * cost

    return best_choices(popcounts(False), popcounts(True), costs)
