"""Show progress on a terminal, nothing elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 1.0  # shorter work shows nothing


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function of (what is being done, steps done, steps in all) that draws a bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield lambda stage, done, total: None
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    bars = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
    task = bars.add_task("", total=None)
    start = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        bars.update(task, description=stage, completed=done, total=total)
        if not bars.live.is_started and time.monotonic() - start > PATIENCE_S:
            bars.start()

    try:
        yield show
    finally:
        if bars.live.is_started:
            bars.stop()
