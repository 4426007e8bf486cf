"""Records to test with."""

from dataclasses import replace

from qcompile.records import Failure, MeasuredTarget, Record, Versions
from qcompile.targets import load_target

TARGET = load_target("x86-64-v3")
SCHEDULES = 3
RECORD = Record(
    operator="conv2d_int8",
    problem={"channels": 64, "kernel": [3, 3], "strides": [1, 1]},
    epilogue=("0f1e2d3c",),
    decisions={"tile": [4, 14, 2], "order": "weights"},
    default=False,
    seconds=(2e-3, 1e-3, 4e-3),
    failure=None,
    target=MeasuredTarget.of(TARGET),
    device="local",
    processor="AMD EPYC",
    threads=1,
    versions=Versions("0.1.0", SCHEDULES, "0.27.0"),
    time="2026-11-21T14:00:00Z",
)


def timed(tile: int, seconds: float, **others) -> Record:
    """A candidate and its one time."""
    return replace(RECORD, **{"decisions": {"tile": tile}, "seconds": (seconds,)} | others)


def failed(tile: int, kind: str, **others) -> Record:
    found = Failure(kind, f"{kind} it was")
    return replace(RECORD, decisions={"tile": tile}, seconds=None, failure=found, **others)
