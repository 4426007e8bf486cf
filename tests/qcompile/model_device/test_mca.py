"""Cycles of blocks are kept, and a store that cannot be used is told."""

import shutil

import pytest

from qcompile.errors import ModelError, OutputError
from qcompile.model_device import load_core
from qcompile.model_device.mca import block_cycles
from qcompile.targets import load_target

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(shutil.which("llvm-mca-19") is None, reason="needs llvm-19"),
]
TARGET = load_target("rpi4")
BLOCK = ("add x0, x0, x1", "add x0, x0, x2")  # each waits for the one before


def cycles():
    found = block_cycles([BLOCK], load_core(TARGET), TARGET.llvm["mtriple"])
    return found[BLOCK].cycles


def test_a_known_block_is_not_simulated_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cycles() == 2

    def fail(*arguments):
        raise AssertionError("simulated again")

    monkeypatch.setattr("qcompile.model_device.mca._simulate", fail)
    assert cycles() == 2


def test_a_damaged_store_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = tmp_path / "qcompile" / "model" / "mca-19.sqlite"
    store.parent.mkdir(parents=True)
    store.write_text("no database " * 100)
    with pytest.raises(ModelError, match=r"mca-19\.sqlite: file is not a database; remove it"):
        cycles()


def test_a_cache_that_cannot_be_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"file/qcompile/model: "):
        cycles()
