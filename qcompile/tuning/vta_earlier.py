"""What was simulated of other layers of VTA, for the cost model to begin with."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.records import MeasuredTarget, Record
from qcompile.schedules.space import frozen
from qcompile.targets import VtaTarget
from qcompile.targets.vta.planner.choice import chosen, estimate_of
from qcompile.targets.vta.planner.decisions import tiling_of
from qcompile.targets.vta.planner.problem import Operand, PoolProblem, Problem, SumsProblem
from qcompile.tuning.cost_model import Measured
from qcompile.tuning.earlier import MOST, UNKNOWN
from qcompile.tuning.vta_features import vta_features
from qcompile.tuning.vta_tasks import POOL, SUMS, expected_speed


def earlier_vta_groups(
    records: Iterable[Record], boards: Collection[VtaTarget], own: Collection[str]
) -> list[Measured]:
    """The candidates of each workload on each of the boards, but of the `own` workloads.

    Records whose problems or decisions are not known here are left out.
    """
    by_key = {MeasuredTarget.of(board).key: board for board in boards}
    groups: dict[Any, Measured] = defaultdict(Measured)
    count = 0
    for record in records:
        board = by_key.get(record.target.key)
        if board is None or record.workload in own or count >= MOST:
            continue
        seen = _seen(record, board)
        if seen is not None:
            groups[record.workload, record.target.key].add(*seen, record.ratio)
            count += 1
    return list(groups.values())


def _seen(record: Record, board: VtaTarget) -> tuple[NDArray[np.float32], float] | None:
    """The features of a record's candidate, and the score that was expected of it."""
    try:
        problem = problem_from(record.operator, dict(record.problem))
        tiling = tiling_of({name: frozen(value) for name, value in record.decisions.items()})
        estimate = estimate_of(problem, board.config, board.port_bytes)
        default = chosen(problem, board.config, board.port_bytes)
        return (
            vta_features(problem, board, tiling, estimate),
            expected_speed(estimate, tiling, default),
        )
    except UNKNOWN:
        return None


def problem_from(operator: str, fields: dict[str, Any]) -> Problem:
    """The problem of these fields, as JSON has them. Raises KeyError and TypeError."""
    values = {name: frozen(value) for name, value in fields.items() if name != "operands"}
    if operator == POOL:
        return PoolProblem(**values)
    if operator != SUMS:
        raise KeyError(operator)
    operands = [
        Operand(**{name: frozen(value) for name, value in each.items()})
        for each in fields["operands"]
    ]
    return SumsProblem(operands=tuple(operands), **values)
