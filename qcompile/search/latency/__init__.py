"""What a network takes on a device with any widths and kernels: measured, then predicted."""

from qcompile.search.latency.choice import Assignment, Choice, Form
from qcompile.search.latency.laboratory import LatencyLaboratory
from qcompile.search.latency.measured import LayerSeconds, Measured
from qcompile.search.latency.model import LatencyModel, Round

__all__ = [
    "Assignment",
    "Choice",
    "Form",
    "LatencyLaboratory",
    "LatencyModel",
    "LayerSeconds",
    "Measured",
    "Round",
]
