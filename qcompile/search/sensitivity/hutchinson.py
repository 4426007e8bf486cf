"""Scores from traces of Hessians: average trace times squared error, of weights and of inputs.

    Omega = Tr(H_w) / n_w * |Q(W) - W|^2  +  Tr(H_x) / n_x * |Q(x) - x|^2

(Dong et al. 2020, HAWQ-V2, eq. 9 and section 3.3), which tells weights and inputs of any widths
from two traces of a layer. Two things follow the quantizer at hand. Where it corrects biases, the
bias takes up the mean in the trace, too. Where it rounds by the inputs' covariance C,
|Q(W) - W|^2 / n_w is (Q(W) - W) C (Q(W) - W)^T over Tr(C), by output: the same for errors of all
directions alike, and far less for those that the quantizer puts where inputs hardly vary.
"""

from collections.abc import Sequence
from math import hypot

import numpy as np

from qcompile.quantizer.fitting import fit_layer
from qcompile.quantizer.grid import Array
from qcompile.quantizer.layers import Layer
from qcompile.quantizer.moments import Moments, moments
from qcompile.quantizer.options import QuantizeOptions, Widths
from qcompile.quantizer.ranges import fit_activations
from qcompile.quantizer.rounding import losses
from qcompile.search.sensitivity.scores import Score
from qcompile.search.sensitivity.traces import Traces

SMALLEST = 1e-30  # where no input varies


def layer_moments(layer: Layer, inputs: Sequence[Array]) -> Moments:
    """Those of the layer in float."""
    return moments(layer, inputs, [layer(x) for x in inputs])


def omegas(
    layer: Layer,
    traces: Traces,
    inputs: Sequence[Array],
    choices: Sequence[Widths],
    options: QuantizeOptions,
) -> dict[Widths, Score]:
    """The score of each choice; inputs: the layer's in float, batch by batch."""
    found = layer_moments(layer, inputs)
    weights = {
        bits: weight_error(layer, found, bits, options) for bits in {c.weights for c in choices}
    }
    activations = {
        bits: input_error(inputs, bits, options) for bits in {c.activations for c in choices}
    }
    return {
        choice: _omega(traces, weights[choice.weights], activations[choice.activations])
        for choice in choices
    }


def weight_error(layer: Layer, found: Moments, bits: int, options: QuantizeOptions) -> float:
    """|Q(W) - W|^2 / n_w."""
    fitted = fit_layer(layer, bits, found, options)
    shape = (layer.groups, -1, layer.weights.shape[1])
    weights = layer.weights.astype("float64").reshape(shape)
    values = fitted.layer.weights.astype("float64").reshape(shape)
    if options.rounding == "nearest":
        return float(np.square(values - weights).mean())
    seen = found.covariance
    if not options.correct_bias:
        seen = seen + found.inputs[:, :, None] * found.inputs[:, None, :]
    power = np.maximum(np.trace(seen, axis1=1, axis2=2), SMALLEST)
    return float((losses(weights, values, seen) / power[:, None]).mean())


def input_error(inputs: Sequence[Array], bits: int, options: QuantizeOptions) -> float:
    """|Q(x) - x|^2 / n_x."""
    quantizer = fit_activations(list(inputs), bits, options.ranges, options.percentile)
    total = sum(float(np.square(quantizer(x) - x).sum(dtype="float64")) for x in inputs)
    return total / sum(x.size for x in inputs)


def _omega(traces: Traces, weights: float, activations: float) -> Score:
    by_weights, by_inputs = traces.weights, traces.inputs
    return Score(
        by_weights.value * weights + by_inputs.value * activations,
        hypot(by_weights.standard_error * weights, by_inputs.standard_error * activations),
    )
