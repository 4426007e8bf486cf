"""Planned layers of sums on the functional simulator are the formula's integers."""

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from vta_layers import reference, simulated
from vta_random_layers import Random

from qcompile.errors import (
    AccumulatorOverflow,
    BufferTooSmall,
    NotRepresentable,
    Unsupported,
)
from qcompile.schedules.space import UnknownDecision
from qcompile.targets.vta import functional
from qcompile.targets.vta import reference as planner_reference
from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.layers import Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.lint import lint
from qcompile.targets.vta.planner import (
    chosen,
    plan_of,
    plan_segment,
    problem_from,
    problem_of,
    problem_text,
    space,
    timeline,
)

PORT_BYTES = 8


def conv(rng, image, channels, outputs, kernel=3, strides=(1, 1), padding=(1, 1, 1, 1), zero=0):
    """A segment of one convolution. image: (height, width)."""
    x = VtaTensor("x", (1, *image, channels), 0, -128, 127)
    weights = rng.integers(-128, 128, (outputs, kernel, kernel, channels))
    sizes = [(image[a] + padding[a] + padding[a + 2] - kernel) // strides[a] + 1 for a in (0, 1)]
    y = VtaTensor("y", (1, *sizes, outputs), 0, -128, 127)
    source = Source("x", weights, strides, padding, zero=zero)
    layer = Sums("conv", (source,), rng.integers(-5000, 5000, outputs), 9, -90, 100, y)
    return Segment("segment", (x,), ("x",), ("y",), (layer,))


def expect_exact(segment, program, rng):
    assert lint(program.config, program.instructions, program.image) == []
    inputs = {
        tensor.name: rng.integers(tensor.low, tensor.high + 1, tensor.shape)
        for tensor in segment.tensors
    }
    expected = reference(segment, inputs)
    found = simulated(program, inputs, segment.outputs)
    assert found.keys() == set(segment.outputs)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize(
    "given",
    [
        {"image": (14, 14), "channels": 32, "outputs": 48},
        {"image": (9, 11), "channels": 20, "outputs": 37, "strides": (2, 1)},
        {"image": (13, 8), "channels": 16, "outputs": 16, "padding": (2, 0, 1, 1), "zero": 5},
        {"image": (10, 10), "channels": 64, "outputs": 80, "kernel": 1, "padding": (0, 0, 0, 0)},
    ],
)
def test_convolutions_are_exact(given):
    rng = np.random.default_rng(0)
    segment = conv(rng, **given)
    expect_exact(segment, plan_segment(segment, DEFAULT, PORT_BYTES), rng)


def narrow(**logs):
    return replace(DEFAULT, **{f"log_{name}": value for name, value in logs.items()})


CONFIGS = {
    "default": DEFAULT,
    "small buffers": narrow(uop_buff_size=9, inp_buff_size=12, wgt_buff_size=14, acc_buff_size=13),
    "4 bits": narrow(inp_width=2, wgt_width=2, inp_buff_size=14, wgt_buff_size=17),
    "2-bit weights": narrow(wgt_width=1, wgt_buff_size=16),
    "2 bits, blocks of 8": narrow(
        inp_width=1, wgt_width=1, block=3, inp_buff_size=12, wgt_buff_size=12, acc_buff_size=15
    ),
    "1 bit": narrow(inp_width=0, wgt_width=0, inp_buff_size=12, wgt_buff_size=15),
    "batches of 2": narrow(batch=1, acc_buff_size=17),
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", CONFIGS)
def test_random_segments_are_exact(name, seed):
    rng = np.random.default_rng([seed, *name.encode()])
    segment = Random(rng, CONFIGS[name]).segment(1 + seed % 3)
    program = plan_segment(segment, CONFIGS[name], PORT_BYTES)
    expect_exact(segment, program, rng)


@pytest.mark.parametrize("seed", range(12))
def test_every_decision_computes_the_same(seed):
    rng = np.random.default_rng(seed)
    config = CONFIGS["small buffers" if seed % 2 else "default"]
    segment = Random(rng, config).segment(1)
    (layer,) = segment.layers
    choices = space(problem_of(layer, segment, config), config, PORT_BYTES)
    planned = 0
    while planned < 3:
        decisions = {
            each.name: each.choices[rng.integers(len(each.choices))] for each in choices.decisions
        }
        try:
            program = plan_segment(segment, config, PORT_BYTES, {layer.name: decisions})
        except BufferTooSmall:
            continue
        expect_exact(segment, program, rng)
        planned += 1


def test_the_default_decisions_are_the_choice():
    segment = conv(np.random.default_rng(0), (14, 14), 32, 48)
    problem = problem_of(segment.layers[0], segment, DEFAULT)
    found = space(problem, DEFAULT, PORT_BYTES)
    best = chosen(problem, DEFAULT, PORT_BYTES)
    assert {each.name: each.choices[0] for each in found.decisions} == asdict(best)
    default = timeline(plan_of(problem, DEFAULT, best), PORT_BYTES).cycles
    others = [
        replace(best, rows=14, columns=14),
        replace(best, threads=1),
        replace(best, outputs=1),
        replace(best, inputs=2),
    ]
    for other in others:
        assert timeline(plan_of(problem, DEFAULT, other), PORT_BYTES).cycles >= default


def test_problems_are_kept_as_text():
    rng = np.random.default_rng(0)
    for name in ("default", "1 bit"):
        segment = Random(rng, CONFIGS[name]).segment(6)
        for layer in segment.layers:
            problem = problem_of(layer, segment, CONFIGS[name])
            assert problem_from(problem_text(problem)) == problem


def test_pads_larger_than_their_fields_are_exact():
    rng = np.random.default_rng(0)
    for padding in ((20, 0, 17, 3), (0, 18, 0, 16), (31, 33, 0, 0)):
        segment = conv(rng, (5, 6), 16, 16, padding=padding, zero=-3)
        expect_exact(segment, plan_segment(segment, DEFAULT, PORT_BYTES), rng)


def test_blocks_of_zeros_are_not_multiplied():
    rng = np.random.default_rng(0)
    x = VtaTensor("x", (1, 8, 8, 64), 0, -128, 127)
    y = VtaTensor("y", (1, 8, 8, 64), 0, -128, 127)
    depthwise = rng.integers(1, 128, (64, 3, 3, 1)) * np.eye(64, dtype=int)[:, None, None, :]
    source = Source("x", depthwise, padding=(1, 1, 1, 1))
    layer = Sums("depthwise", (source,), np.zeros(64, int), 8, -128, 127, y)
    segment = Segment("segment", (x,), ("x",), ("y",), (layer,))
    program = plan_segment(segment, DEFAULT, PORT_BYTES)
    expect_exact(segment, program, rng)
    counters = functional.run(DEFAULT, program.instructions, program.image.copy())
    assert counters.gemm_uops == 8 * 8 * 9 * 4


def test_equal_blocks_are_loaded_once():
    x = VtaTensor("x", (1, 7, 7, 512), 0, -128, 127)
    y = VtaTensor("y", (1, 1, 1, 512), 0, -128, 127)
    weights = np.broadcast_to(np.eye(512, dtype=int)[:, None, None, :], (512, 7, 7, 512))
    layer = Sums("mean", (Source("x", weights),), np.zeros(512, int), 6, -128, 127, y)
    segment = Segment("segment", (x,), ("x",), ("y",), (layer,))
    program = plan_segment(segment, DEFAULT, PORT_BYTES)
    expect_exact(segment, program, np.random.default_rng(0))
    counters = functional.run(DEFAULT, program.instructions, program.image.copy())
    assert counters.loaded_bytes[Buffer.WGT] == DEFAULT.element_bytes(Buffer.WGT)


def chain(rng, layers):
    """3x3 convolutions of 16 channels, one behind the other."""
    tensors = [VtaTensor(f"t{n}", (1, 20, 20, 16), 0, -128, 127) for n in range(layers + 1)]
    made = tuple(
        Sums(
            f"conv{n}",
            (Source(a.name, rng.integers(-128, 128, (16, 3, 3, 16)), padding=(1, 1, 1, 1)),),
            rng.integers(-500, 500, 16),
            10,
            0,
            127,
            b,
        )
        for n, (a, b) in enumerate(pairwise(tensors))
    )
    return Segment("chain", (tensors[0],), ("t0",), (tensors[-1].name,), made)


def test_tensors_between_layers_share_memory():
    rng = np.random.default_rng(0)
    segment = chain(rng, 6)
    program = plan_segment(segment, DEFAULT, PORT_BYTES)
    expect_exact(segment, program, rng)
    between = {program.placements[f"t{n}"].address for n in range(1, 6)}
    assert len(between) == 2
    assert [name for name, _, _ in program.layers] == [f"conv{n}" for n in range(6)]
    assert all(first <= last for _, first, last in program.layers)


def test_the_planner_has_a_reference():
    rng = np.random.default_rng(3)
    for _ in range(6):
        segment = Random(rng, DEFAULT).segment(3)
        inputs = {
            each.name: rng.integers(each.low, each.high + 1, each.shape) for each in segment.tensors
        }
        expected = reference(segment, inputs)
        for name, value in planner_reference.reference(segment, inputs).items():
            np.testing.assert_array_equal(value, expected[name])


def test_layers_that_do_not_fit_name_the_buffer():
    rng = np.random.default_rng(0)
    config = narrow(inp_buff_size=8, acc_buff_size=9, wgt_buff_size=12)
    segment = conv(rng, (9, 9), 16, 16, kernel=5, padding=(0, 0, 0, 0))
    with pytest.raises(BufferTooSmall, match=r"'conv'.*400 bytes of INP.*LOG_INP_BUFF_SIZE 9"):
        plan_segment(segment, config, PORT_BYTES)
    enough = narrow(inp_buff_size=9, acc_buff_size=9, wgt_buff_size=13)
    with pytest.raises(BufferTooSmall, match=r"6400 bytes of WGT.*LOG_WGT_BUFF_SIZE 13"):
        plan_segment(segment, replace(enough, log_wgt_buff_size=12), PORT_BYTES)
    expect_exact(segment, plan_segment(segment, enough, PORT_BYTES), rng)


def test_unusable_numbers_are_refused():
    rng = np.random.default_rng(0)
    segment = conv(rng, (8, 8), 16, 16)
    with pytest.raises(NotRepresentable, match=r"'x'.*127.*1 bit"):
        plan_segment(segment, CONFIGS["1 bit"], PORT_BYTES)
    (layer,) = segment.layers
    for broken, error in (
        (replace(layer, bias=np.full(16, 2**31 - 1)), AccumulatorOverflow),
        (replace(layer, shift=np.arange(16) + np.arange(16) // 15), Unsupported),
        (replace(layer, terms=(3, 16)), Unsupported),
        (replace(layer, terms=(-1,)), Unsupported),
        (replace(layer, lift=-1), Unsupported),
        (replace(layer, lift=16), AccumulatorOverflow),
        (replace(layer, shift=32), Unsupported),
    ):
        with pytest.raises(error, match="'conv'"):
            plan_segment(replace(segment, layers=(broken,)), DEFAULT, PORT_BYTES)
    with pytest.raises(UnknownDecision, match="rows"):
        plan_segment(segment, DEFAULT, PORT_BYTES, {"conv": {"rows": 5}})


def test_convolutions_of_resnet18_keep_the_gemm_unit_busy():
    """The layer of fewest products per output: the others have less overhead."""
    segment = conv(np.random.default_rng(0), (56, 56), 64, 64)
    problem = problem_of(segment.layers[0], segment, DEFAULT)
    best = plan_of(problem, DEFAULT, chosen(problem, DEFAULT, PORT_BYTES))
    products = 56 * 56 * 9 * (64 // 16) ** 2
    assert products / timeline(best, PORT_BYTES).cycles >= 0.87
