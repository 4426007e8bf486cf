"""Measure what kernels cost on this processor, and keep the table."""

from qcompile.measure.fit import Sample, fit
from qcompile.measure.host_costs import costs_for
from qcompile.measure.samples import measure

__all__ = ["Sample", "costs_for", "fit", "measure"]
