"""The files of the C runtime."""

from importlib.resources import files


def runtime(file: str) -> str:
    """The text of a file of the C runtime."""
    return (files("qcompile.export.runtime") / file).read_text(encoding="utf-8")
