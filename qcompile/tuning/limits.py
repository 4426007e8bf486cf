"""The arithmetic limit of a device: the most products a second of each kind that a core reaches.

Of a device it is measured, beside what is tuned: the fastest of several forms of a matrix product
whose operands stay in the first cache. Of a model it is what the best instructions do on registers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import te

from qcompile.errors import DeviceLost, ModelError
from qcompile.model_device.limits import bit_limit, int8_limit
from qcompile.passes.replan import INDEX
from qcompile.schedules.dense_bits_plan import DenseBitsProblem
from qcompile.schedules.dense_f32 import DenseF32Problem
from qcompile.schedules.dense_int8 import DenseProblem
from qcompile.schedules.space import DEFAULT
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import Target
from qcompile.tuning.batch import Batch, Candidate
from qcompile.tuning.building import Builders
from qcompile.tuning.kinds import kind_of
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.outcomes import Failure, Timing
from qcompile.tuning.tasks import SEED, Task
from qcompile.tuning.worker_process import Built, Job

ROWS = 24  # a multiple of most tiles' rows
VECTORS = 4  # of columns: of most tiles'
SUM_BYTES = 4
FILLED = 3 / 4  # of the first cache
DEPTH_UNIT = 64  # products of all instructions are whole steps of so many
FORMS = 4  # tiles that are tried, the most promising first; each with short and long loops
LAYER = "limit"
# Of each operand, as signs are.
ONE_PLANE: Mapping[str, Any] = {"operation": "xor", "coefficients": ((-2,),)}


@dataclass(frozen=True)
class Kind:
    """A product: its schedule, its problem of a shape, and the bytes of an element of operands."""

    operator: str
    problem: Callable[..., Any]
    element_bytes: float
    sums: str


KINDS: Mapping[str, Kind] = {
    "int8": Kind("dense_int8", partial(DenseProblem, narrow=True), 1, "int32"),
    "bits": Kind("dense_bits", partial(DenseBitsProblem, **ONE_PLANE), 1 / 8, "int32"),
    "float32": Kind("dense_f32", DenseF32Problem, 4, "float32"),
}


def modelled_limits(target: Target) -> dict[str, float]:
    """Products a second of each kind, by LLVM's model of the core; none of cores of 32 bits."""
    try:
        cycles = {"int8": int8_limit(target), "bits": bit_limit(target)}
    except ModelError:
        return {}
    return {kind: each * target.clock_hz for kind, each in cycles.items()}


def measured_limits(
    operators: Sequence[str], target: Target, builders: Builders, measurer: Measurer
) -> dict[str, float]:
    """Products a second of the kinds that these operators have. Raises DeviceLost."""
    own = set(map(kind_of, operators))
    waiting = {}
    for name in (kind for kind in KINDS if kind in own):
        task = limit_task(KINDS[name], target)
        waiting[name] = task, measurer.submit(_batch(task, target, builders))
    limits = {}
    for name, (task, future) in waiting.items():
        outcomes = future.result()
        if isinstance(outcomes[0], Failure) and outcomes[0].kind == "device":
            raise DeviceLost(outcomes[0].message)
        seconds = [outcome.seconds_each for outcome in outcomes if isinstance(outcome, Timing)]
        if seconds:
            limits[name] = task.problem.products / min(seconds)
    return limits


def limit_task(kind: Kind, target: Target) -> Task:
    """A matrix product that stays in the first cache."""
    tunable = TUNABLES[kind.operator]
    rows, depth, columns = _shape(kind, target)
    problem = kind.problem(rows=rows, depth=depth, columns=columns)
    plan = tunable.planned(problem, target, DEFAULT)
    arrays = tunable.operands(plan, np.random.default_rng(SEED))
    operands = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    operands.append(te.placeholder((problem.columns,), kind.sums))
    result = tunable.compute(plan, operands, LAYER)
    function = te.create_prim_func([*operands, result], index_dtype_override=INDEX)
    space = tunable.space(problem, target)
    return Task(kind.operator, problem, (), function, space, (LAYER,), {})


def _shape(kind: Kind, target: Target) -> tuple[int, int, int]:
    """Rows, depth and columns."""
    columns = VECTORS * target.vector_bytes // SUM_BYTES
    room = FILLED * target.l1d_bytes - ROWS * columns * SUM_BYTES
    depth = int(room / kind.element_bytes / (ROWS + columns)) // DEPTH_UNIT * DEPTH_UNIT
    return ROWS, max(depth, DEPTH_UNIT), columns


def _batch(task: Task, target: Target, builders: Builders) -> Batch:
    """The product with the tiles that are thought to be the fastest."""
    text = str(tvm.ir.save_json(task.function))
    choices = {decision.name: decision.choices for decision in task.space.decisions}
    ends = sorted({*choices["unroll"][:1], *choices["unroll"][-1:]}, key=str)
    chosen = [
        task.space.chosen({"tile": tile, "unroll": unroll})
        for tile in choices["tile"][:FORMS]
        for unroll in ends
    ]
    reference, *built = builders.build([Job(text), *(Job(text, d) for d in chosen)])
    assert isinstance(reference, Built), reference.message
    candidates = [
        Candidate(kernel, task.operands(decisions, target))
        for decisions, kernel in zip(chosen, built, strict=True)
        if isinstance(kernel, Built)
    ]
    return Batch(Candidate(reference, task.operands(task.default, target)), tuple(candidates))
