"""Layers on bits give the integers that NumPy gives, for every kind of operand and border."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from qcompile.errors import Unsupported
from qcompile.ops import conv2d, dense, threshold
from qcompile.passes.choose_kernels import ChooseKernels
from qcompile.pipeline import fuse_passes, lower_passes
from qcompile.targets import host_features, load_target
from qcompile.targets.costs import KERNELS, Costs, KernelCost
from qcompile.tvm_errors import register_errors
from tests.passes import references
from tests.passes.modules import attribute, calls, dequantized, module


def costs_where(cheap: str) -> Costs:
    """A table by which the kernels on `cheap` take no time."""
    kernels = {name: KernelCost(*[1 - name.endswith(cheap)] * 9) for name in KERNELS}
    return Costs(kernels, read_s=0, pack_s=0, copy_s=0, source="test")


BITS_ALWAYS, INT8_ALWAYS = costs_where("bits"), costs_where("int8")
PACKED_ALWAYS = costs_where("packed")


@dataclass(frozen=True)
class Data:
    """Codes low + step * u with u of `bits` bits."""

    bits: int
    low: int
    step: int
    dtype: str

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return (self.low + self.step * rng.integers(0, 2**self.bits, shape)).astype(self.dtype)


BIPOLAR, BIT = Data(1, -1, 2, "int8"), Data(1, 0, 1, "uint8")
UINT2, INT2, UINT4 = Data(2, 0, 1, "uint8"), Data(2, -2, 1, "int8"), Data(4, 0, 1, "uint8")
SIGNS, TERNARY, INT2_WEIGHTS = [-1, 1], [-1, 0, 1], [-2, -1, 0, 1]
HOST, AVX2 = "host", "x86-64-v3"


@pytest.fixture(params=[HOST, AVX2])
def target(request):
    chosen = load_target(request.param)
    if not chosen.runs_on(host_features()):
        pytest.skip(f"{request.param} needs instructions that this processor lacks")
    return chosen


def in_turn(cases: Iterable[Any]) -> list[tuple[Any, str]]:
    """Every case with one of the targets, in turn: both with all of them take too long."""
    return list(zip(cases, cycle((HOST, AVX2)), strict=False))


def pairs(cases: Iterable[Any], others: Sequence[Any]) -> list[tuple[Any, Any, str]]:
    """Every case with both targets, and the other values in turn."""
    return [
        (case, others[(i + j) % len(others)], target)
        for i, case in enumerate(cases)
        for j, target in enumerate((HOST, AVX2))
    ]


def lowered(mod: tvm.IRModule, target: Any, costs: Costs) -> tvm.IRModule:
    return tvm.transform.Sequential([*lower_passes(target, costs), *fuse_passes(target)])(mod)


def run(mod: tvm.IRModule, target: Any, *arrays: np.ndarray) -> np.ndarray:
    machine = relax.VirtualMachine(tvm.compile(mod, target.tvm_target()), tvm.cpu())
    return machine["main"](*(tvm.runtime.tensor(array) for array in arrays)).numpy()


def kernels(mod: tvm.IRModule) -> set[str]:
    names = {str(var.name_hint) for var in mod.functions}
    return {
        kind
        for kind in ("conv2d_bits", "dense_bits", "dense_packed", "int8")
        for n in names
        if kind in n
    }


@dataclass(frozen=True)
class Case:
    data: Data
    weights: list[int]
    channels: int = 64
    outputs: int = 32
    size: tuple[int, int] = (7, 6)
    kernel: tuple[int, int] = (3, 3)
    pads: tuple[int, ...] = (1, 1, 1, 1)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    zero: int = 0


CONVOLUTIONS = {
    "signs": Case(BIPOLAR, SIGNS),
    "signs_without_border": Case(BIPOLAR, SIGNS, pads=(0, 0, 0, 0)),
    "uneven_border": Case(BIPOLAR, SIGNS, pads=(2, 0, 0, 1)),
    "window_larger_than_image": Case(BIPOLAR, SIGNS, size=(2, 2), kernel=(5, 5), pads=(2,) * 4),
    "strides": Case(BIPOLAR, SIGNS, strides=(2, 2)),
    "dilation": Case(BIPOLAR, SIGNS, dilation=(2, 1), pads=(2, 1, 2, 1)),
    "channels_that_fill_no_word": Case(BIPOLAR, SIGNS, channels=40, outputs=19),
    "groups": Case(BIPOLAR, SIGNS, channels=64, groups=2),
    "groups_that_fill_no_word": Case(BIPOLAR, TERNARY, channels=48, outputs=20, groups=4),
    "one_pixel": Case(BIPOLAR, SIGNS, kernel=(1, 1), pads=(0, 0, 0, 0)),
    "bits_times_signs": Case(BIT, SIGNS),
    "bits_times_bits": Case(BIT, [0, 1]),
    "two_bits_times_signs": Case(UINT2, SIGNS),
    "zero_point": Case(UINT2, TERNARY, zero=1),
    "zero_point_without_code": Case(UINT2, SIGNS, zero=9),
    "signed_data": Case(INT2, INT2_WEIGHTS),
    "four_bits_times_signs": Case(UINT4, SIGNS),
    "weights_of_one_sign_and_scale": Case(BIPOLAR, [-3, 3]),
    "ternary": Case(UINT2, TERNARY),
}


def conv2d_operands(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(case.weights) + case.channels)
    x = case.data.draw(rng, (2, *case.size, case.channels))
    shape = (case.outputs, *case.kernel, case.channels // case.groups)
    w = rng.choice(case.weights, shape).astype("int8")
    return x, w, rng.integers(-50, 50, case.outputs).astype("int32")


@pytest.mark.parametrize(("name", "target"), in_turn(CONVOLUTIONS), indirect=["target"])
def test_convolutions(name, target):
    case = CONVOLUTIONS[name]
    x, w, bias = conv2d_operands(case)
    geometry = {"strides": case.strides, "padding": case.pads, "dilation": case.dilation}

    def body(emit, codes):
        return conv2d(
            codes,
            relax.const(w),
            relax.const(bias),
            groups=case.groups,
            zero_point=case.zero,
            bits=(case.data.bits, 2),
            codes=(case.data.low, case.data.step),
            layer="layer",
            **geometry,
        )

    mod = lowered(module(body, (x.shape, str(x.dtype))), target, BITS_ALWAYS)
    assert kernels(mod) == {"dense_bits" if case.kernel == (1, 1) else "conv2d_bits"}
    real = x.astype("int64") - case.zero
    expected = references.conv2d(real, w.astype("int64"), groups=case.groups, **geometry)
    np.testing.assert_array_equal(run(mod, target, x), expected + bias)


SCALED = ["signs", "uneven_border", "channels_that_fill_no_word", "groups", "two_bits_times_signs"]


@pytest.mark.parametrize(
    ("name", "odd", "target"), pairs(SCALED, [False, True]), indirect=["target"]
)
def test_scaled_sums_are_counted_in_units(name, odd, target):
    """To the bit: no sign of a zero changes."""
    case = CONVOLUTIONS[name]
    x, w, bias = conv2d_operands(case)
    bias = 2 * bias + odd
    scale = np.random.default_rng(0).normal(0, 1, case.outputs).astype("float32")

    def body(emit, codes):
        sums = conv2d(
            codes,
            relax.const(w),
            relax.const(bias),
            strides=(1, 1),
            padding=case.pads,
            dilation=(1, 1),
            groups=case.groups,
            zero_point=0,
            bits=(case.data.bits, 2),
            codes=(case.data.low, case.data.step),
            layer="layer",
        )
        return dequantized(emit(sums), scale, axis=3)

    mod = lowered(module(body, (x.shape, str(x.dtype))), target, BITS_ALWAYS)
    geometry = {"strides": (1, 1), "padding": case.pads, "dilation": (1, 1)}
    sums = references.conv2d(x.astype("int64"), w.astype("int64"), groups=case.groups, **geometry)
    expected = (sums + bias).astype("float32") * scale
    found = run(mod, target, x)
    np.testing.assert_array_equal(found.view("uint32"), expected.view("uint32"))


PRODUCTS = [
    *(
        (BITS_ALWAYS, "dense_bits", *pair)
        for pair in ((BIPOLAR, SIGNS), (UINT2, TERNARY), (INT2, SIGNS), (UINT4, INT2_WEIGHTS))
    ),
    *(
        (PACKED_ALWAYS, "dense_packed", *pair)
        for pair in (
            (BIPOLAR, SIGNS),
            (UINT4, range(-8, 8)),
            (Data(8, 0, 1, "uint8"), INT2_WEIGHTS),
        )
    ),
]


@pytest.mark.parametrize(
    ("product", "rows", "target"), pairs(PRODUCTS, [1, 5, 64]), indirect=["target"]
)
def test_products(product, rows, target):
    costs, kernel, data, weights = product
    rng = np.random.default_rng(rows)
    x = data.draw(rng, (rows, 70))
    w = rng.choice(list(weights), (33, 70)).astype("int8")
    bias = rng.integers(-9, 9, 33).astype("int32")

    def body(emit, codes):
        return dense(
            codes,
            relax.const(w),
            relax.const(bias),
            zero_point=1,
            bits=(data.bits, 2 if kernel == "dense_bits" else 4),
            codes=(data.low, data.step),
            layer="layer",
        )

    mod = lowered(module(body, (x.shape, str(x.dtype))), target, costs)
    assert kernels(mod) == {kernel}
    expected = (x.astype("int64") - 1) @ w.T.astype("int64") + bias
    np.testing.assert_array_equal(run(mod, target, x), expected)


@pytest.mark.parametrize("weights", [[-8, 8], [-9, 0]], ids=["too_high", "too_low"])
def test_weights_of_more_than_four_bits_are_not_packed(weights):
    w = np.resize(np.array(weights, "int8"), (16, 1, 1, 64))
    chosen = ChooseKernels(load_target("znver4"), PACKED_ALWAYS)(layer(UINT4, w))
    (call,) = calls(chosen, "qcompile.conv2d")
    assert attribute(call, "kernel") != "packed"


def layer(data: Data, weights: np.ndarray, groups: int = 1) -> tvm.IRModule:
    def body(emit, codes):
        return conv2d(
            codes,
            relax.const(weights),
            relax.const(np.zeros(len(weights), "int32")),
            strides=(1, 1),
            padding=(0, 0, 0, 0),
            dilation=(1, 1),
            groups=groups,
            zero_point=0,
            bits=(data.bits, 8),
            codes=(data.low, data.step),
            layer="layer",
        )

    return module(body, ((1, 8, 8, weights.shape[3] * groups), data.dtype))


def test_the_cheaper_kernel_is_chosen():
    signs = np.where(np.arange(32 * 9 * 64) % 3, 1, -1).reshape(32, 3, 3, 64).astype("int8")
    for costs, kernel in ((BITS_ALWAYS, "bits"), (INT8_ALWAYS, "int8")):
        mod = ChooseKernels(load_target("znver4"), costs)(layer(BIPOLAR, signs))
        (call,) = calls(mod, "qcompile.conv2d")
        assert attribute(call, "kernel") == kernel


@pytest.mark.parametrize("kernel", ["bits", "int8"])
def test_a_kernel_that_is_asked_for_is_taken(kernel):
    signs = np.where(np.arange(32 * 9 * 64) % 3, 1, -1).reshape(32, 3, 3, 64).astype("int8")
    for costs in (BITS_ALWAYS, INT8_ALWAYS):
        asked = ChooseKernels(load_target("znver4"), costs, {"layer": kernel, "other": "packed"})
        (call,) = calls(asked(layer(BIPOLAR, signs)), "qcompile.conv2d")
        assert attribute(call, "kernel") == kernel


def test_a_kernel_that_cannot_run_a_layer_is_refused():
    register_errors()
    mod = layer(UINT4, np.arange(-60, 68).reshape(2, 1, 1, 64).astype("int8"))
    asked = ChooseKernels(load_target("znver4"), BITS_ALWAYS, {"layer": "bits"})
    with pytest.raises(Unsupported, match=r"'layer': it has no kernel 'bits': .* int8 would work"):
        asked(mod)


@pytest.mark.parametrize(
    "mod",
    [
        layer(UINT4, np.arange(-60, 68).reshape(2, 1, 1, 64).astype("int8")),
        layer(BIPOLAR, np.ones((8, 3, 3, 1), "int8"), groups=8),
    ],
    ids=["many_planes", "depthwise"],
)
def test_int8_where_bits_cannot_win(mod):
    chosen = ChooseKernels(load_target("znver4"), BITS_ALWAYS)(mod)
    (call,) = calls(chosen, "qcompile.conv2d")
    assert attribute(call, "kernel") == "int8"


POOLED = [(BIPOLAR, "max_pool2d_bits"), (BIT, "max_pool2d_bits"), (UINT2, "pool")]


@pytest.mark.parametrize(("pooled", "target"), in_turn(POOLED), indirect=["target"])
def test_codes_of_one_bit_are_pooled_as_words(pooled, target):
    """A window with a border, of which no value is the largest."""
    data, kernel = pooled
    rng = np.random.default_rng(0)
    x = data.draw(rng, (1, 9, 9, 40))
    w = rng.choice(SIGNS, (16, 3, 3, 40)).astype("int8")

    def body(emit, codes):
        window = {"pool_size": [3, 3], "strides": [2, 2], "padding": [1, 1, 1, 1]}
        largest = relax.op.nn.max_pool2d(codes, **window, layout="NHWC")
        return conv2d(
            emit(largest),
            relax.const(w),
            relax.const(np.zeros(16, "int32")),
            strides=(1, 1),
            padding=(1, 1, 1, 1),
            dilation=(1, 1),
            groups=1,
            zero_point=0,
            bits=(data.bits, 1),
            codes=(data.low, data.step),
            layer="layer",
        )

    mod = lowered(module(body, (x.shape, str(x.dtype))), target, BITS_ALWAYS)
    assert any(kernel in str(var.name_hint) for var in mod.functions)
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=data.low)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (1, 2))[:, ::2, ::2]
    expected = references.conv2d(windows.max(axis=(-2, -1)), w, padding=(1, 1, 1, 1))
    np.testing.assert_array_equal(run(mod, target, x), expected)


@pytest.mark.parametrize(
    ("shape", "costs", "target"),
    pairs([(2, 5, 64), (6, 64)], [BITS_ALWAYS, INT8_ALWAYS]),
    indirect=["target"],
)
def test_thresholds_and_packing_join_products(shape, costs, target):
    """Whatever the leading axes, which the kernel does not have."""
    rng = np.random.default_rng(0)
    x = BIPOLAR.draw(rng, shape)
    weights = [rng.choice(SIGNS, (64, 64)).astype("int8") for _ in range(2)]
    limits = rng.integers(-9, 9, (1, 64)).astype("int32")

    def body(emit, codes):
        def multiply(codes, w, layer):
            bias = relax.const(np.zeros(64, "int32"))
            attributes = {"bits": (1, 1), "codes": (-1, 2), "layer": layer}
            return emit(dense(codes, relax.const(w), bias, zero_point=0, **attributes))

        sums = multiply(codes, weights[0], "first")
        codes = threshold(sums, relax.const(limits), None, low=-1, step=2, dtype="int8")
        return multiply(emit(codes), weights[1], "second")

    mod = lowered(module(body, (x.shape, "int8")), target, costs)
    kinds = [str(var.name_hint) for var in mod.functions]
    assert "threshold" not in kinds and not any(
        "threshold" in k and "dense" not in k for k in kinds
    )
    assert sum("dense" in kind for kind in kinds) == 2
    if costs is BITS_ALWAYS:
        assert any("dense_bits" in k and "threshold" in k and "pack" in k for k in kinds)
    first = x.astype("int64") @ weights[0].T.astype("int64")
    expected = np.where(first >= limits[0], 1, -1) @ weights[1].T.astype("int64")
    np.testing.assert_array_equal(run(mod, target, x), expected)
