import shutil

import pytest

from qcompile.model_device.limits import bit_limit, float_limit, int8_limit
from qcompile.targets import load_target

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(shutil.which("llvm-mca-19") is None, reason="needs llvm-19"),
]


# By the width of the vector pipes: Arm's Software Optimization Guides of these cores. The A53 has
# two pipes of 64 bits, the A72 two that multiply integers half as wide, the others two of 128 bits.
@pytest.mark.parametrize(
    "target, int8, bits, float32",
    [
        ("rpi3", 16 / 3, 128 / 3, 4),
        ("rpi4", 8, 256 / 3, 4),
        ("rpi5", 32, 256 / 3, 8),
        ("neoverse-n2", 64, 256 / 3, 8),
    ],
)
def test_limits_are_those_of_the_pipes(target, int8, bits, float32):
    found = load_target(target)
    assert int8_limit(found) == pytest.approx(int8, rel=1e-3)
    assert bit_limit(found) == pytest.approx(bits, rel=1e-3)
    assert float_limit(found) == pytest.approx(float32, rel=1e-3)
