"""What a network takes on a device for any choice of widths and kernels: measured, then predicted.

    with LatencyLaboratory("model.onnx", choices, "rpi4", samples, device="ssh://pi@one") as found:
        model = found.survey()                       # uniform networks of all widths, mixed ones
        assignment = model.with_kernels(widths)      # the fastest kernels of these widths
        seconds = model.predict(assignment)
        measured = found.measure(assignment)         # or (assignment, bundle)
        model = model.correct(measured)              # model.rounds[-1] has both

`choices` are pairs of widths by the layer's name. An assignment gives each layer a Choice, which is
its widths and its kernel; `kernels_of(assignment, target)` is what `compile_model` takes to use
just these. `solver_costs(model)` are the same seconds as choices and pairs of a problem for
`qcompile.search.solve`, `speeds(model)` tells for which layers fewer bits bring none.

Models are values: `correct` makes a new one, whose round keeps what the old one had predicted, and
`to_json` holds everything. With `records` every measured network is kept in that folder at once: a
search that was killed measures nothing twice.

On a clock, seconds are those of the minute in which the first network was measured: all others are
measured in turns with it. Quick quantization makes the networks of the survey; where scales decide
about instructions, as they do on VTA, the network in full quality may take another time, which
`measure` with its bundle tells.
"""

from qcompile.search.latency.building import kernels_of
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.circumstances import numbers_matter
from qcompile.search.latency.laboratory import LatencyLaboratory
from qcompile.search.latency.measured import LayerSeconds, Measured
from qcompile.search.latency.model import LatencyModel, Round
from qcompile.search.latency.solver_costs import SolverCosts, solver_costs
from qcompile.search.latency.speeds import LayerSpeed, speeds

__all__ = [
    "Assignment",
    "Choice",
    "LatencyLaboratory",
    "LatencyModel",
    "LayerSeconds",
    "LayerSpeed",
    "Measured",
    "Round",
    "SolverCosts",
    "kernels_of",
    "numbers_matter",
    "solver_costs",
    "speeds",
]
