"""Layers that VTA computes become segments: which, what they compute, what the host keeps."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tvm
from tvm import relax

from qcompile.errors import Unsupported
from qcompile.ops import requantize
from qcompile.passes.partition_vta import SEGMENT, partition_vta
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.layers import MaxPool, Sums
from tests.passes.modules import const, module, run
from tests.passes.vta_networks import (
    SAME,
    averaged,
    conv,
    pooled,
    product,
    run_partition,
    shifted,
    summed,
    two_codes,
)

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (2, 6, 7, 20)).astype("uint8")
TYPE = (IMAGES.shape, "uint8")
FOUR_BITS = replace(DEFAULT, log_inp_width=2, log_wgt_width=2)


def calls_of(mod):
    """The functions that `main` calls and its operators, in order."""
    mod = relax.transform.DeadCodeElimination()(mod)
    values = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    calls = [value for value in values if isinstance(value, tvm.ir.Call)]
    names = [str(call.op.name).rpartition(".")[2] for call in calls]
    return [
        str(call.args[0].name_hint).rstrip("0123456789_") if name == "call_tir" else name
        for name, call in zip(names, calls, strict=True)
    ]


def residual(emit, x):
    """Two convolutions around a shortcut, pools, a matrix product on the flattened image."""
    first = shifted(emit, conv(emit, x, 24, layer="first", padding=SAME, zero=5))
    shifts = RNG.integers(7, 11, 24)
    second = conv(emit, first, 24, layer="second", padding=SAME, zero=7)
    both = summed(emit, first, shifted(emit, second, shifts, zero_point=130))
    small = averaged(emit, pooled(emit, both, 3, 1, SAME), (2, 2), 0.25)
    turned = emit(relax.op.permute_dims(small, (0, 3, 1, 2)))
    rows = emit(relax.op.reshape(turned, (2, 24 * 9)))
    hidden = shifted(emit, product(emit, rows, 12, zero=7, layer="hidden"), 6)
    return product(emit, hidden, 5, zero=7, layer="last")


def strided(emit, x):
    made = conv(emit, x, 6, kernel=2, strides=(2, 1), padding=(1, 0, 2, 1), dilation=(2, 3), zero=9)
    return shifted(emit, made, 9, dtype="int8", zero_point=-4, low=-100, high=90)


def depthwise(emit, x):
    made = conv(emit, x, 20, groups=20, padding=SAME, layer="depthwise")
    grouped = shifted(emit, made, 5)
    return shifted(emit, conv(emit, grouped, 12, groups=4, zero=7, layer="grouped"), 7)


def rounded_once(emit, x):
    """A shortcut and two convolutions in one layer."""
    first = conv(emit, x, 20, layer="a", padding=SAME, zero=3)
    second = conv(emit, x, 20, kernel=1, layer="b", zero=3)
    centred = emit(relax.op.subtract(emit(relax.op.astype(x, "int32")), const(5, "int32")))
    scaled = emit(relax.op.multiply(centred, const(RNG.integers(-300, 300, 20), "int32")))
    both = emit(relax.op.add(first, scaled))
    return shifted(emit, emit(relax.op.add(both, second)), RNG.integers(7, 11, 20))


def bipolar(emit, x):
    flip = np.where(np.arange(10) % 3, 0, -1)
    signs = two_codes(emit, conv(emit, x, 10, zero=128, padding=SAME, bits=8), flip=flip)
    return two_codes(emit, conv(emit, signs, 10, padding=SAME, layer="second"), 0, 1)


def rescaled(emit, x):
    return shifted(emit, x, 1, input_zero=40, zero_point=20)


def matrix(emit, x):
    rows = emit(relax.op.reshape(x, (2, 6 * 7 * 20)))
    return shifted(emit, product(emit, rows, 9, layer="rows"), 10)


def rows_of_sequences(emit, x):
    rows = emit(relax.op.reshape(x, (2, 42, 20)))
    return shifted(emit, product(emit, rows, 9, layer="rows"), 8)


NETWORKS = {
    network.__name__: network
    for network in (
        residual, strided, depthwise, rounded_once, bipolar, rescaled, matrix, rows_of_sequences,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("config", [DEFAULT, FOUR_BITS], ids=["8 bits", "4 bits"])
def test_keeps_the_numbers(name, config):
    mod = module(NETWORKS[name], TYPE)
    found = partition_vta(mod, config)
    assert len(found.segments) == 1
    np.testing.assert_array_equal(run_partition(found, config, IMAGES), run(mod, IMAGES))


@pytest.mark.parametrize("images", [1, 2, 3])
def test_keeps_the_numbers_of_batches(images):
    config = replace(DEFAULT, log_batch=1, log_inp_buff_size=16, log_acc_buff_size=18)
    x = np.concatenate([IMAGES, IMAGES[::-1]])[:images]
    mod = module(strided, (x.shape, "uint8"))
    found = partition_vta(mod, config)
    np.testing.assert_array_equal(run_partition(found, config, x), run(mod, x))


def test_everything_between_two_transforms_is_one_segment():
    found = partition_vta(module(residual, TYPE), DEFAULT)
    assert calls_of(found.mod) == ["vta_blocked", "vta_segment", "vta_sums"]
    (segment,) = found.segments
    names = [layer.name for layer in segment.layers]
    assert names[:2] == ["first", "second"] and names[-2:] == ["hidden", "last"]
    kinds = [type(layer) for layer in segment.layers]
    assert kinds == [Sums, Sums, Sums, MaxPool, Sums, Sums, Sums]
    assert [len(layer.sources) for layer in segment.layers if isinstance(layer, Sums)] == [
        *(1, 1, 2, 1, 1, 1)
    ]
    # The image is not turned and flattened: weights of its size read it as it lies.
    assert segment.layers[-2].sources[0].weights.shape == (12, 3, 3, 24)
    assert (segment.inputs, segment.outputs) == (("x0",), (segment.layers[-1].output.name,))
    assert segment.layers[-1].output.dtype == "sums"


def test_a_sum_of_sums_is_one_layer():
    found = partition_vta(module(rounded_once, TYPE), DEFAULT)
    (layer,) = found.segments[0].layers
    assert layer.name == "a + b" and found.products == {"a + b": ("a", "b")}
    kernels = [source.weights.shape[1:3] for source in layer.sources]
    # The shortcut's factors of up to 300 take 8 bits three times.
    assert kernels == [(3, 3), (1, 1), (1, 1), (1, 1), (1, 1)]
    assert max(np.abs(source.weights).max() for source in layer.sources[1:4]) <= 127


COLOURS = np.ascontiguousarray(IMAGES[..., :3])


def few_channels(emit, x, **geometry):
    made = conv(emit, x, 20, zero=9, **geometry)
    return shifted(emit, made, 9, dtype="int8", zero_point=-4, low=-100, high=90)


@pytest.mark.parametrize(
    ("geometry", "channels", "kernel"),
    [
        ({"padding": SAME}, 3, (1, 1)),
        ({"kernel": 5, "padding": (2, 1, 2, 2), "strides": (2, 2)}, 3, (5, 1)),
        ({"kernel": 2, "padding": (1, 0, 0, 1), "dilation": (2, 3)}, 3, (1, 1)),
        ({"padding": SAME}, 1, (1, 1)),
        ({"kernel": 1}, 3, (1, 1)),
    ],
)
@pytest.mark.parametrize("config", [DEFAULT, FOUR_BITS], ids=["8 bits", "4 bits"])
def test_windows_of_few_channels_fill_a_block(geometry, channels, kernel, config):
    x = np.ascontiguousarray(COLOURS[..., :channels])
    mod = module(partial(few_channels, **geometry), (x.shape, "uint8"))
    found = partition_vta(mod, config)
    pointwise = geometry.get("kernel") == 1
    assert calls_of(found.mod)[0] == ("vta_blocked" if pointwise else "vta_gathered")
    assert found.segments[0].layers[0].sources[0].weights.shape[1:3] == kernel
    np.testing.assert_array_equal(run_partition(found, config, x), run(mod, x))


def test_an_input_of_two_layers_is_not_gathered():
    def body(emit, x):
        one = shifted(emit, conv(emit, x, 8, layer="one", padding=SAME))
        return summed(emit, one, shifted(emit, conv(emit, x, 8, layer="two", padding=SAME)))

    mod = module(body, (COLOURS.shape, "uint8"))
    found = partition_vta(mod, DEFAULT)
    assert calls_of(found.mod)[0] == "vta_blocked"
    np.testing.assert_array_equal(run_partition(found, DEFAULT, COLOURS), run(mod, COLOURS))


def test_what_vta_makes_is_not_gathered():
    def body(emit, x):
        small = shifted(emit, conv(emit, x, 3, layer="one", padding=SAME))
        return shifted(emit, conv(emit, small, 20, layer="two", padding=SAME, zero=7))

    (segment,) = partition_vta(module(body, TYPE), DEFAULT).segments
    assert [layer.sources[0].weights.shape[1:] for layer in segment.layers] == [
        *((3, 3, 20), (3, 3, 3))
    ]


def test_marks_the_call():
    found = partition_vta(module(strided, TYPE), DEFAULT)
    (function,) = (f for f in found.mod.functions.values() if SEGMENT in (f.attrs or {}))
    assert str(function.attrs[SEGMENT]) == found.segments[0].name == "conv"
    assert int(function.attrs["op_pattern"]) == 8 and function.attrs["tirx.is_scheduled"]
    assert len(function.params) == 2 and "global_symbol" not in function.attrs


def test_the_host_between_layers_makes_two_segments():
    """b reads a through the host and c directly; c is with a, and hands its blocks to b."""

    def body(emit, x):
        a = shifted(emit, conv(emit, x, 8, layer="a", padding=SAME))
        through = emit(relax.op.flip(a, 1))
        c = shifted(emit, conv(emit, a, 8, layer="c", padding=SAME, zero=7))
        return [summed(emit, through, c), a]

    mod = module(body, TYPE)
    found = partition_vta(mod, DEFAULT)
    first, second = found.segments
    assert [layer.name for layer in first.layers] == ["a", "c"] and len(first.outputs) == 2
    assert set(second.inputs) & set(first.outputs)  # what a segment hands on stays in blocks
    assert calls_of(found.mod) == [
        *("vta_blocked", "vta_segment", "vta_codes", "flip", "vta_blocked", "vta_segment"),
        "vta_codes",
    ]
    results = run_partition(found, DEFAULT, IMAGES)
    for expected, result in zip(run(mod, IMAGES), results, strict=True):
        np.testing.assert_array_equal(result, expected)


def test_a_chosen_layer_stays_on_the_host():
    mod = module(residual, TYPE)
    found = partition_vta(mod, DEFAULT, on_host=["first"])
    assert calls_of(found.mod)[:4] == ["conv2d", "requantize", "vta_blocked", "vta_segment"]
    assert found.segments[0].layers[0].name == "second"
    np.testing.assert_array_equal(run_partition(found, DEFAULT, IMAGES), run(mod, IMAGES))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "config", "offset"),
    [
        (0, 255, "uint8", DEFAULT, 128),
        (0, 127, "uint8", DEFAULT, 0),
        (-128, 127, "int8", DEFAULT, 0),
        (0, 15, "uint8", FOUR_BITS, 8),
        (0, 7, "uint8", FOUR_BITS, 0),
        (0, 255, "uint8", FOUR_BITS, 128),
    ],
)
def test_codes_are_held_signed(low, high, dtype, config, offset):
    def body(emit, x):
        return shifted(emit, conv(emit, x, 4), 9, zero_point=3, low=low, high=high, dtype=dtype)

    (segment,) = partition_vta(module(body, TYPE), config).segments
    output = segment.layers[0].output
    assert (output.offset, output.low, output.high) == (offset, low - offset, high - offset)


def of_other_rounding(emit, x):
    return shifted(emit, emit(relax.op.astype(x, "uint8")), 1, rounding="half_even")


def other_scale(emit, x):
    scale, codes = const(0.3), {"zero_point": 0, "low": 0, "high": 255, "dtype": "uint8"}
    return requantize(x, scale, None, input_zero=0, rounding="half_ceil", **codes)


def broadcast(emit, x):
    row = emit(relax.op.strided_slice(x, axes=[1], begin=[0], end=[1]))
    return summed(emit, x, row)


def sum_of_other_rounding(emit, x):
    return summed(emit, x, x, rounding="half_even")


def sum_of_other_scales(emit, x):
    return summed(emit, x, x, scales=(0.3, 0.5))


def maxima_apart(emit, x):
    attributes = {"pool_size": (2, 2), "dilation": (2, 2), "layout": "NHWC"}
    return emit(relax.op.nn.max_pool2d(x, **attributes))


def maxima_of_planes(emit, x):
    return emit(relax.op.nn.max_pool2d(x, pool_size=(2, 2), layout="NCHW"))


NEAR_MISSES = [
    other_scale, broadcast, sum_of_other_rounding, sum_of_other_scales, maxima_apart,
    maxima_of_planes,
]  # fmt: skip


@pytest.mark.parametrize("network", NEAR_MISSES)
def test_leaves_to_the_host(network):
    mod = module(network, TYPE)
    found = partition_vta(mod, DEFAULT)
    assert found.segments == ()
    assert "vta_segment" not in calls_of(found.mod)
    np.testing.assert_array_equal(run(found.mod, IMAGES), run(mod, IMAGES))


def test_sums_of_scales_that_are_no_powers_leave_the_chip():
    def body(emit, x):
        sums = conv(emit, x, 8)
        codes = {"zero_point": 0, "low": 0, "high": 255, "dtype": "uint8"}
        return emit(requantize(sums, const(np.full(8, 0.003)), None, input_zero=0, **codes))

    mod = module(body, TYPE)
    found = partition_vta(mod, DEFAULT)
    assert calls_of(found.mod) == ["vta_blocked", "vta_segment", "vta_sums", "requantize"]
    np.testing.assert_array_equal(run_partition(found, DEFAULT, IMAGES), run(mod, IMAGES))


def test_refuses_inputs_wider_than_codes():
    with pytest.raises(Unsupported, match="LOG_INP_WIDTH up to 3"):
        partition_vta(module(strided, TYPE), replace(DEFAULT, log_inp_width=4))
