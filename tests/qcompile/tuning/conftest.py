"""Searches of small populations: most of a search's time is MetaSchedule drawing candidates."""

import pytest

from qcompile.tuning import search

SMALL, WHOLE = 24, search.POPULATION


@pytest.fixture(autouse=True)
def small_population(monkeypatch):
    monkeypatch.setattr(search, "POPULATION", SMALL)


@pytest.fixture
def whole_population(monkeypatch, small_population):
    """What users have: for tests of what a search finds."""
    monkeypatch.setattr(search, "POPULATION", WHOLE)
