"""Kernels with other decisions compute the same, and what follows them stays behind them."""

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, te, tirx

from qcompile.errors import Unsupported
from qcompile.passes.replan import anchor_of, epilogue_of, planned_operands, replan
from qcompile.pipeline import lower_passes, task_passes
from qcompile.schedules.conv2d_int8 import conv2d_int8
from qcompile.schedules.conv2d_plan import conv2d_plan
from qcompile.schedules.space import UnknownDecision
from qcompile.targets import load_target
from tests.passes.modules import module
from tests.passes.planned_kernels import KERNELS, LARGEST, Convolution
from tests.schedules import test_conv2d_int8
from tests.schedules.convolution import Case
from tests.schedules.kernels import build, run, runnable


@pytest.fixture(scope="module")
def target():
    return runnable(load_target("x86-64-v3"))


@pytest.fixture(params=KERNELS)
def kernel(request, target):
    return KERNELS[request.param](target)


def space_of(function, target):
    anchor = anchor_of(function)
    return anchor.tunable.space(anchor.problem, target)


def drawn_decisions(function, target, count):
    """The last choice of everything, and random ones."""
    rng, decisions = np.random.default_rng(3), space_of(function, target).decisions
    last = {each.name: each.choices[-1] for each in decisions}
    return [
        last,
        *(
            {each.name: each.choices[rng.integers(len(each.choices))] for each in decisions}
            for _ in range(count)
        ),
    ]


def shape_of(parameter):
    return tuple(int(extent) for extent in parameter.ty.shape)


def test_no_decisions_change_nothing(kernel, target):
    again = replan(kernel.function, {}, target)
    assert tvm_ffi.structural_equal(again, kernel.function)
    assert anchor_of(again) == anchor_of(kernel.function)


def test_decisions_change_no_result(kernel, target):
    for decisions in [{}, *drawn_decisions(kernel.function, target, 3)]:
        library = build(replan(kernel.function, decisions, target), target)
        found = run(library, kernel.arrays(target, decisions), kernel.expected)
        np.testing.assert_array_equal(found, kernel.expected, err_msg=str(decisions))


def test_decisions_change_the_plan_alone(kernel, target):
    (decisions, *_) = drawn_decisions(kernel.function, target, 0)
    before, found = anchor_of(kernel.function), replan(kernel.function, decisions, target)
    after = anchor_of(found)
    assert after.plan == before.tunable.planned(before.problem, target, decisions) != before.plan
    assert (after.operator, after.problem, after.layer, after.name) == (
        *(before.operator, before.problem, before.layer, before.name),
    )
    assert tvm_ffi.structural_equal(replan(found, {}, target), kernel.function)


def test_parameters_stay_in_their_places(kernel, target):
    for decisions in drawn_decisions(kernel.function, target, 3):
        found = replan(kernel.function, decisions, target)
        places = planned_operands(kernel.function)
        assert planned_operands(found) == places == [0, 1]
        plan = anchor_of(found).plan
        old = [*map(shape_of, kernel.function.params)]
        shapes = [plan.input_shape, plan.weight_shape, *old[2:]]
        assert [*map(shape_of, found.params)] == shapes
        for before, after in zip(kernel.function.params, found.params, strict=True):
            assert (str(after.name), after.ty.dtype) == (str(before.name), before.ty.dtype)
        assert tvm_ffi.structural_equal(found.attrs, kernel.function.attrs)


def test_epilogues_are_the_same_whatever_is_decided(kernel, target):
    expected = epilogue_of(kernel.function)
    for decisions in drawn_decisions(kernel.function, target, 3):
        assert epilogue_of(replan(kernel.function, decisions, target)) == expected


def test_epilogues_know_no_layer(target):
    for name in ("requantized", "packed"):
        one, other = (Convolution(target, name, layer) for layer in ("one", "other"))
        assert epilogue_of(one.function) == epilogue_of(other.function) != ()
        assert not tvm_ffi.structural_equal(one.function, other.function)


def test_epilogues_are_told_apart(target):
    epilogues = ["sums", "requantized", "residual", "packed"]
    found = [epilogue_of(Convolution(target, name).function) for name in epilogues]
    assert found[0] == ()
    assert len(set(found)) == len(epilogues)


class ReadTwice:
    """A 3x3 convolution plus the image that it reads, between its pads."""

    def __init__(self, target):
        self.case = Case((1, 8, 8, 16), 16)
        self.x, self.w, self.bias, _ = test_conv2d_int8.operands(self.case, 1)
        plan = test_conv2d_int8.plan_of(self.case, self.w, target)
        assert plan.input_shape == (1, 10, 10, 16)
        x = te.placeholder(plan.input_shape, "uint8", "x")
        w = te.placeholder(plan.weight_shape, "int8", "w")
        bias = te.placeholder((16,), "int32", "bias")
        sums = conv2d_int8(x, w, bias, plan, "stem")

        def added(n, i, j, c):
            return sums[n, i, j, c] + x[n, i + 1, j + 1, c].astype("int32")

        y = te.compute(sums.shape, added, name="added")
        self.function = te.create_prim_func([x, w, bias, y], index_dtype_override="int64")
        self.problem = plan.problem

    def arrays(self, target, decisions):
        plan = conv2d_plan(self.problem, target, decisions)
        x = test_conv2d_int8.prepared(self.x, self.case, plan, 0, np.random.default_rng(2))
        return [x, *test_conv2d_int8.constants(self.w, self.bias, plan)]

    def with_tiles(self, target):
        """Decisions of each tile, and whether x keeps its shape."""
        (tile,) = (d for d in space_of(self.function, target).decisions if d.name == "tile")
        for choice in tile.choices:
            decisions = {"tile": choice}
            yield decisions, conv2d_plan(self.problem, target, decisions).columns == 10


def test_an_operand_that_the_epilogue_reads_keeps_its_shape(target):
    kernel = ReadTwice(target)
    sums = test_conv2d_int8.convolve(kernel.x, kernel.w, kernel.bias, kernel.case, 0)
    expected = (sums + kernel.x).astype("int32")
    keeps = [decisions for decisions, same in kernel.with_tiles(target) if same]
    for decisions in [{}, keeps[-1]]:
        library = build(replan(kernel.function, decisions, target), target)
        found = run(library, kernel.arrays(target, decisions), expected)
        np.testing.assert_array_equal(found, expected)


def test_an_operand_that_the_epilogue_reads_changes_no_shape(target):
    kernel = ReadTwice(target)
    changes = [decisions for decisions, same in kernel.with_tiles(target) if not same]
    assert changes
    for decisions in changes:
        with pytest.raises(Unsupported, match="layer 'stem': what follows reads an operand"):
            replan(kernel.function, decisions, target)


@pytest.mark.parametrize("decisions", [{"flavour": 1}, {"tile": [999, 1, 1]}, {"unroll": 3}])
def test_refuses_unknown_decisions(kernel, target, decisions):
    with pytest.raises(UnknownDecision, match=f"decision {next(iter(decisions))!r}: "):
        replan(kernel.function, decisions, target)


def test_a_factor_may_be_both(target):
    """x @ x + x, where the kernel gets x once."""
    mod = module(lambda emit, x: emit(relax.op.matmul(x, x)) + x, ((2, 16, 16), "float32"))
    mod = tvm.transform.Sequential([*lower_passes(target), *task_passes()])(mod)
    (function,) = [f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc)]
    assert planned_operands(function) == [0, 0] and len(function.params) == 2
    x = np.random.default_rng(0).integers(-LARGEST, LARGEST, (2, 16, 16)).astype("float32")
    for decisions in [{}, *drawn_decisions(function, target, 2)]:
        found = run(build(replan(function, decisions, target), target), [x], x)
        np.testing.assert_array_equal(found, x @ x + x)


def test_a_function_without_a_plan_has_no_anchor():
    x = te.placeholder((4,), "int32", "x")
    y = te.compute((4,), lambda i: x[i] + 1)
    assert anchor_of(te.create_prim_func([x, y])) is None
