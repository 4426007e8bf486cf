"""QONNX against its expansion to standard operators, run by onnxruntime: equal numbers."""

import numpy as np
import onnx
import pytest
from onnx import helper

from qcompile.commands.qonnx_expansion import expand_qonnx
from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend import import_onnx
from tests.qcompile.frontend.onnx_models import calls, executed, model_of, operators, reference

DOMAIN = "qonnx.custom_op.general"
MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "ROUND_TO_ZERO", "HALF_UP"]
MODES += ["half_down", "round"]
# Eighths around all codes of up to 6 bits: with scales that are powers of two nothing is rounded
# but codes, and every tie is met.
EIGHTHS = (np.arange(-640, 656).reshape(2, 3, 12, 18) / 8).astype("float32")


def quantizer(operator, constants, shape=EIGHTHS.shape, domain=DOMAIN, version=1, **attributes):
    """A model of one node that reads "x" and `constants`."""
    node = helper.make_node(
        operator, ["x", *constants], ["y"], name="q", domain=domain, **attributes
    )
    arrays = {name: np.asarray(value, "float32") for name, value in constants.items()}
    model = model_of([node], {"x": ("FLOAT", shape)}, {"y": ("FLOAT", shape)}, arrays)
    if version:
        model.opset_import.append(helper.make_opsetid(domain, version))
    return model


def quant(scale=0.5, zero=0.0, bits=4.0, *, signed=1, narrow=0, mode="ROUND", **options):
    constants = {"scale": scale, "zero": zero, "bits": bits}
    attributes = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
    return quantizer("Quant", constants, **attributes, **options)


def pairs(cases, others):
    """Every case with two of the others, in turn."""
    return [
        (case, others[place % len(others)])
        for number, case in enumerate(cases)
        for place in (number, number + len(others) // 2)
    ]


def same_numbers(model, x=EIGHTHS):
    imported = import_onnx(model)
    (expected,) = reference(expand_qonnx(model), {"x": x})
    (found,) = executed(imported, {imported.inputs[0].name: x})
    np.testing.assert_array_equal(found, expected)
    return imported


def attributes(imported, operator):
    (call,) = [call for call in calls(imported) if call.op.name == operator]
    return {key: call.attrs[key] for key in ("bits", "signed", "narrow")}


@pytest.mark.parametrize(("mode", "zero"), pairs(MODES, [0.0, 3.0, 4.0, 0.375]))
def test_rounds_as_the_mode_says(mode, zero):
    same_numbers(quant(zero=zero, mode=mode, signed=0))


@pytest.mark.parametrize(("bits", "kind"), pairs([2, 3, 8, 7], [(0, 0), (0, 1), (1, 1), (1, 0)]))
def test_keeps_the_range(bits, kind):
    signed, narrow = kind
    imported = same_numbers(quant(scale=0.125, bits=bits, signed=signed, narrow=narrow))
    expected = {"bits": bits, "signed": signed, "narrow": narrow}
    assert attributes(imported, "qcompile.quantize") == expected
    assert attributes(imported, "qcompile.dequantize") == expected


@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("zero", [0.0, 2.5])
def test_one_signed_bit_is_bipolar(narrow, zero):
    imported = same_numbers(quant(zero=zero, bits=1, narrow=narrow))
    bipolar = {"bits": 1, "signed": 1, "narrow": 1}
    assert attributes(imported, "qcompile.quantize") == bipolar


def test_one_unsigned_bit():
    same_numbers(quant(bits=1, signed=0, mode="FLOOR"))


CHANNELS = np.array([0.25, 0.5, 2.0])


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3, 1, 1)])
@pytest.mark.parametrize("zero", [0.0, 2.0, 1.0, np.array([1.0, 3.0, 5.0])])
def test_channels_have_scales_of_their_own(shape, zero):
    zero = np.reshape(zero, shape) if np.ndim(zero) else zero
    imported = same_numbers(quant(CHANNELS.reshape(shape), zero, signed=0))
    assert operators(imported) == ["qcompile.quantize", "qcompile.dequantize"]


def test_a_scale_may_have_axes_of_one():
    imported = same_numbers(quant(np.full((1, 1), 0.5)))
    assert operators(imported) == ["qcompile.quantize", "qcompile.dequantize"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"zero": np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)},  # odd and even
        {"zero": 20.0, "bits": 3.0},  # no code
        {"scale": np.array([0.25, 0.5]).reshape(2, 1, 1, 1) * CHANNELS.reshape(3, 1, 1)},
    ],
)
def test_other_parameters_stay_operators(parameters):
    imported = same_numbers(quant(**parameters))
    assert "qcompile.dequantize" not in operators(imported)


def test_scales_of_run_time():
    node = helper.make_node("Quant", ["x", "s", "z", "b"], ["y"], domain=DOMAIN)
    largest = helper.make_node("ReduceMax", ["x"], ["s"], keepdims=0)
    constants = {"z": np.float32(0), "b": np.float32(4)}
    shape = EIGHTHS.shape
    model = model_of([largest, node], {"x": ("FLOAT", shape)}, {"y": ("FLOAT", shape)}, constants)
    same_numbers(model)


@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas", "finn.custom_op.general"])
@pytest.mark.parametrize("version", [None, 1, 2])
@pytest.mark.parametrize("operator", ["Quant", "IntQuant"])
def test_dialects(domain, version, operator):
    constants = {"scale": 0.5, "zero": 0.0, "bits": 3.0}
    imported = import_onnx(quantizer(operator, constants, domain=domain, version=version))
    assert attributes(imported, "qcompile.quantize") == {"bits": 3, "signed": 1, "narrow": 1}


@pytest.mark.parametrize("scale", [0.5, 3.0, np.array([0.25, 0.5, 2.0]).reshape(1, 3, 1, 1)])
def test_bipolar_quant(scale):
    x = np.where(np.abs(EIGHTHS) < 1, np.float32(-0.0), EIGHTHS)
    imported = same_numbers(quantizer("BipolarQuant", {"scale": scale}), x)
    assert operators(imported) == ["qcompile.quantize", "qcompile.dequantize"]


@pytest.mark.parametrize(
    ("bits", "mode"), pairs([1, 2, 4, 8, 16, 24], ["ROUND", "FLOOR", "HALF_DOWN"])
)
def test_constants_become_codes(bits, mode):
    """x + quantized weights: the quantizer is gone."""
    rng = np.random.default_rng(bits)
    weights = rng.normal(0, 2 ** (bits - 3), (3, 1, 1)).astype("float32")
    scale = np.array([0.25, 0.5, 2.0], "float32").reshape(3, 1, 1)
    nodes = [
        helper.make_node("Quant", ["w", "s", "z", "b"], ["q"], domain=DOMAIN, rounding_mode=mode),
        helper.make_node("Add", ["x", "q"], ["y"]),
    ]
    shape = EIGHTHS.shape
    constants = {"w": weights, "s": scale, "z": np.float32(0), "b": np.float32(bits)}
    model = model_of(nodes, {"x": ("FLOAT", shape)}, {"y": ("FLOAT", shape)}, constants)
    imported = same_numbers(model, np.zeros(shape, "float32"))
    assert operators(imported) == ["qcompile.dequantize", "relax.add"]


@pytest.mark.parametrize("mode", MODES)
def test_trunc_1(mode):
    constants = {"s": 0.5, "z": 16.0, "bits": 8.0, "out_bits": 6.0}
    same_numbers(quantizer("Trunc", constants, rounding_mode=mode))


@pytest.mark.parametrize(
    ("mode", "kind"), pairs(MODES[:7], [(0, 0, 16.0), (1, 0, 6.0), (1, 1, 0.0)])
)
def test_trunc_2(mode, kind):
    signed, narrow, zero = kind
    constants = {"s": 0.5, "z": zero, "bits": 8.0, "out_s": 2.0, "out_bits": 5.0}
    attributes = {"rounding_mode": mode, "signed": signed, "narrow": narrow}
    imported = same_numbers(quantizer("Trunc", constants, version=2, **attributes))
    assert ("qcompile.dequantize" in operators(imported)) == (zero % 4 == 0)


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [
        ((2, 3), "NC", 3),
        ((2, 3), "", 3),
        ((2, 5, 3), "", 3),  # qonnx takes three axes for NWC
        ((2, 3, 6), "NCW", 3),
        ((2, 3, 4, 4), "", 3),
        ((2, 4, 4, 3), "NHWC", 3),
        ((2, 3, 4, 4), "NCHW", 1),
    ],
)
@pytest.mark.parametrize("scaling", [(1.0, 0.0), (0.5, -1.0), (0.3, -1.7), (2.0, -3.0)])
def test_multi_threshold(shape, layout, channels, scaling):
    rng = np.random.default_rng(0)
    thresholds = np.sort(rng.integers(-8, 8, (channels, 6)) / 4, axis=1)
    attributes = {"data_layout": layout} if layout else {}
    scale, bias = scaling
    model = quantizer(
        "MultiThreshold", {"t": thresholds}, shape, out_scale=scale, out_bias=bias, **attributes
    )
    x = (rng.integers(-10, 10, shape) / 4).astype("float32")
    imported = same_numbers(model, x)
    exact = scaling in ((1.0, 0.0), (0.5, -1.0))  # 2 * 6 - 3 has no whole zero point
    assert ("qcompile.dequantize" in operators(imported)) == exact


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_one_threshold_is_a_sign(threshold):
    thresholds = np.full((1, 1), threshold)
    model = quantizer("MultiThreshold", {"t": thresholds}, out_scale=2.0, out_bias=-1.0)
    imported = same_numbers(model)
    assert attributes(imported, "qcompile.quantize") == {"bits": 1, "signed": 1, "narrow": 1}


def test_multi_threshold_of_large_bundles():
    thresholds = np.arange(-127, 128).reshape(1, 255) / 2
    model = quantizer("MultiThreshold", {"t": thresholds}, out_bias=-128.0)
    imported = same_numbers(model)
    assert attributes(imported, "qcompile.dequantize")["bits"] == 8


def computed_bits():
    shape = EIGHTHS.shape
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["b"], keepdims=0),
        helper.make_node("Quant", ["x", "s", "z", "b"], ["y"], name="q", domain=DOMAIN),
    ]
    constants = {"s": np.float32(1), "z": np.float32(0)}
    return model_of(nodes, {"x": ("FLOAT", shape)}, {"y": ("FLOAT", shape)}, constants)


REFUSED = {
    "fraction": (lambda: quant(bits=3.5), "bit width of 3.5; whole numbers from 1 to 8 work"),
    "none": (lambda: quant(bits=0), "bit width of 0;"),
    "wide": (lambda: quant(bits=9), "bit width of 9;"),
    "nan bits": (lambda: quant(bits=np.nan), "bit width of nan;"),
    "several": (lambda: quant(bits=np.array([2.0, 3.0, 4.0])), "3 bit widths; one"),
    "computed": (computed_bits, "bit width is computed at run time; only a constant works"),
    "one code": (lambda: quant(bits=1, signed=0, narrow=1), "narrow=0 works"),
    "mode": (lambda: quant(mode="NEAREST"), "rounding_mode 'NEAREST'; ROUND, "),
    "zero scale": (lambda: quant(scale=0.0), "a scale is 0.0; scales are finite and above zero"),
    "negative": (lambda: quant(scale=-0.5), "a scale is -0.5;"),
    "nan": (lambda: quant(scale=np.nan), "a scale is nan;"),
    "bipolar": (lambda: quantizer("BipolarQuant", {"scale": -1.0}), "a scale is -1.0;"),
    "nan zero": (lambda: quant(zero=np.nan), "a zero point is no finite number"),
    "shape": (lambda: quant(scale=np.full((5, 1, 1), 0.5)), r"scales of shape \[5, 1, 1\] on"),
    "zeros": (lambda: quant(zero=np.ones((2, 1, 1))), r"zero points of shape \[2, 1, 1\] on"),
    "unsorted": (lambda: quantizer("MultiThreshold", {"t": [[1.0, 0.0]]}), "descend; ascending"),
    "nan t": (lambda: quantizer("MultiThreshold", {"t": [[np.nan]]}), "no number of float32"),
    "channels": (
        lambda: quantizer("MultiThreshold", {"t": [[1.0], [2.0]]}),
        r"thresholds of shape \[2, 1\]; \[3, T\] or \[1, T\] work",
    ),
    "float": (lambda: quantizer("FloatQuant", {"s": 1.0}), "FloatQuant 'q': of this domain "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make, message = REFUSED[case]
    with pytest.raises((InvalidModel, Unsupported), match=message) as found:
        import_onnx(make())
    assert "'q'" in str(found.value)  # the node is named


def test_initializers_among_the_inputs_are_constants():
    model = quant()
    for tensor in model.graph.initializer:
        kind = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(kind)
    imported = same_numbers(model)
    assert [spec.name for spec in imported.inputs] == ["x"]


def annotated(model, kind):
    entry = model.graph.quantization_annotation.add(tensor_name="y")
    entry.quant_parameter_tensor_names.add(key="finn_datatype", value=kind)
    return model


CHANNEL_SCALES = CHANNELS.reshape(3, 1, 1)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (quant(1.0), "INT3"),
        (quant(1.0), "UINT4"),
        (quant(1.0, 8.0, signed=0), "UINT4"),  # -8 to 7
        (quant(0.25), "SCALEDINT<3>"),
        (quant(CHANNEL_SCALES, bits=3), "INT3"),  # up to 3 * 2
        (quant(1.0, bits=1), "BINARY"),
        (quantizer("BipolarQuant", {"scale": 3.0}), "TERNARY"),
    ],
)
def test_refuses_contradicting_annotations(model, kind):
    with pytest.raises(InvalidModel, match=rf"'q' contradicts the type {kind} annotated for 'y'"):
        import_onnx(annotated(model, kind))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (quant(1.0), "INT4"),
        (quant(1.0), "INT8"),
        (quant(1.0, 8.0, signed=0), "INT4"),
        (quant(0.3), "SCALEDINT<4>"),
        (quant(0.3), "FLOAT32"),
        (quant(1.0), f"INT{10**12}"),
        (quant(CHANNEL_SCALES, bits=3), "INT4"),
        (quant(1.0, bits=1, narrow=0), "BIPOLAR"),
        (quantizer("BipolarQuant", {"scale": 1.0}), "BIPOLAR"),
    ],
)
def test_takes_true_annotations(model, kind):
    assert "qcompile.dequantize" in operators(import_onnx(annotated(model, kind)))


def test_the_expansion_holds_no_operator_of_qonnx():
    model = expand_qonnx(quant())
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model)
