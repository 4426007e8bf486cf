"""Scores that a folder keeps, and requests that make no sense."""

import json

import numpy as np
import pytest

from qcompile.errors import InvalidInput, UndefinedLoss, Unsupported
from qcompile.quantizer import Widths
from qcompile.search.sensitivity import SensitivityOptions, measure_sensitivity
from tests.qcompile.quantizer.float_networks import Graph
from tests.qcompile.search.sensitivity.perceptrons import perceptron

CHOICES = {f"dense{k}": [Widths(4, 4), Widths(2, 8)] for k in range(3)}
OPTIONS = SensitivityOptions(samples=40, probes=2)
KINDS = ("block", "kl", "hutchinson")


class Killed(Exception):
    pass


def measure(network, **more):
    choices = more.pop("choices", CHOICES)
    return measure_sensitivity(
        network.model, more.pop("data", network.data), choices, options=OPTIONS, **more
    )


def lines(folder):
    return (folder / "scores.jsonl").read_text().splitlines()


def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path):
    network, stages = perceptron(), []
    whole = measure(network)

    def killer(stage, done=0, total=0):
        stages.append(stage)
        if len(stages) == 6:
            raise Killed

    with pytest.raises(Killed):
        measure(network, folder=tmp_path, progress=killer)
    before = lines(tmp_path)
    with (tmp_path / "scores.jsonl").open("a") as file:
        file.write('{"key": "cut sho')

    found = measure(network, folder=tmp_path)

    assert found == whole
    sound = [line for line in lines(tmp_path) if "cut sho" not in line]
    assert sound[: len(before)] == before
    places = [
        tuple(json.loads(line).get(field) for field in ("kind", "layer", "w", "a"))
        for line in sound
    ]
    # Two widths of three layers in three kinds, and the traces of the layers.
    assert len(places) == len(set(places)) == 2 * 3 * 3 + 3


def test_what_is_known_needs_no_run(tmp_path):
    network = perceptron()
    first = measure(network, folder=tmp_path)

    def failing(stage, done=0, total=0):
        raise AssertionError(stage)

    assert measure(network, folder=tmp_path, progress=failing) == first
    fewer = {"dense1": [Widths(2, 8)]}
    found = measure(network, folder=tmp_path, progress=failing, choices=fewer, kinds=["kl"])
    assert found.scores["kl"]["dense1"] == {
        Widths(2, 8): first.scores["kl"]["dense1"][Widths(2, 8)]
    }


@pytest.mark.parametrize("other", ["network", "data", "labels", "seed"])
def test_scores_of_something_else_do_not_count(tmp_path, other):
    network, more = perceptron(), {}
    measure(network, folder=tmp_path)
    if other == "network":
        data, network = network.data, perceptron(seed=1)
        more = {"data": data}
    elif other == "data":
        more = {"data": {"x": network.data["x"][::-1]}}
    elif other == "labels":
        more = {"labelled": {"x": network.data["x"], "y": np.arange(60) % 4}}
    else:
        more = {"seed": 1}

    found = measure(network, folder=tmp_path, kinds=["hutchinson"], **more)

    assert found == measure(network, kinds=["hutchinson"], **more)
    assert found != measure(perceptron(), folder=tmp_path, kinds=["hutchinson"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ["hessian"]}, "'hessian': block, kl, hutchinson, accuracy are"),
        ({"choices": {"dense": [Widths()]}}, "no layer is called 'dense'; is it 'dense"),
        ({"kinds": ["accuracy"]}, "accuracy needs labelled data"),
        ({"labelled": {"x": np.zeros((5, 10), "float32")}}, "hold no labels"),
        (
            {"labelled": {"x": np.zeros((5, 10), "float32"), "y": np.arange(4)}},
            "same number of samples",
        ),
        (
            {"labelled": {"x": np.zeros((5, 10), "float32"), "y": np.arange(5)}},
            "labels from 0 to 4; the network has 4 classes",
        ),
        ({"data": {"x": np.zeros((5, 3), "float32")}}, "shape"),
        ({"data": {"x": np.zeros((1, 10), "float32")}}, "2 or more"),
        ({"data": {"x": np.full((5, 10), 1e38, "float32")}}, "layer 'dense0'.*not finite"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_says_what_is_wrong(wrong, message):
    with pytest.raises(InvalidInput, match=message):
        measure(perceptron(), **wrong)


@pytest.mark.parametrize("kind", ["kl", "hutchinson"])
def test_an_undefined_loss_tells_its_layer(kind):
    plain = perceptron()
    largest = np.abs(plain.forward(plain.data["x"])).max()
    network = perceptron(scale=3.3e38 / largest)  # float32 ends at 3.4e38
    with pytest.raises(UndefinedLoss, match=r"layer 'dense2'.*would work"):
        measure(network, kinds=[kind], choices={"dense2": [Widths(1, 1)]})


def test_kinds_of_classes_refuse_other_networks():
    graph = Graph((3, 8, 8))
    model = graph.model(graph.conv("x", 3, 1, name="mask"))
    with pytest.raises(Unsupported, match=r"no scores.*kinds=\(\"block\",\)"):
        measure_sensitivity(model, graph.data(6), {"mask": [Widths(2, 2)]}, kinds=["kl"])
