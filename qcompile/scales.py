"""What integer layers multiply their sums by, by name.

exact          the model's own scales, in float32
power-of-two   2^-s: weights carry the rest (qcompile.passes.power_of_two)
"""

EXACT, POWER_OF_TWO = "exact", "power-of-two"
SCALES = (EXACT, POWER_OF_TWO)
