"""`qcompile quantize`: the whole way, and what it says of bad input."""

import json

import numpy as np
import onnx
import pytest

import qcompile
from qcompile.cli import main
from qcompile.commands.demo import write_demo_data
from qcompile.commands.reference import load_reference
from qcompile.errors import InvalidInput, OutputError, QCompileError, Unsupported
from qcompile.quantizer import QuantizeOptions, Widths
from tests.qcompile.quantizer.float_networks import chain

CALIBRATED = 500  # of the bundled images; the others are for testing


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The bundled float network, images to calibrate with, and others with labels."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo_data(folder)
    with np.load(folder / "test.npz") as arrays:
        x, y = arrays["input"], arrays["y"]
    np.savez(folder / "calibration.npz", input=x[:CALIBRATED])
    np.savez(folder / "held_out.npz", input=x[CALIBRATED:], y=y[CALIBRATED:])
    return folder


@pytest.fixture
def small(tmp_path):
    """A small model and calibration for it, as files."""
    graph, model = chain()
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", **graph.data())
    return tmp_path


def top_1(model, data):
    with np.load(data) as arrays:
        (scores,) = load_reference(model)({"input": arrays["input"]})
        return float((scores.argmax(axis=1) == arrays["y"]).mean())


@pytest.mark.parametrize(
    ("widths", "lost"), [((8, 8), 0.006), ((4, 4), 0.02), ((2, 4), 0.03), ((2, 2), 0.06)]
)
def test_bundled_network_keeps_its_accuracy(demo, widths, lost):
    pytest.importorskip("onnxruntime")
    out, (weights, activations) = demo / "quantized.onnx", widths
    calibration, held_out = demo / "calibration.npz", demo / "held_out.npz"
    qcompile.quantize(
        demo / "fp32.onnx", out, calibration, weights=weights, activations=activations
    )
    assert top_1(out, held_out) >= top_1(demo / "fp32.onnx", held_out) - lost


def test_writes_a_model_that_compiles(small, capfd):
    out = small / "w4a4.onnx"
    files = [small / "model.onnx", "-o", out, "--calibration", small / "data.npz"]
    code = main(["quantize", *map(str, files), "--weights", "4", "--activations", "4"])
    shown = capfd.readouterr().out
    assert code == 0
    assert "point      Conv           4       4       96" in shown
    assert f"wrote {out} (QONNX)" in shown

    checked = qcompile.check(out, "x86-64-v3")
    widths = {layer.name: (layer.w_bits, layer.a_bits) for layer in checked.analysis.layers}
    assert widths["point"] == (4, 4)


def test_takes_the_widths_of_a_file(small):
    (small / "bits.json").write_text(json.dumps({"layers": {"point": {"w": 2, "a": 3}}}))
    found = qcompile.quantize(
        small / "model.onnx", small / "o.onnx", small / "data.npz", bits=small / "bits.json"
    )
    assert [(layer.w_bits, layer.a_bits) for layer in found.layers][2] == (2, 3)


def test_tells_how_far_it_is(small):
    told = []
    qcompile.quantize(
        small / "model.onnx",
        small / "o.onnx",
        small / "data.npz",
        progress=lambda stage, done=0, total=0: told.append((stage, done, total)),
    )
    assert ("quantizing point", 2, 4) in told


def fault(small, error, **changes):
    arguments = {"model": small / "model.onnx", "output": small / "o.onnx"}
    arguments |= {"calibration": small / "data.npz"} | changes
    with pytest.raises(error) as raised:
        qcompile.quantize(**arguments)
    assert not (small / "o.onnx").exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((5, 3, 8, 9), "float32"), "takes shape (samples, 3, 8, 8), found (5, 3, 8, 9)"),
        (np.zeros((5, 3, 8, 8), "uint8"), "takes a float type, found uint8"),
        (np.full((5, 3, 8, 8), np.nan, "float32"), "values that are no finite numbers"),
        (np.full((5, 3, 8, 8), 3e38, "float32"), "its float result on the calibration data"),
        (np.zeros((0, 3, 8, 8), "float32"), "at least one"),
    ],
    ids=["shape", "dtype", "NaN", "overflow", "empty"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_refuses_calibration(small, array, said):
    np.savez(small / "bad.npz", x=array)
    assert said in fault(small, InvalidInput, calibration=small / "bad.npz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"layers": {"pont": {"w": 4}}}', "no layer is called 'pont'; is it 'point'?"),
        ('{"layers": {"point": {"w": 9}}}', "layer 'point': weights of 9 bits"),
        ('{"layers": {"point": {"a": 0}}}', "layer 'point': activations of 0 bits"),
        ('{"layers": {"point": {"w": 2.5}}}', "weights of 2.5 bits"),
        ('{"layers": {"point": {"w": true}}}', "weights of True bits"),
        ('{"layers": {"point": 4}}', "the form is"),
        ('{"layers": []}', "`layers` is no object"),
        ("[1]", "the form is"),
        ("{", "no JSON"),
    ],
)
def test_refuses_bits(small, content, said):
    (small / "bits.json").write_text(content)
    assert said in fault(small, InvalidInput, bits=small / "bits.json")


def test_refuses_two_sources_of_widths(small):
    assert "twice" in fault(small, InvalidInput, bits={"layers": {}}, weights=4)


def test_refuses_a_quantized_model(small):
    first = small / "q.onnx"
    for weights in (8, 4):
        qcompile.quantize(small / "model.onnx", first, small / "data.npz", weights=weights)
        assert "is quantized already" in fault(small, Unsupported, model=first)


def test_refuses_a_model_without_layers(small):
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, 1, ["N", 3, 8, 8]) for name in "xy"]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", values[:1], values[1:])),
        small / "relu.onnx",
    )
    assert "has no Conv, Gemm or MatMul" in fault(small, QCompileError, model=small / "relu.onnx")


def test_refuses_a_folder_that_is_not_there_before_any_work(small):
    assert "no folder" in fault(small, OutputError, output=small / "none" / "o.onnx", model="none")


@pytest.mark.parametrize(
    "options",
    [{"ranges": "best"}, {"rounding": "up"}, {"percentile": 20}, {"channels_per_scale": 0}],
)
def test_refuses_options(options):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        QuantizeOptions(**options)


@pytest.mark.parametrize("widths", [(0, 8), (8, 9), (2.0, 8), (True, 8)])
def test_refuses_widths(widths):
    with pytest.raises(InvalidInput, match="whole numbers from 1 to 8"):
        Widths(*widths)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "9"], "'9' is no width from 1 to 8"),
        (["--bits", "b.json", "--weights", "4"], "--bits tells all widths"),
        (["--rounding", "up"], "invalid choice"),
        (["--channels-per-scale", "0"], "no positive number"),
    ],
)
def test_wrong_usage_ends_with_two(options, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(["quantize", "m.onnx", "-o", "o.onnx", "--calibration", "c.npz", *options])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
