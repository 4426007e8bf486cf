"""QDQ and QCDQ models against onnxruntime, and the form they take."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import (
    agrees,
    calls,
    executed,
    model_of,
    operators,
    packed,
    random_feeds,
    variables,
)

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend import import_onnx

ONE_STEP = 1  # onnxruntime sums in another order, and a value at a tie goes either way
INTEGERS = {"INT8": "int8", "UINT8": "uint8", "INT16": "int16", "UINT16": "uint16"}


def q(x, s, z, y, **attributes):
    return helper.make_node("QuantizeLinear", [x, s, z] if z else [x, s], [y], **attributes)


def dq(x, s, z, y, **attributes):
    return helper.make_node("DequantizeLinear", [x, s, z] if z else [x, s], [y], **attributes)


def clip(x, y):
    return helper.make_node("Clip", [x, "low", "high"], [y])


def conv_model(kind="INT8", per_channel=True, opset=21):
    rng = np.random.default_rng(0)
    dtype = INTEGERS[kind]
    shape = (4,) if per_channel else ()
    half = np.iinfo(dtype).max // 2
    nodes = [
        q("x", "s_x", "z_x", "q_x"),
        dq("q_x", "s_x", "z_x", "d_x"),
        dq("w", "s_w", "z_w", "d_w", axis=0),
        dq("b", "s_b", None, "d_b", axis=0),
        helper.make_node("Conv", ["d_x", "d_w", "d_b"], ["c"], "conv/one.x", pads=[1, 0, 2, 1]),
        q("c", "s_y", "z_x", "q_y"),
    ]
    constants = {
        "s_x": np.float32(4 / half),
        "z_x": np.asarray(half // 3, dtype),
        "w": rng.integers(-100, 100, (4, 3, 3, 3), dtype="int8"),
        "s_w": rng.uniform(0.01, 0.02, shape).astype("float32"),
        "z_w": np.zeros(shape, "int8"),
        "b": rng.integers(-5000, 5000, 4, dtype="int32"),
        "s_b": np.full(shape, 0.001, "float32"),
        "s_y": np.float32(20 / half),
    }
    return model_of(
        nodes, {"x": ("FLOAT", ["N", 3, 7, 6])}, {"q_y": (kind, None)}, constants, opset
    )


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("kind", "opset"), [("INT8", 13), ("UINT8", 21), ("INT16", 21)])
def test_convolves_quantized_data(kind, opset, per_channel):
    imported = agrees(conv_model(kind, per_channel, opset), steps=ONE_STEP, batch=2)
    assert imported.layers == ("conv/one.x",)
    assert operators(imported) == [
        "qcompile.quantize",
        "qcompile.dequantize",
        "qcompile.dequantize",
        "relax.nn.conv2d",
        "qcompile.dequantize",
        "relax.add",
        "qcompile.quantize",
    ]
    assert variables(imported)["conv/one.x"].op.name == "relax.nn.conv2d"
    bias = calls(imported)[4].args[0]
    assert bias.value.numpy().shape == (1, 4, 1, 1)


def quantizer(kind, dtype, domain="", opset=21, **attributes):
    """x -> QuantizeLinear -> DequantizeLinear, both visible."""
    nodes = [q("x", "s", "z", "i", domain=domain), dq("i", "s", "z", "y", domain=domain)]
    if domain:
        for node in nodes:
            node.domain = domain
    zero = attributes.get("zero", np.asarray(1, dtype))
    return model_of(
        nodes,
        {"x": ("FLOAT", [5, 6])},
        {"y": ("FLOAT", [5, 6])},
        {"s": np.float32(attributes.get("scale", 0.02)), "z": zero},
        opset,
        microsoft=bool(domain),
    )


@pytest.mark.parametrize("dtype", INTEGERS.values())
def test_quantizes_to_every_width(dtype):
    feeds = {"x": np.random.default_rng(0).normal(0, 3, (5, 6)).astype("float32")}
    model = quantizer(dtype, dtype)
    agrees(model, feeds)
    agrees(quantizer(dtype, dtype, "com.microsoft", 13), feeds)


@pytest.mark.parametrize("kind", ["INT4", "UINT4", "INT2", "UINT2"])
def test_quantizes_below_a_byte(kind):
    zero = packed([1], (), kind)
    model = quantizer(kind, "int8", opset=25 if "2" in kind else 21, zero=zero, scale=0.3)
    imported = import_onnx(model)
    call = calls(imported)[0]
    assert int(call.attrs["bits"]) == int(kind[-1])
    assert bool(call.attrs["signed"]) == (kind[0] == "I")
    if "4" in kind:  # onnxruntime has no kernels for 2 bits
        agrees(model)


def test_quantizes_without_a_zero_point_to_uint8():
    nodes = [q("x", "s", None, "y")]
    agrees(model_of(nodes, {"x": ("FLOAT", [9])}, {"y": ("UINT8", [9])}, {"s": np.float32(0.01)}))


def test_quantizes_to_the_output_type():
    nodes = [q("x", "s", None, "y", output_dtype=TensorProto.INT16)]
    agrees(model_of(nodes, {"x": ("FLOAT", [9])}, {"y": ("INT16", [9])}, {"s": np.float32(0.01)}))


def test_quantizes_along_an_axis():
    nodes = [q("x", "s", "z", "y", axis=-2)]
    constants = {"s": np.float32([0.01, 0.02, 0.03]), "z": np.int8([0, 3, -2])}
    agrees(model_of(nodes, {"x": ("FLOAT", [2, 3, 4])}, {"y": ("INT8", [2, 3, 4])}, constants))


@pytest.mark.parametrize(
    ("dtype", "low", "high", "range_of"),
    [
        ("uint8", 0, 15, (4, False, False)),
        ("int8", -8, 7, (4, True, False)),
        ("int8", -7, 7, (4, True, True)),
        ("int8", -1, 1, (2, True, True)),
        ("uint8", 0, 1, (1, False, False)),
        ("int8", 0, 15, (4, False, False)),
        ("int8", -128, 127, (8, True, False)),
        ("int16", -512, 511, (10, True, False)),
    ],
)
def test_reads_a_clip_as_bits(dtype, low, high, range_of):
    nodes = [q("x", "s", "z", "a"), clip("a", "b"), dq("b", "s", "z", "y")]
    bounds = {"low": np.asarray(low, dtype), "high": np.asarray(high, dtype)}
    constants = {"s": np.float32(0.2), "z": np.zeros((), dtype), **bounds}
    model = model_of(nodes, {"x": ("FLOAT", [40])}, {"y": ("FLOAT", [40])}, constants)
    imported = import_onnx(model)
    if dtype != "int16":  # onnxruntime has no Clip of int16
        agrees(model)
    first, second = calls(imported)
    for call in (first, second):
        attributes = (int(call.attrs["bits"]), *(bool(call.attrs[a]) for a in ("signed", "narrow")))
        assert attributes == range_of


def test_keeps_a_clip_that_is_no_range_of_bits():
    nodes = [q("x", "s", "z", "a"), clip("a", "b"), dq("b", "s", "z", "y")]
    constants = {"s": np.float32(0.2), "z": np.int8(0), "low": np.int8(-5), "high": np.int8(9)}
    model = model_of(nodes, {"x": ("FLOAT", [40])}, {"y": ("FLOAT", [40])}, constants)
    assert operators(agrees(model))[1:3] == ["relax.minimum", "relax.maximum"]


def test_keeps_the_type_of_a_clip_that_others_read():
    nodes = [q("x", "s", "z", "a"), clip("a", "y")]
    constants = {"s": np.float32(0.2), "z": np.int8(0), "low": np.int8(0), "high": np.int8(15)}
    agrees(model_of(nodes, {"x": ("FLOAT", [40])}, {"y": ("INT8", [40])}, constants))


def test_folds_quantized_constants_to_integers():
    w = np.random.default_rng(1).normal(0, 1, (6, 4)).astype("float32")
    nodes = [
        q("w", "s", "z", "a", axis=0),
        clip("a", "b"),
        dq("b", "s", "z", "c", axis=0),
        helper.make_node("Transpose", ["c"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"], "product"),
    ]
    scales = np.linspace(0.1, 0.4, 6, dtype="float32")
    constants = {"w": w, "s": scales, "z": np.zeros(6, "int8")}
    constants |= {"low": np.int8(-7), "high": np.int8(7)}
    model = model_of(nodes, {"x": ("FLOAT", [3, 4])}, {"y": ("FLOAT", [3, 6])}, constants)
    imported = agrees(model)
    assert operators(imported) == ["qcompile.dequantize", "relax.matmul"]
    weights = calls(imported)[0]
    expected = np.clip(np.rint(w / scales[:, None]), -7, 7).T
    np.testing.assert_array_equal(weights.args[0].value.numpy(), expected)
    assert int(weights.attrs["axis"]) == 1
    assert int(weights.attrs["bits"]) == 4


def test_quantizes_ties_to_even():
    nodes = [q("x", "s", "z", "y")]
    constants = {"s": np.float32(0.5), "z": np.uint8(3)}
    x = np.arange(-10, 10, 0.25, dtype="float32")
    agrees(model_of(nodes, {"x": ("FLOAT", [80])}, {"y": ("UINT8", [80])}, constants), {"x": x})


@pytest.mark.parametrize(
    ("shape", "axis", "block"),
    [((8, 6), 0, 4), ((8, 6), 1, 3), ((6, 8), 0, 6), ((2, 6, 5), 1, 2)],
)
@pytest.mark.parametrize("kind", ["INT8", "UINT4"])
def test_dequantizes_blocks_of_constants(shape, axis, block, kind):
    rng = np.random.default_rng(0)
    low, high = (-128, 127) if kind == "INT8" else (0, 15)
    codes = rng.integers(low, high + 1, shape)
    blocks = [-(-e // block) if i == axis else e for i, e in enumerate(shape)]
    constants = {
        "q": helper.make_tensor("q", getattr(TensorProto, kind), shape, codes.reshape(-1)),
        "s": rng.uniform(0.1, 1, blocks).astype("float32"),
        "z": helper.make_tensor(
            "z", getattr(TensorProto, kind), blocks, rng.integers(0, 8, blocks).reshape(-1)
        ),
    }
    nodes = [
        dq("q", "s", "z", "d", axis=axis, block_size=block),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    agrees(model_of(nodes, {"x": ("FLOAT", shape)}, {"y": ("FLOAT", shape)}, constants))


def test_quantizes_blocks_at_run_time():
    rng = np.random.default_rng(0)
    constants = {"s": rng.uniform(0.02, 0.1, (4, 2)).astype("float32"), "z": np.zeros((4, 2), "i1")}
    nodes = [
        q("x", "s", "z", "a", axis=1, block_size=3),
        dq("a", "s", "z", "y", axis=1, block_size=3),
    ]
    agrees(model_of(nodes, {"x": ("FLOAT", [4, 6])}, {"y": ("FLOAT", [4, 6])}, constants))


def test_quantizes_with_scales_computed_at_run_time():
    nodes = [
        helper.make_node("Abs", ["s"], ["scale"]),
        q("x", "scale", "z", "a", axis=1),
        dq("a", "scale", "z", "y", axis=1),
    ]
    inputs = {"x": ("FLOAT", [2, 3]), "s": ("FLOAT", [3])}
    model = model_of(nodes, inputs, {"y": ("FLOAT", [2, 3])}, {"z": np.int8([0, 5, -5])})
    agrees(model)


def test_quantizes_dynamically():
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])]
    outputs = {"y": ("UINT8", [4, 5]), "s": ("FLOAT", []), "z": ("UINT8", [])}
    model = model_of(nodes, {"x": ("FLOAT", [4, 5])}, outputs)
    agrees(model, steps=ONE_STEP)
    agrees(model, {"x": np.zeros((4, 5), "float32")})


def test_moves_codes_through_shapes():
    nodes = [
        q("x", "s", "z", "a"),
        helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["t"], ["f"]),
        dq("f", "s", "z", "y"),
    ]
    constants = {"s": np.float32(0.5), "z": packed([2], (), "UINT4")}
    inputs = {"x": ("FLOAT", [2, 3, 4, 5])}
    imported = import_onnx(model_of(nodes, inputs, {"y": ("FLOAT", [2, 60])}, constants))
    assert int(calls(imported)[-1].attrs["bits"]) == 4
    feeds = random_feeds(imported)
    values = (np.clip(np.rint(feeds["x"] / 0.5) + 2, 0, 15) - 2) * 0.5
    expected = values.transpose(0, 2, 3, 1).reshape(2, 60)
    np.testing.assert_array_equal(executed(imported, feeds)[0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.0}, "above zero"),
        ({"scale": -1.0}, "above zero"),
        ({"scale": np.nan}, "above zero"),
        ({"scale": np.inf}, "above zero"),
        ({"zero": np.zeros(3, "int8")}, "zero points"),
        ({"zero": np.float32(1)}, "float"),
        ({"zero": np.int64(1)}, "int64"),
    ],
)
def test_refuses_wrong_parameters(change, message):
    with pytest.raises((InvalidModel, Unsupported), match=message):
        import_onnx(quantizer("INT8", "int8", **change))


def test_refuses_a_wrong_number_of_scales():
    nodes = [q("x", "s", None, "y", axis=1)]
    constants = {"s": np.float32([0.1, 0.2])}
    with pytest.raises(InvalidModel, match="2 scales along axis 1"):
        import_onnx(model_of(nodes, {"x": ("FLOAT", [2, 3])}, {"y": ("UINT8", None)}, constants))
