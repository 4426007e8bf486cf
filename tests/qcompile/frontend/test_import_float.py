"""Float operators against onnxruntime: where we convert ourselves, and the forms of old opsets."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import agrees, executed, model_of, operators, variables

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend import import_onnx

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(0, 1, shape).astype("float32")


def one(op, shape, constants=None, opset=18, inputs=None, outputs=1, kind="FLOAT", **attributes):
    """A model of one node that reads x and then `constants`."""
    names = inputs or ["x", *(constants or {})]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, "node", **attributes)
    results = dict.fromkeys(results, (kind, None))
    return model_of([node], {"x": ("FLOAT", shape)}, results, constants, opset)


CONVOLUTIONS = [
    {},
    {"pads": [1, 2, 0, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 2], "dilations": [1, 2]},
    {"auto_pad": "VALID", "dilations": [2, 1]},
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv(attributes, groups):
    constants = {"w": floats(8, 4 // groups, 3, 2), "b": floats(8)}
    model = one("Conv", ["N", 4, 9, 8], constants, group=groups, **attributes)
    if "dilations" in attributes and attributes.get("auto_pad", "").startswith("SAME"):
        import_onnx(model)  # onnxruntime refuses dilations beside SAME
    else:
        agrees(model, batch=2)


@pytest.mark.parametrize(("shape", "window"), [([2, 4, 9], [3]), ([1, 4, 5, 6, 4], [3, 2, 2])])
def test_conv_over_one_and_three_axes(shape, window):
    agrees(one("Conv", shape, {"w": floats(6, 2, *window)}, group=2, pads=[1] * 2 * len(window)))


TRANSPOSED = [
    {},
    {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
    {"strides": [2, 1], "auto_pad": "SAME_UPPER"},
    {"strides": [2, 1], "auto_pad": "SAME_LOWER"},
    {"strides": [3, 2], "output_shape": [16, 9]},
    {"strides": [3, 2], "output_shape": [14, 8], "output_padding": [1, 1]},
    {"dilations": [2, 2]},
]


@pytest.mark.parametrize("attributes", TRANSPOSED)
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose(attributes, groups):
    constants = {"w": floats(4, 3, 3, 2), "b": floats(3 * groups)}
    agrees(one("ConvTranspose", [2, 4, 5, 4], constants, group=groups, **attributes))


def test_conv_transpose_of_a_signal():
    agrees(one("ConvTranspose", [2, 4, 5], {"w": floats(4, 3, 3)}, strides=[2], pads=[1, 0]))


@pytest.mark.parametrize("transposed", [(0, 0), (1, 1)])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (3, 5), (3, 1), ()])
def test_gemm(transposed, factors, bias):
    constants = {"b": floats(5, 4) if transposed[1] else floats(4, 5)}
    constants |= {} if bias is None else {"c": floats(*bias)}
    attributes = dict(zip(("transA", "transB"), transposed, strict=True))
    attributes |= dict(zip(("alpha", "beta"), factors, strict=True))
    shape = [4, 3] if transposed[0] else [3, 4]
    imported = agrees(one("Gemm", shape, constants, **attributes))
    assert variables(imported)["node"].op.name == "relax.matmul"
    assert operators(imported).count("relax.permute_dims") == transposed[0]


POOLS = [
    {"kernel_shape": [3, 2]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 0, 1], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 3], "ceil_mode": 1},
    {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("attributes", POOLS)
def test_pools(attributes):
    agrees(one("MaxPool", [2, 3, 8, 7], **attributes))
    agrees(one("AveragePool", [2, 3, 8, 7], opset=19, **attributes))
    agrees(one("AveragePool", [2, 3, 8, 7], opset=19, count_include_pad=1, **attributes))


def test_pools_with_dilations():
    attributes = {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]}
    agrees(one("MaxPool", [2, 3, 8, 7], **attributes))
    agrees(one("AveragePool", [2, 3, 8, 7], opset=19, **attributes))


def test_pools_of_signals():
    agrees(one("MaxPool", [2, 3, 9], kernel_shape=[3], strides=[2], pads=[1, 1]))
    agrees(one("AveragePool", [2, 3, 9], kernel_shape=[3], strides=[2], pads=[1, 1]))


def scalar(value, dtype="int64"):
    return np.asarray(value, dtype)


def ints(*values):
    return np.asarray(values, "int64")


OLD = {
    "slice": lambda: one("Slice", [4, 6], opset=9, starts=[1, -4], ends=[3, 9], axes=[0, 1]),
    "clip": lambda: one("Clip", [4, 6], opset=10, min=-0.5, max=0.25),
    "upsample 7": lambda: one("Upsample", [1, 2, 3, 4], opset=7, scales=[1.0, 1.0, 2.0, 3.0]),
    "upsample 9": lambda: one("Upsample", [1, 2, 3, 4], {"s": np.float32([1, 1, 2, 2])}, 9),
    "resize 10": lambda: one("Resize", [1, 2, 4, 4], {"s": np.float32([1, 1, 2, 0.5])}, 10),
    "resize 10 linear": lambda: one(
        "Resize", [1, 2, 4, 4], {"s": np.float32([1, 1, 2, 2])}, 10, mode="linear"
    ),
    "pad": lambda: one("Pad", [2, 3], opset=10, pads=[0, 1, 1, 2], value=0.5),
    "softmax": lambda: one("Softmax", [2, 3, 4], opset=11, axis=1),
    "log softmax": lambda: one("LogSoftmax", [2, 3, 4], opset=12),
    "squeeze": lambda: one("Squeeze", [2, 1, 4, 1], opset=11, axes=[1]),
    "unsqueeze": lambda: one("Unsqueeze", [2, 4], opset=11, axes=[0, 3]),
    "sum": lambda: one("ReduceSum", [2, 3, 4], opset=11, axes=[1], keepdims=0),
    "mean": lambda: one("ReduceMean", [2, 3, 4], opset=9, axes=[-1, 1]),
    "split": lambda: one("Split", [2, 7], opset=11, outputs=2, axis=1, split=[3, 4]),
    "split equally": lambda: one("Split", [2, 6], opset=13, outputs=3, axis=1),
    "batch norm": lambda: one(
        "BatchNormalization",
        [2, 3, 4, 4],
        {"s": floats(3), "b": floats(3), "m": floats(3), "v": np.abs(floats(3)) + 0.1},
        9,
    ),
    "dropout": lambda: one("Dropout", [2, 3], opset=10, ratio=0.3),
    "cast": lambda: one("Cast", [4, 5], opset=9, kind="INT32", to=TensorProto.INT32),
    "prelu": lambda: one("PRelu", [2, 3, 4, 4], {"s": floats(3, 1, 1)}, 9),
    "flatten": lambda: one("Flatten", [2, 3, 4], opset=9, axis=2),
}


@pytest.mark.parametrize("name", OLD)
def test_reads_old_opsets(name):
    agrees(OLD[name]())


NEW = {
    "slice": lambda: one(
        "Slice", [5, 6, 7], {"a": ints(-1, 5), "b": ints(-9, 0), "c": ints(0, 2), "d": ints(-2, -1)}
    ),
    "pad edge": lambda: one("Pad", [2, 3], {"p": ints(1, 0, 0, 2)}, mode="edge"),
    "pad reflect": lambda: one("Pad", [3, 4], {"p": ints(1, 0, 2, 3)}, mode="reflect"),
    "pad wrap": lambda: one("Pad", [3, 4], {"p": ints(1, 0, 2, 3)}, 19, mode="wrap"),
    "pad axes": lambda: one(
        "Pad", [2, 3, 4], {"p": ints(1, 2), "v": np.float32(3), "a": ints(-2)}, 18
    ),
    "crop": lambda: one("Pad", [5, 6], {"p": ints(-1, 2, 0, -3)}, 18),
    "resize": lambda: one(
        "Resize", [1, 2, 4, 4], {"s": np.float32([1, 1, 2, 1.5])}, inputs=["x", "", "s"]
    ),
    "resize sizes": lambda: one(
        "Resize",
        [1, 2, 4, 4],
        {"s": ints(1, 2, 7, 3)},
        inputs=["x", "", "", "s"],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    "concat": lambda: one("Concat", [2, 3], {"c": floats(2, 4)}, axis=-1),
    "expand": lambda: one("Expand", [2, 1], {"s": ints(2, 3)}),
    "split": lambda: one("Split", [2, 7], {"s": ints(3, 4)}, outputs=2, axis=1),
    "split uneven": lambda: one("Split", [2, 7], outputs=3, axis=1, num_outputs=3),
    "gather": lambda: one("Gather", [4, 5], {"i": ints(-1, 0, 2)}, axis=1),
    "top": lambda: model_of(
        [helper.make_node("TopK", ["x", "k"], ["y", "i"])],
        {"x": ("FLOAT", [3, 8])},
        {"y": ("FLOAT", None), "i": ("INT64", None)},
        {"k": ints(3)},
    ),
    "layer norm": lambda: one("LayerNormalization", [2, 3, 4], {"s": floats(4), "b": floats(4)}),
    "cube": lambda: one("Pow", [2, 3], {"e": np.float32(3)}),
    "square by integer": lambda: one("Pow", [2, 3], {"e": scalar(2)}),
    "clip": lambda: one("Clip", [4, 6], {"a": np.float32(-0.5), "b": np.float32(0.25)}),
    "clip above": lambda: one("Clip", [4, 6], {"b": np.float32(0.25)}, inputs=["x", "", "b"]),
    "softmax": lambda: one("Softmax", [2, 3, 4], axis=1),
    "gelu": lambda: one("Gelu", [2, 9], opset=20),
    "hard swish": lambda: one("HardSwish", [2, 9]),
    "mish": lambda: one("Mish", [2, 9]),
    "celu": lambda: one("Celu", [2, 9], alpha=0.5),
    "einsum": lambda: one("Einsum", [2, 3, 4], {"b": floats(2, 4, 5)}, equation="bij,bjk->bik"),
    "instance norm": lambda: one(
        "InstanceNormalization", [2, 3, 4], {"s": floats(3), "b": floats(3)}
    ),
    "group norm": lambda: one(
        "GroupNormalization", [2, 4, 5], {"s": floats(4), "b": floats(4)}, 21, num_groups=2
    ),
    "depth to space": lambda: one("DepthToSpace", [1, 8, 2, 3], blocksize=2, mode="CRD"),
    "where": lambda: one(
        "Where", [2, 3], {"c": floats(2, 3) > 0, "z": floats(3)}, inputs=["c", "x", "z"]
    ),
    "argmax": lambda: one("ArgMax", [3, 7], axis=1, kind="INT64"),
}


@pytest.mark.parametrize("name", NEW)
def test_reads_new_opsets(name):
    agrees(NEW[name]())


COMPUTED = {
    "Gather": ([4, 5], [3], {"axis": 1}, 5),
    "GatherElements": ([4, 5], [2, 5], {"axis": 0}, 4),
    "GatherND": ([4, 4, 3], [6, 2], {}, 4),
}


@pytest.mark.parametrize("op", COMPUTED)
def test_computed_indices_stay_inside(op):
    shape, index_shape, attributes, extent = COMPUTED[op]
    node = helper.make_node(op, ["x", "i"], ["y"], **attributes)
    inputs = {"x": ("FLOAT", shape), "i": ("INT64", index_shape)}
    model = model_of([node], inputs, {"y": ("FLOAT", None)})
    inside = RNG.integers(-extent, extent, index_shape)
    imported = agrees(model, {"x": floats(*shape), "i": inside})
    beyond = np.full(index_shape, 10**12)
    feeds = {"x": floats(*shape), "i": beyond}
    last = executed(imported, feeds | {"i": np.full(index_shape, extent - 1)})
    np.testing.assert_array_equal(executed(imported, feeds), last)


def test_refuses_constant_indices_outside():
    with pytest.raises(InvalidModel, match="an index lies outside"):
        import_onnx(one("Gather", [4, 5], {"i": ints(5)}, axis=1))


def test_encodes_indices_as_ones():
    node = helper.make_node("OneHot", ["x", "d", "v"], ["y"], axis=1)
    constants = {"d": ints(5), "v": np.float32([-1, 2])}
    model = model_of([node], {"x": ("INT64", [2, 3])}, {"y": ("FLOAT", [2, 5, 3])}, constants)
    agrees(model, {"x": np.array([[0, 4, -1], [2, -5, 7]])})


def test_computes_float16_in_float32():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    w = floats(6, 5).astype("float16")
    model = model_of(nodes, {"x": ("FLOAT16", [4, 6])}, {"y": ("FLOAT16", [4, 5])}, {"w": w})
    imported = import_onnx(model)
    assert [spec.dtype for spec in (*imported.inputs, *imported.outputs)] == ["float16"] * 2
    assert "relax.matmul" in operators(imported)


def test_refuses_scales_that_give_no_whole_sizes():
    constants = {"s": np.float32([1, 1, 0.6, 0.6])}
    model = one("Resize", [1, 1, 4, 4], constants, inputs=["x", "", "s"])
    with pytest.raises(Unsupported, match="whole sizes"):
        import_onnx(model)


def test_refuses_training():
    constants = {name: np.ones(3, "float32") for name in "sbmv"}
    model = one("BatchNormalization", [2, 3, 4], constants, 15, outputs=3, training_mode=1)
    with pytest.raises(Unsupported, match="training_mode"):
        import_onnx(model)
