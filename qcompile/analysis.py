"""What became of a model's operators: which are integer, which stayed float and why."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from qcompile.ops.contractions import BATCH_MATMUL, CONV2D, DENSE
from qcompile.passes.choose_kernels import CHOICES
from qcompile.passes.facts import constant
from qcompile.passes.lowering import LAYERS
from qcompile.passes.rewriter import BindingRewriter, dtype_of, operator_name
from qcompile.registers import registers

INTEGER = {CONV2D: "Conv", DENSE: "MatMul", BATCH_MATMUL: "MatMul"}
CONTRACTIONS = {
    "relax.nn.conv1d": "Conv",
    "relax.nn.conv2d": "Conv",
    "relax.nn.conv3d": "Conv",
    "relax.nn.conv1d_transpose": "ConvTranspose",
    "relax.nn.conv2d_transpose": "ConvTranspose",
    "relax.matmul": "MatMul",
}
BORDERS = ("qcompile.quantize", "qcompile.dequantize")
MOVES = {
    *(f"relax.{name}" for name in ("reshape", "permute_dims", "concat", "split", "strided_slice")),
    *(f"relax.{name}" for name in ("squeeze", "expand_dims", "flatten", "take", "tile", "repeat")),
    *(f"relax.{name}" for name in ("broadcast_to", "flip", "shape_of", "zeros", "full")),
}


@dataclass(frozen=True)
class LayerFacts:
    """A convolution or matrix product: its widths in bits, its size, and how it is computed.

    choices: the kernels of an integer layer (qcompile.passes.kernel_costs.Estimate as dicts), the
    one that runs it first.
    """

    name: str
    op: str
    a_bits: int
    w_bits: int
    a_format: str
    w_format: str
    macs: int
    weight_bytes: int
    kernel: str
    integer: bool
    reason: str
    choices: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class FloatOperator:
    """An operator that computes in float32, and why."""

    name: str
    op: str
    reason: str


def float_operators(integer_form: tvm.IRModule) -> list[FloatOperator]:
    """Every operator of a module in integer form that reads or makes float32 values."""
    reader, reasons = _Reader(integer_form["main"]), registers(integer_form["main"])
    return [
        FloatOperator(str(var.name), _short(call), reasons.get(var) or reader.reason(call))
        for var, call in reader.calls()
        if operator_name(call) not in MOVES and reader.is_float(call)
    ]


def layer_facts(integer_form: tvm.IRModule, lowered: tvm.IRModule) -> list[LayerFacts]:
    """The layers of a module in integer form; `lowered` knows the kernels and sizes."""
    reader = _Reader(integer_form["main"])
    attributes = lowered.attrs or {}
    records = json.loads(str(attributes[LAYERS])) if LAYERS in attributes else []
    known: dict[str, Any] = {record["name"]: record for record in records}
    choices = json.loads(str(attributes[CHOICES])) if CHOICES in attributes else {}
    facts = []
    for var, call in reader.calls():
        operator, name = operator_name(call), str(var.name)
        if operator in INTEGER and str(call.attrs["layer"]) in known:
            record = known.pop(str(call.attrs["layer"]))
            own = tuple(choices.get(record["name"], ()))
            facts.append(_facts(record, reader.formats(call), "", own))
        elif operator in CONTRACTIONS and name in known:
            record = known.pop(name)
            facts.append(_facts(record, ("float32", "float32"), reader.reason(call)))
    return facts


def _facts(
    record: Mapping[str, Any],
    formats: tuple[str, str],
    reason: str,
    choices: tuple[Mapping[str, Any], ...] = (),
) -> LayerFacts:
    return LayerFacts(
        a_format=formats[0],
        w_format=formats[1],
        integer=not reason,
        reason=reason,
        choices=choices,
        **record,
    )


class _Reader(BindingRewriter):
    """Looks definitions up in a function without changing it."""

    def __init__(self, function: relax.Function) -> None:
        super().__init__()
        self._function = function
        for block in function.body.blocks:
            for binding in block.bindings:
                self._definitions[binding.var] = binding.value

    def calls(self) -> Iterator[tuple[relax.Var, tvm.ir.Call]]:
        for block in self._function.body.blocks:
            for binding in block.bindings:
                if operator_name(binding.value):
                    yield binding.var, binding.value

    def is_float(self, call: tvm.ir.Call) -> bool:
        """Whether a call reads or makes floats, other than as the border to codes."""
        operator = operator_name(call)
        if operator in BORDERS or operator.startswith("qcompile."):
            return False
        tensors = [a for a in call.args if isinstance(a.ty, relax.TensorType)]
        if isinstance(call.ty, relax.TensorType):
            tensors.append(call)
        return any(dtype_of(tensor).startswith("float") for tensor in tensors)

    def formats(self, call: tvm.ir.Call) -> tuple[str, str]:
        """The stored types of data and weights."""
        return dtype_of(call.args[0]), dtype_of(call.args[1])

    def reason(self, call: tvm.ir.Call) -> str:
        """Why a float operator was left alone."""
        if operator_name(call) not in CONTRACTIONS:
            return "has no integer form here"
        data, weights = (self.definition(argument) for argument in call.args[:2])
        if constant(weights) is not None and operator_name(data) not in BORDERS:
            return "neither data nor weights are quantized"
        if constant(weights) is not None:
            return "its weights are float32"
        if operator_name(data) not in BORDERS:
            return "its input is not quantized"
        if operator_name(weights) not in BORDERS:
            return "its second input is not quantized"
        bits = [int(side.attrs["bits"]) for side in (data, weights)]
        if max(bits) > 8:
            return f"quantized to {max(bits)} bits, the integer kernels take up to 8"
        return "its sums are not proved to fit 32 bits, or its scales lie along another axis"


def _short(call: tvm.ir.Call) -> str:
    """The operator's name as a reader of ONNX knows it."""
    operator = operator_name(call)
    return CONTRACTIONS.get(operator, operator.rpartition(".")[2])
