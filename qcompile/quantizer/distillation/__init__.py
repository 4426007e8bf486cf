"""Calibration data made from what a network remembers of its training data."""

from qcompile.quantizer.distillation.distil import Distilled, distil

__all__ = ["Distilled", "distil"]
