"""What a block reads and writes, and how far apart neighbouring iterations are in memory."""

from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

from qcompile.schedules.arithmetic import UNFUSED

# Operators that cost as much as tens of additions.
EXPENSIVE = {f"tirx.{name}" for name in ("exp", "exp2", "erf", "tanh", "sigmoid", "log", "pow")}
EXPENSIVE |= {f"tirx.{name}" for name in ("sin", "cos", "tan", "log2", "log10", "log1p", "exp10")}
EXPENSIVE |= {f"qcompile.{name}" for name in ("exp", "erf", "tanh", "sigmoid", "log")}


@dataclass(frozen=True)
class Access:
    """One load or store of a block. `strides[i]`: elements per step of the block's axis i.

    A stride is None where the position is not linear in that axis.
    """

    buffer: Any
    strides: tuple[int | None, ...]


def loads(block: s_tir.SBlock) -> list[Access]:
    """Every load of the block's body but those of the buffers it writes."""
    written = {store.buffer for store in _nodes(block.body, tirx.BufferStore)}
    found = _nodes(block.body, tvm.ir.TensorLoad)
    return [
        _access(block, load.source, load.indices) for load in found if load.source not in written
    ]


def loads_of(block: s_tir.SBlock, buffer: Any) -> list[Any]:
    """The nodes of the block's body that load from the buffer."""
    return [load for load in _nodes(block.body, tvm.ir.TensorLoad) if load.source.same_as(buffer)]


def stores(block: s_tir.SBlock) -> list[Access]:
    """Every store of the block's body."""
    found = _nodes(block.body, tirx.BufferStore)
    return [_access(block, store.buffer, store.indices) for store in found]


def extents(block: s_tir.SBlock) -> tuple[int, ...]:
    """The number of iterations of each axis."""
    return tuple(int(axis.dom.extent) for axis in block.iter_vars)


def is_reduction(block: s_tir.SBlock) -> bool:
    """Whether an axis of the block is summed over."""
    return any(axis.iter_type == tirx.IterVar.CommReduce for axis in block.iter_vars)


def expensive_calls(block: s_tir.SBlock) -> int:
    """How many calls of the block cost as much as tens of additions."""
    calls = _nodes(block.body, tvm.ir.Call)
    return sum(getattr(call.op, "name", "") in EXPENSIVE for call in calls)


def fenced(block: s_tir.SBlock) -> bool:
    """Whether the block has products that nothing may contract."""
    calls = _nodes(block.body, tvm.ir.Call)
    return any(getattr(call.op, "name", "") == UNFUSED for call in calls)


def calls_functions(block: s_tir.SBlock) -> bool:
    """Whether the block's body has loops or blocks of its own, or calls functions or addresses."""
    inner = [*_nodes(block.body, tirx.For), *_nodes(block.body, s_tir.SBlock)]
    names = {getattr(call.op, "name", "") for call in _nodes(block.body, tvm.ir.Call)}
    return bool(inner) or any(
        "call_" in name or "tvm_" in name or "address_of" in name for name in names
    )


def widest_bytes(block: s_tir.SBlock) -> int:
    """The size of the largest number that the block loads, stores or casts to, at least 1.

    int64 does not count as a cast: those are positions, not data.
    """
    casts = [str(cast.ty) for cast in _nodes(block.body, tirx.Cast)]
    types = [element_type(access.buffer) for access in (*loads(block), *stores(block))]
    types += [name for name in casts if name != "int64"]
    return max([1, *(tvm.DataType(name).bits // 8 for name in types)])


def element_type(buffer: Any) -> str:
    """The type of a buffer's elements."""
    return str(buffer.ty.dtype.dtype)


def elements(buffer: Any) -> int:
    """The number of a buffer's elements; its shape is constant."""
    return prod(int(length) for length in buffer.ty.shape)


def buffer_bytes(buffer: Any) -> int:
    """The size of a buffer of constant shape; a bool takes a byte."""
    return elements(buffer) * max(tvm.DataType(element_type(buffer)).bits, 8) // 8


def conditional_on(block: s_tir.SBlock, axis: int) -> bool:
    """Whether a condition chooses by the position along the axis what the block loads."""
    variable = block.iter_vars[axis].var
    calls = _nodes(block.body, tvm.ir.Call)
    choices = [call for call in calls if getattr(call.op, "name", "") == "prim.if_then_else"]
    return any(uses(choice.args[0], variable) for choice in choices)


def _access(block: s_tir.SBlock, buffer: Any, indices: Any) -> Access:
    shape = [int(length) for length in buffer.ty.shape]
    analyzer = sym.Analyzer()
    for axis in block.iter_vars:
        analyzer.bind(axis.var, axis.dom)
    position = tirx.const(0, "int32")
    for dimension, index in enumerate(indices):
        position = position + index * prod(shape[dimension + 1 :])
    position = analyzer.simplify(position)
    return Access(buffer, tuple(_coefficient(position, axis.var) for axis in block.iter_vars))


def _coefficient(position: Any, variable: Any) -> int | None:
    """How far `position` moves for each step of `variable`; None where that is not constant."""
    if not uses(position, variable):
        return 0
    found = sym.detect_linear_equation(position, [variable])
    if len(found) != 2 or not isinstance(found[0], tirx.IntImm):
        return None
    return int(found[0])


def uses(expression: Any, variable: Any) -> bool:
    """Whether the variable occurs in the expression."""
    return any(found.same_as(variable) for found in _nodes(expression, tirx.Var))


def _nodes(root: Any, kind: type) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(root, (kind, found.append))
    return found
