"""The cycle simulator against the cycles of the reference RTL."""

import pytest
from vta_shared import CYCLES, REASON, program

from qcompile.targets.vta.cycles import simulate

# What the project promises of its cycle model; the worst program is off by 0.5 %.
TOLERANCE = 0.05


@pytest.mark.shared
@pytest.mark.skipif(not CYCLES, reason=REASON)
def test_agrees_with_the_reference_design():
    for name, cycles in CYCLES.items():
        config, instructions = program(name)
        found = simulate(config, 8, instructions).cycles
        assert abs(found / cycles - 1) < TOLERANCE, name
