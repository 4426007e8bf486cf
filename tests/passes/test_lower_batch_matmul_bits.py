"""Products of two computed matrices on bits give NumPy's integers, for every kind of operand."""

from math import prod
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from qcompile.ops import batch_matmul
from qcompile.passes.choose_kernels import ChooseKernels
from qcompile.targets import load_target
from tests.passes.modules import attribute, calls, module
from tests.passes.test_lower_bits import (
    BIPOLAR,
    BIT,
    BITS_ALWAYS,
    INT2,
    INT8_ALWAYS,
    UINT2,
    UINT4,
    Data,
    in_turn,
    lowered,
    pairs,
    run,
    target,
)

__all__ = ["target"]  # a fixture

TERNARY = Data(2, -1, 1, "int8")
INT8 = Data(8, -128, 1, "int8")
ODD2 = Data(2, -3, 2, "int8")
PAIRS = {
    "signs": (BIPOLAR, BIPOLAR, 0, 0),
    "bits": (BIT, BIT, 0, 0),
    "bits_times_signs": (BIT, BIPOLAR, 0, 0),
    "signs_times_bits": (BIPOLAR, BIT, 0, 0),
    "unsigned": (UINT2, UINT4, 0, 0),
    "twos_complement": (INT2, INT2, 0, 0),
    "zero_points": (UINT2, UINT2, 1, 3),
    "zero_point_on_the_left": (UINT2, BIT, 7, 0),
    "odd_integers": (ODD2, BIPOLAR, 0, 0),
    "odd_integers_times_unsigned": (ODD2, UINT2, 0, 2),
    "signs_with_a_zero_point": (BIPOLAR, BIPOLAR, -1, 0),
    "eight_bits_times_signs": (INT8, BIPOLAR, 3, 0),
    "two_bits_times_ternary": (UINT2, TERNARY, 0, 0),
}
SHAPES = [((2, 3), 5, 70, 33), ((), 16, 64, 32), ((4,), 1, 40, 7), ((1, 2), 64, 128, 64)]
Pair = tuple[Data, Data, int, int]


def product(emit: Any, a: Any, b: Any, pair: Pair) -> tvm.ir.Call:
    left, right, zero_a, zero_b = pair
    return batch_matmul(
        a,
        b,
        zeros=(zero_a, zero_b),
        bits=(left.bits, right.bits),
        codes=((left.low, left.step), (right.low, right.step)),
        layer="layer",
    )


def kernels(mod: tvm.IRModule) -> set[str]:
    names = [str(var.name_hint) for var in mod.functions]
    return {kind for kind in ("matmul_bits", "matmul_int8") for name in names if kind in name}


def expected(a: np.ndarray, b: np.ndarray, pair: Pair) -> np.ndarray:
    return (a.astype("int64") - pair[2]) @ (b.astype("int64") - pair[3])


def operands(pair: Pair, shape: tuple[tuple[int, ...], int, int, int]) -> list[np.ndarray]:
    leading, rows, depth, columns = shape
    rng = np.random.default_rng(prod(leading) + depth)
    return [
        pair[0].draw(rng, (*leading, rows, depth)),
        pair[1].draw(rng, (*leading, depth, columns)),
    ]


@pytest.mark.parametrize(("name", "shape", "target"), pairs(PAIRS, SHAPES), indirect=["target"])
def test_products(name, shape, target):
    pair = PAIRS[name]
    a, b = operands(pair, shape)
    parameters = [(array.shape, str(array.dtype)) for array in (a, b)]
    mod = module(lambda emit, a, b: product(emit, a, b, pair), *parameters)
    mod = lowered(mod, target, BITS_ALWAYS)
    assert kernels(mod) == {"matmul_bits"}
    np.testing.assert_array_equal(run(mod, target, a, b), expected(a, b, pair))


@pytest.mark.parametrize(
    ("name", "size", "target"),
    pairs(["signs", "bits_times_signs", "zero_points"], [32, 20]),
    indirect=["target"],
)
def test_heads_of_attention(name, size, target):
    """(batch, positions, heads * size), split into heads; the right factor transposed."""
    pair, batch, heads, rows = PAIRS[name], 2, 3, 21
    rng = np.random.default_rng(0)
    a, b = (data.draw(rng, (batch, rows, heads * size)) for data in pair[:2])

    def split(emit, codes, order):
        return emit(
            relax.op.permute_dims(emit(relax.op.reshape(codes, (batch, rows, heads, size))), order)
        )

    def body(emit, a, b):
        left, right = split(emit, a, (0, 2, 1, 3)), split(emit, b, (0, 2, 3, 1))
        return product(emit, left, right, pair)

    mod = module(body, *((array.shape, str(array.dtype)) for array in (a, b)))
    mod = lowered(mod, target, BITS_ALWAYS)
    left, right = (array.reshape(batch, rows, heads, size) for array in (a, b))
    result = expected(left.transpose(0, 2, 1, 3), right.transpose(0, 2, 3, 1), pair)
    np.testing.assert_array_equal(run(mod, target, a, b), result)


@pytest.mark.parametrize(("name", "target"), in_turn(["signs"]), indirect=["target"])
def test_a_constant_factor(name, target):
    pair = PAIRS[name]
    a, b = operands(pair, SHAPES[0])
    mod = module(lambda emit, a: product(emit, a, relax.const(b), pair), (a.shape, str(a.dtype)))
    mod = lowered(mod, target, BITS_ALWAYS)
    np.testing.assert_array_equal(run(mod, target, a), expected(a, b, pair))


def test_the_cheaper_kernel_is_chosen():
    pair = PAIRS["signs"]
    mod = module(
        lambda emit, a, b: product(emit, a, b, pair), ((2, 64, 64), "int8"), ((2, 64, 64), "int8")
    )
    for costs, kernel in ((BITS_ALWAYS, "bits"), (INT8_ALWAYS, "int8")):
        (call,) = calls(ChooseKernels(load_target("znver4"), costs)(mod), "qcompile.batch_matmul")
        assert attribute(call, "kernel") == kernel


def test_int8_where_there_are_many_planes():
    pair = Data(8, 0, 1, "uint8"), Data(8, 0, 1, "uint8"), 0, 0
    mod = module(
        lambda emit, a, b: product(emit, a, b, pair), ((2, 64, 64), "uint8"), ((2, 64, 64), "uint8")
    )
    chosen = ChooseKernels(load_target("znver4"), BITS_ALWAYS)(mod)
    (call,) = calls(chosen, "qcompile.batch_matmul")
    assert attribute(call, "kernel") == "int8"
