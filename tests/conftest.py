"""Processes that tests start find Python's byte code: without it each compiles all of it again."""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
