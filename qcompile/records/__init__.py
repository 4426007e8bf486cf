"""The database of tuning records: which decisions were measured, on what, and how long they took.

A database is a folder of files *.jsonl; a line is one record that needs no other. `Database`
appends and reads, `Records` is what it holds, `choose` finds the decisions to compile with.
"""

from qcompile.records.canonical import canonical, workload_of
from qcompile.records.choice import Case, Choice, choose
from qcompile.records.collection import Records
from qcompile.records.database import Contents, Database
from qcompile.records.parts import (
    DEVICE_FAILURE,
    MODEL_DEVICES,
    WRONG_RESULT,
    Failure,
    MeasuredTarget,
    Versions,
)
from qcompile.records.record import FORMAT, Record
from qcompile.records.shipping import shipped
from qcompile.records.skipped import Skipped

__all__ = [
    "DEVICE_FAILURE",
    "FORMAT",
    "MODEL_DEVICES",
    "WRONG_RESULT",
    "Case",
    "Choice",
    "Contents",
    "Database",
    "Failure",
    "MeasuredTarget",
    "Record",
    "Records",
    "Skipped",
    "Versions",
    "canonical",
    "choose",
    "shipped",
    "workload_of",
]
