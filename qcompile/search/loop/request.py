"""What a user asks of a search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.devices.opening import LOCAL, SIM
from qcompile.errors import InvalidInput
from qcompile.targets import Target, VtaTarget, load_target
from qcompile.widths import LEAST_BITS, MOST_BITS

MODEL = "model:"
DROP_POINTS = 1.0  # of accuracy, that speed may cost where nothing else is asked for
KIBIBYTE = 1024
FineTune = Callable[[Mapping[str, Any], Path], Path]


@dataclass(frozen=True)
class Where:
    """A target and the device that measures it. `name` is how the user wrote it."""

    name: str
    target: Target | VtaTarget
    device: str

    @property
    def kind(self) -> str:
        """What its times are: measured, modelled or simulated."""
        if self.device == SIM:
            return "simulated"
        return "modelled" if self.device.startswith(MODEL) else "measured"

    @property
    def exact(self) -> bool:
        """Whether the same bundle takes the same time whenever it is asked for."""
        return self.kind != "measured"

    @property
    def folder(self) -> str:
        """A name for files."""
        return "".join(c if c.isalnum() or c in "-." else "-" for c in self.name)


@dataclass(frozen=True)
class Request:
    """A search, checked. Budgets are of one inference and of the packed weights; None: any.

    max_drop: of the float accuracy, in points, as it was asked for; `drop` is what holds.
    """

    model: Path
    places: tuple[Where, ...]
    data: Path
    calibration: Path | None
    records: Path | None
    bits: tuple[int, ...]
    budget_s: float | None
    budget_bytes: int | None
    max_drop: float | None
    output: Path
    seed: int

    @property
    def limits(self) -> dict[str, float]:
        """The budgets as the solver takes them."""
        given = {"latency": self.budget_s, "size": self.budget_bytes}
        return {name: float(limit) for name, limit in given.items() if limit is not None}

    @property
    def drop(self) -> float | None:
        """Points of the float accuracy that may be lost; None: budgets decide alone."""
        return DROP_POINTS if self.max_drop is None and not self.limits else self.max_drop


def read_place(text: str) -> Where:
    """The target and the device of TARGET, TARGET=DEVICE or model:TARGET. Raises QCompileError."""
    name, _, device = text.partition("=")
    if name.startswith(MODEL):
        if device:
            raise InvalidInput(
                f"{text}: {name} is a device; {name.removeprefix(MODEL)}={name} would work"
            )
        name, device = name.removeprefix(MODEL), name
    target = load_target(name)
    if isinstance(target, VtaTarget):
        if device not in ("", SIM):
            raise InvalidInput(f"{text}: boards with VTA are simulated: {name}={SIM} would work")
        return Where(text, target, SIM)
    if device == SIM:
        raise InvalidInput(f"{text}: {SIM} simulates VTA; {name} is a processor")
    return Where(text, target, device or (LOCAL if target.name == "host" else MODEL + name))


def read_widths(bits: Sequence[int]) -> tuple[int, ...]:
    """The widths to choose from, widest first, 8 among them. Raises InvalidInput."""
    for width in bits:
        if type(width) is not int or not LEAST_BITS <= width <= MOST_BITS:
            raise InvalidInput(
                f"bits: found {width!r}; whole numbers from {LEAST_BITS} to {MOST_BITS} work"
            )
    return tuple(sorted({*bits, MOST_BITS}, reverse=True))


def expect_positive(name: str, value: float | None) -> None:
    """Raise InvalidInput for a budget that is none."""
    if value is not None and not 0 < value < float("inf"):
        raise InvalidInput(f"{name} is {value}; a number above 0 would work")
