"""What integer layers multiply their sums by, by name.

exact          the model's own scales, in float32; VTA's sums leave the chip for them, and the
               board's processor scales them
power-of-two   2^-s: weights carry the rest (qcompile.passes.power_of_two), so that VTA's codes
               stay on the chip; a processor computes the same integers
"""

EXACT, POWER_OF_TWO = "exact", "power-of-two"
SCALES = (EXACT, POWER_OF_TWO)
