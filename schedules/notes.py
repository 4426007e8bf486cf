"""Annotations that tell about a block: once it is scheduled, they change nothing."""

from collections.abc import Mapping
from typing import Any

import tvm_ffi
from tvm import s_tir

from qcompile.schedules.space import PROBLEM

NOTES = ("qcompile.layer", "qcompile.schedule", "qcompile.plan", PROBLEM)


def without_notes(stmt: Any) -> Any:
    """The statement with blocks that have none of them."""

    def strip(block: Any) -> Any:
        notes: Mapping[str, Any] = block.annotations
        kept = {key: value for key, value in notes.items() if str(key) not in NOTES}
        if len(kept) == len(notes):
            return block
        return s_tir.SBlock(
            block.iter_vars,
            block.reads,
            block.writes,
            block.name_hint,
            block.body,
            block.init,
            block.alloc_buffers,
            block.match_buffers,
            kept,
        )

    return tvm_ffi.structural_map(stmt, (s_tir.SBlock, strip))
