"""`compile --bits`: a float model quantized on its way to the compiler."""

import json

import numpy as np
import onnx
import pytest

import qcompile
from qcompile.errors import BundleError, InvalidInput, Unsupported
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network, simulate
from qcompile.targets import host_features
from tests.qcompile.quantizer.float_networks import chain

BITS = {"layers": {"depthwise": {"w": 4, "a": 8}, "point": {"w": 2, "a": 3}}}


@pytest.fixture
def files(tmp_path):
    """A small float model, calibration for it and widths, as files."""
    graph, model = chain()
    onnx.save(model, tmp_path / "small.onnx")
    np.savez(tmp_path / "data.npz", **graph.data())
    (tmp_path / "bits.json").write_text(json.dumps(BITS))
    return tmp_path


@pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")
def test_compiles_a_float_model_to_widths(cli, files):
    options = ("--bits", files / "bits.json", "--calibration", files / "data.npz", "--batch", 2)
    where = (files / "small.onnx", "--target", "host", "-o", files / "build")
    code, _, err = cli("compile", *where, *options)
    assert (code, err) == (0, "")

    manifest = json.loads((files / "build" / "manifest.json").read_text())
    widths = {layer["name"]: (layer["w_bits"], layer["a_bits"]) for layer in manifest["layers"]}
    assert widths == {"first": (8, 8), "depthwise": (4, 8), "point": (2, 3), "last": (8, 8)}
    assert manifest["name"] == "small"

    with np.load(files / "data.npz") as arrays:
        x = arrays["x"]
    named = {name: Widths(entry["w"], entry["a"]) for name, entry in BITS["layers"].items()}
    whole = quantize_network(files / "small.onnx", {"x": x}, QuantizeOptions(bits=named))
    (expected,) = simulate(whole, {"x": x[:2]}).values()
    found = qcompile.load(files / "build")(x[:2])
    # Sums in another order may carry a code over a tie; a wrong width is off by far more.
    np.testing.assert_allclose(found, expected, atol=0.02 * np.ptp(expected))


@pytest.fixture
def asked(calls, files):
    """What `compile` hands to the compiler (a fake) for the files, with other arguments."""

    def ask(**changes):
        arguments = {"bits": BITS, "calibration": files / "data.npz", "output": files / "build"}
        arguments |= {"model": files / "small.onnx", "target": "znver4"} | changes
        qcompile.compile(**arguments)
        return calls

    return ask


def test_hands_on_the_model_itself_without_widths(asked, files):
    assert asked(bits=None, calibration=None)[0][0] == str(files / "small.onnx")


@pytest.mark.parametrize("alone", ["bits", "calibration"])
def test_takes_both_or_neither(asked, cli, files, alone):
    with pytest.raises(InvalidInput, match=f"{alone} without"):
        asked(**{"bits": None, "calibration": None, alone: files / "data.npz"})
    code, _, err = cli("compile", "m.onnx", "--target", "host", "-o", "o", f"--{alone}", "file")
    assert code == 2
    assert "--bits and --calibration go together" in err


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"bits": {"layers": {"pont": {"w": 4}}}}, InvalidInput, "is it 'point'?"),
        ({"calibration": {"x": np.zeros((4, 3, 8, 9), "float32")}}, InvalidInput, "takes shape"),
    ],
)
def test_refuses_what_does_not_fit(asked, calls, changes, error, said):
    with pytest.raises(error) as raised:
        asked(**changes)
    assert said in str(raised.value)
    assert calls == []


def test_refuses_a_quantized_model(asked, calls, files):
    quantized = files / "quantized.onnx"
    qcompile.quantize(files / "small.onnx", quantized, files / "data.npz")
    with pytest.raises(Unsupported, match="is quantized already"):
        asked(model=quantized)
    assert calls == []


def test_looks_at_the_folder_before_it_quantizes(asked, files):
    with pytest.raises(BundleError, match="holds other files"):
        asked(output=files, model="none.onnx")
