"""Fine-tune a quantized network against the float one: inputs without labels are all it needs.

Weights, biases and steps of all quantizers move together, down the gradient of what the quantized
network does otherwise than the float one (aims.py) on batches of the calibration data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import cos, pi

import numpy as np

from qcompile.commands.progress import Progress
from qcompile.errors import InvalidInput
from qcompile.quantizer.backward import expect_differentiable, forward
from qcompile.quantizer.backward.adam import Adam
from qcompile.quantizer.calibrate import Calibrated
from qcompile.quantizer.fine_tuning.aims import Aims
from qcompile.quantizer.fine_tuning.parameters import Key, Parameters
from qcompile.quantizer.fine_tuning.student import Student
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network
from qcompile.quantizer.placement import Places
from qcompile.quantizer.samples import Calibration

BATCH = 32  # samples of one step
TOGETHER = 16  # samples of one run: what its way back needs stays small
# The first changes: of weights and biases as shares of the sizes of weights and results, of steps
# as shares of themselves. They fall to 0 along a cosine.
RATES = {"weights": 0.01, "bias": 0.002, "growth": 0.002, "range": 0.002}
SEED = 0  # of the order of samples


def expect_tunable(network: Network) -> None:
    """Raise Unsupported where gradients cannot come back through the network."""
    for node in network.nodes:
        if network.layer(node) is None:
            expect_differentiable(node)


def fine_tune(
    network: Network,
    places: Places,
    fitted: Calibrated,
    data: Calibration,
    steps: int,
    progress: Progress,
) -> Calibrated:
    """The fitted network after so many steps. Raises InvalidInput where the loss is not finite."""
    batches = data.shuffled(TOGETHER, np.random.default_rng(SEED))
    parameters = Parameters.of(fitted)
    student = Student(network, places, parameters)
    values = forward(network, next(batches))
    aims = Aims.of(network, places, values)
    adam = Adam(parameters.values, _rates(parameters, values))
    runs = -(-BATCH // (data.fixed or TOGETHER))
    for step in range(steps):
        loss, gradients = _gradients(student, aims, list(islice(batches, runs)))
        if not np.isfinite(loss):
            raise InvalidInput(f"fine-tuning: the loss of step {step} is {loss}")
        progress(f"fine-tuning, loss {loss:.3f}", step, steps)
        adam.step(gradients, (1 + cos(pi * step / steps)) / 2)
    layers, quantizers = parameters.result()
    return replace(fitted, layers=layers, quantizers=quantizers)


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


def _rates(parameters: Parameters, float_values: Mapping[str, Array]) -> dict[Key, float]:
    sizes = dict.fromkeys(parameters.values, 1.0)
    for key, each in parameters.fitted.layers.items():
        sizes["weights", key] = float(np.sqrt(np.square(each.layer.weights).mean()))
        sizes["bias", key] = float(float_values[each.layer.output].std())
    return {key: RATES[key[0]] * size for key, size in sizes.items()}
