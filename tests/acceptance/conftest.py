"""Whole networks. The generators and comparisons are those of benchmarks/."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "examples")]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of trained models and labelled data, beside the project's."""
    if not (SHARED / "models").is_dir():
        pytest.skip("the folder of trained models and labelled data is not here")
    return SHARED
