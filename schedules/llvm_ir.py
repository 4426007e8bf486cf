"""Small functions as LLVM IR text, written like formulas on values.

    square = Function("square", lanes=16)
    square.text(square.x * square.x)  ->  define <16 x float> @square(<16 x float> %x) { ... }

Multiplications and additions may be contracted. Values are vectors of `lanes` float32 or int32, or
single ones for one lane; numbers among the operands stand for constant vectors.
"""

import struct
from dataclasses import dataclass

from tvm import s_tir, tirx

Number = float | int


@dataclass(frozen=True)
class Value:
    """An operand: its function, its LLVM type of one lane ("float", "i32", "i1") and its name."""

    function: "Function"
    element: str
    name: str

    @property
    def type(self) -> str:
        return self.function.vector(self.element)

    def __add__(self, other: "Value | Number") -> "Value":
        return self._binary("fadd contract", "add", other)

    def __sub__(self, other: "Value | Number") -> "Value":
        return self._binary("fsub contract", "sub", other)

    def __rsub__(self, other: Number) -> "Value":
        return self._constant(other) - self

    def __mul__(self, other: "Value | Number") -> "Value":
        return self._binary("fmul contract", "mul", other)

    def __truediv__(self, other: "Value | Number") -> "Value":
        return self._binary("fdiv", "sdiv", other)

    def __rtruediv__(self, other: Number) -> "Value":
        return self._constant(other) / self

    def __lshift__(self, bits: int) -> "Value":
        return self._binary("", "shl", bits)

    def __rshift__(self, bits: int) -> "Value":
        return self._binary("", "ashr", bits)

    def __lt__(self, other: "Value | Number") -> "Value":
        return self._compare("olt", other)

    def __le__(self, other: "Value | Number") -> "Value":
        return self._compare("ole", other)

    def __gt__(self, other: "Value | Number") -> "Value":
        return self._compare("ogt", other)

    def __ge__(self, other: "Value | Number") -> "Value":
        return self._compare("oge", other)

    def __or__(self, other: "Value") -> "Value":
        return self._emit(self.element, f"or {self.type} {self.name}, {other.name}")

    def select(self, then: "Value | Number", other: "Value") -> "Value":
        """`then` where this condition holds, `other` elsewhere."""
        if not isinstance(then, Value):
            then = other._constant(then)
        arms = f"{then.type} {then.name}, {other.type} {other.name}"
        return self._emit(other.element, f"select {self.type} {self.name}, {arms}")

    def bits(self) -> "Value":
        """The bits of a float32."""
        return self._convert("bitcast", "i32")

    def from_bits(self) -> "Value":
        """The float32 with these bits."""
        return self._convert("bitcast", "float")

    def to_float(self) -> "Value":
        """The float32 nearest to an int32."""
        return self._convert("sitofp", "float")

    def _binary(self, float_name: str, integer_name: str, other: "Value | Number") -> "Value":
        if not isinstance(other, Value):
            other = self._constant(other)
        operation = float_name if self.element == "float" else integer_name
        return self._emit(self.element, f"{operation} {self.type} {self.name}, {other.name}")

    def _compare(self, relation: str, other: "Value | Number") -> "Value":
        if not isinstance(other, Value):
            other = self._constant(other)
        return self._emit("i1", f"fcmp {relation} {self.type} {self.name}, {other.name}")

    def _convert(self, operation: str, element: str) -> "Value":
        target = self.function.vector(element)
        return self._emit(element, f"{operation} {self.type} {self.name} to {target}")

    def _constant(self, number: Number) -> "Value":
        text = f"{int(number)}" if self.element == "i32" else float_text(number)
        if self.function.lanes > 1:
            text = f"splat ({self.element} {text})"
        return Value(self.function, self.element, text)

    def _emit(self, element: str, line: str) -> "Value":
        return self.function.emit(element, line)


class Function:
    """A function of one float32 argument `x`, under construction."""

    def __init__(self, name: str, lanes: int) -> None:
        self.name = name
        self.lanes = lanes
        self.lines: list[str] = []
        self.x = Value(self, "float", "%x")

    def vector(self, element: str) -> str:
        """The LLVM type of a value."""
        return element if self.lanes == 1 else f"<{self.lanes} x {element}>"

    def emit(self, element: str, line: str) -> Value:
        """The value that the instruction computes."""
        value = Value(self, element, f"%v{len(self.lines)}")
        self.lines.append(f"  {value.name} = {line}")
        return value

    def text(self, result: Value) -> str:
        """The definition, returning `result`."""
        head = f"define {result.type} @{self.name}({self.x.type} %x) {{"
        return "\n".join([head, *self.lines, f"  ret {result.type} {result.name}", "}", ""])


def float_text(number: Number) -> str:
    """A float32 as LLVM writes it: the bits of the double of the same value."""
    (single,) = struct.unpack("<f", struct.pack("<f", number))
    (bits,) = struct.unpack("<Q", struct.pack("<d", single))
    return f"0x{bits:016X}"


def with_functions(block: s_tir.SBlock, text: str, body: tirx.Stmt | None = None) -> s_tir.SBlock:
    """The block, maybe with another body, and more functions that LLVM inlines there."""
    known = str(block.annotations.get("pragma_import_llvm", ""))
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        block.body if body is None else body,
        block.init,
        block.alloc_buffers,
        block.match_buffers,
        {**block.annotations, "pragma_import_llvm": known + text},
    )
