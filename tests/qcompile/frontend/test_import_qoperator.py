"""QOperator models, ONNX's and those of com.microsoft, against onnxruntime."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import agrees, calls, executed, model_of, operators, variables

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend import import_onnx

ONE_STEP = 1  # a value at a tie, within float error, goes either way
MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(0)


def codes(shape, dtype="int8"):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape, dtype=dtype)


def one(op, inputs, output_shape, constants, shapes, domain=MICROSOFT, kind="UINT8", **attributes):
    """A model of one node; `shapes` are the inputs computed at run time, uint8 or int8."""
    node = helper.make_node(op, inputs, ["y"], "node", domain=domain, **attributes)
    graph_inputs = {name: (kind, shape) for name, shape in shapes.items()}
    return model_of(
        [node], graph_inputs, {"y": (kind, output_shape)}, constants, 18, microsoft=True
    )


def scale(value):
    return np.float32(value)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolves(per_channel, groups):
    shape = (4,) if per_channel else ()
    constants = {
        "sx": scale(0.02),
        "zx": np.uint8(120),
        "w": codes((4, 4 // groups, 3, 3)),
        "sw": RNG.uniform(0.01, 0.02, shape).astype("float32"),
        "zw": np.zeros(shape, "int8"),
        "sy": scale(0.5),
        "zy": np.uint8(100),
        "b": RNG.integers(-4000, 4000, 4, dtype="int32"),
    }
    inputs = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
    attributes = {"auto_pad": "SAME_UPPER", "strides": [2, 1], "group": groups}
    shapes = {"x": [2, 4, 7, 6]}
    model = one("QLinearConv", inputs, None, constants, shapes, "", **attributes)
    imported = agrees(model, steps=ONE_STEP)
    assert imported.layers == ("node",)
    assert variables(imported)["node"].op.name == "relax.nn.conv2d"
    bias = calls(imported)[3]
    expected = constants["sx"] * constants["sw"]
    np.testing.assert_array_equal(bias.args[1].value.numpy(), expected)


@pytest.mark.parametrize("per_column", [True, False])
def test_multiplies_matrices(per_column):
    shape = (5,) if per_column else ()
    constants = {
        "sa": scale(0.02),
        "za": np.uint8(128),
        "b": codes((6, 5), "uint8"),
        "sb": RNG.uniform(0.01, 0.02, shape).astype("float32"),
        "zb": np.full(shape, 120, "uint8"),
        "sy": scale(0.3),
        "zy": np.uint8(120),
    }
    inputs = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    shapes = {"a": [3, 4, 6]}
    model = one("QLinearMatMul", inputs, [3, 4, 5], constants, shapes, "")
    imported = agrees(model, steps=ONE_STEP)
    assert operators(imported)[2] == "relax.matmul"


def test_multiplies_two_computed_matrices():
    constants = {"s": scale(0.02), "z": np.int8(5), "sy": scale(0.3)}
    inputs = ["a", "s", "z", "b", "s", "z", "sy", "z"]
    shapes = {"a": [2, 4, 6], "b": [2, 6, 3]}
    model = one("QLinearMatMul", inputs, [2, 4, 3], constants, shapes, "", "INT8")
    agrees(model, steps=ONE_STEP)


@pytest.mark.parametrize("across", [0, 1])
@pytest.mark.parametrize("float_output", [False, True])
def test_gemm(across, float_output):
    constants = {
        "sa": scale(0.02),
        "za": np.uint8(3),
        "b": codes((5, 6) if across else (6, 5)),
        "sb": RNG.uniform(0.01, 0.02, 5).astype("float32"),
        "zb": np.zeros(5, "int8"),
        "c": RNG.integers(-4000, 4000, 5, dtype="int32"),
    }
    inputs = ["a", "sa", "za", "b", "sb", "zb", "c"]
    if not float_output:
        constants |= {"sy": scale(0.5), "zy": np.uint8(100)}
        inputs += ["sy", "zy"]
    node = helper.make_node("QGemm", inputs, ["y"], "node", domain=MICROSOFT, transB=across)
    output = {"y": ("FLOAT" if float_output else "UINT8", [4, 5])}
    model = model_of([node], {"a": ("UINT8", [4, 6])}, output, constants, 18, microsoft=True)
    imported = agrees(model, steps=ONE_STEP)
    assert calls(imported)[1].args[0].value.numpy().shape == (6, 5)
    assert imported.layers == ("node",)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("kind", ["UINT8", "INT8"])
def test_combines_two(op, kind):
    dtype = kind.lower()
    constants = {"sa": scale(0.02), "za": np.asarray(5, dtype), "sb": scale(0.03)}
    constants |= {"zb": np.asarray(9, dtype), "sc": scale(0.06), "zc": np.asarray(20, dtype)}
    inputs = ["a", "sa", "za", "b", "sb", "zb", "sc", "zc"]
    shapes = {"a": [2, 3, 4], "b": [1, 3, 1]}
    agrees(one(op, inputs, [2, 3, 4], constants, shapes, kind=kind), steps=ONE_STEP)


def test_concatenates():
    constants = {"sa": scale(0.02), "sb": scale(0.03), "sy": scale(0.025)}
    constants |= {"za": np.uint8(5), "zb": np.uint8(7), "zy": np.uint8(20)}
    inputs = ["sy", "zy", "a", "sa", "za", "b", "sb", "zb"]
    shapes = {"a": [2, 3, 4], "b": [2, 1, 4]}
    model = one("QLinearConcat", inputs, [2, 4, 4], constants, shapes, axis=1)
    agrees(model, steps=ONE_STEP)


UNARY = {
    "QLinearAveragePool": {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]},
    "QLinearGlobalAveragePool": {},
    "QLinearSigmoid": {},
    "QLinearLeakyRelu": {"alpha": 0.1},
    "QLinearSoftmax": {"axis": 1, "opset": 13},
}


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("kind", ["UINT8", "INT8"])
def test_maps_one(op, kind):
    dtype = kind.lower()
    constants = {"sx": scale(0.02), "zx": np.asarray(50, dtype)}
    constants |= {"sy": scale(0.01), "zy": np.asarray(10, dtype)}
    inputs = ["x", "sx", "zx", "sy", "zy"]
    model = one(op, inputs, None, constants, {"x": [2, 3, 6, 5]}, kind=kind, **UNARY[op])
    agrees(model, steps=ONE_STEP)


def test_averages_over_axes():
    """onnxruntime has the schema of QLinearReduceMean, but no kernel."""
    constants = {"sx": scale(0.5), "sy": scale(0.25), "zy": np.uint8(10)}
    inputs, attributes = ["x", "sx", "", "sy", "zy"], {"axes": [1, -1], "keepdims": 0}
    imported = import_onnx(
        one("QLinearReduceMean", inputs, None, constants, {"x": [2, 3, 4, 5]}, **attributes)
    )
    x = codes((2, 3, 4, 5), "uint8")
    expected = np.clip(np.rint(x.mean((1, 3)) * 0.5 / 0.25) + 10, 0, 255)
    np.testing.assert_allclose(executed(imported, {"x": x})[0], expected, atol=ONE_STEP)


def test_takes_softmax_over_the_rest_of_the_axes():
    constants = {"sx": scale(0.02), "zx": np.uint8(50), "sy": scale(0.004), "zy": np.uint8(0)}
    inputs = ["x", "sx", "zx", "sy", "zy"]
    shapes = {"x": [2, 3, 4]}
    model = one("QLinearSoftmax", inputs, [2, 3, 4], constants, shapes, axis=1, opset=12)
    agrees(model, steps=ONE_STEP)


def test_chooses():
    constants = {"sx": scale(0.02), "zx": np.uint8(50), "sy": scale(0.03), "zy": np.uint8(7)}
    inputs = ["c", "x", "sx", "zx", "w", "sy", "zy", "sy", "zy"]
    node = helper.make_node("QLinearWhere", inputs, ["y"], domain=MICROSOFT)
    shapes = {"c": ("BOOL", [3, 4]), "x": ("UINT8", [3, 4]), "w": ("UINT8", [3, 4])}
    model = model_of([node], shapes, {"y": ("UINT8", [3, 4])}, constants, 18, microsoft=True)
    agrees(model, steps=ONE_STEP)


def test_refuses_scales_computed_at_run_time():
    node = helper.make_node("QLinearSigmoid", ["x", "s", "", "s"], ["y"], "n", domain=MICROSOFT)
    inputs = {"x": ("UINT8", [3]), "s": ("FLOAT", [])}
    model = model_of([node], inputs, {"y": ("UINT8", [3])}, {}, 18, microsoft=True)
    with pytest.raises(Unsupported, match=r"com.microsoft::QLinearSigmoid 'n': .*scale"):
        import_onnx(model)


def test_refuses_a_wrong_number_of_inputs():
    constants = {"s": scale(0.1), "z": np.uint8(0)}
    model = one("QLinearConcat", ["s", "z", "x"], [3], constants, {"x": [3]}, axis=0)
    with pytest.raises(InvalidModel, match="3 inputs"):
        import_onnx(model)


def test_reads_standard_operators_behind_those_of_other_domains():
    nodes = [
        helper.make_node("QLinearSigmoid", ["x", "s", "z", "s", "z"], ["q"], domain=MICROSOFT),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Concat", ["d", "d"], ["c"], axis=1),
        helper.make_node("ReduceMax", ["c"], ["y"], axes=[1]),
    ]
    constants = {"s": scale(0.01), "z": np.uint8(10)}
    inputs = {"x": ("UINT8", [2, 3])}
    agrees(model_of(nodes, inputs, {"y": ("FLOAT", None)}, constants, 17, microsoft=True))
