"""What is known of cores, with the caches of a target."""

from dataclasses import replace

import pytest

from qcompile.errors import ModelError
from qcompile.model_device import load_core
from qcompile.model_device.core import FOLDER
from qcompile.targets import list_processors, load_target

CORES = sorted(path.stem for path in FOLDER.glob("*.toml"))
MODELLED = [known.name for known in list_processors() if known.llvm["mcpu"] in CORES]


def test_every_core_has_a_target():
    assert {load_target(name).llvm["mcpu"] for name in MODELLED} == set(CORES)


@pytest.mark.parametrize("name", MODELLED)
def test_caches_have_the_sizes_of_the_target(name):
    target = load_target(name)
    core = load_core(target)
    sizes = [sets * ways * core.line_bytes for sets, ways in core.caches(target)]
    assert sizes == [size for size in (target.l1d_bytes, target.l2_bytes, target.l3_bytes) if size]
    # Farther is slower.
    assert list(core.latency_cycles) == sorted(core.latency_cycles)
    assert list(core.bytes_per_cycle) == sorted(core.bytes_per_cycle, reverse=True)


def test_a_target_may_lack_the_third_cache():
    target = load_target("rpi5")
    whole, smaller = load_core(target), load_core(replace(target, l3_bytes=0))
    assert smaller.ways == whole.ways[:2]
    # Behind the second cache comes the memory.
    assert smaller.latency_cycles == (whole.latency_cycles[0], whole.latency_cycles[2])
    assert smaller.bytes_per_cycle == (whole.bytes_per_cycle[0], whole.bytes_per_cycle[2])
    assert len(smaller.caches(replace(target, l3_bytes=0))) == 2


def test_says_what_it_does_not_know():
    target = load_target("rpi4")
    with pytest.raises(ModelError, match=r"3 levels of caches, the model of cortex-a72 2"):
        load_core(replace(target, l3_bytes=4_194_304))
    with pytest.raises(ModelError, match=r"no model of generic \(known: cortex-a53"):
        load_core(load_target("aarch64"))
