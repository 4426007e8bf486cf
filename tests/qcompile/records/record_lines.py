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
    estimate_s=1.5e-3,
    spread=0.5,
    reference_s=3e-3,
    failure=None,
    target=MeasuredTarget.of(TARGET),
    device="local",
    processor="AMD EPYC",
    threads=1,
    thorough=False,
    versions=Versions("0.1.0", SCHEDULES, "0.27.0"),
    time="2026-11-21T14:00:00Z",
)


def timed(tile: int, seconds: float, reference_s: float = 3e-3, **others) -> Record:
    """A candidate and its one time, beside that of the default decisions."""
    times = {"seconds": (seconds,), "estimate_s": seconds, "spread": 0.0}
    changes = {"decisions": {"tile": tile}, "reference_s": reference_s} | times | others
    return replace(RECORD, **changes)


def failed(tile: int, kind: str, **others) -> Record:
    found = Failure(kind, f"{kind} it was")
    times = dict.fromkeys(("seconds", "estimate_s", "spread", "reference_s"))
    return replace(RECORD, decisions={"tile": tile}, failure=found, **times, **others)
