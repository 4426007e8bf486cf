"""Split a lowered PrimFunc at its top-level loop nests, each a C function of its own.

    for i in T.parallel(8): ...a...       int32_t p0(float *x, float *s, int32_t begin, int32_t end)
    for i in range(3): ...b...        ->  int32_t p1(float *s, float *y, int32_t begin, int32_t end)
    y[0] = ...c...

A phase whose loop is parallel runs the iterations begin <= i < end; the statements between two
parallel loops are one phase of a single iteration. Buffers that phases share, or that are larger
than the stack should hold, become arguments.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import tvm
import tvm_ffi
from tvm import tirx
from tvm.tirx.buffer import is_buffer_var

# Register tiles of a kernel are at most 32 vectors of 64 bytes; all of its small buffers fit twice.
STACK_BYTES = 4096


@dataclass(frozen=True)
class Operand:
    """A pointer that a phase takes: parameter or scratch buffer of its kernel, or of its thread."""

    kind: Literal["parameter", "scratch", "thread"]
    index: int


@dataclass(frozen=True)
class Phase:
    """One C function: its code, its pointers, and how many iterations can run at once."""

    symbol: str
    function: tirx.PrimFunc
    operands: tuple[Operand, ...]
    extent: int


@dataclass(frozen=True)
class Kernel:
    """A PrimFunc as phases. Scratch lives from first to last use, thread buffers in one phase."""

    phases: tuple[Phase, ...]
    scratch_bytes: tuple[int, ...]
    thread_bytes: tuple[int, ...]


def split_phases(function: tirx.PrimFunc, symbol: str) -> Kernel:
    """The phases of a function that `lower` made; their symbols begin with `symbol`."""
    return _Splitter(function, symbol).split()


@dataclass
class _Group:
    """Statements of one phase, and its parallel loop when it has one."""

    statements: list[Any] = field(default_factory=list)
    parallel: Any = None


class _Splitter:
    def __init__(self, function: tirx.PrimFunc, symbol: str) -> None:
        self.function = function
        self.symbol = symbol
        self.declarations: list[Any] = []
        self.allocations: list[Any] = []
        self.groups: list[_Group] = []
        self.pointers: dict[Any, tuple[Operand, Any]] = {}
        self.scratch_bytes: list[int] = []
        self.thread_bytes: list[int] = []

    def split(self) -> Kernel:
        self._group(_statements(self.function.body))
        for k, parameter in enumerate(self.function.params):
            self._pointer(parameter, Operand("parameter", k))
        for allocation in self.allocations:
            self._place(allocation)
        phases = [self._phase(k, group) for k, group in enumerate(self.groups)]
        return Kernel(tuple(phases), tuple(self.scratch_bytes), tuple(self.thread_bytes))

    def _group(self, statements: Iterable[Any]) -> None:
        """Sort the top-level statements into declarations, allocations and phases."""
        current: _Group | None = None
        for statement in statements:
            if isinstance(statement, (tirx.DeclBuffer, tirx.Bind)):
                self.declarations.append(statement)
            elif isinstance(statement, tirx.AllocBuffer):
                self.allocations.append(statement)
            elif _is_parallel(statement):
                self.groups.append(_Group([statement], statement))
                current = None
            else:
                if current is None:
                    current = _Group()
                    self.groups.append(current)
                current.statements.append(statement)

    def _place(self, allocation: Any) -> None:
        """On the stack of the only phase that uses it, or in scratch memory."""
        buffer = allocation.buffer
        users = [g for g in self.groups if buffer in self._needs(g.statements)]
        if len(users) == 1 and _bytes(buffer) <= STACK_BYTES:
            users[0].statements.insert(0, allocation)
            return
        self._pointer(buffer, Operand("scratch", len(self.scratch_bytes)))
        self.scratch_bytes.append(_bytes(buffer))

    def _pointer(self, buffer: Any, operand: Operand) -> None:
        type_ = tvm.ir.PointerType(buffer.ty.dtype, "global")
        self.pointers[buffer] = operand, tirx.Var(f"{buffer.name}_pointer", type_)

    def _needs(self, statements: Sequence[Any]) -> set[Any]:
        """Every variable that the statements use, by way of declarations too."""
        needs = {variable for statement in statements for variable in _variables(statement)}
        for declaration in reversed(self.declarations):
            if _declared(declaration) in needs:
                needs |= set(_variables(declaration))
        return needs

    def _phase(self, number: int, group: _Group) -> Phase:
        begin, end = tirx.Var("begin", "int32"), tirx.Var("end", "int32")
        statements = group.statements
        if group.parallel is not None:
            statements = [_chunk(group.parallel, begin, end)]
        statements = [self._move_large_buffers(_serial(s)) for s in statements]
        needs = self._needs(statements)
        local = {s.buffer for s in statements if isinstance(s, tirx.AllocBuffer)}
        used = [b for b in self.pointers if b in needs and b not in local]
        body = tirx.SeqStmt(
            [
                *(tirx.DeclBuffer(b, data=self.pointers[b][1]) for b in used),
                *(s for s in statements if isinstance(s, tirx.AllocBuffer)),
                *(d for d in self.declarations if _declared(d) in needs),
                *(s for s in statements if not isinstance(s, tirx.AllocBuffer)),
            ]
        )
        parameters = [*(self.pointers[b][1] for b in used), begin, end]
        symbol = f"{self.symbol}_p{number}"
        attributes = self.function.attrs
        function = tirx.PrimFunc(parameters, body, tvm.ir.PrimType("int32"), attributes)
        return Phase(
            symbol=symbol,
            function=function.with_attr("global_symbol", symbol),
            operands=tuple(self.pointers[b][0] for b in used),
            extent=1 if group.parallel is None else int(group.parallel.extent),
        )

    def _move_large_buffers(self, statement: Any) -> Any:
        """The statement with its buffers beyond STACK_BYTES in memory of the running thread."""

        def move(allocation: Any) -> Any:
            buffer = allocation.buffer
            if _bytes(buffer) <= STACK_BYTES:
                return allocation
            self._pointer(buffer, Operand("thread", len(self.thread_bytes)))
            self.thread_bytes.append(_bytes(buffer))
            return tirx.Evaluate(tirx.const(0, "int32"))

        return tvm_ffi.structural_map(statement, (tirx.AllocBuffer, move))


def _statements(statement: Any) -> list[Any]:
    if isinstance(statement, tirx.SeqStmt):
        return [inner for outer in statement.seq for inner in _statements(outer)]
    return [statement]


def _is_parallel(statement: Any) -> bool:
    return isinstance(statement, tirx.For) and statement.kind == tirx.ForKind.PARALLEL


def _chunk(loop: Any, begin: Any, end: Any) -> Any:
    """The iterations begin <= i < end of a loop, counted from its first."""
    index = str(loop.loop_var.ty)
    first = begin.astype(index) if index != "int32" else begin
    length = (end - begin).astype(index) if index != "int32" else end - begin
    return tirx.For(loop.loop_var, loop.min + first, length, tirx.ForKind.SERIAL, loop.body)


def _serial(statement: Any) -> Any:
    def serial(loop: Any) -> Any:
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, loop.body)

    return tvm_ffi.structural_map(statement, (tirx.For, serial))


def _declared(statement: Any) -> Any:
    return statement.buffer if isinstance(statement, tirx.DeclBuffer) else statement.var


def _variables(node: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(node, (tirx.Var, found.append), order="post")
    return found


def _bytes(buffer: Any) -> int:
    assert is_buffer_var(buffer)
    elements = math.prod(int(length) for length in buffer.ty.shape)
    dtype = tvm.DataType(str(buffer.ty.dtype.dtype))
    return elements * ((int(dtype.bits) * int(dtype.lanes) + 7) // 8)
