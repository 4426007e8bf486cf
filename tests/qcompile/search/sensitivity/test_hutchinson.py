"""Traces against exact Hessians: second derivatives one by one, in NumPy float64."""

import numpy as np
import pytest

from qcompile.quantizer import QuantizeOptions, Widths
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import load_network
from qcompile.search.sensitivity import SensitivityOptions, measure_sensitivity
from qcompile.search.sensitivity.alone import edges_of
from qcompile.search.sensitivity.traces import Prober
from qcompile.search.sensitivity.track import Track
from tests.qcompile.search.sensitivity.perceptrons import cross_entropy, divergence, perceptron

CLOSE = 0.05  # relative, what a trace is required to keep
STEP = 1e-4  # of float64 derivatives: errors near 1e-8 either way


def labels_of(network):
    """The network's own answers, one in ten wrong: of other labels the curvatures cancel out."""
    labels = network.forward(network.data["x"]).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % 4
    return labels


def loss_of(network, labelled):
    floats, labels = network.forward(network.data["x"]), labels_of(network)
    if labelled:
        return lambda scores: cross_entropy(scores, labels)
    return lambda scores: divergence(floats, scores)


def exact_weights(network, layer, loss, centred):
    """The trace by a layer's weights; centred: its bias keeps the mean of its outputs."""
    x, total = network.data["x"], 0.0
    means = network.input_of(layer, x).mean(axis=0)

    def mean_loss(row, column, shift):
        weights = [w.astype("float64") for w in network.weights]
        biases = [b.astype("float64") for b in network.biases]
        weights[layer][row, column] += shift
        biases[layer][row] -= centred * shift * means[column]
        return loss(network.forward(x, weights=weights, biases=biases)).mean()

    still = mean_loss(0, 0, 0)
    for row, column in np.ndindex(network.weights[layer].shape):
        above, below = mean_loss(row, column, STEP), mean_loss(row, column, -STEP)
        total += (above - 2 * still + below) / STEP**2
    return total


def exact_inputs(network, layer, loss):
    """The trace by a layer's input, the mean over samples."""
    x, total = network.input_of(layer, network.data["x"]), 0.0
    for column in range(x.shape[1]):
        shift = STEP * (np.arange(x.shape[1]) == column)
        above, still, below = (
            loss(network.forward(x + sign * shift, start=layer)) for sign in (1, 0, -1)
        )
        total += ((above - 2 * still + below) / STEP**2).mean()
    return total


def estimates(network, labelled, centred, probes):
    """The traces by layer."""
    found, float_network = [], fold(load_network(network.model))
    inputs = {"x": [network.data["x"][:40], network.data["x"][40:]]}
    track = Track(float_network, inputs, ["hutchinson"], labels_of(network) if labelled else None)
    for k, block in enumerate(track.blocks()):
        track.stream.advance(block)
        (layer,) = (each for each in float_network.layers.values() if each.name == f"dense{k}")
        means = network.input_of(k, network.data["x"]).mean(axis=0)[None].astype("float32")
        edges = edges_of(float_network, layer, Widths(4, 4))
        prober = Prober(track.stream, track.loss, layer, edges, means if centred else None)
        found.append(prober.traces(probes, np.random.default_rng(k)))
    return found


@pytest.mark.parametrize(
    ("labelled", "centred", "probes"),
    [(False, False, 150), (False, True, 150), (True, False, 400)],
)
def test_traces_are_those_of_the_exact_hessian(labelled, centred, probes):
    network = perceptron("Tanh")
    network.data["x"] += np.float32(centred)  # a mean that tells the two apart
    loss = loss_of(network, labelled)

    for layer, traces in enumerate(estimates(network, labelled, centred, probes)):
        for found, exact in (
            (traces.weights, exact_weights(network, layer, loss, centred)),
            (traces.inputs, exact_inputs(network, layer, loss)),
        ):
            assert found.value == pytest.approx(exact, rel=CLOSE)
            # A seed may be 3 standard errors off, and these must be small enough to tell.
            assert abs(found.value - exact) < 3 * found.standard_error + 1e-3 * abs(exact)
            assert found.standard_error < CLOSE / 2 * abs(exact)


def test_scores_are_traces_times_squared_errors():
    network = perceptron("Tanh")
    loss = loss_of(network, labelled=False)
    quantize = QuantizeOptions(rounding="nearest", ranges="minmax", correct_bias=False)
    options = SensitivityOptions(probes=100, quantize=quantize)
    widths = Widths(3, 2)

    found = measure_sensitivity(
        network.model, network.data, {"dense1": [widths]}, kinds=["hutchinson"], options=options
    )

    w, x = network.weights[1].astype("float64"), network.input_of(1, network.data["x"])
    steps = np.maximum(w.max(axis=1) / 3, -w.min(axis=1) / 4)[:, None]
    rounded = np.clip(np.rint(w / steps), -4, 3) * steps
    step = max(x.max() / 1, -x.min() / 2)
    read = np.clip(np.rint(x / step), -2, 1) * step
    expected = exact_weights(network, 1, loss, False) * np.square(rounded - w).mean()
    expected += exact_inputs(network, 1, loss) * np.square(read - x).mean()
    score = found.scores["hutchinson"]["dense1"][widths]
    assert score.value == pytest.approx(expected, rel=CLOSE)
    assert 0 < score.standard_error < CLOSE * expected
