"""Show how a tuning goes on: a line for each task on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qcompile.cli.show_tune import duration, microseconds, part, saved
from qcompile.cli.tables import printable

if TYPE_CHECKING:
    from qcompile.tuning.result import TaskState, Watcher

PLAIN_S = 10.0  # between two lines
REFRESHES = 4  # a second
COLUMNS = ("task", "best us", "of limit", "trials", "gain")


@contextmanager
def tune_progress() -> Iterator[Watcher]:
    """What `tune` tells; nothing of it stays on a terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield Lines()
        return
    table = LiveTable()
    with Live(
        get_renderable=table.render,
        console=console,
        refresh_per_second=REFRESHES,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield table


class Summary:
    """Where all of it is, in one line. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stage = ""
        self._states: Sequence[TaskState] = ()
        self._measured = self._trials = 0
        self._begin: tuple[float, int] | None = None  # of the search: when, and trials before

    def say(self, text: str) -> None:
        with self._lock:
            self._stage = text

    def state(self, tasks: Sequence[TaskState], measured: int, trials: int) -> None:
        with self._lock:
            self._states, self._measured, self._trials = tasks, measured, trials
            if measured and self._begin is None:
                self._begin = time.monotonic(), measured

    def line(self) -> str:
        """The stage, and trials, time left and the network's time where they are known."""
        states = self._states
        if not self._measured:
            return self._stage
        parts = [f"{self._stage}: {self._measured} of {self._trials} trials"]
        before = sum(s.calls * (s.default_s or 0) for s in states)
        after = sum(s.calls * (s.best_s or 0) for s in states)
        if before and all(state.default_s for state in states):
            times = f"{duration(before)} -> {duration(after)}"
            parts.append(f"{times} ({saved(1 - after / before)})")
        left = self._left_s()
        if left:
            parts.append(f"about {_minutes(left)} left")
        return ", ".join(parts)

    def _left_s(self) -> float | None:
        if self._begin is None:
            return None
        since, before = self._begin
        done = self._measured - before
        return (time.monotonic() - since) / done * (self._trials - self._measured) if done else None


class Lines(Summary):
    """Prints each stage, and in between a line now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._printed = time.monotonic()

    def say(self, text: str) -> None:
        super().say(text)
        self._print(text)

    def state(self, tasks: Sequence[TaskState], measured: int, trials: int) -> None:
        super().state(tasks, measured, trials)
        if time.monotonic() - self._printed >= PLAIN_S:
            self._print(self.line())

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        print(printable(text), file=sys.stderr, flush=True)


class LiveTable(Summary):
    """One line for each task, and one for all."""

    def render(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            states, line = self._states, self.line()
        if not states:
            return Text(line)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "task" else "right", no_wrap=True)
        for state in states:
            table.add_row(
                Text(printable(state.name), overflow="ellipsis"),
                microseconds(state.best_s),
                part(state.of_limit),
                str(state.trials),
                saved(state.gain),
            )
        return Group(Text(line), table)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
