"""Who is told of a search as it goes on."""

from typing import Protocol

from qcompile.search.loop.points import Point


class Watcher(Protocol):
    """`say`: a line on what begins; `step`: how far it is; `point`: what a device made of one."""

    def say(self, text: str) -> None: ...

    def step(self, stage: str, done: int, total: int) -> None: ...

    def point(self, point: Point, device: str) -> None: ...
