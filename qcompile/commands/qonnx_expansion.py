"""Write the quantizers of QONNX as standard operators, so that onnxruntime can run the model.

    Quant(x, s, z, b)         -> y_codes = cast(round(clip(x / s + z, low, high)))
                                 y = (cast(y_codes) - z) * s
    BipolarQuant(x, s)        -> y_codes = cast(where(x >= 0, 1, -1)),  y = cast(y_codes) * s
    Trunc                     -> the same after a division by a power of two
    MultiThreshold(x, t)      -> y_codes = cast(sum(x >= t)),  y = cast(y_codes) * scale + bias

y is the node's result; y_codes holds its integers (8 bits, where they fit). Nothing here comes from
the importer: it is what the importer is held against. Operators and the order of their roundings
are those of the qonnx package 1.0. Models of old opsets are converted to UPGRADED first.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from qcompile.errors import Unsupported

Array = NDArray[Any]
DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
UPGRADED = 13  # Round, GreaterOrEqual, ReduceSum and Unsqueeze in one form
CODES = "_codes"  # behind the name of a quantizer's result: its integers


def is_qonnx(model: onnx.ModelProto) -> bool:
    return any(node.domain in DOMAINS for node in model.graph.node)


def expand_qonnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without operators of QONNX. Raises Unsupported for those that have no expansion."""
    expanded = onnx.ModelProto()
    expanded.CopyFrom(model)
    expanded = _upgraded(expanded)
    nodes = list(expanded.graph.node)
    del expanded.graph.node[:], expanded.graph.value_info[:]
    constants = {t.name: numpy_helper.to_array(t) for t in expanded.graph.initializer}
    for node in nodes:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        if node.domain not in DOMAINS:
            expanded.graph.node.append(node)
            continue
        if node.op_type not in EXPANSIONS:
            known = ", ".join(EXPANSIONS)
            raise Unsupported(f"{node.op_type} '{node.name}': the reference has {known}")
        EXPANSIONS[node.op_type](_Writer(expanded, node, constants))
    standard = [entry for entry in expanded.opset_import if entry.domain not in DOMAINS]
    del expanded.opset_import[:]
    expanded.opset_import.extend(standard)
    return expanded


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    imported = {entry.domain: entry.version for entry in model.opset_import}
    for domain in {node.domain for node in model.graph.node} & set(DOMAINS) - set(imported):
        model.opset_import.append(helper.make_opsetid(domain, 1))
    if imported.get("", UPGRADED) >= UPGRADED:
        return model
    try:
        return onnx.version_converter.convert_version(model, UPGRADED)
    except Exception as error:  # ConvertError, RuntimeError and others
        raise Unsupported(f"the reference needs opset {UPGRADED}: {error}") from error


class _Writer:
    """Appends the operators that take the place of `node`."""

    def __init__(
        self, model: onnx.ModelProto, node: onnx.NodeProto, constants: Mapping[str, Array]
    ) -> None:
        self.node = node
        self._model = model
        self._constants = constants
        self._count = 0
        self._attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def __call__(self, operator: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        """The name of the operator's result."""
        result = result or self._fresh()
        node = helper.make_node(operator, inputs, [result], name=result, **attributes)
        self._model.graph.node.append(node)
        return result

    def number(self, value: Any, dtype: str = "float32") -> str:
        """The name of a constant."""
        name = self._fresh()
        tensor = numpy_helper.from_array(np.asarray(value, dtype), name)
        self._model.graph.initializer.append(tensor)
        return name

    def known(self, index: int) -> Array:
        """The constant at an input."""
        name = self.node.input[index]
        if name not in self._constants:
            raise Unsupported(f"{self.node.op_type} '{self.node.name}': '{name}' is no constant")
        return self._constants[name]

    def integer(self, name: str, default: int) -> int:
        return int(self._attributes.get(name, default))

    def float(self, name: str, default: float) -> float:
        return float(self._attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def rank(self, name: str) -> int:
        """Of a value that standard operators compute."""
        inferred = onnx.shape_inference.infer_shapes(self._model)
        for value in (*inferred.graph.input, *inferred.graph.value_info):
            if value.name == name and value.type.tensor_type.HasField("shape"):
                return len(value.type.tensor_type.shape.dim)
        raise Unsupported(f"'{name}' has no known rank; give {self.node.op_type} a data_layout")

    def codes(self, values: str, low: int, high: int) -> str:
        """Whole float numbers as floats again, by way of the integers that others may read."""
        result = f"{self.node.output[0]}{CODES}"
        kinds = ((-128, 127, TensorProto.INT8), (0, 255, TensorProto.UINT8))
        fitting = [kind for least, most, kind in kinds if least <= low and high <= most]
        kind = fitting[-1] if low >= 0 and fitting else (*fitting, TensorProto.INT64)[0]
        self("Cast", values, result=result, to=kind)
        return self("Cast", result, to=TensorProto.FLOAT)

    def _fresh(self) -> str:
        self._count += 1
        return f"{self.node.output[0]}_{self._count}_of_{self.node.op_type}"


def _limits(write: _Writer, width: Array) -> tuple[int, int]:
    """The smallest and largest code of `signed` and `narrow`."""
    bits = int(width.reshape(-1)[0])
    narrow = write.integer("narrow", 1)
    if write.integer("signed", 1):
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def _rounded(write: _Writer, v: str, mode: str) -> str:
    """`v` rounded by one of QONNX's modes."""
    mode = mode.upper()
    simple = {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
    if mode in simple:
        return write(simple[mode], v)
    size = write("Abs", v)
    half = write.number(0.5)
    magnitudes: dict[str, Callable[[], str]] = {
        "UP": lambda: write("Ceil", size),
        "DOWN": lambda: write("Floor", size),
        "ROUND_TO_ZERO": lambda: write("Floor", size),
        "HALF_UP": lambda: write("Floor", write("Add", size, half)),
        "HALF_DOWN": lambda: write("Ceil", write("Sub", size, half)),
    }
    if mode not in magnitudes:
        raise Unsupported(f"'{write.node.name}': rounding_mode {mode}")
    return write("Mul", write("Sign", v), magnitudes[mode]())


def _signs(write: _Writer, v: str) -> str:
    nought, one, minus_one = (write.number(value) for value in (0, 1, -1))
    return write("Where", write("GreaterOrEqual", v, nought), one, minus_one)


def _quant(write: _Writer) -> None:
    x, scale, zero = write.node.input[:3]
    width = write.known(3)
    low, high = _limits(write, width)
    v = write("Add", write("Div", x, scale), zero)
    if int(width.reshape(-1)[0]) == 1 and write.integer("signed", 1):
        values = write.codes(_signs(write, v), -1, 1)
    else:
        clipped = write("Clip", v, write.number(low), write.number(high))
        rounded = _rounded(write, clipped, write.text("rounding_mode", "ROUND"))
        values = write.codes(rounded, low, high)
    write("Mul", write("Sub", values, zero), scale, result=write.node.output[0])


def _bipolar_quant(write: _Writer) -> None:
    x, scale = write.node.input
    values = write.codes(_signs(write, x), -1, 1)
    write("Mul", values, scale, result=write.node.output[0])


def _trunc(write: _Writer) -> None:
    """Version 1 has the inputs x, s, z, bits, out_bits; version 2 out_s before the last."""
    x, scale, zero = write.node.input[:3]
    v = write("Round", write("Add", write("Div", x, scale), zero))
    newer = len(write.node.input) == 6
    if newer:
        dropped = np.round(np.log2(write.known(4) / write.known(1)))
    else:
        dropped = write.known(3) - write.known(4)
    divisor = write.number(np.exp2(dropped))
    v = write("Div", v, divisor)
    if newer:
        low, high = (write.number(limit) for limit in _trunc_limits(write))
        v = write("Clip", v, low, high)
        zero, scale = write("Div", zero, divisor), write.node.input[4]
    v = _rounded(write, v, write.text("rounding_mode", "FLOOR"))
    write("Mul", write("Sub", v, zero), scale, result=write.node.output[0])


def _trunc_limits(write: _Writer) -> tuple[int, int]:
    bits = int(write.known(5).reshape(-1)[0])
    narrow = write.integer("narrow", 0)
    if write.integer("signed", 1):
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def _multi_threshold(write: _Writer) -> None:
    x = write.node.input[0]
    thresholds = write.known(1)
    layout = write.text("data_layout", "")
    if len(thresholds) > 1:
        rank = len(layout) or write.rank(x)
        layout = layout or {3: "NWC"}.get(rank, "NC")
        after = rank - 1 - layout.index("C")
        thresholds = thresholds.reshape(len(thresholds), *(1,) * after, thresholds.shape[1])
    wide = write("Unsqueeze", x, write.number([-1], "int64"))
    passed = write("GreaterOrEqual", wide, write.number(thresholds))
    ones = write("Cast", passed, to=TensorProto.FLOAT)
    count = write("ReduceSum", ones, write.number([-1], "int64"), keepdims=0)
    values = write.codes(count, 0, thresholds.shape[-1])
    scaled = write("Mul", values, write.number(write.float("out_scale", 1.0)))
    bias = write.number(write.float("out_bias", 0.0))
    write("Add", scaled, bias, result=write.node.output[0])


EXPANSIONS: dict[str, Callable[[_Writer], None]] = {
    "BipolarQuant": _bipolar_quant,
    "IntQuant": _quant,
    "MultiThreshold": _multi_threshold,
    "Quant": _quant,
    "Trunc": _trunc,
}
