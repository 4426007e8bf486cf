import json
from dataclasses import replace
from itertools import product

import pytest

from qcompile.errors import InvalidInput
from qcompile.quantizer import Widths
from qcompile.search.latency import Choice, LatencyModel
from tests.qcompile.search.latency.synthetic import CHOICES, NAMES, Device


@pytest.fixture
def device():
    return Device(surprise_s=3e-5)


def test_a_round_keeps_what_was_predicted_before(device):
    model = device.survey()
    found = device.measure(device.random())
    predicted = model.predict(found.assignment)
    corrected = model.correct(found)
    assert corrected.rounds[-1].predicted_s == predicted != found.seconds
    assert corrected.predict(found.assignment) == found.seconds
    assert corrected.rounds[-1].error == pytest.approx(predicted / found.seconds - 1)
    assert model.rounds == ()


def test_survives_json(device):
    model = device.survey()
    for _ in range(3):
        model = model.correct(device.measure(device.random()))
    again = LatencyModel.from_json(json.loads(json.dumps(model.to_json())))
    assert again == model
    assignment = device.random()
    assert again.predict(assignment) == model.predict(assignment)


@pytest.mark.parametrize(
    "damage",
    [{"format": 2}, {"survey": [{}]}, {"choices": None}, {"rounds": [{"predicted_s": "x"}]}],
)
def test_refuses_damaged_json(device, damage):
    with pytest.raises(InvalidInput, match="latency model"):
        LatencyModel.from_json(device.survey().to_json() | damage)


def test_refuses_what_was_not_measured(device):
    model = device.survey()
    with pytest.raises(InvalidInput, match="w3a3 conv2d_int8 was not measured"):
        model.predict(device.uniform(CHOICES[0]) | {"two": Choice(3, 3, "conv2d_int8")})
    with pytest.raises(InvalidInput, match="'four'"):
        model.predict(dict.fromkeys(NAMES[:3], CHOICES[0]))
    with pytest.raises(InvalidInput, match="not measured"):
        model.with_kernels(dict.fromkeys(NAMES, Widths(5, 5)))


def test_takes_the_fastest_kernels():
    device = Device(7)
    model = device.survey()
    widths = dict.fromkeys(NAMES, Widths(4, 2))
    options = [c for c in CHOICES if c.widths == Widths(4, 2)]
    every = [dict(zip(NAMES, each, strict=True)) for each in product(options, repeat=4)]
    best = min(every, key=model.predict)
    assert model.predict(model.with_kernels(widths)) == model.predict(best)


def test_agreement_depends_on_the_device(device):
    model = device.survey()
    found = device.measure(device.uniform(CHOICES[0]))
    near = replace(model.correct(found).rounds[-1], predicted_s=1.03 * found.seconds)
    assert not model.agrees(near)
    assert replace(model, exact=False).agrees(near)
    far = replace(near, predicted_s=1.07 * found.seconds)
    assert not replace(model, exact=False).agrees(far)
    spread = replace(far, measured=replace(found, spread_s=0.04 * found.seconds))
    assert replace(model, exact=False).agrees(spread)


def test_hand_overs_that_depend_on_the_choice_are_surveyed_on_exact_devices():
    device = Device(names=NAMES[:3], cell_s=2e-5)
    every = [dict(zip(NAMES, each, strict=False)) for each in product(CHOICES, repeat=3)]

    def worst(model):
        measured = [device.measure(each) for each in every]
        return max(abs(model.predict(m.assignment) / m.seconds - 1) for m in measured)

    assert worst(device.survey(by_choice=True)) < 0.02
    assert worst(device.survey()) > 0.05
    assert worst(device.survey(exact=False, by_choice=True)) > 0.05


def test_an_exact_device_is_believed_in_its_survey(device):
    model, found = device.survey(), device.measure(device.random())
    for exact in (True, False):
        assert model.predict(found.assignment) != found.seconds
        known = replace(model, exact=exact, survey=(*model.survey, found))
        assert (known.predict(found.assignment) == found.seconds) == exact
