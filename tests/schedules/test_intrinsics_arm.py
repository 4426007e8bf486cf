"""Which dot product of ARM is chosen, and that kernels hold its instructions alone."""

from dataclasses import replace

import numpy as np
import pytest

from qcompile.export.lower import lower
from qcompile.schedules import schedule
from qcompile.schedules.intrinsics import dot_of
from qcompile.targets import Target, load_target
from tests.schedules.convolution import Case
from tests.schedules.test_conv2d_int8 import kernel, plan_of


def intrinsics(target: Target, width: int) -> str:
    """The code of a convolution of narrow weights, with LLVM's intrinsics by name."""
    case = Case((1, 8, width, 32), 32)
    plan = plan_of(case, np.zeros((32, 3, 3, 32), "int8"), target, narrow=True)
    func = schedule(kernel(plan, lambda sums: sums, []), target)
    return str(lower(func, target.tvm_target()).script())


@pytest.mark.parametrize(
    ("name", "narrow", "pairs", "dot"),
    [
        ("rpi3", True, True, "smlal"),
        ("rpi4", False, True, "smull"),
        ("rpi5", True, True, "sdot"),
        ("neoverse-n2", False, True, "usmmla"),
        ("neoverse-n2", True, False, "usdot"),
        ("armv7-a9", True, False, "vmlal"),
        ("armv7-a9", False, False, "vmull"),
    ],
)
def test_chooses_by_features(name, narrow, pairs, dot):
    assert dot_of(load_target(name), narrow, pairs).name == f"qcompile.dot_{dot}"


def test_uses_no_instruction_that_the_target_lacks():
    n2 = load_target("neoverse-n2")
    assert "llvm.aarch64.neon.usmmla" in intrinsics(n2, 8)
    assert "llvm.aarch64.neon.usdot" in intrinsics(n2, 1)
    older = replace(n2, features=("neon", "dotprod"))
    assert "llvm.aarch64.neon.sdot" in intrinsics(older, 8)
    oldest = intrinsics(replace(n2, features=("neon",)), 8)
    assert "llvm.aarch64.neon.saddlp" in oldest
    assert not any(name in oldest for name in ("sdot", "usdot", "mmla"))
