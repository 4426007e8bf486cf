"""Quantizers as single nodes, and what onnxruntime makes of values around their boundaries."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qcompile.commands.reference import load_tensors

QONNX = "qonnx.custom_op.general"
MODES = "ROUND", "CEIL", "FLOOR", "DOWN", "HALF_UP", "HALF_DOWN", "ROUND_TO_ZERO", "HALF_EVEN"
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid(QONNX, 1)]
OPSETS.append(helper.make_opsetid("com.microsoft", 1))


def node(operator, *constants, domain=QONNX, outputs=("y",), **attributes):
    """A node that reads x and constants, and these by name."""
    arrays = {f"c{k}": np.asarray(array) for k, array in enumerate(constants)}
    made = helper.make_node(operator, ["x", *arrays], outputs, domain=domain, **attributes)
    return made, arrays


def quant(scale, zero, bits, **attributes):
    floats = (np.asarray(value, "float32") for value in (scale, zero, bits))
    return node("Quant", *floats, **{"narrow": 0, "signed": 1, **attributes})


def model(nodes, arrays, x):
    """A model of nodes in a row from x; its constants are `arrays`."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes,
        "quantizer",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10)


def tensors(made: onnx.ModelProto, x):
    """Every tensor of a model, by onnxruntime."""
    return load_tensors(made, "test")({"x": x})


QUANTIZERS = {
    **{
        f"quant {mode}": quant(0.25, 0, 3, rounding_mode=mode)
        for mode in [
            "ROUND",
            "CEIL",
            "FLOOR",
            "UP",
            "DOWN",
            "HALF_UP",
            "HALF_DOWN",
            "ROUND_TO_ZERO",
            "HALF_EVEN",
        ]
    },
    "quant UP": quant(0.25, 0, 3, signed=0, rounding_mode="UP"),  # else 0 is a single value's code
    "quant of whole zero": quant(0.25, 3, 3, signed=0),
    "quant of fractional zero": quant(0.3, 0.37, 4),
    "narrow quant by channels": quant([[0.25], [0.125]], [[1], [0]], 4, narrow=1),
    "quant of one signed bit": quant(0.5, 0, 1),
    "quant of one bit": quant(0.5, 0, 1, signed=0),
    "bipolar": node("BipolarQuant", np.float32(0.7)),
    "sign": node("Sign", domain=""),
    "older trunc": node("Trunc", *np.float32([0.125, 0, 6, 3])),
    "older trunc with zero": node("Trunc", *np.float32([0.125, 2, 6, 4]), rounding_mode="ROUND"),
    "older trunc HALF_UP": node("Trunc", *np.float32([0.125, 0, 6, 4]), rounding_mode="HALF_UP"),
    "older trunc HALF_DOWN": node(
        "Trunc", *np.float32([0.125, 0, 6, 4]), rounding_mode="HALF_DOWN"
    ),
    "older trunc DOWN": node("Trunc", *np.float32([0.125, 0, 6, 4]), rounding_mode="DOWN"),
    "newer trunc": node("Trunc", *np.float32([0.125, 0, 6, 0.5, 4]), signed=1),
    "newer trunc up": node("Trunc", *np.float32([0.125, 4, 6, 0.5, 3]), rounding_mode="CEIL"),
    "thresholds": node("MultiThreshold", np.float32([[-1.3, 0.1, 0.4]]), data_layout="NC"),
    "thresholds by channels": node(
        "MultiThreshold",
        np.float32([[-1, 0, 1], [0.2, 0.3, 0.9]]),
        out_scale=0.5,
        out_bias=-1.0,
        data_layout="CN",
    ),
}
