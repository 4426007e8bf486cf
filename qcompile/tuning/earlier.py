"""What was measured of other shapes, widths and processors, for the cost model to begin with."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.errors import QCompileError
from qcompile.records import Record
from qcompile.schedules.space import frozen
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import Target
from qcompile.tuning.choices import choices_of, expected_score
from qcompile.tuning.cost_model import Measured
from qcompile.tuning.features import features_of

# What problems and decisions raise that are not what a kernel has: of other types and lengths, too.
UNKNOWN = (QCompileError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
MOST = 20_000  # candidates: more take longer to learn from than they help


def earlier_groups(
    records: Iterable[Record], targets: Collection[Target], own: Collection[str]
) -> list[Measured]:
    """The candidates of each workload on each processor, but of the `own` workloads.

    targets: those that the features of records are known for. Records whose kernels or decisions
    are not known here are left out.
    """
    by_key = {(t.architecture.name, str(t.llvm["mcpu"]), t.vector_bytes): t for t in targets}
    groups: dict[Any, Measured] = defaultdict(Measured)
    count = 0
    for record in records:
        measured = record.target
        target = by_key.get((measured.architecture, measured.mcpu, measured.vector_bytes))
        if target is None or record.workload in own or count >= MOST:
            continue
        if record.failure is not None and record.failure.kind in ("device", "reference"):
            continue
        seen = _seen(record, target)
        if seen is None:
            continue
        ratio = None
        if record.estimate_s is not None and record.reference_s is not None:
            ratio = record.estimate_s / record.reference_s
        groups[record.workload, record.processor, record.threads].add(*seen, ratio)
        count += 1
    return list(groups.values())


def _seen(record: Record, target: Target) -> tuple[NDArray[np.float32], float] | None:
    """The features of a record's candidate, and the score that was expected of it."""
    tunable = TUNABLES.get(record.operator)
    if tunable is None:
        return None
    try:
        target = replace(target, features=record.target.features)
        problem = tunable.problem(**{name: frozen(v) for name, v in record.problem.items()})
        decisions = {name: frozen(value) for name, value in record.decisions.items()}
        space = tunable.space(problem, target).for_threads(record.threads)
        chosen = space.chosen(decisions)
        features = features_of(record.operator, problem, space, chosen, target, record.threads)
        return features, expected_score(space.decisions, choices_of(space.decisions, chosen))
    except UNKNOWN:
        return None
