"""A scheduled module as plain data: what each kernel call reads and writes.

lv = R.call_tir(cls.conv, (x, w), R.Tensor(...))      Call("conv", (input 0, constant 0, buffer 0))
lv1 = R.reshape(lv, (1, 64))                          the same buffer 0
gv = (lv1, x)                                         outputs (buffer 0, input 0)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import NDArray
from tvm import relax, s_tir, tirx

from qcompile.errors import Unsupported

# The attribute of a PrimFunc that an accelerator computes: the segment's name. Its body is unused.
SEGMENT = "qcompile.vta_segment"

# Operators that keep every byte in its place.
ALIASES = ("relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims")


@dataclass(frozen=True)
class TensorType:
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Storage:
    """Where a tensor lives: input, constant or buffer number `index`."""

    kind: Literal["input", "constant", "buffer"]
    index: int


@dataclass(frozen=True)
class Call:
    """One call of the PrimFunc `function`, with its operands in the order of its parameters."""

    function: str
    layer: str
    operands: tuple[Storage, ...]


@dataclass(frozen=True)
class Program:
    """A network: the calls in order, the tensors between them, and the PrimFuncs by name."""

    inputs: tuple[TensorType, ...]
    input_names: tuple[str, ...]
    outputs: tuple[tuple[Storage, TensorType], ...]
    constants: tuple[NDArray[Any], ...]
    buffer_bytes: tuple[int, ...]
    calls: tuple[Call, ...]
    functions: Mapping[str, tirx.PrimFunc]

    @property
    def segments(self) -> list[str]:
        """The names of the segments, in the order of their calls."""
        return [c.layer for c in self.calls if segment_of(self.functions[c.function]) is not None]


def read_program(mod: tvm.IRModule) -> Program:
    """The program of `main`. Raises Unsupported for anything but kernel calls and aliases."""
    return _Reader(mod).read()


Value = Storage | tuple[Any, ...]


class _Reader:
    def __init__(self, mod: tvm.IRModule) -> None:
        self.mod = mod
        self.values: dict[relax.Var, Value] = {}
        self.constants: list[NDArray[Any]] = []
        self.constant_numbers: dict[tuple[str, tuple[int, ...], bytes], int] = {}
        self.buffers: list[int] = []
        self.calls: list[Call] = []

    def read(self) -> Program:
        main = self.mod["main"]
        for k, parameter in enumerate(main.params):
            self.values[parameter] = Storage("input", k)
        for block in main.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = self._value(binding.value)
        result = self._value(main.body.body)
        outputs = result if isinstance(result, tuple) else (result,)
        types = _tensor_types(main.body.body.ty)
        if any(isinstance(output, tuple) for output in outputs):
            raise Unsupported("main: nested tuples of outputs; one flat tuple would work")
        return Program(
            inputs=tuple(t for p in main.params for t in _tensor_types(p.ty)),
            input_names=tuple(str(p.name) for p in main.params),
            outputs=tuple(zip(outputs, types, strict=True)),
            constants=tuple(self.constants),
            buffer_bytes=tuple(self.buffers),
            calls=tuple(self.calls),
            functions={call.function: self.mod[call.function] for call in self.calls},
        )

    def _value(self, expression: Any) -> Value:
        if isinstance(expression, tvm.ir.GenericConst):
            return self._constant(expression.value.numpy())
        if isinstance(expression, relax.Tuple):
            return tuple(self._value(field) for field in expression.fields)
        if isinstance(expression, relax.TupleGetItem):
            fields = self._value(expression.tuple_value)
            assert isinstance(fields, tuple)
            return fields[int(expression.index)]
        if isinstance(expression, tvm.ir.Call):
            return self._call(expression)
        return self.values[expression]

    def _call(self, call: Any) -> Value:
        operator = str(getattr(call.op, "name", call.op))
        if operator in ALIASES:
            return self._value(call.args[0])
        if operator != "relax.call_tir":
            raise Unsupported(f"main: {operator} was not lowered to a kernel")
        operands = self._value(call.args[1])
        assert isinstance(operands, tuple)
        types = _tensor_types(call.ty)
        results = tuple(Storage("buffer", len(self.buffers) + k) for k in range(len(types)))
        self.buffers += [t.bytes for t in types]
        name = str(call.args[0].name_hint)
        function = self.mod[name]
        layer = segment_of(function) or layer_of(function) or name
        self.calls.append(Call(name, layer, (*operands, *results)))
        return results if isinstance(call.ty, tvm.ir.TupleType) else results[0]

    def _constant(self, array: NDArray[Any]) -> Storage:
        key = (str(array.dtype), array.shape, array.tobytes())
        number = self.constant_numbers.setdefault(key, len(self.constants))
        if number == len(self.constants):
            self.constants.append(array)
        return Storage("constant", number)


def _tensor_types(type_: Any) -> Sequence[TensorType]:
    if isinstance(type_, tvm.ir.TupleType):
        return [t for field in type_.fields for t in _tensor_types(field)]
    try:
        shape = tuple(int(length) for length in type_.shape)
    except TypeError as error:
        raise Unsupported(f"main: {type_} has no static shape") from error
    return [TensorType(str(type_.dtype.dtype), shape)]


def segment_of(function: tirx.PrimFunc) -> str | None:
    """The name of the segment that the function stands for, None where it is a kernel."""
    attributes = function.attrs or {}
    return str(attributes[SEGMENT]) if SEGMENT in attributes else None


def layer_of(function: tirx.PrimFunc) -> str | None:
    """The layer's name that a block of the function carries in `qcompile.layer`."""
    found: list[str] = []

    def visit(block: Any) -> None:
        annotations: Mapping[str, Any] = block.annotations
        if "qcompile.layer" in annotations:
            found.append(str(annotations["qcompile.layer"]))

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit), order="pre")
    return found[0] if found else None
