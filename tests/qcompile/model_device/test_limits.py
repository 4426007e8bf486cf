import shutil

import pytest

from qcompile.errors import ModelError
from qcompile.model_device.limits import bit_limit, int8_limit
from qcompile.targets import load_target

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(shutil.which("llvm-mca-19") is None, reason="needs llvm-19"),
]


# By the width of the vector pipes: Arm's Software Optimization Guides of these cores. The A53 has
# two pipes of 64 bits, the A72 two that multiply integers half as wide, the others two of 128 bits.
@pytest.mark.parametrize(
    "target, int8, bits",
    [
        ("rpi3", 16 / 3, 128 / 3),
        ("rpi4", 8, 256 / 3),
        ("rpi5", 32, 256 / 3),
        ("neoverse-n2", 64, 256 / 3),
    ],
)
def test_limits_are_those_of_the_pipes(target, int8, bits):
    found = load_target(target)
    assert int8_limit(found) == pytest.approx(int8, rel=1e-3)
    assert bit_limit(found) == pytest.approx(bits, rel=1e-3)


@pytest.mark.parametrize("limit", [int8_limit, bit_limit])
def test_knows_no_limit_of_other_processors(limit):
    with pytest.raises(ModelError, match="armv7-a9: the limits of aarch64 targets alone"):
        limit(load_target("armv7-a9"))
