"""Least cycles of layers against those of plans, and cycles against those of shrunk buffers."""

from dataclasses import replace

import numpy as np
import pytest

from qcompile.errors import Unsupported
from qcompile.search.accelerator.bounds import least_cycles
from qcompile.search.accelerator.cycles import LayerCycles, needed
from qcompile.search.accelerator.store import Store
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.layers import MaxPool, Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.planner.choice import chosen, timeline
from qcompile.targets.vta.planner.emit import plan_of
from qcompile.targets.vta.planner.segment import problem_of

NARROW = replace(DEFAULT, log_inp_width=2, log_wgt_width=2, log_inp_buff_size=14)


def segment(rng):
    """One convolution or pooling of random shape."""
    height, width = map(int, rng.integers(2, 9, 2))
    channels, outputs = (int(rng.choice([3, 16, 40])) for _ in range(2))
    x = VtaTensor("x", (1, height, width, channels), 0, -128, 127)
    kernel = tuple(int(rng.integers(1, min(3, size) + 1)) for size in (height, width))
    strides = tuple(map(int, rng.integers(1, 4, 2)))
    padding = tuple(int(rng.integers(0, taps)) for taps in kernel * 2)
    extents = [
        (size + padding[k] + padding[k + 2] - kernel[k]) // strides[k] + 1
        for k, size in enumerate((height, width))
    ]
    shape = (1, *extents, channels if rng.random() < 0.4 else outputs)
    output = VtaTensor("y", shape, 0, -128, 127)
    if shape[3] == channels:
        layer = MaxPool("pool", "x", kernel, strides, padding, output)
    else:
        weights = rng.integers(-128, 120, (outputs, *kernel, channels))
        source = Source("x", weights, strides, padding)
        layer = Sums("sums", (source,), rng.integers(-9, 9, outputs), 7, -128, 127, output)
    return Segment("one", (x,), ("x",), ("y",), (layer,))


def planned(problem, config, port_bytes):
    plan = plan_of(problem, config, chosen(problem, config, port_bytes))
    return timeline(plan, port_bytes).cycles


@pytest.mark.parametrize("config", [DEFAULT, NARROW], ids=["8 bits", "4 bits"])
@pytest.mark.parametrize("seed", range(6))
def test_no_plan_takes_less(seed, config):
    one = segment(np.random.default_rng(seed))
    problem = problem_of(one.layers[0], one, config)
    for port_bytes in (8, 32):
        assert 0 < least_cycles(problem, config, port_bytes) <= planned(problem, config, port_bytes)


@pytest.mark.parametrize("seed", range(6))
def test_buffers_beyond_need_change_no_cycles(seed):
    one = segment(np.random.default_rng(seed))
    problem = problem_of(one.layers[0], one, DEFAULT)
    less = needed(problem, DEFAULT)
    assert less.log_wgt_buff_size < DEFAULT.log_wgt_buff_size
    assert planned(problem, less, 16) == planned(problem, DEFAULT, 16)
    assert needed(problem, less) == less


def test_nothing_is_planned_twice(tmp_path):
    one = segment(np.random.default_rng(0))
    problem = problem_of(one.layers[0], one, DEFAULT)
    path = tmp_path / "layers.jsonl"
    first = LayerCycles(Store(path))
    found = first(problem, DEFAULT, 16)
    larger = replace(DEFAULT, log_wgt_buff_size=DEFAULT.log_wgt_buff_size + 1)
    assert first(problem, larger, 16) == found and first.planned == 1

    path.write_bytes(path.read_bytes() + b'{"key": "cut of')  # as a kill leaves it
    again = LayerCycles(Store(path))
    assert again(problem, DEFAULT, 16) == found and again.planned == 0
    again(problem, DEFAULT, 8)
    assert len(path.read_text().splitlines()) == 3
    assert LayerCycles(Store(path))(problem, DEFAULT, 8) == again(problem, DEFAULT, 8)


def test_a_layer_without_a_program_has_no_cycles():
    one = segment(np.random.default_rng(0))
    problem = problem_of(one.layers[0], one, DEFAULT)
    tiny = replace(DEFAULT, log_inp_buff_size=4, log_acc_buff_size=6)
    with pytest.raises(Unsupported):
        chosen(problem, tiny, 16)
    assert LayerCycles()(problem, tiny, 16) is None
