import numpy as np
import pytest
from tvm import relax

from qcompile.passes.rounded_as_quantize import RoundedAsQuantize
from tests.passes.modules import assert_same, attribute, calls, const, module, operators, run

# Every tie of the quantizers below and their neighbours.
TIES = (np.arange(-80, 81) / 8).astype("float32")
SIDES = [np.nextafter(TIES, np.float32(end)) for end in (-99, 99)]
X = np.stack([TIES, *SIDES, TIES / 3, TIES * np.float32(0.3)]).reshape(5, 7, 23)


def clip_round(scale, low, high, rounding="round", back=True):
    """round(clip(x / s, low, high)) * s"""

    def body(emit, x):
        ratio = emit(relax.op.divide(x, const(scale)))
        code = emit(getattr(relax.op, rounding)(emit(relax.op.clip(ratio, low, high))))
        return relax.op.multiply(const(scale), code) if back else code

    return body


def round_clip(emit, x):
    code = emit(relax.op.round(emit(relax.op.divide(x, const(0.3)))))
    return relax.op.multiply(emit(relax.op.clip(code, -4.0, 3.0)), const(0.3))


def dorefa(emit, x):
    level = emit(relax.op.multiply(emit(relax.op.clip(x, 0.0, 1.0)), const(3)))
    return relax.op.divide(emit(relax.op.round(level)), const(3))


def zero_point(emit, x):
    """round(clip(x / s + 5, 0, 15)) - 5, times s."""
    shifted = emit(relax.op.add(emit(relax.op.divide(x, const(0.3))), const(5)))
    code = emit(relax.op.round(emit(relax.op.clip(shifted, 0.0, 15.0))))
    return relax.op.multiply(emit(relax.op.subtract(code, const(5))), const(0.3))


def adabits(emit, x):
    """min(floor(4 x), 3) / 4, x within 0 and 1."""
    level = emit(relax.op.multiply(emit(relax.op.clip(x, 0.0, 1.0)), const(4)))
    code = emit(relax.op.clip(emit(relax.op.floor(level)), 0.0, 3.0))
    return relax.op.divide(code, const(4))


WRITTEN = {
    "signed": (clip_round(0.3, -8.0, 7.0), (4, 1, 0), 0),
    "narrow": (clip_round(0.3, -7.0, 7.0), (4, 1, 1), 0),
    "unsigned": (clip_round(0.5, 0.0, 3.0), (2, 0, 0), 0),
    "one bit": (clip_round(0.5, 0.0, 1.0), (1, 0, 0), 0),
    "between": (clip_round(0.3, -2.5, 4.5), (4, 1, 1), 0),
    "floor": (clip_round(0.3, -8.0, 7.0, "floor"), (4, 1, 0), 0),
    "ceil": (clip_round(0.3, -8.0, 7.0, "ceil"), (4, 1, 0), 0),
    "trunc": (clip_round(0.3, -8.0, 7.0, "trunc"), (4, 1, 0), 0),
    "integers": (clip_round(0.3, -8.0, 7.0, back=False), (4, 1, 0), 0),
    "round first": (round_clip, (3, 1, 0), 0),
    "dorefa": (dorefa, (2, 0, 0), 0),
    "adabits": (adabits, (2, 0, 0), 0),
    "zero point": (zero_point, (4, 0, 0), 5),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_writes_codes(form):
    body, kind, zero = WRITTEN[form]
    before = module(body, (X.shape, "float32"))
    after = RoundedAsQuantize()(before)
    assert operators(after)[-2:] == ["quantize", "dequantize"]
    (call,) = calls(after, "qcompile.dequantize")
    assert tuple(attribute(call, key) for key in ("bits", "signed", "narrow")) == kind
    assert int(call.args[2].value.numpy()) == zero
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_takes_the_divisor_as_the_scale():
    after = RoundedAsQuantize()(module(clip_round(0.3, -8.0, 7.0), (X.shape, "float32")))
    assert operators(after) == ["quantize", "dequantize"]
    assert float(calls(after)[0].args[1].value.numpy()) == np.float32(0.3)


def test_keeps_what_no_scale_gives():
    """q / 11 is not q times a float32 for every q of 4 bits."""

    def body(emit, x):
        level = emit(relax.op.multiply(emit(relax.op.clip(x, 0.0, 1.0)), const(15)))
        return relax.op.divide(emit(relax.op.round(level)), const(11))

    before = module(body, (X.shape, "float32"))
    after = RoundedAsQuantize()(before)
    assert operators(after)[-1] == "divide"
    np.testing.assert_array_equal(run(after, X), run(before, X))


def unbounded(emit, x):
    return relax.op.multiply(emit(relax.op.round(x)), const(0.5))


def fractions(emit, x):
    return relax.op.clip(emit(relax.op.round(x)), -1.5, 2.0)


@pytest.mark.parametrize(
    "body", [unbounded, fractions, clip_round(0.3, -300.0, 300.0), clip_round(0.3, -np.inf, 3.0)]
)
def test_leaves_alone(body):
    before = module(body, (X.shape, "float32"))
    assert_same(RoundedAsQuantize()(before), before)
