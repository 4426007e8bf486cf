"""Give one kernel other decisions than those it was lowered with.

@T.prim_func(x, w, bias, ...): anchor (its plan), epilogue
    -> @T.prim_func(x', w', bias, ...): anchor (the new plan), epilogue

The function is fused and not yet scheduled. x' and w' have the shapes of the new plan; whoever
calls the function prepares and packs them so. Nothing else changes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import s_tir, te, tirx

from qcompile.errors import Unsupported
from qcompile.schedules.notes import without_notes
from qcompile.schedules.space import OPTIONS, PROBLEM, Decisions, frozen
from qcompile.schedules.tunables import TUNABLES, Tunable
from qcompile.targets import Target

INDEX = "int64"  # as Relax makes kernels


@dataclass(frozen=True)
class Anchor:
    """The block of a function that its schedule begins with."""

    operator: str  # the schedule's name
    problem: Any
    plan: Any
    layer: str
    name: str  # of the block
    options: Mapping[str, Any]  # of the computation, beside its plan

    @property
    def tunable(self) -> Tunable:
        return TUNABLES[self.operator]


def anchor_of(function: tirx.PrimFunc) -> Anchor | None:
    """The anchor, where a function has exactly one that decisions can be taken for."""
    found = []
    for block in _blocks(function.body):
        notes: Mapping[str, Any] = block.annotations
        if PROBLEM not in notes:
            continue
        operator = str(notes["qcompile.schedule"])
        tunable = TUNABLES[operator]
        fields = {name: frozen(v) for name, v in json.loads(str(notes[PROBLEM])).items()}
        plan = tunable.plan(str(notes["qcompile.plan"]))
        layer = str(notes["qcompile.layer"])
        name = str(block.name_hint)
        options = json.loads(str(notes.get(OPTIONS, "{}")))
        found.append(Anchor(operator, tunable.problem(**fields), plan, layer, name, options))
    return found[0] if len(found) == 1 else None


def replan(function: tirx.PrimFunc, decisions: Decisions, target: Target) -> tirx.PrimFunc:
    """The function with these decisions, the others by default.

    Raises UnknownDecision, and Unsupported where the epilogue reads an operand whose shape would
    change.
    """
    anchor = anchor_of(function)
    assert anchor is not None
    plan = anchor.tunable.planned(anchor.problem, target, decisions)
    return _Grafted(function, anchor).with_plan(plan)


def planned_operands(function: tirx.PrimFunc) -> list[int]:
    """The parameters whose shapes depend on the decisions, in the order of `Tunable.shapes`."""
    anchor = anchor_of(function)
    assert anchor is not None
    count = len(anchor.tunable.shapes(anchor.plan))
    buffers = _Grafted(function, anchor).operands()[:count]
    parameters = list(function.params)
    return [next(k for k, p in enumerate(parameters) if p.same_as(b)) for b in buffers]


def epilogue_of(function: tirx.PrimFunc) -> tuple[str, ...]:
    """A hash of each statement that is not of the anchor, the same whatever is decided."""
    anchor = anchor_of(function)
    assert anchor is not None
    grafted = _Grafted(function, anchor)
    return tuple(
        f"{tvm_ffi.structural_hash(without_notes(nest), map_free_vars=True) % 2**64:016x}"
        for k, nest in enumerate(grafted.nests)
        if k not in grafted.own
    )


class _Grafted:
    """A function as the statements of its anchor (with what leads to its sums, and the first that
    reads them) and the others."""

    def __init__(self, function: tirx.PrimFunc, anchor: Anchor) -> None:
        self.function, self.anchor = function, anchor
        self.root = function.body.block
        body = self.root.body
        self.nests = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
        self.blocks = [next(_blocks(nest)) for nest in self.nests]
        (sums,) = (k for k, b in enumerate(self.blocks) if str(b.name_hint) == anchor.name)
        last = self._reader(sums) if anchor.tunable.followed(anchor.plan) else sums
        self.own = self._producers(sums) | {sums, last}
        self.output = _written(self.blocks[max(self.own)])

    def with_plan(self, plan: Any) -> tirx.PrimFunc:
        old = self.operands()
        names = [str(buffer.name) for buffer in old]
        shapes = [_shape(buffer) for buffer in old]
        new_shapes = [*self.anchor.tunable.shapes(plan)]
        shapes[: len(new_shapes)] = new_shapes
        tensors = [
            te.placeholder(shape, _dtype(buffer), name)
            for shape, buffer, name in zip(shapes, old, names, strict=True)
        ]
        result = self.anchor.tunable.compute(
            plan, tensors, self.anchor.layer, **self.anchor.options
        )
        made = te.create_prim_func([*tensors, result], index_dtype_override=INDEX)
        fresh = made.body.block
        kept = {}
        renamed = {}
        for parameter, buffer in zip(made.params[:-1], old, strict=True):
            if _shape(parameter) == _shape(buffer):
                kept[parameter] = buffer
            else:
                renamed[buffer] = parameter
        self._expect_unread(renamed)
        twice = [b for b in renamed if sum(b.same_as(other) for other in old) > 1]
        assert not twice, "a factor times itself lies the same whatever is decided"
        kept[made.params[-1]] = self.output
        body = _substituted(fresh.body, kept)
        grafted = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
        others = [nest for k, nest in enumerate(self.nests) if k not in self.own]
        before = [n for k, n in enumerate(self.nests) if k not in self.own and k < min(self.own)]
        statements = [*before, *grafted, *others[len(before) :]]
        return self._with(statements, fresh.alloc_buffers, renamed)

    def _with(
        self,
        statements: Sequence[tirx.Stmt],
        buffers: Sequence[Any],
        renamed: Mapping[Any, Any],
    ) -> tirx.PrimFunc:
        written = [_written(self.blocks[k]) for k in self.own]
        gone = [b for b in written if not b.same_as(self.output)]
        allocated = [
            b for b in self.root.alloc_buffers if not any(b.same_as(other) for other in gone)
        ]
        root = s_tir.SBlock(
            [],
            [],
            [],
            self.root.name_hint,
            tirx.SeqStmt(statements) if len(statements) > 1 else statements[0],
            None,
            [*buffers, *allocated],
            [],
            self.root.annotations,
        )
        realize = s_tir.SBlockRealize([], self.function.body.predicate, root)
        parameters = [renamed.get(p, p) for p in self.function.params]
        function = self.function
        return tirx.PrimFunc(parameters, realize, function.ret_type, function.attrs)

    def operands(self) -> list[Any]:
        """The parameters that the anchor reads: those that depend on the plan, then the others."""
        read: list[Any] = []
        for k in sorted(self.own):
            for region in self.blocks[k].reads:
                buffer = region.source
                parameter = any(buffer.same_as(p) for p in self.function.params)
                if parameter and not any(buffer.same_as(other) for other in read):
                    read.append(buffer)
        first: list[Any] = []
        for shape in self.anchor.tunable.shapes(self.anchor.plan):
            # Of operands of equal shapes, the kernel reads the first one first; a factor times
            # itself is both.
            buffer = next(b for b in (*read, *first) if _shape(b) == tuple(shape))
            read = [b for b in read if not b.same_as(buffer)]
            first.append(buffer)
        return [*first, *read]

    def _producers(self, of: int) -> set[int]:
        """The statements that lead to what one reads."""
        found: set[int] = set()
        for region in self.blocks[of].reads:
            for k in range(of):
                if _written(self.blocks[k]).same_as(region.source):
                    found |= {k} | self._producers(k)
        return found

    def _reader(self, of: int) -> int:
        """The first statement that reads what one writes, or that one."""
        sums = _written(self.blocks[of])
        for k in range(of + 1, len(self.blocks)):
            if any(region.source.same_as(sums) for region in self.blocks[k].reads):
                return k
        return of

    def _expect_unread(self, changed: Mapping[Any, Any]) -> None:
        for k, block in enumerate(self.blocks):
            if k in self.own:
                continue
            if any(region.source.same_as(b) for b in changed for region in block.reads):
                raise Unsupported(
                    f"layer {self.anchor.layer!r}: what follows reads an operand as it lies now; "
                    "decisions that keep its shape work"
                )


def _blocks(stmt: Any) -> Iterator[Any]:
    """The blocks within a statement, outer ones first."""
    found: list[Any] = []
    tvm_ffi.structural_walk(stmt, (s_tir.SBlock, found.append))
    return iter(found)


def _written(block: Any) -> Any:
    (region,) = block.writes
    return region.source


def _shape(buffer: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in buffer.ty.shape)


def _dtype(buffer: Any) -> str:
    return str(buffer.ty.dtype.dtype)


def _substituted(node: Any, values: Mapping[Any, Any]) -> Any:
    return tvm_ffi.structural_map(node, (tirx.Var, lambda v: values.get(v, v)))
