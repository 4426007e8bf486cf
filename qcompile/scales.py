"""What integer layers multiply their sums by, by name.

exact          the model's own scales, in float32; VTA's sums leave the chip for them, and the
               board's processor scales them
power-of-two   2^-s: weights carry the rest (qcompile.passes.power_of_two), so that VTA's codes
               stay on the chip; a processor computes the same integers
power-of-two-4 the same with weights of 4 bits in layers of up to 4 bits, which are one digit of VTA
               with weights of 4 bits; less precise
shift-add      sums of up to three powers of two, by shifts and additions of the sums
               (qcompile.passes.shift_add): weights stay the model's own, scales are less precise
"""

from qcompile.targets import Target, VtaTarget

EXACT, POWER_OF_TWO, POWER_OF_TWO_4 = "exact", "power-of-two", "power-of-two-4"
SHIFT_ADD = "shift-add"
SCALES = (EXACT, POWER_OF_TWO, POWER_OF_TWO_4, SHIFT_ADD)
WEIGHT_BITS = {POWER_OF_TWO: 8, POWER_OF_TWO_4: 4}
"""Of the weights that carry scales, in layers whose own weights have no more; 8 in the others."""


def usual_scales(target: Target | VtaTarget) -> str:
    """Those that a target takes when none are asked for."""
    return POWER_OF_TWO if isinstance(target, VtaTarget) else EXACT
