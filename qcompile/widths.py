"""Bit widths that layers can have, and ways to quantize to them; the defaults come first."""

LEAST_BITS, MOST_BITS = 1, 8
RANGES = ("mse", "percentile", "minmax")
ROUNDINGS = ("hessian", "nearest")
FINE_TUNE_STEPS = 600  # of 32 samples: under two minutes for ten layers on images of 32 x 32
