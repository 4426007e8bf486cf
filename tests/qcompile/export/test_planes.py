"""Planes of bits that several networks share: found, stored once, read where they lie."""

import json

import numpy as np
import pytest
from export_modules import build, tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op

from qcompile.bundle import load
from qcompile.export import export_bundle
from qcompile.export.planes import first_plane, with_vectors_of
from qcompile.passes.bit_planes import weight_planes
from qcompile.schedules.bit_product import Planes
from qcompile.schedules.dense_bits import pack_weights
from qcompile.schedules.dense_bits_plan import plan_dense_bits
from qcompile.targets import host_features, load_target

TARGET = load_target("x86-64-v3")
VECTORS, WORDS, PLANES, LANES = 3, 5, 4, 8
WIDE = np.random.default_rng(0).integers(0, 2**32, (VECTORS, WORDS, PLANES, LANES), "uint32")
MORE = np.concatenate([WIDE, np.zeros_like(WIDE[:1])])  # as a tile of other height fills it up


def packed(weights: np.ndarray) -> np.ndarray:
    """Weights (O, K) as a kernel on bits reads them."""
    planes = weight_planes(weights)
    pairs = Planes(planes.operation, (planes.coefficients,))
    return pack_weights(planes.planes, plan_dense_bits(4, *weights.shape[::-1], pairs, TARGET))


def rounded_down(values: np.ndarray, bits: int) -> np.ndarray:
    return np.minimum(np.floor(2**bits * values), 2**bits - 1).astype("int64")


def odd(codes: np.ndarray, bits: int) -> np.ndarray:
    return 2 * codes - (2**bits - 1)


def signed(codes: np.ndarray, bits: int) -> np.ndarray:
    return codes - 2 ** (bits - 1)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_fewer_bits_are_the_upper_planes_of_more(data):
    few, many = sorted(data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8))))
    meaning = data.draw(st.sampled_from([odd, signed]))
    outputs = data.draw(st.sampled_from([256, 264, 280, 296]))  # of many and of odd vectors
    values = np.random.default_rng(data.draw(st.integers(0, 99))).random((outputs, 70))
    # All codes occur, so that no plane can be left out.
    values[0, :64] = np.arange(64) / 64
    values[1, :] = np.arange(70) / 128 + 0.45
    wide, narrow = (packed(meaning(rounded_down(values, bits), bits)) for bits in (many, few))
    assert (narrow.shape[-2], wide.shape[-2]) == (few, many)
    assert first_plane(narrow, wide) == many - few
    assert first_plane(narrow, with_vectors_of(narrow, wide)) == many - few


def test_weights_that_were_rounded_to_nearest_are_other_ones():
    values = np.random.default_rng(1).random((24, 70))
    wide, narrow = (
        packed(odd(np.rint((2**bits - 1) * values).astype("int64"), bits)) for bits in (4, 2)
    )
    assert first_plane(narrow, wide) is None


@pytest.mark.parametrize(
    ("part", "plane"),
    [
        (WIDE, 0),
        (WIDE[:, :, 2:], 2),
        (WIDE[:, :, 1:2], 1),
        (WIDE[:2, :, 3:], 3),
        (WIDE[1:, :, 3:], None),
        (WIDE[:, :4, 3:], None),
        (WIDE[..., :4], None),
        (WIDE[:, :, [0, 2]], None),
        (np.concatenate([WIDE, WIDE])[:, :, 3:], None),
        (MORE[:, :, 2:], 2),
        (np.concatenate([MORE, np.zeros_like(WIDE)])[:, :, 3:], None),
        (WIDE[:, None, :, 3:], None),
    ],
)
def test_parts_are_planes_of_the_first_vectors_and_zeros(part, plane):
    assert first_plane(part, WIDE) == plane


def adding(constant: np.ndarray):
    """x + constant, twice."""

    def body(bb, x):
        return [bb.emit(op.add(bb.emit(op.add(x, relax.const(constant))), relax.const(constant)))]

    return build([tensor("x", constant.shape, "uint32")], body)


PARTS = {
    "default": WIDE[:, :, 2:],
    "widest": WIDE,
    "one": WIDE[:, :, 3:],
    "middle": WIDE[:2, :, 1:2],
    "vectors": WIDE[:1],
    "more": MORE[:, :, 1:3],
    "other": WIDE[:, :, 3:] + np.uint32(1),
}


def test_kernels_read_planes_where_they_lie(tmp_path):
    if not TARGET.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {TARGET.name}")
    first, *others = PARTS
    export_bundle(
        adding(PARTS[first]),
        name="net",
        target=TARGET,
        output=tmp_path / "net",
        variants={name: adding(PARTS[name]) for name in others},
    )
    bundle = load(tmp_path / "net")
    for name, part in PARTS.items():
        x = np.random.default_rng(part.size).integers(0, 2**32, part.shape, "uint32")
        np.testing.assert_array_equal(bundle.variant(name)(x), x + part + part)
    manifest = json.loads((tmp_path / "net" / "manifest.json").read_text())
    # Planes lie in `widest`, which got a vector of zeros; one constant is another one.
    assert manifest["weight_bytes"] == aligned(MORE.nbytes) + aligned(PARTS["other"].nbytes)
    alone = {v["name"]: v["weight_bytes_alone"] for v in manifest["variants"]}
    assert alone == {name: aligned(part.nbytes) for name, part in PARTS.items()}


def test_a_network_alone_keeps_its_planes_apart(tmp_path):
    def body(bb, x, y):
        return [
            bb.emit(op.add(x, relax.const(WIDE))),
            bb.emit(op.add(y, relax.const(PARTS["one"]))),
        ]

    inputs = [tensor("x", WIDE.shape, "uint32"), tensor("y", PARTS["one"].shape, "uint32")]
    result = export_bundle(build(inputs, body), name="net", target=TARGET, output=tmp_path / "net")
    expected = aligned(WIDE.nbytes) + aligned(PARTS["one"].nbytes)
    assert result.manifest["weight_bytes"] == expected


def aligned(size: int) -> int:
    return -(-size // 64) * 64
