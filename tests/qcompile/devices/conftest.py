"""A network for this machine and what it computes, by NumPy alone."""

import os
from pathlib import Path

import numpy as np
import pytest
from boards import Board
from sums import export_sums

from qcompile.targets import host_architecture

TARGETS = {"x86_64": "x86-64-v3", "aarch64": "aarch64", "armv7": "armv7"}


@pytest.fixture(scope="session")
def sums(tmp_path_factory) -> Path:
    """The bundle for any processor of this machine's kind."""
    architecture = host_architecture()
    if architecture is None:
        pytest.skip("no target is for this machine")
    return export_sums(TARGETS[architecture.name], tmp_path_factory.mktemp("bundle") / "sums")


@pytest.fixture
def samples(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    """A file of seven samples, and the outputs; sums of small integers are exact in float32."""
    rng = np.random.default_rng(0)
    a = rng.integers(-99, 99, (7, 3)).astype("float32")
    b = rng.integers(-60, 60, (7, 3), dtype="int8")
    np.savez(tmp_path / "in.npz", a=a, b=b)
    return tmp_path / "in.npz", {"sum": a + b, "double": 2 * b}


@pytest.fixture
def board(tmp_path_factory, monkeypatch):
    found = Board(tmp_path_factory.mktemp("board"))
    monkeypatch.setenv("PATH", f"{found.client}{os.pathsep}{os.environ['PATH']}")
    yield found
    found.unplug()
