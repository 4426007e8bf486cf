"""Bit widths that layers can have, and ways to quantize to them; the defaults come first."""

LEAST_BITS, MOST_BITS = 1, 8
RANGES = ("mse", "percentile", "minmax")
ROUNDINGS = ("hessian", "nearest")
FINE_TUNE_STEPS = 400  # of 32 samples: about a minute for ten layers on images of 32 x 32
