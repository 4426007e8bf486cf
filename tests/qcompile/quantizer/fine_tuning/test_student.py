"""The network that fine-tuning trains: its values and its gradients."""

import numpy as np
import pytest

from qcompile.quantizer import QuantizeOptions, Widths, quantize_network, simulate
from qcompile.quantizer.fine_tuning.aims import Aims, narrow_places
from qcompile.quantizer.fine_tuning.parameters import Parameters
from qcompile.quantizer.fine_tuning.rounded import Rounded
from qcompile.quantizer.fine_tuning.student import Student
from qcompile.quantizer.grid import Grid
from qcompile.quantizer.network import load_network
from tests.qcompile.quantizer.float_networks import Graph, chain, dense, residual


def quantized(network, **options):
    graph, model = network()
    return graph, quantize_network(model, graph.data(), QuantizeOptions(**options))


def student_of(found):
    return Student(found.network, found.places, Parameters.of(found.calibrated))


@pytest.mark.parametrize("network", [chain, dense, residual])
@pytest.mark.parametrize("options", [{}, {"equal_adds": True, "channels_per_scale": 4}])
def test_computes_what_the_quantized_network_does(network, options):
    graph, found = quantized(network, widths=Widths(2, 3), **options)
    inputs = graph.data(5)
    values = student_of(found).forward(inputs).values
    for name, expected in simulate(found, inputs).items():
        # Codes times steps, in float32 either way: the same operations.
        np.testing.assert_array_equal(values[name], expected)


def test_parameters_make_the_network_they_were_made_of():
    _, found = quantized(residual, widths=Widths(3, 3), equal_adds=True)
    layers, quantizers = Parameters.of(found.calibrated).result()
    for key, each in found.calibrated.layers.items():
        np.testing.assert_array_equal(layers[key].codes, each.codes)
        np.testing.assert_array_equal(layers[key].layer.weights, each.layer.weights)
    assert quantizers == found.calibrated.quantizers
    shared = {id(quantizer) for quantizer in quantizers.values()}
    assert len(shared) == len({id(one) for one in found.calibrated.quantizers.values()})


def moved(student, key, direction, reach):
    values = dict(student.parameters.values)
    values[key] = (values[key] + reach * direction).astype("float32")
    parameters = Parameters(
        student.parameters.fitted, values, student.parameters.rows, student.parameters.numbers
    )
    return Student(student.network, student.places, parameters)


@pytest.mark.parametrize("what", ["bias", "growth"])
def test_gradients_of_the_last_layer_are_slopes(what):
    """Behind the last layer nothing is rounded, so its result has no jumps."""
    graph, found = quantized(residual, widths=Widths(3, 8))
    student, inputs = student_of(found), graph.data(16)
    (output,) = found.network.outputs
    upstream = np.random.default_rng(0).normal(size=(16, 5)).astype("float32")
    gradients = student.backward(student.forward(inputs), {output: upstream})
    key = what, output
    direction = np.random.default_rng(1).normal(size=gradients[key].shape)
    sums = []
    for reach in (-1e-3, 1e-3):
        values = moved(student, key, direction, reach).forward(inputs).values
        sums.append(float((values[output].astype("float64") * upstream).sum()))
    slope = (sums[1] - sums[0]) / 2e-3
    # float32 results, and the exponential's curve over a reach of 1e-3.
    assert float((gradients[key] * direction).sum()) == pytest.approx(slope, rel=2e-3)


def test_every_parameter_has_a_gradient():
    graph, found = quantized(residual, widths=Widths(2, 4))
    student, inputs = student_of(found), graph.data(8)
    (output,) = found.network.outputs
    run = student.forward(inputs)
    gradients = student.backward(run, {output: np.ones((8, 5), "float32")})
    assert set(gradients) == set(student.parameters.values)
    for key, gradient in gradients.items():
        assert gradient.shape == student.parameters.values[key].shape
        assert np.isfinite(gradient).all()


def test_rounds_and_lets_gradients_pass_inside_only():
    grid, step = Grid(2, signed=True), np.float32(0.5)
    x = np.array([-1.6, -1.2, -0.3, 0.1, 0.7, 0.8], "float32")
    rounded = Rounded.of(x, step, grid)
    np.testing.assert_array_equal(rounded.values, [-1, -1, -0.5, 0, 0.5, 0.5])
    upstream = np.arange(1, 7, dtype="float32")
    np.testing.assert_array_equal(rounded.back(upstream), [0, 2, 3, 4, 5, 0])
    # Of log(step): outside the value itself, inside what rounding added.
    added = np.array([-1, 0.2, -0.2, -0.1, -0.2, 0.5], "float32")
    np.testing.assert_allclose(rounded.growth(upstream), upstream * added, rtol=1e-5)


def test_one_bit_grows_with_its_step():
    rounded = Rounded.of(np.array([-3.0, 0.2]), np.float64(0.5), Grid(1, signed=True))
    np.testing.assert_array_equal(rounded.values, [-0.5, 0.5])
    np.testing.assert_array_equal(rounded.back(np.ones(2)), [0, 1])
    np.testing.assert_array_equal(rounded.growth(np.ones(2)), [-0.5, 0.5])


def test_finds_values_that_lead_to_all_that_follows():
    _, model = residual()
    network = load_network(model)
    makers = {node.output[0]: node.op_type for node in network.nodes}
    operators = [makers[name] for name in narrow_places(network)]
    tail = ["Add", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert operators == ["Conv", "Relu", "Add", "Relu", *tail]


def test_scores_are_what_a_softmax_reads():
    graph = Graph((6,))
    scores = graph.gemm(graph.node("Relu", graph.gemm("x", 6, 8)), 8, 4)
    model = graph.model(graph.node("Identity", graph.node("Softmax", scores)))
    found = quantize_network(model, graph.data())
    values = student_of(found).forward(graph.data()).values
    aims = Aims.of(found.network, found.places, values)
    assert aims.scores == (scores,)

    rng = np.random.default_rng(0)
    wanted, have = ({**values, scores: rng.normal(size=(3, 4))} for _ in range(2))
    _, seeds = aims.seeds(wanted, have)
    direction, slopes = rng.normal(size=(3, 4)), []
    for reach in (-1e-6, 1e-6):
        near = {**have, scores: have[scores] + reach * direction}
        slopes.append(aims.seeds(wanted, near)[0] / 2e-6)
    # Differences of float64.
    assert float((seeds[scores] * direction).sum()) == pytest.approx(
        slopes[1] - slopes[0], rel=1e-5
    )


def test_a_result_that_is_no_classification_is_a_feature():
    graph = Graph((3, 8, 8))
    result = graph.conv(graph.node("Relu", graph.conv("x", 3, 4)), 4, 2)
    found = quantize_network(graph.model(result), graph.data())
    values = student_of(found).forward(graph.data()).values
    aims = Aims.of(found.network, found.places, values)
    assert aims.scores == () and set(aims.features) == {"v1", result}
