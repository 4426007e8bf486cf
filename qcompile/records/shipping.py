"""The records that ship with the package."""

from qcompile.records.database import Contents, Database
from qcompile.targets.records import FOLDER


def shipped(schedules: int) -> Contents:
    """The records of targets/records that hold for this version of the schedules."""
    return Database(FOLDER, schedules).load()
