"""The reference of QONNX itself, against the formulas of its operators in NumPy."""

import numpy as np
import onnx
import pytest
from onnx import helper

from qcompile.commands.qonnx_expansion import expand_qonnx, is_qonnx
from qcompile.commands.reference import load_reference
from qcompile.errors import Unsupported
from tests.qcompile.frontend.onnx_models import model_of, reference

pytest.importorskip("onnxruntime")
DOMAIN = "onnx.brevitas"
X = (np.arange(-200, 200) / 16).astype("float32").reshape(2, 4, 50)
ROUNDED = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)),
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
    "half_down": lambda v: np.sign(v) * np.ceil(np.abs(v) - 0.5),
}


def network(operator, inputs, *, opset=13, **attributes):
    node = helper.make_node(operator, ["x", *inputs], ["y"], domain=DOMAIN, **attributes)
    io = {"x": ("FLOAT", X.shape)}, {"y": ("FLOAT", X.shape)}
    arrays = {name: np.asarray(value, "float32") for name, value in inputs.items()}
    return model_of([node], *io, arrays, opset=opset)


def expanded(model):
    (result,) = reference(expand_qonnx(model), {"x": X})
    return result


@pytest.mark.parametrize("mode", ROUNDED)
@pytest.mark.parametrize(
    ("signed", "narrow", "low", "high"), [(1, 1, -3, 3), (1, 0, -4, 3), (0, 0, 0, 7), (0, 1, 0, 6)]
)
@pytest.mark.parametrize("opset", [9, 13, 20])
def test_quant(mode, signed, narrow, low, high, opset):
    attributes = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
    scale = np.array([0.5, 0.25, 2, 1], "float32").reshape(4, 1)
    inputs = {"s": scale, "z": 1.0, "b": 3.0}
    found = expanded(network("Quant", inputs, opset=opset, **attributes))
    codes = ROUNDED[mode](np.clip(X / scale + 1, low, high))
    np.testing.assert_array_equal(found, (codes - 1) * scale)


def test_one_signed_bit():
    found = expanded(network("Quant", {"s": 0.5, "z": 0.0, "b": 1.0}))
    np.testing.assert_array_equal(found, np.where(X >= 0, 0.5, -0.5))


def test_bipolar_quant():
    found = expanded(network("BipolarQuant", {"s": 0.3}))
    np.testing.assert_array_equal(found, np.where(X >= 0, np.float32(0.3), -np.float32(0.3)))


@pytest.mark.parametrize("mode", ["FLOOR", "CEIL", "ROUND"])
def test_trunc(mode):
    whole = np.rint(X / np.float32(0.25) + 4)
    first = network("Trunc", {"s": 0.25, "z": 4.0, "b": 8, "o": 6}, rounding_mode=mode)
    expected = (ROUNDED[mode](whole / 4) - 4) * 0.25
    np.testing.assert_array_equal(expanded(first), expected)

    inputs = {"s": 0.25, "z": 4.0, "b": 8, "t": 1.0, "o": 4}
    second = network("Trunc", inputs, rounding_mode=mode, signed=0)
    expected = ROUNDED[mode](np.clip(whole / 4, 0, 15)) - 1
    np.testing.assert_array_equal(expanded(second), expected)


@pytest.mark.parametrize(("layout", "axis"), [("NCW", 1), ("NWC", 2), ("", 2)])
def test_multi_threshold(layout, axis):
    channels = X.shape[axis]
    thresholds = np.sort(np.random.default_rng(0).integers(-9, 9, (channels, 7)), axis=1)
    attributes = {"out_scale": 0.5, "out_bias": -1.0, "data_layout": layout}
    found = expanded(network("MultiThreshold", {"t": thresholds}, **attributes))
    spread = thresholds.reshape([channels if a == axis else 1 for a in range(3)] + [7])
    np.testing.assert_array_equal(found, (X[..., None] >= spread).sum(-1) * 0.5 - 1)


def test_shows_the_codes():
    model = expand_qonnx(network("Quant", {"s": 0.5, "z": 0.0, "b": 3.0}))
    model.graph.output.append(helper.make_empty_tensor_value_info("y_codes"))
    y, codes = reference(model, {"x": X})
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(codes * np.float32(0.5), y)


def test_refuses_what_it_does_not_know():
    with pytest.raises(Unsupported, match="FloatQuant '': the reference has BipolarQuant"):
        expand_qonnx(network("FloatQuant", {"s": 1.0}))
    with pytest.raises(Unsupported, match="'b' is no constant"):
        expand_qonnx(computed_bits())


def computed_bits():
    model = network("Quant", {"s": 1.0, "z": 0.0, "b": 3.0})
    model.graph.node.insert(0, helper.make_node("Identity", ["b0"], ["b"]))
    model.graph.initializer[2].name = "b0"
    return model


def test_is_the_reference_of_the_commands(tmp_path):
    model = network("BipolarQuant", {"s": 0.3})
    assert is_qonnx(model)
    onnx.save(model, tmp_path / "net.onnx")
    (found,) = load_reference(tmp_path / "net.onnx")({"x": X})
    np.testing.assert_array_equal(found, np.where(X >= 0, np.float32(0.3), -np.float32(0.3)))
