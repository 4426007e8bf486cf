"""README's table of operators: what it calls integer leaves no float operator."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qcompile.compiler import analyze
from qcompile.targets import load_target

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
IMAGE = {"x": [1, 8, 8, 8]}
TWO = {**IMAGE, "b": [1, 8, 8, 8]}
FILTER = {"w": [16, 8, 3, 3]}
SPATIAL = {"pads": [1, 1, 1, 1]}


def node(operator, *inputs, **attributes):
    return helper.make_node(operator, list(inputs), ["y"], **attributes)


def values(**arrays):
    return {name: np.asarray(array) for name, array in arrays.items()}


PER_CHANNEL = values(**{name: np.linspace(0.5, 2, 8, dtype="float32") for name in "gbmv"})

# (node, shapes of quantized inputs, shapes of quantized weights, other constants)
CASES = {
    "Conv": [
        (node("Conv", "x", "w", **SPATIAL, strides=[2, 2]), IMAGE, FILTER, {}),
        (node("Conv", "x", "w", pads=[0, 1, 2, 1], dilations=[2, 1]), IMAGE, FILTER, {}),
        (node("Conv", "x", "w", auto_pad="SAME_UPPER"), IMAGE, FILTER, {}),
        (node("Conv", "x", "w", group=2), IMAGE, {"w": [16, 4, 3, 3]}, {}),
        (node("Conv", "x", "w", group=8), IMAGE, {"w": [16, 1, 3, 3]}, {}),
        (node("Conv", "x", "w"), {"x": [1, 8, 20]}, {"w": [16, 8, 3]}, {}),
    ],
    "Gemm": [(node("Gemm", "x", "w", transB=1), {"x": [4, 32]}, {"w": [16, 32]}, {})],
    "MatMul": [
        (node("MatMul", "x", "w"), {"x": [2, 5, 32]}, {"w": [32, 16]}, {}),
        (node("MatMul", "x", "b"), {"x": [2, 5, 32], "b": [2, 32, 7]}, {}, {}),
    ],
    "Add": [(node("Add", "x", "b"), TWO, {}, {})],
    "Mul": [
        (node("Mul", "x", "b"), TWO, {}, {}),
        (node("Mul", "x", "b"), {**IMAGE, "b": [1, 8, 1, 1]}, {}, {}),
    ],
    "Concat": [(node("Concat", "x", "b", axis=1), TWO, {}, {})],
    "MaxPool": [(node("MaxPool", "x", kernel_shape=[3, 3], **SPATIAL, ceil_mode=1), IMAGE, {}, {})],
    "AveragePool": [
        (node("AveragePool", "x", kernel_shape=[2, 2]), IMAGE, {}, {}),
        (node("AveragePool", "x", kernel_shape=[3, 3], **SPATIAL), IMAGE, {}, {}),
        (node("AveragePool", "x", kernel_shape=[3], pads=[1, 1]), {"x": [1, 8, 20]}, {}, {}),
    ],
    "GlobalAveragePool": [
        (node("GlobalAveragePool", "x"), IMAGE, {}, {}),
        (node("GlobalAveragePool", "x"), {"x": [1, 8, 20]}, {}, {}),
    ],
    "ReduceMean": [
        (node("ReduceMean", "x", axes=[1], keepdims=0), {"x": [1, 50, 16]}, {}, {}),
        (node("ReduceMean", "x", axes=[-1]), IMAGE, {}, {}),
    ],
    "BatchNormalization": [
        (node("BatchNormalization", "x", *"gbmv"), shape, {}, PER_CHANNEL)
        for shape in (IMAGE, {"x": [2, 8]}, {"x": [1, 8, 20]})
    ],
    "Clip": [(node("Clip", "x", "l", "h"), IMAGE, {}, values(l=np.float32(0), h=np.float32(6)))],
    "Reshape": [(node("Reshape", "x", "s"), IMAGE, {}, values(s=[1, 64, 8]))],
    "Transpose": [(node("Transpose", "x", perm=[0, 2, 3, 1]), IMAGE, {}, {})],
    "Squeeze": [(node("Squeeze", "x", "a"), {"x": [1, 8, 1, 1]}, {}, values(a=[2, 3]))],
    "Unsqueeze": [(node("Unsqueeze", "x", "a"), IMAGE, {}, values(a=[0]))],
    "Slice": [(node("Slice", "x", "a", "b", "a"), IMAGE, {}, values(a=[1], b=[5]))],
    "Split": [(helper.make_node("Split", ["x"], ["y", "z"], axis=1), IMAGE, {}, {})],
    "Gather": [(node("Gather", "x", "i", axis=1), IMAGE, {}, values(i=[3, 1]))],
    "Pad": [(node("Pad", "x", "p"), IMAGE, {}, values(p=[0, 0, 1, 1, 0, 0, 1, 1]))],
    "Expand": [(node("Expand", "x", "s"), {"x": [1, 8, 1, 1]}, {}, values(s=[1, 8, 4, 4]))],
    "DepthToSpace": [(node("DepthToSpace", "x", blocksize=2), IMAGE, {}, {})],
    "SpaceToDepth": [(node("SpaceToDepth", "x", blocksize=2), IMAGE, {}, {})],
    "Resize": [
        (
            node(
                *("Resize", "x", "", "s"),
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            ),
            IMAGE,
            {},
            values(s=np.array([1, 1, 2, 2], "float32")),
        )
    ],
}
ELEMENTWISE = "Relu LeakyRelu Sigmoid Tanh HardSigmoid HardSwish Elu Selu Softplus Exp Abs Neg Erf"
CASES |= {name: [(node(name, "x"), IMAGE, {}, {})] for name in [*ELEMENTWISE.split(), "Flatten"]}
# Read from images as convolutions leave them.
AFTER_CONVOLUTION = {
    "GlobalAveragePool": node("GlobalAveragePool", "x"),
    "ReduceMean": node("ReduceMean", "x", axes=[2, 3]),
}


def quantize(source, name, zero_point):
    """Nodes and constants from float `source` to `name` behind uint8 codes."""
    constants = values(
        **{f"{name}_s": np.float32(0.05), f"{name}_z": np.array(zero_point, "uint8")}
    )
    parameters = [f"{name}_s", f"{name}_z"]
    nodes = [
        helper.make_node("QuantizeLinear", [source, *parameters], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [name]),
    ]
    return nodes, constants


def model(operators, inputs, weights, constants):
    """Quantized inputs, the operators, a quantized output."""
    rng = np.random.default_rng(0)
    nodes, arrays = [], dict(constants)
    for name in inputs:
        more, parameters = quantize(f"{name}_in", name, 100)
        nodes, arrays = nodes + more, arrays | parameters
    for name, shape in weights.items():
        arrays[f"{name}_q"] = rng.integers(-127, 128, shape, "int8")
        arrays |= values(**{f"{name}_s": np.float32(0.02), f"{name}_z": np.int8(0)})
        quantized = [f"{name}_q", f"{name}_s", f"{name}_z"]
        nodes.append(helper.make_node("DequantizeLinear", quantized, [name]))
    more, parameters = quantize("y", "result", 128)
    graph = helper.make_graph(
        [*nodes, *operators, *more],
        "graph",
        [helper.make_tensor_value_info(f"{name}_in", 1, s) for name, s in inputs.items()],
        [helper.make_tensor_value_info("result", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in (arrays | parameters).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def float_operators(proto, tmp_path):
    onnx.save(onnx.shape_inference.infer_shapes(proto), tmp_path / "model.onnx")
    return analyze(tmp_path / "model.onnx", load_target("x86-64-v3")).float_ops


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name) for name, cases in CASES.items() for case in cases],
)
def test_is_integer(tmp_path, case):
    operator, *rest = case
    assert float_operators(model([operator], *rest), tmp_path) == ()


@pytest.mark.parametrize("name", AFTER_CONVOLUTION)
def test_is_integer_after_a_convolution(tmp_path, name):
    convolution = helper.make_node("Conv", ["image", "w"], ["sums"])
    between, constants = quantize("sums", "x", 100)
    operators = [convolution, *between, AFTER_CONVOLUTION[name]]
    proto = model(operators, {"image": [1, 8, 8, 8]}, FILTER, constants)
    assert float_operators(proto, tmp_path) == ()


def test_readme_lists_these():
    [row] = re.findall(r"^\| on the integers \|(.*)\|$", README, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == CASES.keys() | AFTER_CONVOLUTION.keys()
