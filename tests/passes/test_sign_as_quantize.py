import numpy as np
import pytest
from tvm import relax

from qcompile.passes.sign_as_quantize import SignAsQuantize
from tests.passes.modules import assert_same, attribute, calls, const, module, operators, run

SHAPE = (2, 3, 1, 12)
THREE = (6, 3, 1, 12)  # values around three thresholds
TINY = np.float32(2**-149)  # the smallest subnormal number
LARGE = np.finfo("float32").max
C = np.float32(0.7)
CHANNELS = np.array([0.7, -1.5, 0.0], "float32").reshape(1, 3, 1, 1)


def values_around(c):
    """Every value that a comparison with c can get wrong."""
    sides = [np.nextafter(c, np.float32(bound)) for bound in (-np.inf, np.inf)]
    ends = [np.full_like(c, end) for end in (-np.inf, -LARGE, -TINY, -0.0, TINY, LARGE, np.inf)]
    x = np.stack([c, *sides, -c, c * 2, *ends], axis=-1)
    return np.broadcast_to(x.reshape(*c.shape[:2], 1, 12) if c.ndim else x, SHAPE).copy()


def compare(operator, c=C, one=1.0, other=-1.0):
    def body(emit, x):
        condition = emit(getattr(relax.op, operator)(x, const(c)))
        return relax.op.where(condition, const(one), const(other))

    return body


def mirrored(emit, x):
    return relax.op.where(emit(relax.op.less_equal(const(C), x)), const(1), const(-1))


def sign_plus(amount):
    def body(emit, x):
        moved = emit(relax.op.add(emit(relax.op.sign(x)), const(amount)))
        return relax.op.sign(moved)

    return body


def sign_where(emit, x):
    """sign with 0 mapped to 1."""
    sign = emit(relax.op.sign(x))
    zero = emit(relax.op.equal(sign, const(0)))
    return relax.op.where(zero, const(1), sign)


def sign_of_clip(emit, x):
    return relax.op.sign(emit(relax.op.clip(x, -1.0, 1.0)))


def cast(emit, x):
    mask = emit(relax.op.astype(emit(relax.op.greater_equal(x, const(C))), "float32"))
    return relax.op.subtract(emit(relax.op.multiply(mask, const(2))), const(1))


def mask(emit, x):
    return relax.op.astype(emit(relax.op.less(x, const(C))), "float32")


def scaled_sign(emit, x):
    return relax.op.multiply(emit(relax.op.sign(x)), const(CHANNELS + 2))


BIPOLAR, TERNARY = (1, 1, 1), (2, 1, 1)
WRITTEN = {
    "at least": (compare("greater_equal"), BIPOLAR),
    "more": (compare("greater"), BIPOLAR),
    "less": (compare("less"), BIPOLAR),
    "at most": (compare("less_equal"), BIPOLAR),
    "mirrored": (mirrored, BIPOLAR),
    "nought": (compare("greater_equal", np.float32(0), 0.3, -0.3), BIPOLAR),
    "more than nought": (compare("greater", np.float32(0)), BIPOLAR),
    "minus nought": (compare("less", np.float32(-0.0)), BIPOLAR),
    "channels": (compare("greater_equal", CHANNELS), BIPOLAR),
    "a or 0": (compare("greater_equal", C, 0.3, 0), BIPOLAR),
    "0 or a": (compare("greater", C, 0, 0.3), BIPOLAR),
    "0 or -a": (compare("less", C, 0, -0.3), BIPOLAR),
    "larq": (sign_plus(0.1), BIPOLAR),
    "other way": (sign_plus(-0.1), BIPOLAR),
    "where": (sign_where, BIPOLAR),
    "cast": (cast, BIPOLAR),
    "mask": (mask, BIPOLAR),
    "sign": (lambda emit, x: relax.op.sign(x), TERNARY),
    "clip": (sign_of_clip, TERNARY),
    "scaled": (scaled_sign, TERNARY),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_writes_codes(form):
    body, kind = WRITTEN[form]
    before = module(body, (THREE, "float32"))
    after = SignAsQuantize()(before)
    assert set(operators(after)) <= {"subtract", "negative", "quantize", "dequantize"}
    for call in calls(after, "qcompile.quantize", "qcompile.dequantize"):
        assert tuple(attribute(call, key) for key in ("bits", "signed", "narrow")) == kind

    x = np.concatenate([values_around(c) for c in (C, np.float32(0), CHANNELS[..., 0])])
    np.testing.assert_array_equal(run(after, x), run(before, x))


def test_a_clip_at_the_threshold_stays():
    def body(emit, x):
        return compare("greater", np.float32(1))(emit, emit(relax.op.clip(x, -1.0, 1.0)))

    after = SignAsQuantize()(module(body, (SHAPE, "float32")))
    assert "clip" in operators(after)
    x = values_around(np.float32(1))
    np.testing.assert_array_equal(run(after, x), np.full(SHAPE, -1, "float32"))


def test_keeps_what_others_read():
    """A sign that is an output beside the value made of it."""

    def body(emit, x):
        sign = emit(relax.op.sign(x))
        return [sign, emit(relax.op.add(sign, const(0.25)))]

    before = module(body, (SHAPE, "float32"))
    after = SignAsQuantize()(before)
    assert operators(after) == ["quantize", "dequantize", "add"]
    x = values_around(np.float32(0))
    for found, expected in zip(run(after, x), run(before, x), strict=True):
        np.testing.assert_array_equal(found, expected)


def two_values(emit, x):
    """A comparison of one clip and the sign of another value."""
    sign = emit(relax.op.sign(emit(relax.op.abs(x))))
    return relax.op.add(sign, emit(relax.op.astype(emit(relax.op.less(x, const(C))), "float32")))


ALONE = {
    "other values": compare("greater", C, 1.0, -2.0),
    "one value": compare("greater", C, 1.0, 1.0),
    "infinite": compare("greater", np.float32(np.inf)),
    "infinite value": compare("greater", C, np.inf, -np.inf),
    "axes": compare("greater", C, *(s * np.arange(1, 73.0).reshape(SHAPE) for s in (1, -1))),
}


@pytest.mark.parametrize("form", ALONE)
def test_leaves_alone(form):
    before = module(ALONE[form], (SHAPE, "float32"))
    assert_same(SignAsQuantize()(before), before)


def test_mixes_no_values():
    before = module(two_values, (SHAPE, "float32"))
    after = SignAsQuantize()(before)
    assert operators(after).count("quantize") == 2
    x = values_around(C)
    np.testing.assert_array_equal(run(after, x), run(before, x))
