"""Kernels on bits and on packed weights give NumPy's integers, whatever is decided about them."""

from functools import partial

import numpy as np
import pytest

from qcompile.schedules import conv2d_bits
from qcompile.schedules.batch_matmul_bits import batch_matmul_bits
from qcompile.schedules.conv2d_bits_plan import (
    Conv2dBitsProblem,
    conv2d_bits_plan,
    conv2d_bits_space,
)
from qcompile.schedules.dense_bits_plan import DenseBitsProblem, dense_bits_plan
from qcompile.schedules.dense_packed import (
    DensePackedProblem,
    dense_packed_plan,
)
from qcompile.schedules.tunables import TUNABLES
from qcompile.targets import host_features, load_target
from tests.schedules import bit_convolution, bit_products, test_dense_packed
from tests.schedules.bits import Width, packed_words, weighted_sum
from tests.schedules.convolution import Case
from tests.schedules.covering import shared_choices, untaken
from tests.schedules.kernels import (
    ARM_TARGETS,
    INT8_TARGETS,
    build,
    fused_function,
    int8_target,
    requantized,
    requantized_reference,
    run,
    runnable,
)
from tests.schedules.packing import packed_codes, packed_reference, thresholds_of

W1A1, W1A2, W2A2 = Width("xor", 1, 1), Width("xor", 2, 1), Width("and", 2, 2)
NARROW = Width("and", 1, 1)

CONVOLUTIONS = [
    (Case((1, 4, 14, 64), 64), W1A1),
    (Case((1, 5, 7, 128), 40), W1A2),
    (Case((2, 3, 5, 40), 24, strides=(2, 1)), W2A2),
    (Case((1, 5, 11, 80), 80, groups=2), W1A1),
    (Case((1, 5, 11, 24), 12, groups=6), NARROW),
    (Case((1, 6, 9, 512), 33, pads=(0, 0, 0, 0), dilation=(1, 2)), W1A1),
    (Case((1, 2, 4, 2048), 8, kernel=(1, 2), pads=(0, 0, 0, 0)), W2A2),
]
# (rows, depth, columns)
PRODUCTS = [((5, 992, 24), W1A1), ((13, 17, 5), W2A2), ((7, 256, 72), W1A2), ((1, 512, 1000), W1A1)]
# (batch, rows, depth, columns)
BATCHES = [((3, 5, 70, 33), W2A2), ((2, 16, 128, 32), W1A1)]
START = -7
# (rows, depth, columns, bits)
PACKED = [(1, 512, 100, 4), (13, 17, 5, 2), (3, 96, 33, 2), (37, 64, 72, 4)]


@pytest.fixture(params=[*INT8_TARGETS, *ARM_TARGETS])
def target(request):
    return runnable(int8_target(request.param))


def conv2d_problem(case, width):
    shape = case.outputs, *case.kernel, case.data[3] // case.groups
    geometry = case.pads, case.strides, case.dilation, case.groups
    return Conv2dBitsProblem(
        case.data, shape, width.operation, width.planes.coefficients, *geometry
    )


def dense_problem(shape, width, **others):
    return DenseBitsProblem(*shape, width.operation, width.planes.coefficients, **others)


@pytest.mark.parametrize(("case", "width"), CONVOLUTIONS, ids=str)
def test_convolves(case, width, target):
    problem = conv2d_problem(case, width)
    codes, values, bias, scale = bit_convolution.operands(case, width, 1)
    sums = bit_convolution.convolve(codes, values, case, width, 0) + bias
    expected = requantized_reference(sums, scale)
    for decisions in shared_choices(*SAMPLES)["conv2d_bits", problem, target.name]:
        plan = conv2d_bits_plan(problem, target, decisions)
        function = bit_convolution.kernel(plan, requantized, [(scale.shape, "float32")])
        x = bit_convolution.prepared(codes, case, width, plan, 0, np.random.default_rng(1))
        w = conv2d_bits.pack_weights(width.weight_planes(values), plan)
        y = run(build(function, target), [x, w, bias, scale], expected)
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


def test_every_tile_convolves(target):
    case, width = Case((1, 2, 3, 64), 48), W1A1
    problem = conv2d_problem(case, width)
    codes, values, bias, _ = bit_convolution.operands(case, width, 1)
    expected = (bit_convolution.convolve(codes, values, case, width, 0) + bias).astype("int32")
    tile, *_ = conv2d_bits_space(problem, target).decisions
    step = 3 if target.architecture.name == "x86_64" else 16  # emulators take longer
    for choice in tile.choices[::step]:
        plan = conv2d_bits_plan(problem, target, {"tile": choice})
        function = bit_convolution.kernel(plan, lambda sums: sums, [])
        x = bit_convolution.prepared(codes, case, width, plan, 0, np.random.default_rng(1))
        w = conv2d_bits.pack_weights(width.weight_planes(values), plan)
        y = run(build(function, target), [x, w, bias], expected)
        np.testing.assert_array_equal(y, expected, err_msg=str(choice))


def test_convolves_with_a_bias_for_each_class_and_packs(target):
    case, width = Case((1, 5, 7, 128), 64), W1A1
    problem = conv2d_problem(case, width)
    codes, values, _, _ = bit_convolution.operands(case, width, 1)
    counts = bit_convolution.convolve(codes, values, case, width, 0)
    rng = np.random.default_rng(1)
    (found,) = shared_choices((("conv2d_bits", problem),), (target.name,), 1).values()
    for decisions in found:
        plan = conv2d_bits_plan(problem, target, decisions)
        bias = rng.integers(-50, 50, (*plan.class_counts, case.outputs), "int32")
        sums = counts + bias[np.ix_(*plan.classes())]
        thresholds = thresholds_of(sums, 3, rng)
        extra = [(thresholds.shape, "int32")]
        function = bit_convolution.kernel(plan, packed_codes, extra, bias.shape)
        x = bit_convolution.prepared(codes, case, width, plan, 0, rng)
        w = conv2d_bits.pack_weights(width.weight_planes(values), plan)
        expected = packed_reference(sums, thresholds)
        y = run(build(function, target), [x, w, bias, thresholds], expected)
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


@pytest.mark.parametrize(("shape", "width"), PRODUCTS, ids=str)
def test_multiplies(shape, width, target):
    problem = dense_problem(shape, width)
    codes, values, bias, scale = bit_products.operands(width, shape, 1)
    expected = requantized_reference(weighted_sum(width, codes, values) + bias, scale)
    for decisions in shared_choices(*SAMPLES)["dense_bits", problem, target.name]:
        plan = dense_bits_plan(problem, target, decisions)
        function = bit_products.kernel(plan, requantized, [(scale.shape, "float32")])
        arrays = [*bit_products.arrays_of(width, codes, values, plan), bias, scale]
        y = run(build(function, target), arrays, expected)
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


@pytest.mark.parametrize(("shape", "width"), BATCHES, ids=str)
def test_multiplies_batches(shape, width, target):
    batch, *sizes = shape
    problem = dense_problem(sizes, width, batch=batch, start=START)
    operands = [bit_products.operands(width, sizes, seed)[:2] for seed in range(1, 1 + batch)]
    sums = [weighted_sum(width, codes, values) for codes, values in operands]
    expected = (np.stack(sums) + START).astype("int32")
    x = np.stack([packed_words(width.data_planes(codes)) for codes, _ in operands])
    for decisions in shared_choices(*SAMPLES)["dense_bits", problem, target.name]:
        plan = dense_bits_plan(problem, target, decisions)
        w = np.stack([columns_of(width.weight_planes(values), plan) for _, values in operands])
        inputs = [(plan.input_shape, "uint32"), (plan.weight_shape, "uint32")]
        function = fused_function(
            inputs, partial(batch_matmul_bits, plan=plan, layer="layer"), lambda sums: sums, 2
        )
        y = run(build(function, target), [x, w], expected)
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


def columns_of(planes, plan):
    """Bits (planes, O, K) of one product as (vectors, words, planes, lanes), by definition."""
    lanes = plan.popcount.lanes
    full = np.zeros((len(planes), plan.vectors * lanes, planes.shape[2]), "uint8")
    full[:, : planes.shape[1]] = planes
    words = packed_words(list(full))  # (outputs, planes, words)
    split = words.reshape(plan.vectors, lanes, len(planes), plan.words)
    return np.ascontiguousarray(split.transpose(0, 3, 2, 1))


@pytest.mark.parametrize("shape", PACKED, ids=str)
def test_unpacks_weights(shape, target):
    problem = DensePackedProblem(*shape)
    for decisions in shared_choices(*SAMPLES)["dense_packed", problem, target.name]:
        plan = dense_packed_plan(problem, target, decisions)
        x, w, bias, scale = test_dense_packed.operands(plan, problem.depth, 1)
        expected = requantized_reference(test_dense_packed.product(x, w, bias), scale)
        function = test_dense_packed.kernel(plan, requantized, [(scale.shape, "float32")])
        arrays = [x, *test_dense_packed.constants(w, bias, plan), scale]
        y = run(build(function, target), arrays, expected)
        np.testing.assert_array_equal(y, expected, err_msg=str(decisions))


PROBLEMS = [
    *(("conv2d_bits", conv2d_problem(*each)) for each in CONVOLUTIONS),
    *(("dense_bits", dense_problem(*each)) for each in PRODUCTS),
    *(("dense_bits", dense_problem(s[1:], w, batch=s[0], start=START)) for s, w in BATCHES),
    *(("dense_packed", DensePackedProblem(*shape)) for shape in PACKED),
]
NAMES = ["x86-64-v3", "skylake-avx512", "znver4", "rpi3", "rpi4", "rpi5", "armv7-a9"]
SAMPLES = tuple(PROBLEMS), (*INT8_TARGETS, "rpi4", "armv7-a9"), 3


@pytest.mark.parametrize(("operator", "problem"), PROBLEMS, ids=str)
def test_operands_of_a_tuner_mean_the_same_for_every_plan(operator, problem):
    """The outputs are those of the default plan, and not of no weights or no data."""
    target, tunable = load_target("host"), TUNABLES[operator]
    if not target.runs_on(host_features()):
        pytest.skip("the host is not known")

    def output(decisions):
        plan = tunable.planned(problem, target, decisions)
        arrays = list(tunable.operands(plan, np.random.default_rng(0)))
        assert [array.shape for array in arrays] == list(tunable.shapes(plan))
        if not getattr(problem, "batch", 0):
            outputs = problem.w[0] if operator == "conv2d_bits" else problem.columns
            arrays.append(np.zeros(outputs, "int32"))
        inputs = [(array.shape, str(array.dtype)) for array in arrays]

        def compute(*tensors):
            return tunable.compute(plan, tensors, "layer")

        function = fused_function(inputs, compute, lambda sums: sums, len(inputs))
        shape = [int(extent) for extent in function.params[-1].ty.shape]
        return run(build(function, target), arrays, np.zeros(shape, "int32"))

    expected = output({})
    assert len(np.unique(expected)) > 1
    for decisions in shared_choices(tuple(PROBLEMS), ("host",), 1)[operator, problem, "host"]:
        np.testing.assert_array_equal(output(decisions), expected, err_msg=str(decisions))


def test_takes_every_choice():
    """Of all decisions; of tiles, which are too many, every form on every target."""
    assert {name for _, name, _ in untaken(*SAMPLES)} <= {"tile"}
    known, taken = set(), set()
    for (operator, problem, name), found in shared_choices(*SAMPLES).items():
        tile = TUNABLES[operator].space(problem, int8_target(name)).decisions[0]
        known |= {(operator, name, choice[0]) for choice in tile.choices}
        taken |= {(operator, name, decisions["tile"][0]) for decisions in found}
    assert taken == known


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("operator", "problem"), PROBLEMS, ids=str)
def test_plans_survive_json(operator, problem, name):
    target, tunable = load_target(name), TUNABLES[operator]
    for decisions in shared_choices(tuple(PROBLEMS), tuple(NAMES), 4)[operator, problem, name]:
        plan = tunable.planned(problem, target, decisions)
        assert tunable.plan(plan.to_json()) == plan


@pytest.mark.parametrize("name", NAMES)
def test_data_lies_as_by_default(name):
    """Without padding x is read where it is: no tile may need more columns."""
    target = load_target(name)
    problem = conv2d_problem(Case((1, 15, 17, 64), 64, pads=(0, 0, 0, 0)), W1A1)
    tiles = conv2d_bits_space(problem, target).decisions[0].choices
    shapes = {conv2d_bits_plan(problem, target, {"tile": tile}).input_shape for tile in tiles}
    default = conv2d_bits_plan(problem, target).input_shape
    assert shapes <= {default, (1, 15, 17, 1, 2)}


def test_tiles_are_on_long_and_on_short_vectors():
    problem = conv2d_problem(*CONVOLUTIONS[0])

    def first(name):
        tiles = conv2d_bits_space(problem, load_target(name)).decisions[0].choices
        return list(dict.fromkeys(tile[0] for tile in tiles))

    assert first("znver4") == ["words_16", "words_8"]
    assert first("skylake-avx512") == ["pmadd_16", "pmadd_8"]
    assert first("x86-64-v3") == ["pmadd_8"]
    problem = conv2d_problem(*CONVOLUTIONS[1])
    assert first("rpi4") == ["addp_8", "uadalp_4"]
    assert sorted(first("armv7-a9")) == ["vpadal_4", "vpadd_8"]


def test_parts_and_steps_divide_the_words():
    problem = conv2d_problem(Case((1, 7, 7, 512), 512), W1A1)  # 16 words
    divided = conv2d_bits_space(problem, load_target("znver4")).decisions[2].choices
    assert divided == tuple((split, unroll) for split in (1, 2, 4) for unroll in (1, 2, 4))
    by_bytes = conv2d_bits_space(problem, load_target("x86-64-v3")).decisions[2].choices
    assert by_bytes == ((1, 1), (1, 2), (1, 4))  # one chunk of 16 words
