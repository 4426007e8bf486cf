"""The kernels of a network that decisions can be taken for, each once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import NDArray
from tvm import relax, tirx

from qcompile.passes.facts import constant
from qcompile.passes.replan import Anchor, anchor_of, epilogue_of, planned_operands
from qcompile.passes.rewriter import operator_name
from qcompile.records import canonical, workload_of
from qcompile.schedules.space import Space
from qcompile.schedules.tunables import TUNABLES, Tunable
from qcompile.targets import Target
from qcompile.tuning.any_task import AnyTask, name_of
from qcompile.tuning.choices import expected_score
from qcompile.tuning.features import features_of
from qcompile.tuning.kinds import kind_of

# Scales of this size bring sums of products of codes near to codes again.
SMALLEST_FLOAT, LARGEST_FLOAT = 2.0**-10, 2.0**-7
LARGEST_INTEGER = 1000
SEED = 0


@dataclass(frozen=True, eq=False)
class Task:
    """One kernel: what it computes, where a network has it, and what may be decided about it.

    function: fused and not scheduled, with default decisions. layers: that it computes, so often
    as it is called. constants: values of parameters, by their numbers, in the first of these.
    threads: that it runs on; space: what is decided for them.
    """

    operator: str
    problem: Any
    epilogue: tuple[str, ...]
    function: tirx.PrimFunc
    space: Space
    layers: tuple[str, ...]
    constants: Mapping[int, NDArray[Any]]
    threads: int = 1

    @property
    def tunable(self) -> Tunable:
        return TUNABLES[self.operator]

    @property
    def anchor(self) -> str:
        """The name of the block that its schedule begins with."""
        found = anchor_of(self.function)
        assert found is not None
        return found.name

    @property
    def name(self) -> str:
        return name_of(self.layers)

    @property
    def default(self) -> dict[str, Any]:
        return self.space.chosen({})

    @property
    def workload(self) -> str:
        return workload_of(self.operator, self.fields, self.epilogue)

    @property
    def fields(self) -> dict[str, Any]:
        """Those of the problem, as JSON."""
        return vars(self.problem)

    @property
    def products(self) -> int | None:
        """Multiplications; None where the arithmetic limit is not about them."""
        return None if kind_of(self.operator) is None else int(self.problem.products)

    def features(self, decisions: Mapping[str, Any], target: Target) -> NDArray[np.float32]:
        """What the cost model sees of a candidate."""
        space, threads = self.space, self.threads
        return features_of(self.operator, self.problem, space, decisions, target, threads)

    def expected(self, choices: Sequence[int]) -> float:
        """The score that the plans of kernels expect of a candidate."""
        return expected_score(self.space.decisions, choices)

    def operands(self, decisions: Mapping[str, Any], target: Target) -> tuple[NDArray[Any], ...]:
        """Values of all parameters but the results, the same for all decisions; random ones where
        the network has computed values, and for the operands that lie as was decided."""
        plan = self.tunable.planned(self.problem, target, decisions)
        planned = self.tunable.operands(plan, np.random.default_rng(SEED))
        places = {
            **self.constants,
            **dict(zip(planned_operands(self.function), planned, strict=True)),
        }
        inputs = self.function.params[: -_results(self.function)]
        return tuple(places.get(k, _random(k, p)) for k, p in enumerate(inputs))


def extract_tasks(fused: tvm.IRModule, target: Target, threads: int = 1) -> list[Task]:
    """The tasks of a module of fused kernels, in the order of their calls; kernels that compute the
    same are one."""
    found: dict[str, tuple[tirx.PrimFunc, Anchor, list[str], tvm.ir.Call]] = {}
    for call in _calls(fused):
        function = fused[call.args[0]]
        anchor = anchor_of(function)
        if anchor is not None:
            key = canonical([anchor.operator, vars(anchor.problem), epilogue_of(function)])
            found.setdefault(key, (function, anchor, [], call))[2].append(anchor.layer)
    return [
        Task(
            anchor.operator,
            anchor.problem,
            epilogue_of(function),
            function,
            anchor.tunable.space(anchor.problem, target).for_threads(threads),
            tuple(layers),
            _constants(call),
            threads,
        )
        for function, anchor, layers, call in found.values()
    ]


def _calls(mod: tvm.IRModule) -> list[tvm.ir.Call]:
    """All calls of kernels in the Relax functions."""
    functions = [f for f in mod.functions.values() if isinstance(f, relax.Function)]
    blocks = [block for function in functions for block in function.body.blocks]
    values = [binding.value for block in blocks for binding in block.bindings]
    return [value for value in values if operator_name(value) == "relax.call_tir"]


def _constants(call: tvm.ir.Call) -> dict[int, NDArray[Any]]:
    """The values of the constant arguments of a kernel."""
    arrays = {k: constant(argument) for k, argument in enumerate(call.args[1])}
    return {k: array for k, array in arrays.items() if array is not None}


def _results(function: tirx.PrimFunc) -> int:
    """How many parameters are written; they are the last."""
    written: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.BufferStore, lambda s: written.append(s.buffer)))
    return sum(any(buffer.same_as(p) for buffer in written) for p in function.params)


def _random(number: int, parameter: tirx.Var) -> NDArray[Any]:
    rng = np.random.default_rng([SEED, number])
    shape = tuple(int(extent) for extent in parameter.ty.shape)
    dtype = np.dtype(str(parameter.ty.dtype.dtype))
    if dtype.kind == "f":
        return rng.uniform(SMALLEST_FLOAT, LARGEST_FLOAT, shape).astype(dtype)
    limits: Any = np.iinfo(dtype) if dtype.itemsize == 1 or dtype == np.uint32 else None
    if limits is not None:
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.integers(-LARGEST_INTEGER, LARGEST_INTEGER, shape).astype(dtype)


def shares(seconds: Sequence[float], tasks: Sequence[AnyTask]) -> list[float]:
    """The part of the network's time that each task has, from the seconds of one call of each."""
    whole = [s * len(task.layers) for s, task in zip(seconds, tasks, strict=True)]
    return [each / sum(whole) for each in whole]
