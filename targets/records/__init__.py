"""The tuning records that ship with the package: files *.jsonl, read by qcompile.records."""

from pathlib import Path

FOLDER = Path(__file__).parent
