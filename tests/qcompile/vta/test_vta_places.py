"""Where layers run: times of VTA and of the processor, transforms between them counted."""

import dataclasses

import numpy as np
import pytest

from qcompile.targets import load_processor
from qcompile.targets.costs import costs_of
from qcompile.targets.vta.layers import MaxPool, Segment, Source, Sums, VtaTensor
from qcompile.vta.places import choose_places

# A byte that changes sides costs a second, and so does an element of a window.
COSTS = dataclasses.replace(costs_of(load_processor("armv7-a9")), copy_s=1.0)


def tensor(name, size, dtype="codes"):
    return VtaTensor(name, (1, 1, 1, size), 0, -128, 127, dtype)


def sums(name, inputs, size, dtype="codes"):
    """A layer `name` that makes the tensor of its name in capitals, of so many elements."""
    sources = tuple(Source(x, np.ones((size, 1, 1, 1), "int64")) for x in inputs)
    output = tensor(name.upper(), size, dtype)
    return Sums(name, sources, np.zeros(size, "int64"), 0, -128, 127, output)


def segment(*layers, inputs=(("X", 8),), outputs=("C",)):
    tensors = tuple(tensor(*each) for each in inputs)
    return Segment("s", tensors, tuple(name for name, _ in inputs), outputs, layers)


CHAIN = segment(sums("a", ["X"], 4), sums("b", ["A"], 2), sums("c", ["B"], 16))


def on_host(segments, vta, host):
    places = choose_places(segments, dict(zip("abc", vta, strict=True)),
                           dict(zip("abc", host, strict=True)), COSTS)  # fmt: skip
    return [place.layer for place in places if not place.on_vta]


@pytest.mark.parametrize(
    ("host_s", "expected"),
    [
        # X is 8 bytes on the way to VTA, A only 4: the first layer may be 4 s slower elsewhere.
        ((13.9, 99, 99), ["a"]),
        ((14.1, 99, 99), []),
        # In the middle: two programs in place of one.
        ((99, 1, 99), []),
        # The last, and what follows a layer that has left.
        ((99, 99, 1), []),
        ((13.9, 1, 99), ["a"]),
    ],
)
def test_a_layer_leaves_when_the_network_is_sooner_done(host_s, expected):
    assert on_host([CHAIN], (10, 10, 10), host_s) == expected


def test_layers_of_unknown_time_stay():
    assert on_host([CHAIN], (10, 10, 10), (None, None, None)) == []


def test_something_stays_on_vta():
    alone = segment(sums("a", ["X"], 4), outputs=("A",))
    places = choose_places([alone], {"a": 10.0}, {"a": 1.0}, COSTS)
    assert [place.on_vta for place in places] == [True]


def test_tells_the_times_that_decided():
    vta_s, host_s = dict.fromkeys("abc", 10.0), {"a": 13.0, "b": 99.0, "c": None}
    places = choose_places([CHAIN], vta_s, host_s, COSTS)
    assert [(place.vta_s, place.processor_s) for place in places] == [
        *((10 + 8, 13 + 4), (10 + 4, 99 + 2), (10 + 16, None))
    ]


def test_a_tensor_that_others_read_on_vta_is_there_anyway():
    fork = segment(sums("a", ["X"], 4), sums("b", ["X"], 4), sums("c", ["A", "B"], 4))
    # X stays in VTA's layout for b, and a's result goes there: 4 s more.
    assert on_host([fork], (10, 10, 10), (5.9, 99, 99)) == ["a"]
    assert on_host([fork], (10, 10, 10), (6.1, 99, 99)) == []


def test_sums_are_four_bytes():
    inputs, outputs = (("X", 8), ("Y", 8)), ("A", "C")
    layers = sums("a", ["X"], 4, "sums"), sums("b", ["Y"], 4), sums("c", ["B"], 4)
    both = segment(*layers, inputs=inputs, outputs=outputs)
    # X and 4 sums change sides for VTA alone.
    assert on_host([both], (10, 10, 10), (33.9, 99, 99)) == ["a"]
    assert on_host([both], (10, 10, 10), (34.1, 99, 99)) == []


def test_windows_cost_the_processor_their_elements():
    pool = MaxPool("a", "X", (3, 3), (1, 1), (1, 1, 1, 1), tensor("A", 16))
    chain = segment(pool, sums("b", ["A"], 2), sums("c", ["B"], 4))
    # 9 * 16 elements and A, against VTA's own time and X.
    assert on_host([chain], (152.1, 10, 10), (0.0, 99, 99)) == ["a"]
    assert on_host([chain], (151.9, 10, 10), (0.0, 99, 99)) == []


def test_segments_hand_tensors_on_in_vtas_layout():
    first = segment(sums("a", ["X"], 4), outputs=("A",))
    second = Segment("t", (tensor("A", 4),), ("A",), ("C",), CHAIN.layers[1:])
    assert on_host([first, second], (10, 10, 10), (99, 1, 99)) == []
    # The host has A as well: 4 bytes less to bring back.
    assert on_host([first, second], (10, 10, 10), (17.9, 99, 99)) == ["a"]
    assert on_host([first, second], (10, 10, 10), (18.1, 99, 99)) == []
