import numpy as np
import pytest

from qcompile.ops import add, multiply, requantize, table
from qcompile.passes.compose_tables import ComposeTables
from tests.passes import references
from tests.passes.modules import assert_same, const, module, operators, run

RNG = np.random.default_rng(0)
SHAPE = (2, 128)
CODES = {"uint8": np.arange(256, dtype="uint8"), "int8": np.arange(-128, 128).astype("int8")}
FIRST = RNG.permutation(256).astype("uint8")
SECOND = RNG.permutation(256).astype("uint8").view("int8")


def looked_up(emit, x, entries=FIRST):
    return emit(table(x, const(entries, str(entries.dtype))))


def requantized(x, scale=0.3, offset=None, dtype="uint8", low=3, high=200):
    return requantize(
        x,
        const(scale),
        None if offset is None else const(offset),
        input_zero=31,
        zero_point=90,
        low=low,
        high=high,
        dtype=dtype,
    )


def paired(operator, a, b, dtype="int8"):
    scales = {"scales": (0.3, 0.7)} if operator is add else {"scale": 0.01}
    limits = {"zero_point": -5, "low": -127, "high": 127, "dtype": dtype}
    return operator(a, b, zeros=(31, -3), **scales, **limits)


def sum_of(a, b):
    left = (a.astype("float32") - np.float32(31)) * np.float32(0.3)
    right = (b.astype("float32") + np.float32(3)) * np.float32(0.7)
    return np.clip(np.rint(left + right) - 5, -127, 127)


def product_of(a, b):
    product = (a.astype("int64") - 31) * (b.astype("int64") + 3)
    return references.requantized(product, 0.01, -5, -127, 127)


CHAINS = {
    "table": (
        lambda emit, x: table(looked_up(emit, x), const(SECOND, "int8")),
        lambda x, index: SECOND[FIRST[index]],
    ),
    "table_of_int8": (
        lambda emit, x: table(looked_up(emit, x, SECOND), const(FIRST, "uint8")),
        lambda x, index: FIRST[SECOND[index].astype("int64") + 128],
    ),
    "requantize": (
        lambda emit, x: requantized(looked_up(emit, x)),
        lambda x, index: references.requantized(FIRST[index].astype("int64") - 31, 0.3, 90, 3, 200),
    ),
    "requantize_with_offset": (
        lambda emit, x: requantized(looked_up(emit, x), 0.3, -7.25),
        lambda x, index: references.requantized(
            FIRST[index].astype("int64") - 31, 0.3, 90, 3, 200, -7.25
        ),
    ),
    "sum_with_itself": (lambda emit, x: paired(add, x, x), lambda x, index: sum_of(x, x)),
    "sum_with_its_table": (
        lambda emit, x: paired(add, looked_up(emit, x), x),
        lambda x, index: sum_of(FIRST[index], x),
    ),
    "product_of_tables": (
        lambda emit, x: paired(multiply, looked_up(emit, x), looked_up(emit, x, SECOND)),
        lambda x, index: product_of(FIRST[index], SECOND[index]),
    ),
    "product_with_a_constant": (
        lambda emit, x: paired(multiply, looked_up(emit, x), const([9], "int8")),
        lambda x, index: product_of(FIRST[index], np.int8(9)),
    ),
    "constant_first": (
        lambda emit, x: paired(add, const(9, "int8"), looked_up(emit, x)),
        lambda x, index: sum_of(np.int8(9), FIRST[index]),
    ),
    "constants_twice": (
        lambda emit, x: paired(
            add, emit(paired(multiply, x, const([[9]], "int8"))), const(-70, "int8")
        ),
        lambda x, index: sum_of(product_of(x, np.int8(9)), np.int8(-70)),
    ),
    "table_of_a_product": (
        lambda emit, x: table(emit(paired(multiply, x, const([9], "int8"))), const(FIRST, "uint8")),
        lambda x, index: FIRST[product_of(x, np.int8(9)).astype("int64") + 128],
    ),
    "gate": (
        lambda emit, x: paired(multiply, x, emit(paired(add, x, const(9, "int8")))),
        lambda x, index: product_of(x, sum_of(x, np.int8(9))),
    ),
    "long_chain": (
        lambda emit, x: requantized(
            emit(paired(multiply, emit(table(looked_up(emit, x), const(SECOND, "int8"))), x))
        ),
        lambda x, index: references.requantized(
            product_of(SECOND[FIRST[index]], x) - 31, 0.3, 90, 3, 200
        ),
    ),
}


@pytest.mark.parametrize("case", CHAINS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_becomes_one_table(case, dtype):
    operator, expected = CHAINS[case]
    mod = ComposeTables()(module(operator, (SHAPE, dtype)))
    assert operators(mod) == ["table"]
    x = CODES[dtype].reshape(SHAPE)
    index = np.arange(256).reshape(SHAPE)
    np.testing.assert_array_equal(run(mod, x), expected(x, index))


def test_other_readers_keep_their_codes():
    def body(emit, x):
        inner = looked_up(emit, x)
        return [inner, emit(requantized(inner))]

    mod = ComposeTables()(module(body, (SHAPE, "uint8")))
    assert operators(mod) == ["table", "table"]
    inner, outer = run(mod, CODES["uint8"].reshape(SHAPE))
    np.testing.assert_array_equal(inner.reshape(-1), FIRST)
    expected = references.requantized(FIRST.astype("int64") - 31, 0.3, 90, 3, 200)
    np.testing.assert_array_equal(outer.reshape(-1), expected)


def two_tensors(emit, x, y):
    return paired(add, looked_up(emit, x), y)


def computed_entries(emit, x, entries):
    return table(looked_up(emit, x), entries)


NEAR_MISSES = {
    "requantize_alone": module(lambda emit, x: requantized(x), (SHAPE, "uint8")),
    "table_alone": module(lambda emit, x: looked_up(emit, x), (SHAPE, "uint8")),
    "constant_alone": module(lambda emit, x: paired(add, x, const(9, "int8")), (SHAPE, "uint8")),
    "constant_alone_first": module(
        lambda emit, x: paired(add, const(9, "int8"), x), (SHAPE, "uint8")
    ),
    "two_tensors": module(two_tensors, (SHAPE, "uint8"), (SHAPE, "uint8")),
    "computed_entries": module(computed_entries, (SHAPE, "uint8"), ((256,), "uint8")),
    "sums": module(lambda emit, x: requantized(x), (SHAPE, "int32")),
    "scales_per_channel": module(
        lambda emit, x: requantized(looked_up(emit, x), np.ones(128)), (SHAPE, "uint8")
    ),
    "constants_per_channel": module(
        lambda emit, x: paired(add, looked_up(emit, x), const(np.ones(128), "int8")),
        (SHAPE, "uint8"),
    ),
    "broadcast": module(
        lambda emit, x: paired(add, looked_up(emit, x), const([[[9]]], "int8")), (SHAPE, "uint8")
    ),
}


@pytest.mark.parametrize("case", NEAR_MISSES)
def test_leaves_alone(case):
    assert_same(ComposeTables()(NEAR_MISSES[case]), NEAR_MISSES[case])
