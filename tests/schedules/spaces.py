"""Kernels of one problem with many decisions: what they compute, and what they become in a net."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import NDArray
from tvm import te, tirx

from qcompile.passes.replan import anchor_of, replan
from qcompile.pipeline import lower_chosen_passes, task_passes
from qcompile.schedules import schedule
from qcompile.schedules.space import Decisions, Space, to_json
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import Target
from tests.schedules.emulated import emulated

RANDOM = 4  # combinations besides those that have every choice once


def combinations(space: Space, seed: int, most: int) -> Iterator[Decisions]:
    """The default, and so many, at random, of random ones and of those that have every choice."""
    rng = np.random.default_rng(seed)
    orders = {d.name: rng.permutation(len(d.choices)) for d in space.decisions}
    count = max(map(len, orders.values()))
    places = [{name: order[k % len(order)] for name, order in orders.items()} for k in range(count)]
    places += [
        {name: rng.integers(len(order)) for name, order in orders.items()} for _ in range(RANDOM)
    ]
    places = [places[k] for k in rng.permutation(len(places))[:most]]
    yield {}
    for place in places:
        yield {d.name: d.choices[place[d.name]] for d in space.decisions}


def kernel(
    operator: str, problem: Any, target: Target, decisions: Decisions, others: Sequence[Any]
) -> tuple[tirx.PrimFunc, tuple[NDArray[Any], ...], tuple[int, ...]]:
    """The scheduled kernel with its operands and the shape of its result.

    others: the operands that no plan tells of. The plan is as its text says.
    """
    tunable = TUNABLES[operator]
    plan = tunable.planned(problem, target, decisions)
    assert tunable.plan(to_json(plan)) == plan
    arrays = (*tunable.operands(plan, np.random.default_rng(7)), *others)
    shapes = tunable.shapes(plan)
    assert tuple(array.shape for array in arrays[: len(shapes)]) == shapes
    tensors = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    result = tunable.compute(plan, tensors, "layer")
    func = te.create_prim_func([*tensors, result])
    return schedule(func, target), arrays, tuple(int(extent) for extent in result.shape)


def results(
    operator: str,
    problem: Any,
    target: Target,
    decided: Sequence[Decisions],
    others: Sequence[Any],
    dtype: str,
) -> Iterator[NDArray[Any]]:
    """What the kernels with these decisions compute."""
    made = [kernel(operator, problem, target, decisions, others) for decisions in decided]
    x86 = target.architecture.name == "x86_64"
    if x86:
        named = {f"f{k}": f.with_attr("global_symbol", f"f{k}") for k, (f, *_) in enumerate(made)}
        library = tvm.compile(tvm.IRModule(named), target=target.tvm_target())
    for k, (func, arrays, shape) in enumerate(made):
        run = library[f"f{k}"] if x86 else emulated(func, target)
        result = tvm.runtime.tensor(np.full(shape, 77, dtype))
        run(*(tvm.runtime.tensor(array) for array in arrays), result)
        yield result.numpy()


def tasks(mod: tvm.IRModule, target: Target, decided: Any) -> dict[str, tirx.PrimFunc]:
    """The fused kernels of a module that have an anchor, by the kind of it."""
    mod = tvm.transform.Sequential([*lower_chosen_passes(target, decided), *task_passes()])(mod)
    found = [f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc)]
    anchors = [(anchor, f) for f in found if (anchor := anchor_of(f)) is not None]
    named = {anchor.operator: f for anchor, f in anchors}
    assert len(named) == len(anchors)
    return named


def expect_same_by_replan(mod: tvm.IRModule, operator: str, target: Target, seed: int) -> None:
    """Lowering a module with decisions gives what `replan` makes of the default kernel."""
    default = tasks(mod, target, {})[operator]
    assert tvm_ffi.structural_equal(replan(default, {}, target), default)
    anchor = anchor_of(default)
    assert anchor is not None
    space = anchor.tunable.space(anchor.problem, target)
    for decisions in combinations(space, seed, most=6):
        lowered = tasks(mod, target, {(operator, anchor.layer): decisions})[operator]
        again = replan(default, decisions, target)
        assert tvm_ffi.structural_equal(again.body, lowered.body, map_free_vars=True), decisions
        schedule(again, target)
