"""How a long command tells where it is."""

from typing import Protocol


class Progress(Protocol):
    """A function of what is being done, how many steps are done, and how many there are.

    Both counts are 0 where nobody knows.
    """

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None: ...


def silent(stage: str, done: int = 0, total: int = 0, /) -> None:
    """Tell nobody."""
