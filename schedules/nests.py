"""Which blocks of a PrimFunc share a loop nest.

Every nest has a *leader*: an output, or a block whose buffer several nests need. Another block is
a *member* of its only reader's nest when a row of the leader needs few elements of it.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Any

from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules import access

ROW_BYTES = 64 * 1024  # of memory for what one row of a leader needs; beyond, a nest of its own


@dataclass
class Nest:
    """A leader, its members in order of computation, and the axes of the leader that are rows."""

    leader: SBlockRV
    members: list[SBlockRV] = field(default_factory=list)
    rows: frozenset[int] = frozenset()


def group_nests(sch: s_tir.Schedule) -> list[Nest]:
    """The nests of all blocks, in order of computation."""
    alone: set[int] = set()
    while True:
        nests, misfits = _group(sch, alone)
        if not misfits:
            return nests
        alone |= misfits


def copy_reductions(sch: s_tir.Schedule) -> None:
    """Let every leader be elementwise: sums that lead a nest get a block that copies them out.

    A sum of one value stays a leader, as do blocks that reduce several values together.
    """
    copied: set[str] = set()
    while True:
        leaders = [nest.leader for nest in group_nests(sch)]
        for leader in leaders:
            block = sch.get(leader)
            kinds = {axis.iter_type for axis in block.iter_vars}
            sums = kinds == {tirx.IterVar.DataPar, tirx.IterVar.CommReduce}
            if sums and len(block.writes) == 1:
                if block.name_hint in copied:
                    raise s_tir.ScheduleError(f"{block.name_hint} leads its nest again")
                copied.add(block.name_hint)
                sch.cache_write(leader, 0, "global")
                break
        else:
            return


@dataclass
class _Draft:
    """A nest while blocks join it, by number; `axes` maps the axes of each to the leader's."""

    leader: int
    members: list[int] = field(default_factory=list)
    rows: frozenset[int] | None = None
    axes: dict[int, dict[int, int]] = field(default_factory=dict)


def _group(sch: s_tir.Schedule, alone: set[int]) -> tuple[list[Nest], set[int]]:
    """The nests with the blocks `alone` as leaders, and the members that do not fit theirs."""
    root = sch.get_sblock("root")
    handles = sch.get_child_blocks(root)
    blocks = [sch.get(handle) for handle in handles]
    outputs = [sch.get(handle) for handle in sch.get_output_blocks(root)]
    nest_of: dict[int, _Draft] = {}
    for number in reversed(range(len(blocks))):
        readers = [blocks.index(sch.get(reader)) for reader in sch.get_consumers(handles[number])]
        drafts = {id(nest_of[reader]): nest_of[reader] for reader in readers}
        draft = next(iter(drafts.values())) if len(drafts) == 1 else None
        if draft is None or blocks[number] in outputs or number in alone:
            size = len(blocks[number].iter_vars)
            identity = {axis: axis for axis in range(size)}
            nest_of[number] = _Draft(number, axes={number: identity})
            continue
        nest_of[number] = draft
        draft.members.insert(0, number)
        draft.axes[number] = _leader_axes(blocks, number, readers, draft)
        if access.is_reduction(blocks[number]):
            found = frozenset(draft.axes[number].values())
            draft.rows = found if draft.rows is None else draft.rows & found
    drafts = {id(draft): draft for draft in nest_of.values()}
    misfits = {number for draft in drafts.values() for number in _misfits(blocks, draft)}
    nests = [
        Nest(handles[d.leader], [handles[k] for k in d.members], d.rows or frozenset())
        for d in sorted(drafts.values(), key=lambda draft: draft.leader)
    ]
    return nests, misfits


def _leader_axes(
    blocks: list[Any], number: int, readers: list[int], draft: _Draft
) -> dict[int, int]:
    """The axes of a block that are axes of the leader: every reader indexes them alike."""
    axis_of_dimension = _store_axes(blocks[number])
    found: dict[int, set[int | None]] = {}
    for reader in readers:
        variables = [axis.var for axis in blocks[reader].iter_vars]
        for region in blocks[number].writes:
            for load in access.loads_of(blocks[reader], region.source):
                for dimension, index in enumerate(load.indices):
                    axis = next((k for k, v in enumerate(variables) if v.same_as(index)), None)
                    leader_axis = None if axis is None else draft.axes[reader].get(axis)
                    found.setdefault(dimension, set()).add(leader_axis)
    axes = {}
    for dimension, candidates in found.items():
        axis = axis_of_dimension.get(dimension)
        if len(candidates) == 1 and axis is not None:
            (leader_axis,) = candidates
            if leader_axis is not None:
                axes[axis] = leader_axis
    return axes


def _store_axes(block: s_tir.SBlock) -> dict[int, int]:
    """The axis of the block that each dimension of what it writes is, where it is one."""
    axes = {}
    for dimension, region in enumerate(block.writes[0].region):
        for number, axis in enumerate(block.iter_vars):
            if axis.var.same_as(region.min):
                axes[dimension] = number
    return axes


def _misfits(blocks: list[Any], draft: _Draft) -> set[int]:
    """The members that rows of the leader do not single out, or whose rows are too long."""
    misfits = set()
    for number in draft.members:
        rows = draft.rows or frozenset()
        axes = draft.axes[number]
        sizes = access.extents(blocks[number])
        kinds = [axis.iter_type for axis in blocks[number].iter_vars]
        needed = prod(
            size
            for axis, size in enumerate(sizes)
            if kinds[axis] != tirx.IterVar.CommReduce and axes.get(axis) not in rows
        )
        if not rows or not rows <= set(axes.values()) or needed * 8 > ROW_BYTES:
            misfits.add(number)
    return misfits
