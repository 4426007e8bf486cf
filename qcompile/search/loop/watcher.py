"""Who is told of a search as it goes on."""

from typing import Protocol

from qcompile.search.loop.points import Point


class Watcher(Protocol):
    """`say`: a line on what begins; `point`: what a device made of a point."""

    def say(self, text: str) -> None: ...

    def point(self, point: Point, device: str) -> None: ...
