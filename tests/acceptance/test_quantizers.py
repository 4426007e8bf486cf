"""The forms that onnxruntime's quantizers write, on one network with all kinds of layers."""

import numpy as np
import onnx
import pytest
from graph import Graph
from quantized import Samples, prepare, quantize_int8, random_inputs

from qcompile.commands.reference import load_reference
from qcompile.compiler import analyze
from qcompile.targets import load_target
from tests.acceptance.agreement import FLIPPED_ERROR, FLOAT_ERROR, assert_outputs_agree
from tests.acceptance.networks import shufflenet, transformer

quantization = pytest.importorskip("onnxruntime.quantization")
QDQ, QOPERATOR = quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator
U8, S8 = quantization.QuantType.QUInt8, quantization.QuantType.QInt8
U16, S4 = quantization.QuantType.QUInt16, quantization.QuantType.QInt4

STATIC = {
    "qoperator_u8u8": (QOPERATOR, False, U8, U8),
    "qdq_u8u8": (QDQ, False, U8, U8),
    "qdq_s8s8": (QDQ, True, S8, S8),
    "qdq_u16s8": (QDQ, True, U16, S8),
    "qdq_u8s4": (QDQ, True, U8, S4),
}


@pytest.fixture(scope="module")
def target():
    return load_target("host")


def quantized(form, folder):
    """The network in that form, and an input."""
    model = folder / "float.onnx"
    onnx.save(shufflenet(), model)
    inputs = random_inputs(model, 5, seed=0)
    quant_format, per_channel, activations, weights = STATIC[form]
    quantization.quantize_static(
        model,
        folder / "quantized.onnx",
        Samples(inputs[1:]),
        quant_format=quant_format,
        per_channel=per_channel,
        activation_type=activations,
        weight_type=weights,
    )
    return folder / "quantized.onnx", inputs[0]


# Of each type one format: `test_import_quantized_by_onnxruntime` has more of them.
@pytest.mark.parametrize("form", ["qoperator_u8u8", "qdq_s8s8", "qdq_u16s8", "qdq_u8s4"])
def test_static(form, target, tmp_path):
    assert_outputs_agree(*quantized(form, tmp_path), target, tmp_path, FLIPPED_ERROR)


def test_layers_with_unsigned_weights_are_the_same_integer_layers(target, tmp_path):
    """Their zero points change neither what is listed of them nor leave a bias in float."""
    signed, unsigned = (
        analyze(quantized(form, tmp_path)[0], target) for form in ("qdq_s8s8", "qdq_u8u8")
    )
    assert unsigned.float_ops == signed.float_ops == ()
    assert all(layer.integer for layer in unsigned.layers)
    for one, other in zip(signed.layers, unsigned.layers, strict=True):
        assert (one.name, one.op, one.macs, one.w_bits) == (
            other.name,
            other.op,
            other.macs,
            other.w_bits,
        )


def exported_long_ago() -> onnx.ModelProto:
    """Opset 12, weights that are nodes, an own normalization, a bias of (1, N)."""
    net = Graph("exported_long_ago")
    weights = net.rng.normal(0, 0.3, (8, 3, 3, 3)).astype("float32")
    x = net.input("x", [1, 3, 8, 8])
    x = net.node("Conv", x, net.node("Constant", value=onnx.numpy_helper.from_array(weights)))
    moments = (net.constant(np.linspace(0.5, 2, 8, dtype="float32")) for _ in range(4))
    x = net.node("Relu", net.node("BatchNormalization", x, *moments))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    x = net.node("MatMul", x, net.weights(8, 10, fan_in=8))
    y = net.node("Add", x, net.constant(np.arange(10, dtype="float32")[None]))
    return net.model({y: [1, 10]}, opsets={"": 12})


def test_prepared(target, tmp_path):
    network, prepared = exported_long_ago(), tmp_path / "prepared.onnx"
    onnx.save(network, tmp_path / "float.onnx")
    prepare(network, prepared)
    inputs = random_inputs(prepared, 5, seed=0)
    expected, found = (
        load_reference(tmp_path / f"{name}.onnx")(inputs[0]) for name in ("float", "prepared")
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT_ERROR * np.ptp(expected))
    quantize_int8(prepared, tmp_path / "int8.onnx", inputs[1:])
    assert_outputs_agree(tmp_path / "int8.onnx", inputs[0], target, tmp_path, FLIPPED_ERROR)


@pytest.mark.parametrize(("network", "weights"), [(shufflenet, S8), (transformer, U8)])
def test_dynamic(network, weights, target, tmp_path):
    model = tmp_path / "float.onnx"
    onnx.save(network(), model)
    (inputs,) = random_inputs(model, 1, seed=0)
    quantization.quantize_dynamic(model, tmp_path / "quantized.onnx", weight_type=weights)
    assert_outputs_agree(tmp_path / "quantized.onnx", inputs, target, tmp_path, FLOAT_ERROR)
