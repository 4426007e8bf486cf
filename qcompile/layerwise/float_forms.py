"""What an operator on codes rounds: its float operator on the dequantized operands.

    QLinearOp(x, s_x, z_x, ..., s_y, z_y) = round(op(dequantize(x, s_x, z_x), ...) / s_y + z_y)

The operators of ONNX (QLinearConv, QLinearMatMul) and of com.microsoft; onnxruntime computes `op`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from qcompile.commands.reference import run_once

Array = NDArray[Any]
OPSET = 17
DROPPED = ("channels_last", "opset")  # attributes of com.microsoft alone


@dataclass(frozen=True)
class FloatForm:
    """Where the operands (codes, scale, zero point), the bias and the result's scale stand."""

    operator: str
    operands: tuple[int, ...]
    result: int
    bias: int | None = None
    plain: tuple[int, ...] = ()  # inputs that are no codes, in front
    axes: tuple[int, ...] = (1, 1)  # of per-channel scales, by operand


FORMS = {
    "QLinearConv": FloatForm("Conv", (0, 3), 6, bias=8, axes=(1, 0)),
    "QLinearMatMul": FloatForm("MatMul", (0, 3), 6, axes=(-2, -1)),
    "QGemm": FloatForm("Gemm", (0, 3), 7, bias=6, axes=(0, -1)),
    "QLinearAdd": FloatForm("Add", (0, 3), 6),
    "QLinearMul": FloatForm("Mul", (0, 3), 6),
    "QLinearWhere": FloatForm("Where", (1, 4), 7, plain=(0,)),
    "QLinearAveragePool": FloatForm("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": FloatForm("GlobalAveragePool", (0,), 3),
    "QLinearLeakyRelu": FloatForm("LeakyRelu", (0,), 3),
    "QLinearSigmoid": FloatForm("Sigmoid", (0,), 3),
    "QLinearSoftmax": FloatForm("Softmax", (0,), 3),
}


def float_result(node: onnx.NodeProto, known: Mapping[str, Array]) -> Array | None:
    """The values in units of the result's codes, or None where `node` has no such form."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("channels_last"):
        return None
    if node.op_type == "QLinearConcat":
        operands = tuple(range(2, len(node.input), 3))
        form = FloatForm("Concat", operands, 0, axes=(1,) * len(operands))
    elif node.op_type in FORMS:
        form = FORMS[node.op_type]
    else:
        return None
    inputs = [known[name] if name else None for name in node.input]
    if form.result >= len(inputs):  # QGemm without a scale of the result gives floats
        return None
    across = form.operator == "Gemm" and attributes.get("transB")
    axes = (0, 0) if across else form.axes
    arguments = [known[node.input[k]] for k in form.plain]
    arguments += [_real(inputs, k, axis) for k, axis in zip(form.operands, axes, strict=False)]
    bias = inputs[form.bias] if form.bias is not None and form.bias < len(inputs) else None
    if bias is not None:
        scale = _input(inputs, 1) * _input(inputs, 4).reshape(-1) * attributes.get("alpha", 1.0)
        arguments.append((bias * scale).astype("float32"))
    kept = {name: value for name, value in attributes.items() if name not in DROPPED}
    result = run_once(_model(form.operator, arguments, kept), arguments).astype("float64")
    zero = inputs[form.result + 1] if form.result + 1 < len(inputs) else None
    return result / _input(inputs, form.result) + (0 if zero is None else zero.astype("float64"))


def _input(inputs: list[Array | None], index: int) -> Array:
    found = inputs[index]
    assert found is not None
    return found.astype("float64")


def _real(inputs: list[Array | None], index: int, axis: int) -> Array:
    """The operand at `index` in float32."""
    codes, scale = _input(inputs, index), _input(inputs, index + 1)
    zero = np.zeros(()) if inputs[index + 2] is None else _input(inputs, index + 2)
    spread = [1] * codes.ndim
    if max(scale.size, zero.size) > 1:
        spread[axis] = -1
    scale, zero = (p.reshape(spread if p.size > 1 else ()) for p in (scale, zero))
    return ((codes - zero) * scale).astype("float32")


def _model(operator: str, arguments: list[Any], attributes: dict[str, Any]) -> onnx.ModelProto:
    names = [f"x{k}" for k in range(len(arguments))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in zip(names, arguments, strict=True)
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], operator, inputs, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
