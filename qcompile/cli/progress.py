"""Show progress on a terminal, nothing elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qcompile.commands.progress import Progress, silent


@contextmanager
def progress() -> Iterator[Progress]:
    """A function that draws a bar while work goes on; nothing of it stays on the terminal."""
    from rich import progress as rich_progress
    from rich.console import Console

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield silent
        return
    bars = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    task = bars.add_task("", total=None)

    def show(stage: str, done: int = 0, total: int = 0, /) -> None:
        bars.update(task, description=stage, completed=done, total=total or None)

    with bars:
        yield show
