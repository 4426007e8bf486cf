"""Fine-tune a quantized network against the float one: inputs without labels are all it needs.

Weights, biases and steps of all quantizers move together, down the gradient of what the quantized
network does otherwise than the float one (aims.py) on batches of the calibration data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import cos, pi

import numpy as np

from qcompile.commands.progress import Progress
from qcompile.errors import InvalidInput
from qcompile.quantizer.backward import forward
from qcompile.quantizer.backward.adam import Adam
from qcompile.quantizer.calibrate import Calibrated
from qcompile.quantizer.fine_tuning.aims import Aims
from qcompile.quantizer.fine_tuning.images import varied
from qcompile.quantizer.fine_tuning.parameters import Key, Parameters
from qcompile.quantizer.fine_tuning.student import Student
from qcompile.quantizer.fine_tuning.survey import survey
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network
from qcompile.quantizer.placement import Places
from qcompile.quantizer.samples import Calibration

BATCH = 32  # samples of one step
TOGETHER = 16  # samples of one run: what its way back needs stays small
# The size of a change: of weights and biases as a share of the size of weights and results, of
# quantizers' steps as a share of themselves.
RATES = {"weights": 0.01, "bias": 0.005, "growth": 0.005, "range": 0.005}
WARMING = 0.1  # of all steps
SEED = 0  # of the order of samples


@dataclass(frozen=True)
class FineTuning:
    """The loss before and after so many steps, over all calibration data."""

    steps: int
    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether it came nearer to the float network; else everything stays as fitted."""
        return self.after < self.before


def fine_tune(
    network: Network,
    places: Places,
    fitted: Calibrated,
    data: Calibration,
    steps: int,
    images: bool,
    progress: Progress,
) -> tuple[Calibrated, FineTuning]:
    """The network after so many steps, or as it was fitted where that is nearer to the float one.

    images: whether those of the data are varied (images.py). Raises InvalidInput where the loss is
    not finite.
    """
    rng = np.random.default_rng(SEED)
    batches = data.shuffled(TOGETHER, rng)
    parameters = Parameters.of(fitted)
    student = Student(network, places, parameters)
    values = forward(network, next(batches))
    aims = Aims.of(network, places, values)
    adam = Adam(parameters.values, _rates(parameters, values))
    before = survey(student, aims, data)
    runs = -(-BATCH // (data.fixed or TOGETHER))
    for step in range(steps):
        taken = [varied(batch, rng) if images else batch for batch in islice(batches, runs)]
        loss, gradients = _gradients(student, aims, taken)
        if not np.isfinite(loss):
            raise InvalidInput(f"fine-tuning: the loss of step {step} is {loss}; do without it")
        progress(f"fine-tuning, loss {loss:.3f}", step, steps)
        adam.step(gradients, _share(step, steps))
    after = survey(student, aims, data)
    told = FineTuning(steps, before.loss, after.loss)
    if not told.kept:
        return fitted, told
    layers, quantizers = parameters.result()
    return Calibrated(layers, quantizers, after.noise), told


def _gradients(
    student: Student, aims: Aims, batches: Sequence[Mapping[str, Array]]
) -> tuple[float, dict[Key, Array]]:
    """The mean loss over the batches, and the sum of its gradients."""
    total, gradients = 0.0, dict[Key, Array]()
    for batch in batches:
        run = student.forward(batch)
        loss, seeds = aims.seeds(forward(student.network, batch), run.values)
        total += loss / len(batches)
        for key, part in student.backward(run, seeds).items():
            gradients[key] = gradients[key] + part if key in gradients else part
    return total, gradients


def _share(step: int, steps: int) -> float:
    """Of the rates: it rises to 1 while Adam's means settle, and falls to 0 along a cosine."""
    return min(1, (step + 1) / (WARMING * steps)) * (1 + cos(pi * step / steps)) / 2


def _rates(parameters: Parameters, float_values: Mapping[str, Array]) -> dict[Key, float]:
    sizes = dict.fromkeys(parameters.values, 1.0)
    for key, each in parameters.fitted.layers.items():
        sizes["weights", key] = float(np.sqrt(np.square(each.codes).mean()))
        sizes["bias", key] = float(float_values[each.layer.output].std())
    return {key: RATES[key[0]] * size for key, size in sizes.items()}
