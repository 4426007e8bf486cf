"""Fine-tuning as an option of the quantizer."""

import numpy as np
import onnx
import pytest

import qcompile
from qcompile.cli import main
from qcompile.commands.reference import load_reference
from qcompile.errors import InvalidInput, Unsupported
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network, simulate
from qcompile.quantizer.backward import forward
from qcompile.quantizer.fine_tuning.aims import Aims
from qcompile.quantizer.fine_tuning.parameters import Parameters
from qcompile.quantizer.fine_tuning.student import Student
from tests.qcompile.quantizer.float_networks import Graph, chain, dense, residual

STEPS = 25


def loss(found, inputs):
    """What fine-tuning lowers, on all inputs at once."""
    wanted = forward(found.network, inputs)
    student = Student(found.network, found.places, Parameters.of(found.calibrated))
    aims = Aims.of(found.network, found.places, wanted)
    return aims.seeds(wanted, student.forward(inputs).values)[0]


def tuned(graph, model, inputs, **options):
    widths = Widths(2, 4)
    return [
        quantize_network(model, inputs, QuantizeOptions(widths=widths, fine_tune=steps, **options))
        for steps in (0, STEPS)
    ]


@pytest.mark.parametrize("network", [chain, dense, residual])
def test_comes_nearer_to_the_float_network(network):
    graph, model = network()
    inputs = graph.data()
    start, end = tuned(graph, model, inputs)
    assert loss(end, inputs) < 0.97 * loss(start, inputs)
    assert end.fine_tuning.kept and end.fine_tuning.steps == STEPS
    assert [(x.w_bits, x.a_bits) for x in start.layers] == [
        (x.w_bits, x.a_bits) for x in end.layers
    ]


def test_weights_stay_on_their_grids(tmp_path):
    pytest.importorskip("onnxruntime")
    graph, model = residual()
    inputs = graph.data()
    _, end = tuned(graph, model, inputs, channels_per_scale=4, equal_adds=True)
    for name, each in end.calibrated.layers.items():
        grid, scales = each.quantizer.grid, each.quantizer.scale.reshape(-1)
        assert each.codes.min() >= grid.low and each.codes.max() <= grid.high, name
        np.testing.assert_array_equal(each.codes, np.rint(each.codes))
        groups = -(-len(scales) // 4)
        assert len(np.unique(scales)) <= groups
    onnx.save(end.model, tmp_path / "m.onnx")
    (found,) = load_reference(tmp_path / "m.onnx")(inputs)
    (expected,) = simulate(end, inputs).values()
    # Sums in another order may carry a code over a tie.
    np.testing.assert_allclose(found, expected, atol=0.05 * np.ptp(expected))


def test_the_same_steps_give_the_same_network():
    graph, model = dense()
    inputs = graph.data()
    first, second = (tuned(graph, model, inputs)[1].model for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_tells_the_noise_that_is_left():
    graph, model = chain()
    inputs = graph.data()
    _, end = tuned(graph, model, inputs)
    last = end.layers[-1]
    layer = list(end.network.layers.values())[-1]
    (found,) = simulate(end, inputs).values()
    wanted = forward(end.network, inputs)[layer.output].astype("float64")
    expected = np.square(found - wanted).mean() / wanted.var()
    assert last.noise == pytest.approx(expected, rel=1e-3)  # sums of float32 results


def test_takes_models_of_a_fixed_batch():
    graph, _ = dense()
    model = graph.model(graph.nodes[-1].output[0], batch=8)
    start, end = tuned(graph, model, graph.data())
    inputs = {"x": graph.data(8)["x"]}
    assert loss(end, inputs) < loss(start, inputs)


def test_says_which_operator_has_no_gradient_before_it_works():
    graph = Graph((6,))
    x = graph.node("Erf", graph.gemm("x", 6, 8), name="odd")
    model, told = graph.model(graph.gemm(x, 8, 4)), []

    def progress(stage, done=0, total=0):
        told.append(stage)

    with pytest.raises(Unsupported, match=r"odd.*no gradient of Erf is known"):
        quantize_network(model, graph.data(), QuantizeOptions(fine_tune=1), progress=progress)
    assert told == ["reading"]


def test_shapes_that_are_computed_need_no_gradient():
    graph = Graph((4, 6, 6))
    x = graph.node("Relu", graph.conv("x", 4, 4))
    count = graph.node("Gather", graph.node("Shape", x), graph.constant(np.array([0])))
    shape = graph.node("Concat", count, graph.constant(np.array([144])), axis=0)
    model = graph.model(graph.gemm(graph.node("Reshape", x, shape), 144, 3))
    found = quantize_network(model, graph.data(), QuantizeOptions(fine_tune=2))
    assert found.fine_tuning.steps == 2


def test_is_left_out_where_it_brings_nothing():
    graph, model = dense()
    inputs = graph.data()
    options = [QuantizeOptions(fine_tune=steps) for steps in (0, 1)]
    start, end = (quantize_network(model, inputs, each) for each in options)
    assert not end.fine_tuning.kept and end.fine_tuning.after >= end.fine_tuning.before
    assert start.model.SerializeToString() == end.model.SerializeToString()


@pytest.mark.parametrize("steps", [-1, 1.5, True])
def test_refuses_steps(steps):
    with pytest.raises(InvalidInput, match="fine_tune"):
        QuantizeOptions(fine_tune=steps)


def test_on_the_command_line(tmp_path, capfd):
    graph, model = chain()
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **graph.data())
    where = [tmp_path / "m.onnx", "--calibration", tmp_path / "d.npz", "--weights", "2"]
    files = [tmp_path / "plain.onnx", tmp_path / "tuned.onnx"]
    for file, options in zip(files, ([], ["--fine-tune", "5"]), strict=True):
        assert main(["quantize", *map(str, where), "-o", str(file), *options]) == 0
    assert "fine-tuned" in capfd.readouterr().out
    plain, other = (file.read_bytes() for file in files)
    assert plain != other

    told = []
    qcompile.quantize(
        tmp_path / "m.onnx",
        tmp_path / "same.onnx",
        tmp_path / "d.npz",
        weights=2,
        options=QuantizeOptions(fine_tune=5),
        progress=lambda stage, done=0, total=0: told.append((stage.split(",")[0], done, total)),
    )
    assert ("fine-tuning", 3, 5) in told
    assert (tmp_path / "same.onnx").read_bytes() == other
