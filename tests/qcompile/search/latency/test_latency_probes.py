import pytest

from qcompile.quantizer import Widths
from qcompile.search.latency.measured import LayerSeconds, divided
from qcompile.search.latency.neighbours import Neighbours
from qcompile.search.latency.probes import handovers, near_best, on_other_kernels, probes, uniform
from tests.qcompile.search.latency.synthetic import CHOICES, Device

EIGHT, FOUR, TWO = Widths(8, 8), Widths(4, 4), Widths(2, 2)


def test_every_pair_of_widths_has_a_network_and_the_widest_is_first():
    networks = uniform({"one": (TWO, EIGHT, FOUR), "two": (EIGHT, FOUR)})
    assert networks == [
        {"one": EIGHT, "two": EIGHT},
        {"one": FOUR, "two": FOUR},
        {"one": TWO, "two": FOUR},
    ]


def test_networks_that_are_the_same_come_once():
    assert len(uniform({"one": (EIGHT,), "two": (EIGHT,)})) == 1


def test_probes_show_every_hand_over_once_there_are_enough():
    device = Device()
    seen = [device.measure(device.uniform(choice)) for choice in CHOICES]
    found = probes(device.choices, device.neighbours, seen, seed=0)
    shown = [handovers(device.neighbours, each) for each in found]
    shown += [handovers(device.neighbours, each.assignment) for each in seen]
    wanted = 3 * 2 * 4  # edges, kernels of the maker, forms that the reader wants
    assert len(set().union(*shown)) == wanted
    assert found == probes(device.choices, device.neighbours, seen, seed=0)


def test_nothing_new_needs_no_probes():
    device = Device()
    alike = {name: each[:1] for name, each in device.choices.items()}
    seen = [device.measure(device.uniform(CHOICES[0]))]
    assert probes(alike, device.neighbours, seen, seed=0) == []


def test_other_kernels_are_those_that_some_layer_could_have():
    int8, bits = CHOICES[2], CHOICES[3]
    possible = {"one": ("conv2d_bits", "conv2d_int8"), "two": ("conv2d_int8",)}
    found = on_other_kernels({"one": bits, "two": int8}, possible)
    assert found == [{"one": int8, "two": int8}]


def test_hopeless_kernels_are_not_probed():
    device = Device()
    int8, bits = CHOICES[2], CHOICES[3]
    device.own |= {(name, bits): 3 * device.own[name, int8] for name in device.choices}
    found = near_best(device.survey())
    assert all(int8 in each and bits not in each for each in found.values())


def test_calls_of_no_layer_go_to_the_next_one_and_the_last_ones_to_the_last():
    calls = [("quantize", 1.0), ("one", 2.0), ("pack", 4.0), ("two", 8.0), ("softmax", 16.0)]
    assert divided(calls, ["one", "two", "folded"]) == {
        "one": LayerSeconds(2.0, 1.0),
        "two": LayerSeconds(24.0, 4.0),
        "folded": LayerSeconds(0.0, 0.0),
    }


@pytest.mark.parametrize(
    ("layer", "makers", "readers"),
    [("a", (), ("b", "c")), ("b", ("a",), ("d",)), ("d", ("b", "c"), ())],
)
def test_neighbours_on_both_sides(layer, makers, readers):
    found = Neighbours(tuple("abcd"), (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")))
    assert (found.makers(layer), found.readers(layer)) == (makers, readers)
    assert Neighbours.from_json(found.to_json()) == found
