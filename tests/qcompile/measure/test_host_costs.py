"""This machine is measured once, and only when some layer has a choice."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from tvm import relax

from qcompile.measure import host_costs
from qcompile.measure.host_costs import cached, costs_for
from qcompile.ops import dense
from qcompile.targets import load_target
from qcompile.targets.costs import KERNELS, Costs, KernelCost, costs_of
from tests.passes.modules import module

HOST = load_target("host")
TABLE = Costs({name: KernelCost(*[1e-9] * 9) for name in KERNELS}, 1e-9, 1e-9, 1e-9, "of a test")
FAILS = (sys.executable, "-c", "import sys; sys.exit('no clock here')")
MUST_NOT_RUN = ("/does/not/exist",)


def products(bits):
    """A module with one layer whose data and weights have so many bits."""
    w = (np.arange(64 * 16).reshape(16, 64) % 2**bits - 2 ** (bits - 1)).astype("int8")

    def body(emit, x):
        zeros = relax.const(np.zeros(16, "int32"))
        return dense(
            x, relax.const(w), zeros, zero_point=0, bits=(bits, bits), codes=(0, 1), layer="one"
        )

    return module(body, ((4, 64), "uint8"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def worker(tmp_path):
    """A worker that answers with `TABLE`, and leaves a line for each time that it ran."""
    (tmp_path / "table.toml").write_text(TABLE.to_toml())
    script = tmp_path / "worker.py"
    script.write_text(
        f"open({str(tmp_path / 'ran')!r}, 'a').write('once\\n')\n"
        f"print(open({str(tmp_path / 'table.toml')!r}).read())\n"
    )
    return sys.executable, str(script)


def test_measures_once(worker, tmp_path):
    said = []
    for _ in range(2):
        assert costs_for(HOST, products(2), said.append, worker) == TABLE
    assert said == ["measuring this processor's kernels (once)"]
    assert (tmp_path / "ran").read_text() == "once\n"


def test_measures_nothing_where_there_is_no_choice(cache):
    found = costs_for(HOST, products(8), pytest.fail, MUST_NOT_RUN)
    assert found == costs_of(HOST) and not cache.exists()


def test_measures_no_named_target():
    target = load_target("znver4")
    assert costs_for(target, products(2), pytest.fail, MUST_NOT_RUN) == costs_of(target)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"step_s = [", b'source = "half"\n'])
def test_a_damaged_table_is_measured_again(content, worker):
    cached(HOST).parent.mkdir(parents=True)
    cached(HOST).write_bytes(content)
    assert costs_for(HOST, products(2), lambda _: None, worker) == TABLE
    assert cached(HOST).read_text().strip() == TABLE.to_toml().strip()


def test_other_processors_instructions_and_kernels_have_tables_of_their_own(monkeypatch):
    files = {cached(HOST), cached(replace(HOST, source="another processor"))}
    files.add(cached(replace(HOST, features=HOST.features[:-1])))
    monkeypatch.setattr(host_costs, "kernels_checksum", lambda: "changed")
    assert len({*files, cached(HOST)}) == 4


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = costs_for(HOST, products(2), pytest.fail, MUST_NOT_RUN)
    assert found.kernels == costs_of(HOST).kernels
    assert "not measured" in found.source and str(tmp_path / "file") in found.source


@pytest.mark.parametrize(
    ("worker", "told"),
    [(FAILS, "no clock here"), (MUST_NOT_RUN, "No such file"), (("true",), "lacks source")],
    ids=["fails", "cannot_start", "says_nothing"],
)
def test_a_measurement_that_fails_is_told(worker, told):
    found = costs_for(HOST, products(2), lambda _: None, worker)
    assert found.kernels == costs_of(HOST).kernels
    assert "not measured" in found.source and told in found.source
    assert not cached(HOST).exists()
