"""Tasks of networks: each kernel once, with its layers, constants and operands."""

from importlib.resources import files

import numpy as np
import pytest
from tuning_tasks import IMAGE, TARGET, layer, network, scales, tasks_in

from qcompile.commands.demo import NETWORKS
from qcompile.passes.replan import replan
from qcompile.targets import load_target
from qcompile.tuning.network import tasks_of
from qcompile.tuning.tasks import shares
from tests.passes.modules import module
from tests.passes.test_bit_decisions import NETWORKS as BIT_NETWORKS
from tests.schedules.kernels import build, run, runnable

DEMO = files("qcompile") / "demo_data"


def test_equal_kernels_are_one_task():
    one, other = tasks_in(network())
    assert (one.layers, one.name, one.operator) == (
        *(("first", "second"), "first +1", "conv2d_int8"),
    )
    assert (other.layers, other.name) == (("third",), "third")
    assert one.problem.w == (16, 3, 3, 16) and other.problem.w == (40, 3, 3, 16)
    assert one.workload != other.workload


def test_each_call_counts():
    """Layers of one name and one shape are one function, called twice."""

    def body(emit, x):
        return layer(emit, layer(emit, x, "twin", seed=1), "twin", seed=2)

    (task,) = tasks_in(module(body, (IMAGE, "uint8")))
    assert task.layers == ("twin", "twin") and task.name == "twin +1"


def test_other_epilogues_are_other_tasks():
    def body(emit, x):
        return layer(emit, layer(emit, x, "one"), "other", dtype="int8")

    one, other = tasks_in(module(body, (IMAGE, "uint8")))
    assert one.problem == other.problem
    assert one.epilogue != other.epilogue and one.workload != other.workload


def test_workloads_hold_in_other_networks():
    """Whatever else a network has, and whatever its layers are called."""

    def body(emit, x):
        return layer(emit, layer(emit, x, "stem", outputs=16, seed=8), "head", outputs=40)

    found = tasks_in(module(body, (IMAGE, "uint8")))
    assert [task.workload for task in found] == [task.workload for task in tasks_in(network())]


def test_constants_are_the_networks():
    for task, seed in zip(tasks_in(network()), (1, 3), strict=True):
        outputs = task.problem.w[0]
        (scale,) = (a for a in task.constants.values() if a.shape == (outputs,) and a.dtype == "f4")
        np.testing.assert_array_equal(scale, scales(outputs, seed))
        operands = task.operands({}, TARGET)
        assert len(operands) == len(task.function.params) - 1
        for place, array in task.constants.items():
            if place > 1:
                np.testing.assert_array_equal(operands[place], array)


def test_operands_fit_the_function():
    for task in tasks_in(network()):
        for decisions in ({}, {d.name: d.choices[-1] for d in task.space.decisions}):
            function = replan(task.function, decisions, TARGET)
            operands = task.operands(decisions, TARGET)
            for array, parameter in zip(operands, function.params[:-1], strict=True):
                assert array.shape == tuple(int(extent) for extent in parameter.ty.shape)
                assert str(array.dtype) == str(parameter.ty.dtype.dtype)


def drawn_decisions(task, count, seed=0):
    rng = np.random.default_rng(seed)
    decisions = task.space.decisions
    yield {each.name: each.choices[-1] for each in decisions}
    for _ in range(count):
        yield {each.name: each.choices[rng.integers(len(each.choices))] for each in decisions}


def output(task, decisions, target):
    library = build(replan(task.function, decisions, target), target)
    result = task.function.params[-1]
    shape = tuple(int(extent) for extent in result.ty.shape)
    like = np.zeros(shape, str(result.ty.dtype.dtype))
    return run(library, task.operands(decisions, target), like)


def expect_equal_outputs(task, target, least):
    """At least so many values in the output, so that it would tell of others."""
    expected = output(task, {}, target)
    assert len(np.unique(expected)) >= least
    for decisions in drawn_decisions(task, 1):
        # Bits are compared: what measures candidates accepts no other output.
        found = output(task, decisions, target)
        np.testing.assert_array_equal(found, expected, err_msg=f"{task.name} {decisions}")


def test_decisions_change_no_output():
    for task in tasks_in(network()):
        expect_equal_outputs(task, runnable(TARGET), 50)


@pytest.mark.parametrize("name", ["int8", "fp32"])
def test_decisions_change_no_output_of_a_network(name):
    target = runnable(TARGET)
    for task in tasks_of(DEMO / NETWORKS[name], target, lambda message: None, batch=1):
        expect_equal_outputs(task, target, 8)


@pytest.mark.parametrize("name", BIT_NETWORKS)
def test_decisions_change_no_output_of_bits(name):
    target = runnable(load_target("host"))
    build_network, costs = BIT_NETWORKS[name]
    (task,) = tasks_in(build_network(), target, costs)
    expect_equal_outputs(task, target, 8)


def test_seconds_are_shared_by_calls():
    tasks = tasks_in(network())
    assert shares([1.0, 2.0], tasks) == [0.5, 0.5]
    assert shares([3.0, 2.0], tasks) == [0.75, 0.25]
