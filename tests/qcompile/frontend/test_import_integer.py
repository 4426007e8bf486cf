"""MatMulInteger, ConvInteger and packed weights against onnxruntime, exactly."""

import numpy as np
import pytest
from onnx import helper
from onnx_models import agrees, calls, model_of, operators, variables

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend import import_onnx

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(0)


def codes(shape, dtype):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape, dtype=dtype)


@pytest.mark.parametrize("a_type", ["uint8", "int8"])
@pytest.mark.parametrize("b_type", ["uint8", "int8"])
@pytest.mark.parametrize("zeros", ["none", "single", "columns"])
def test_multiplies_matrices(a_type, b_type, zeros):
    constants = {"b": codes((6, 5), b_type)}
    inputs = ["a", "b"]
    if zeros != "none":
        shape = (5,) if zeros == "columns" else ()
        constants |= {"za": np.asarray(7, a_type), "zb": codes(shape, b_type)}
        inputs += ["za", "zb"]
    node = helper.make_node("MatMulInteger", inputs, ["y"], "product")
    outputs = {"y": ("INT32", [3, 4, 5])}
    model = model_of([node], {"a": (a_type.upper(), [3, 4, 6])}, outputs, constants)
    imported = agrees(model)
    assert variables(imported)["product"].op.name == "qcompile.integer_matmul"
    assert imported.layers == ("product",)


def test_multiplies_batches_and_vectors():
    for left, right in ([2, 1, 4, 6], [3, 6, 5]), ([6], [6, 5]), ([4, 6], [6]), ([6], [6]):
        node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
        shape = np.matmul(np.ones(left), np.ones(right)).shape
        inputs = {"a": ("UINT8", left), "b": ("UINT8", right)}
        agrees(model_of([node], inputs, {"y": ("INT32", shape)}))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("zeros", [True, False])
def test_convolves(groups, zeros):
    constants = {"w": codes((4, 4 // groups, 3, 2), "uint8")}
    constants |= {"zx": np.uint8(130), "zw": np.uint8(7)} if zeros else {}
    inputs = ["x", "w", "zx", "zw"] if zeros else ["x", "w"]
    attributes = {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2], "group": groups}
    node = helper.make_node("ConvInteger", inputs, ["y"], **attributes)
    model = model_of([node], {"x": ("UINT8", [2, 4, 7, 6])}, {"y": ("INT32", None)}, constants)
    imported = agrees(model)
    assert variables(imported)["ConvInteger_0"].op.name == "qcompile.integer_conv2d"


def test_convolves_signals():
    constants = {"w": codes((4, 2, 3), "uint8"), "z": np.uint8(9)}
    node = helper.make_node("ConvInteger", ["x", "w", "z"], ["y"], pads=[1, 0])
    model = model_of([node], {"x": ("UINT8", [2, 2, 9])}, {"y": ("INT32", None)}, constants)
    agrees(model)


@pytest.mark.parametrize("with_bias", [True, False])
def test_multiplies_data_quantized_dynamically(with_bias):
    constants = {"b": codes((6, 5), "int8"), "sb": np.float32(0.02), "zb": np.int8(3)}
    constants |= {"c": RNG.normal(0, 1, 5).astype("float32")} if with_bias else {}
    inputs = ["a", "b", "sb", "zb", *(["c"] if with_bias else [])]
    node = helper.make_node("DynamicQuantizeMatMul", inputs, ["y"], "n", domain=MICROSOFT)
    outputs = {"y": ("FLOAT", [4, 5])}
    model = model_of([node], {"a": ("FLOAT", [4, 6])}, outputs, constants, microsoft=True)
    assert agrees(model).layers == ("n",)


def test_rescales_integer_products():
    constants = {"b": codes((6, 5), "int8"), "sa": np.float32(0.1), "za": np.uint8(100)}
    constants |= {"sb": RNG.uniform(0.01, 0.02, 5).astype("float32"), "zb": np.zeros(5, "int8")}
    node = helper.make_node(
        "MatMulIntegerToFloat", ["a", "b", "sa", "sb", "za", "zb"], ["y"], domain=MICROSOFT
    )
    outputs = {"y": ("FLOAT", [4, 5])}
    agrees(model_of([node], {"a": ("UINT8", [4, 6])}, outputs, constants, microsoft=True))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
@pytest.mark.parametrize(("depth", "columns"), [(64, 6), (40, 5), (16, 3)])
def test_multiplies_packed_weights(bits, zeros, depth, columns):
    block = 16
    blocks = -(-depth // block)
    constants = {
        "b": codes((columns, blocks, block * bits // 8), "uint8"),
        "s": RNG.uniform(0.1, 1, columns * blocks).astype("float32"),
    }
    inputs = ["a", "b", "s"]
    if zeros == "packed":
        constants["z"] = codes(columns * -(-blocks * bits // 8), "uint8")
    if zeros == "float":
        constants["z"] = RNG.integers(0, 2**bits, columns * blocks).astype("float32")
    attributes = {"K": depth, "N": columns, "bits": bits, "block_size": block}
    inputs += ["z"] if zeros != "none" else []
    node = helper.make_node("MatMulNBits", inputs, ["y"], "n", domain=MICROSOFT, **attributes)
    outputs = {"y": ("FLOAT", [2, 3, columns])}
    model = model_of([node], {"a": ("FLOAT", [2, 3, depth])}, outputs, constants, microsoft=True)
    imported = import_onnx(model)
    if bits == 4 or zeros != "float":  # onnxruntime: float zero points for 4 bits only
        agrees(model)
    assert imported.layers == ("n",)
    assert int(calls(imported)[0].attrs["bits"]) == bits
    if depth == block:  # one block: per channel, and the transpose is folded
        assert operators(imported) == ["qcompile.dequantize", "relax.matmul"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"bits": 3}, "bits 3"), ({"K": 30, "block_size": 8}, "bytes"), ({"N": 0}, "N 0")],
)
def test_refuses_wrong_packing(change, message):
    constants = {"b": codes((6, 4, 8), "uint8"), "s": np.ones(24, "float32")}
    attributes = {"K": 64, "N": 6, "bits": 4, "block_size": 16} | change
    node = helper.make_node("MatMulNBits", ["a", "b", "s"], ["y"], domain=MICROSOFT, **attributes)
    inputs, outputs = {"a": ("FLOAT", [2, 64])}, {"y": ("FLOAT", [2, 6])}
    with pytest.raises((InvalidModel, Unsupported), match=message):
        import_onnx(model_of([node], inputs, outputs, constants, microsoft=True))
