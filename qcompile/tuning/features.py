"""What the cost model sees of a candidate: sizes, the plan, and the processor.

A vector of the same length for all kernels, shapes, bit widths and processors, so that what was
measured of others tells about new ones.
"""

from collections.abc import Mapping
from math import ceil, log2, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.schedules.space import CHUNKS, Space, frozen
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import Target

# Fields of plans, of their tiles, popcounts and dot products; 0 where a plan has none.
FIELDS = (
    *("batch", "out_height", "out_width", "out_channels", "rows", "columns", "steps", "words"),
    *("tile_rows", "tile_columns", "tile_vectors", "lanes", "depth", "together", "parts", "step"),
    *("split", "unroll", "weights_stay", "pixels_inside", "word_tiles", "vectors", "spare", "cost"),
    *("run", "flat", "groups", "multiplier", "turned", "offset", "data", "weights", "pairs"),
    *("columns_stay", "pixels", "unrolled"),
)
PARTS = ("popcount", "planes", "tile", "dense", "loops")  # of plans: their fields count, too


def features_of(
    operator: str,
    problem: Any,
    space: Space,
    decisions: Mapping[str, Any],
    target: Target,
    threads: int = 1,
) -> NDArray[np.float32]:
    """The vector of one candidate on so many threads, (n,) float32."""
    tunable = TUNABLES[operator]
    plan = tunable.planned(problem, target, decisions)
    fields = _fields(plan)
    shapes = [prod(shape) for shape in tunable.shapes(plan)]
    kinds = [float(operator == name) for name in sorted(TUNABLES)]
    return np.array(
        [
            *kinds,
            *(_log(fields.get(name, 0)) for name in FIELDS),
            *_ranks(space, decisions),
            *_shared(plan, threads),
            *_tile(fields, target),
            *(_log(size) for size in (*shapes, 0, 0)[:2]),
            *_caches(shapes, target),
            *(_log(v) for v in (target.vector_bytes, target.vector_registers, target.cores)),
            *(_log(v) for v in (target.l1d_bytes, target.l2_bytes, target.l3_bytes)),
            target.clock_hz / 1e9,
        ],
        "float32",
    )


def _fields(plan: Any) -> dict[str, Any]:
    """The numbers of a plan by name, with those of its parts."""
    found: dict[str, Any] = {}
    for part in _parts(plan):
        for field in FIELDS:
            value = getattr(part, field, None)
            if isinstance(value, bool | int | float):
                found[field] = value
    tile = getattr(plan, "tile", None)
    if tile is not None:
        found |= {"tile_rows": tile.rows, "tile_vectors": tile.vectors, "lanes": tile.lanes}
    return found


def _parts(plan: Any) -> list[Any]:
    """Those of a plan, and then the plan."""
    return [*(getattr(plan, name) for name in PARTS if hasattr(plan, name)), plan]


def _ranks(space: Space, decisions: Mapping[str, Any]) -> list[float]:
    """Where the tile and what is unrolled stand among their choices, which are sorted by what they
    are thought to cost, and how many decisions are not the default."""
    chosen = space.chosen(decisions)
    ranks = {d.name: d.choices.index(frozen(chosen[d.name])) for d in space.decisions}
    own = [float(ranks.get(name, 0)) for name in ("tile", "unroll")]
    return [*own, float(sum(rank > 0 for rank in ranks.values()))]


def _shared(plan: Any, threads: int) -> list[float]:
    """How many threads share which loops; for one, plans that differ in these alone are equal."""
    chunks = next((p.chunks for p in _parts(plan) if hasattr(p, "chunks")), CHUNKS[0])
    return [_log(threads), float(CHUNKS.index(chunks)) if threads > 1 else 0.0]


def _tile(fields: Mapping[str, Any], target: Target) -> list[float]:
    """How full the registers are, loads for each product, and what is computed in vain."""
    rows = fields.get("tile_rows", 1) * fields.get("tile_columns", 1)
    vectors = max(fields.get("tile_vectors", 1), 1)
    sums = rows * vectors * max(fields.get("parts", 1), 1) * max(fields.get("pairs", 1), 1)
    height = fields.get("out_height") or fields.get("rows") or 1
    width = fields.get("out_width") or 1
    whole = ceil(height / fields.get("tile_rows", 1) or 1) * fields.get("tile_rows", 1)
    across = ceil(width / (fields.get("tile_columns") or 1)) * (fields.get("tile_columns") or 1)
    return [
        sums / target.vector_registers,
        1 / max(rows, 1) + 1 / vectors,
        whole * across / (height * width),
        float(rows),
        float(vectors),
    ]


def _caches(shapes: list[int], target: Target) -> list[float]:
    weights = shapes[1] if len(shapes) > 1 else 0
    return [
        _log(1 + weights / target.l1d_bytes),
        _log(1 + weights / target.l2_bytes),
        _log(1 + shapes[0] / target.l2_bytes if shapes else 0),
    ]


def _log(value: float) -> float:
    return log2(1 + max(float(value), 0))
