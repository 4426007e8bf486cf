"""What the converters of the importer see: one ONNX node, and the values at its inputs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported

FREE_BYTES = 2**28

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Codes:
    """The range of integer codes that are narrower than the type they are stored in."""

    bits: int
    signed: bool
    narrow: bool = False

    @property
    def attributes(self) -> dict[str, Any]:
        """As arguments of qcompile.ops.quantize and dequantize."""
        return {"bits": self.bits, "signed": self.signed, "narrow": self.narrow}


@dataclass(frozen=True)
class Value:
    """A Relax expression of static type; `codes` where it holds integers of a known range."""

    expr: relax.Expr
    codes: Codes | None = None


@dataclass(frozen=True)
class Node:
    """One ONNX node. `name` is unique in the model, `operator` is `domain::Op` outside ai.onnx.

    `consumers` are the operators that read the first output; "" stands for a graph output.
    """

    name: str
    operator: str
    opset: int
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]
    consumers: frozenset[str] = frozenset()

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """The input at `index`. Raises InvalidModel when the node has none."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise InvalidModel(f"input {index} is missing")
        return value

    def expr(self, index: int) -> relax.Expr:
        return self.value(index).expr

    def optional(self, index: int) -> relax.Expr | None:
        return self.expr(index) if self.has(index) else None

    def array(self, index: int, what: str) -> Array:
        """The constant at `index`. Raises Unsupported when it is computed at run time."""
        array = array_of(self.expr(index))
        if array is None:
            raise Unsupported(f"{what} is computed at run time; only a constant works")
        return array

    def integer(self, name: str, default: int) -> int:
        return int(self.attributes.get(name, default))

    def integers(self, name: str, default: list[int]) -> list[int]:
        return [int(value) for value in self.attributes.get(name, default)]

    def number(self, name: str, default: float) -> float:
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


Result: TypeAlias = relax.Expr | Value | list[relax.Expr | Value]


class Emitter:
    """Adds bindings to the dataflow block under construction.

    New constants may take FREE_BYTES, and as much again as the model's own.
    """

    def __init__(self, block_builder: relax.BlockBuilder):
        self.block_builder = block_builder
        self.free_bytes = FREE_BYTES
        self._names: set[str] = set()
        self._known: set[relax.Expr] = set()

    def own(self, initializer: relax.Expr) -> None:
        """Note a constant of the model itself."""
        self._known.add(initializer)
        self.free_bytes += _bytes(initializer)

    def _spend(self, expr: relax.Expr) -> None:
        if isinstance(expr, tvm.ir.GenericConst) and expr not in self._known:
            self._known.add(expr)
            self.free_bytes -= _bytes(expr)
            if self.free_bytes < 0:
                raise Unsupported("the constants computed at compile time exceed the memory for it")

    def emit(self, expr: relax.Expr, name: str = "") -> relax.Expr:
        """Bind `expr` to a variable, which keeps `name` exactly, dots and slashes included.

        BlockBuilder.emit would turn dots into underscores.
        """
        for each in (expr, *(expr.args if isinstance(expr, tvm.ir.Call) else ())):
            self._spend(each)
        if isinstance(expr, relax.Var | tvm.ir.GenericConst):
            return expr
        if not name or name in self._names:
            return self.block_builder.emit(expr)
        self._names.add(name)
        expr = self.block_builder.normalize(expr)
        variable = relax.DataflowVar(name, expr.ty)
        self.block_builder.emit_normalized(relax.VarBinding(variable, expr))
        return variable

    def bound(self, expr: relax.Expr, operator: str) -> tvm.ir.Call | None:
        """The call of `operator` whose result `expr` is."""
        call = self.block_builder.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
        if isinstance(call, tvm.ir.Call) and getattr(call.op, "name", "") == operator:
            return call
        return None


Converter = Callable[[Emitter, Node], Result]


def constant(array: Array) -> relax.Expr:
    """A Relax constant of exactly the array's type (relax.const alone turns int64 into int32)."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    return relax.const(tvm.runtime.tensor(array), str(array.dtype))


def array_of(expr: relax.Expr) -> Array | None:
    """The values of a constant, None for anything else."""
    return expr.value.numpy() if isinstance(expr, tvm.ir.GenericConst) else None


def _bytes(expr: relax.Expr) -> int:
    return math.prod(shape_of(expr)) * np.dtype(dtype_of(expr)).itemsize


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    return tuple(int(extent) for extent in expr.ty.shape)


def dtype_of(expr: relax.Expr) -> str:
    return str(expr.ty.dtype)


def normalized_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front. Raises InvalidModel outside of [-rank, rank)."""
    if not -rank <= axis < rank:
        raise InvalidModel(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis % rank
