"""How much a network's results suffer when one layer alone has few bits; forward passes only."""

from qcompile.search.sensitivity.measure import measure_sensitivity
from qcompile.search.sensitivity.options import KINDS, SensitivityOptions
from qcompile.search.sensitivity.scores import Score, Sensitivities

__all__ = ["KINDS", "Score", "Sensitivities", "SensitivityOptions", "measure_sensitivity"]
