"""KL, block and accuracy scores against a network in NumPy float64, and how kinds agree."""

import numpy as np
import pytest

from qcompile.quantizer import QuantizeOptions, Widths
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import load_network
from qcompile.search.sensitivity import (
    Score,
    Sensitivities,
    SensitivityOptions,
    measure_sensitivity,
)
from qcompile.search.sensitivity.alone import edges_of
from qcompile.search.sensitivity.blocks import blocks_of
from tests.qcompile.quantizer.float_networks import Graph, chain, residual
from tests.qcompile.search.sensitivity.perceptrons import divergence, perceptron

PLAIN = QuantizeOptions(rounding="nearest", ranges="minmax", correct_bias=False)
CLOSE = 1e-4  # relative: what float32 leaves of small differences
GRID = [Widths(w, a) for w in (8, 4, 2) for a in (8, 4, 2)]


def rounded(values, bits, axis=None):
    """On the signed grid whose ends hold the largest values."""
    high, low = 2 ** (bits - 1) - 1, -(2 ** (bits - 1))
    kept = axis is not None
    step = np.maximum(
        values.max(axis=axis, keepdims=kept) / high, values.min(axis=axis, keepdims=kept) / low
    )
    return np.clip(np.rint(values / step), low, high) * step


def changed_scores(network, layer, widths):
    """What the network gives behind a layer, the layer alone quantized."""
    x, weights = network.input_of(layer, network.data["x"]), list(network.weights)
    weights[layer] = rounded(weights[layer].astype("float64"), widths.weights, axis=1)
    return lambda after: network.forward(
        rounded(x, widths.activations), start=layer, weights=weights, after=after
    )


def measured(network, layer, widths, kind, **more):
    options = SensitivityOptions(quantize=PLAIN)
    choices = {f"dense{layer}": [widths]}
    found = measure_sensitivity(
        network.model, network.data, choices, kinds=[kind], options=options, **more
    )
    return found.scores[kind][f"dense{layer}"][widths]


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(("layer", "widths"), [(0, Widths(4, 6)), (1, Widths(2, 3))])
def test_kl_is_that_of_the_outputs(layer, widths, softmax):
    network = perceptron("Tanh", softmax=softmax)

    found = measured(network, layer, widths, "kl")

    floats = network.forward(network.data["x"])
    expected = divergence(floats, changed_scores(network, layer, widths)(None))
    assert found.value == pytest.approx(expected.mean(), rel=CLOSE)
    assert found.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(60), rel=CLOSE)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_block_is_the_error_behind_the_block_over_the_variance(layer):
    network, widths = perceptron("Tanh"), Widths(3, 4)

    found = measured(network, layer, widths, "block")

    wanted = network.forward(network.data["x"], after=layer)
    error = np.square(changed_scores(network, layer, widths)(layer) - wanted).mean(axis=1)
    expected = error / wanted.var()
    assert found.value == pytest.approx(expected.mean(), rel=CLOSE)
    assert found.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(60), rel=CLOSE)


def test_accuracy_is_the_loss_of_top_1():
    network, widths = perceptron("Tanh"), Widths(2, 2)
    x = network.data["x"]
    labels = network.forward(x).argmax(axis=1)
    labels[::7] = 3

    found = measured(network, 1, widths, "accuracy", labelled={"x": x, "y": labels})

    answers = changed_scores(network, 1, widths)(None).argmax(axis=1)
    right = network.forward(x).argmax(axis=1) == labels
    assert found.value == pytest.approx(right.mean() - (answers == labels).mean())
    assert found.value > 0.05


@pytest.mark.parametrize("network", [chain, residual])
def test_more_bits_cost_less(network):
    graph, model = network()
    names = [layer.name for layer in load_network(model).layers.values()]
    found = measure_sensitivity(
        model, graph.data(), dict.fromkeys(names, GRID), options=SensitivityOptions(samples=64)
    )

    assert found.samples == 64
    for kind in ("block", "kl", "hutchinson"):
        for name in names:
            scores = [found.scores[kind][name][Widths(b, b)].value for b in (2, 4, 8)]
            assert scores[0] > scores[1] > scores[2] >= 0
    assert set(found.agreement()) == {
        ("block", "kl"),
        ("block", "hutchinson"),
        ("kl", "hutchinson"),
    }
    assert min(found.agreement().values()) > 0.5


def test_blocks_end_where_one_tensor_is_alive():
    network = fold(load_network(residual()[1]))
    floats = {name for node in network.nodes for name in node.output} | {"x"}

    blocks = [
        [node.name or node.op_type for node in network.nodes[block.start : block.stop]]
        for block in blocks_of(network, floats)
    ]

    assert blocks == [
        ["first", "Relu"],
        ["a1", "Relu", "a2", "Add", "Relu"],
        ["b1", "Relu", "b2", "shortcut", "Add", "Relu", "GlobalAveragePool", "Flatten"],
        ["last"],
    ]


def test_an_addition_reads_the_codes_of_its_layer():
    network = fold(load_network(residual()[1]))
    layers = {layer.name: layer for layer in network.layers.values()}
    add = next(node for node in network.nodes if node.op_type == "Add")
    shortcut = list(add.input).index(layers["a1"].input)

    for bits in (2, 8):
        edges = edges_of(network, layers["a1"], Widths(8, bits))
        assert edges == {(layers["a1"].node.output[0], 0), (add.output[0], shortcut)}
    assert edges_of(network, layers["b1"], Widths(8, 2)) == {(layers["b1"].node.output[0], 0)}


def test_agreement_is_the_rank_correlation():
    grid = (Widths(2, 8), Widths(4, 8))

    def scores(*values):
        found = [Score(value, 0.0) for value in values]
        return {
            "a": dict(zip(grid, found[:2], strict=True)),
            "b": dict(zip(grid, found[2:], strict=True)),
        }

    kinds = {
        "kl": scores(4, 1, 3, 2),
        "block": scores(400, 0, 20, 10),
        "hutchinson": scores(1, 4, 2, 3),
        "accuracy": scores(5, 5, 5, 5),
    }
    found = Sensitivities(kinds, samples=2)

    assert found.agreement() == pytest.approx(
        {("kl", "block"): 1, ("kl", "hutchinson"): -1, ("block", "hutchinson"): -1}
    )
    assert found.total("block", {"a": grid[1], "b": grid[0]}) == 20


def test_block_scores_need_no_classes():
    graph = Graph((3, 8, 8))
    x = graph.node("Relu", graph.conv("x", 3, 4, name="first"))
    model = graph.model(graph.conv(x, 4, 1, name="last"), batch=2)
    found = measure_sensitivity(model, graph.data(6), {"last": [Widths(2, 2)]}, kinds=["block"])
    assert found.scores["block"]["last"][Widths(2, 2)].value > 0.01
