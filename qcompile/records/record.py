"""A tuning record: one candidate of one workload, measured once, as one line of JSON."""

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NoReturn

from qcompile.errors import InvalidRecord, OtherFormat
from qcompile.records.canonical import canonical, workload_of
from qcompile.records.parts import (
    MODEL_DEVICES,
    SIMULATOR,
    Failure,
    MeasuredTarget,
    Versions,
    expect,
    expect_count,
    expect_names,
    expect_text,
    expect_texts,
)

FORMAT = 1
START = b'{"format": '  # of every line, and never inside one: quotes in texts are escaped
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


DECODER = json.JSONDecoder(parse_constant=_not_a_number)


@dataclass(frozen=True)
class Record:
    """One measurement. `problem` and `decisions` hold JSON values, `epilogue` hashes of TIR.

    `seconds` are the times of single calls, `estimate_s` what they say of one call on the quiet
    machine, `spread` how far apart those are that it is from, relative to it; `reference_s` is the
    estimate of the kernel with default decisions, measured in turns with this candidate. All four
    are None with the `failure` that there was instead.
    `thorough`: one of the best of a tuning, measured once more and longer at its end.
    `default`: these are the decisions that a kernel without records has; `device` is the name by
    which it was opened, `processor` what was found there; `time` in UTC.
    Raises InvalidRecord for values that no line can hold.
    """

    operator: str
    problem: Mapping[str, Any]
    epilogue: tuple[str, ...]
    decisions: Mapping[str, Any]
    default: bool
    seconds: tuple[float, ...] | None
    estimate_s: float | None
    spread: float | None
    reference_s: float | None
    failure: Failure | None
    target: MeasuredTarget
    device: str
    processor: str
    threads: int
    thorough: bool
    versions: Versions
    time: str

    def __post_init__(self) -> None:
        for name in ("operator", "device", "processor"):
            expect_text(getattr(self, name), name)
        for name in ("problem", "decisions"):
            expect(isinstance(getattr(self, name), dict), name, getattr(self, name), "an object")
        expect_texts(self.epilogue, "epilogue")
        for name in ("default", "thorough"):
            expect(type(getattr(self, name)) is bool, name, getattr(self, name), "true or false")
        expect((self.seconds is None) != (self.failure is None), "seconds", self.seconds, ONE_OF)
        if self.failure is None:
            expect(_times(self.seconds), "seconds", self.seconds, TIMES)
            expect(_time(self.estimate_s), "estimate_s", self.estimate_s, TIME_TAKEN)
            expect(_time(self.reference_s), "reference_s", self.reference_s, TIME_TAKEN)
            expect(_spread(self.spread), "spread", self.spread, SPREAD)
        else:
            for name in ("estimate_s", "spread", "reference_s"):
                value = getattr(self, name)
                expect(value is None, name, value, "null with a failure")
        expect_count(self.threads, "threads")
        expect(_moment(self.time), "time", self.time, "UTC as 2026-11-21T14:00:00Z")
        for name, key in (("problem", "workload"), ("decisions", "decisions_key")):
            try:
                getattr(self, key)
            except (ValueError, TypeError, RecursionError) as error:
                raise InvalidRecord(f"{name}: not JSON: {error}") from error

    @functools.cached_property
    def workload(self) -> str:
        return workload_of(self.operator, self.problem, self.epilogue)

    @functools.cached_property
    def decisions_key(self) -> str:
        """Equal for equal decisions: their canonical JSON."""
        return canonical(self.decisions)

    @property
    def modelled(self) -> bool:
        """Whether the times are a model's, not a clock's."""
        return self.device.startswith(MODEL_DEVICES) or self.device == SIMULATOR

    @property
    def ratio(self) -> float | None:
        """The time of this candidate, in those of the kernel with default decisions."""
        if self.estimate_s is None or self.reference_s is None:
            return None
        return self.estimate_s / self.reference_s

    def to_line(self) -> bytes:
        """The record as one line of JSON, its end included."""
        held = {"format": FORMAT, "workload": self.workload} | asdict(self)
        return json.dumps(held, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Record":
        """The record in a line. Raises InvalidRecord, OtherFormat for one of another version."""
        held = _parsed(line)
        expect(type(held.get("format")) is int, "format", held.get("format"), str(FORMAT))
        if held["format"] != FORMAT:
            raise OtherFormat(f"format = {held['format']}: expected {FORMAT}")
        expect_names(held, NAMES, "the record")
        parts = {
            "epilogue": _tuple(held["epilogue"]),
            "seconds": _tuple(held["seconds"]),
            "failure": None if held["failure"] is None else _part(held, "failure"),
            "target": _part(held, "target"),
            "versions": _part(held, "versions"),
        }
        own = {name: parts.get(name, held[name]) for name in NAMES[2:]}
        record = cls(**own)
        expect(held["workload"] == record.workload, "workload", held["workload"], record.workload)
        return record


PARTS = {"failure": Failure, "target": MeasuredTarget, "versions": Versions}
PART_NAMES = {name: tuple(field.name for field in fields(kind)) for name, kind in PARTS.items()}
NAMES = ("format", "workload", *(field.name for field in fields(Record)))
ONE_OF = "times or a failure, and null for the other"
TIMES = "a list of finite seconds above 0"
TIME_TAKEN = "finite seconds above 0"
SPREAD = "a finite number, 0.0 or above"


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        held = DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested without end
        raise InvalidRecord(f"no JSON: {error}") from error
    expect(isinstance(held, dict), "the record", held, "an object")
    return held


def _part(held: dict[str, Any], name: str) -> Any:
    expect_names(held[name], PART_NAMES[name], name)
    values = {key: _tuple(value) for key, value in held[name].items()}
    try:
        return _shared(name, **values)
    except TypeError:  # nothing finds a list or an object in the cache: the part says which
        return PARTS[name](**values)


@functools.lru_cache(typed=True)  # typed: 1 is not true
def _shared(part: str, /, **values: Any) -> Any:
    """One object for equal parts: thousands of records have the same few."""
    return PARTS[part](**values)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _times(values: Any) -> bool:
    return isinstance(values, tuple) and values != () and all(map(_time, values))


def _time(value: Any) -> bool:
    return type(value) is float and 0 < value < math.inf


def _spread(value: Any) -> bool:
    return type(value) is float and 0 <= value < math.inf


def _moment(value: Any) -> bool:
    if type(value) is not str or not TIME.fullmatch(value):
        return False
    try:
        return datetime.fromisoformat(value) is not None
    except ValueError:
        return False
