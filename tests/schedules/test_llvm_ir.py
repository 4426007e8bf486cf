"""Function: the text it makes. What the text computes: tests/passes/test_polynomial_math.py."""

import pytest

from qcompile.schedules.llvm_ir import Function, float_text

SQUARE_PLUS_ONE = """\
define <4 x float> @f(<4 x float> %x) {
  %v0 = fmul contract <4 x float> %x, %x
  %v1 = fadd contract <4 x float> %v0, splat (float 0x3FF0000000000000)
  ret <4 x float> %v1
}
"""


def test_writes_each_value_once():
    function = Function("f", lanes=4)
    assert function.text(function.x * function.x + 1.0) == SQUARE_PLUS_ONE


def test_single_values_are_no_vectors():
    function = Function("f", lanes=1)
    text = function.text((function.x < 0.0).select(2.0, function.x))
    assert "%v0 = fcmp olt float %x, 0x0000000000000000" in text
    assert "%v1 = select i1 %v0, float 0x4000000000000000, float %x" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1, "0x3FB99999A0000000"), (float("inf"), "0x7FF0000000000000"), (-1, "0xBFF0000000000000")],
)
def test_floats_are_written_as_their_bits(number, text):
    assert float_text(number) == text
