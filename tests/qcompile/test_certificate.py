"""The proven bounds of sums are those that some data reach, by trying all of it."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.ir import IRModule

from qcompile.certificate import accumulators, certificate
from qcompile.errors import Unsupported
from qcompile.ops.contractions import batch_matmul, conv2d, dense
from qcompile.ops.pool import sum_pool2d
from tests.passes import references
from tests.passes.modules import const, module

SIGNED, UNSIGNED, BIPOLAR = (-2, 1), (0, 1), (-1, 2)
CODES = {SIGNED: (-2, -1, 0, 1), UNSIGNED: (0, 1, 2, 3), BIPOLAR: (-1, 1)}
BITS = {SIGNED: 2, UNSIGNED: 2, BIPOLAR: 1}


def proof(mod: IRModule):
    (found,) = accumulators(mod)
    return found


def every(codes, count):
    """(tries, count): all data of so many codes."""
    return np.array(list(product(codes, repeat=count)), "int64")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lattice=st.sampled_from(list(CODES)),
    zero=st.integers(-3, 3),
    image=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
def test_bounds_of_convolutions_are_reached(
    lattice, zero, image, kernel, pads, strides, dilation, groups, seed
):
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(image[a] + pads[a] + pads[a + 2] < reach[a] for a in (0, 1)):
        return  # no result at all
    rng = np.random.default_rng(seed)
    weights = rng.integers(-8, 8, (2 * groups, *kernel, 1))
    bias = rng.integers(-20, 20, 2 * groups)
    x = every(CODES[lattice], image[0] * image[1]).reshape(-1, *image, 1).repeat(groups, -1)
    geometry = {"strides": strides, "padding": pads, "dilation": dilation, "groups": groups}
    sums = references.conv2d(x - zero, weights, **geometry) + bias

    found = proof(
        module(
            lambda emit, data: conv2d(
                data, const(weights, "int8"), const(bias, "int32"), **geometry, zero_point=zero,
                bits=(BITS[lattice], 4), codes=lattice, layer="conv",
            ),
            ((1, *image, groups), "uint8" if lattice == UNSIGNED else "int8"),
        )
    )  # fmt: skip
    assert (found.name, found.op, found.codes) == ("conv", "conv2d", _ends(lattice))
    assert (found.lowest, found.highest) == (sums.min(), sums.max())
    assert np.abs(sums[..., found.channel]).max() == np.abs(sums).max()


def _ends(lattice):
    return min(CODES[lattice]), max(CODES[lattice])


@pytest.mark.parametrize("lattice", CODES)
@pytest.mark.parametrize("zero", [-2, 0, 1])
def test_bounds_of_products_are_reached(lattice, zero):
    rng = np.random.default_rng(0)
    weights, bias = rng.integers(-128, 128, (3, 4)), rng.integers(-99, 99, 3)
    sums = (every(CODES[lattice], 4) - zero) @ weights.T + bias

    found = proof(
        module(
            lambda emit, data: dense(
                data, const(weights, "int8"), const(bias, "int32"), zero_point=zero,
                bits=(BITS[lattice], 8), codes=lattice, layer="dense",
            ),
            ((5, 4), "uint8" if lattice == UNSIGNED else "int8"),
        )
    )  # fmt: skip
    assert (found.lowest, found.highest) == (sums.min(), sums.max())


def test_bounds_with_zero_points_of_weights():
    """As integer_matmul.py writes them: codes, sums of the data, and their difference."""
    rng = np.random.default_rng(1)
    weights, bias, zero = (rng.integers(-128, 128, shape) for shape in ((3, 4), 3, 3))
    x = every(CODES[UNSIGNED], 4) - 1
    attributes = {"zero_point": 1, "bits": (2, 8), "codes": UNSIGNED, "layer": "dense"}

    def body(emit, data):
        total = emit(dense(data, const(weights, "int8"), const(bias, "int32"), **attributes))
        ones = const(np.ones((1, 4)), "int8")
        sums = emit(dense(data, ones, const([0], "int32"), **attributes))
        excess = emit(relax.op.multiply(sums, const(zero, "int32")))
        return emit(relax.op.subtract(total, excess))

    found = {proof.name: proof for proof in accumulators(module(body, ((5, 4), "uint8")))}
    codes, sums = x @ weights.T + bias, x.sum(axis=1)
    corrected = codes - np.outer(sums, zero)
    expected = {"dense": codes, "dense_sums": sums, "dense_corrected": corrected}
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert (found[name].lowest, found[name].highest) == (values.min(), values.max()), name


@pytest.mark.parametrize("left", CODES)
@pytest.mark.parametrize("right", CODES)
def test_bounds_of_products_of_data_are_reached(left, right):
    zeros = (1, -2)
    a, b = every(CODES[left], 3) - zeros[0], every(CODES[right], 3) - zeros[1]
    sums = a @ b.T

    found = proof(
        module(
            lambda emit, a, b: batch_matmul(
                a, b, zeros=zeros, bits=(BITS[left], BITS[right]), codes=(left, right), layer="mm"
            ),
            ((1, 2, 3), "int8"),
            ((1, 3, 2), "int8"),
        )
    )
    assert (found.lowest, found.highest) == (sums.min(), sums.max())


def test_bounds_of_window_sums():
    geometry = {"kernel": [2, 3], "strides": [1, 1], "padding": [1, 1, 0, 0], "dilation": [1, 1]}
    mod = module(lambda emit, x: sum_pool2d(x, **geometry, zero_point=10), ((1, 4, 4, 2), "uint8"))
    found = proof(mod)
    assert (found.lowest, found.highest, found.bits) == (-6 * 10, 6 * 245, 12)


def fully_connected(depth, weight, bias):
    weights = np.full((1, depth), weight)
    return module(
        lambda emit, data: dense(
            data, const(weights, "int8"), const([bias], "int32"), zero_point=0,
            bits=(8, 8), codes=UNSIGNED, layer="wide",
        ),
        ((1, depth), "uint8"),
    )  # fmt: skip


def test_tells_how_wide_a_sum_is():
    found = proof(fully_connected(2, -1, 2))
    assert (found.lowest, found.highest, found.bits, found.float32_exact) == (-508, 2, 10, True)
    # 255 * 127 * 518 = 16775430 is below 2**24 = 16777216, 1786 more are the last that fit.
    assert proof(fully_connected(518, 127, 1786)).float32_exact
    found = proof(fully_connected(518, 127, 1787))
    assert (found.highest, found.bits, found.float32_exact) == (2**24 + 1, 26, False)


def test_refuses_sums_that_overflow():
    assert proof(fully_connected(1, 1, 2**31 - 1 - 255)).bits == 32
    with pytest.raises(Unsupported, match=r"dense 'wide': its sums reach .* to 2147483648, which"):
        accumulators(fully_connected(1, 1, 2**31 - 255))


def test_the_certificate_is_json():
    proofs = accumulators(fully_connected(2, -1, 2))
    answer = json.loads(json.dumps(certificate(proofs, {"wide": "dense_int8"})))
    assert answer == {
        "format": 1,
        "layers": [
            {
                "name": "wide", "op": "dense", "kernel": "dense_int8", "codes": [0, 255],
                "lowest": -508, "highest": 2, "channel": 0, "bits": 10, "int32": True,
                "float32_exact": True,
            }
        ],
    }  # fmt: skip
