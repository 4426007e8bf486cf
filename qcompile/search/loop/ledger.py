"""All points of a search, kept as they come."""

from collections.abc import Callable, Iterable
from pathlib import Path

from qcompile.quantizer import Widths
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.loop.points import FLOAT, OnDevice, Point, name_of
from qcompile.search.loop.workshop import Workshop

Told = Callable[[Point, str], None]


class Ledger:
    """Points by name, in the order of their making."""

    def __init__(self, material: Material, workshop: Workshop, told: Told) -> None:
        self.material = material
        self.workshop = workshop
        self._told = told
        self._uniform = {
            f"w{w}a{a}": material.uniform(Widths(w, a))
            for w in material.request.bits
            for a in material.request.bits
        }
        self._points: dict[str, Point] = {}

    @property
    def uniform(self) -> dict[str, dict[str, Widths]]:
        """The uniform assignments by name; ends of the network keep their widths."""
        return self._uniform

    def points(self) -> list[Point]:
        return list(self._points.values())

    def point(self, name: str) -> Point:
        return self._points[name]

    def find(self, bits: Assignment) -> Point | None:
        return next((p for p in self._points.values() if p.bits == dict(bits)), None)

    def add_float(self) -> Point:
        weights = sum(4 * layer.weights for layer in self.material.layers)
        return self._points.setdefault(FLOAT, Point(FLOAT, FLOAT, None, weights, None))

    def add(self, name: str | None, bits: dict[str, Widths], sensitivity: float) -> Point:
        """The point of an assignment."""
        name = name or name_of(bits, self._uniform)
        if name not in self._points:
            self._points[name] = Point(
                name,
                "uniform" if name in self._uniform else "chosen",
                bits,
                self.material.weight_bytes(bits),
                self.material.bit_operations(bits),
                sensitivity,
            )
        return self._points[name]

    def add_tuned(self, point: Point, name: str) -> Point:
        """The same assignment with weights of the user's."""
        tuned = Point(name, "fine-tuned", point.bits, point.weight_bytes, point.bops)
        return self._points.setdefault(name, tuned)

    def put(self, name: str, device: str, found: OnDevice) -> None:
        """Keep what a device says of a point, and tell it when it is new."""
        new = device not in self._points[name].on
        self._points[name] = self._points[name].with_device(device, found)
        if new:
            self._told(self._points[name], device)

    def model(self, point: Point) -> Path:
        """The ONNX file of a point."""
        if point.kind == "fine-tuned":
            return self.workshop.store.path(f"models/{point.name}.onnx")
        return self.workshop.model(point.name, point.bits)


def quantized(points: Iterable[Point]) -> list[Point]:
    """The points that are no float network."""
    return [point for point in points if point.bits is not None]
