import numpy as np
import pytest

from qcompile.search.latency.terms import Row, fit_terms
from tests.qcompile.search.latency.synthetic import CHOICES, Device


@pytest.mark.parametrize("seed", range(3))
def test_predicts_networks_that_it_never_saw(seed):
    device = Device(seed)
    model = device.survey()
    for _ in range(20):
        found = device.measure(device.random())
        # The ridge keeps a part of the hand-overs, which are a tenth of a layer at the most.
        assert model.predict(found.assignment) == pytest.approx(found.seconds, rel=0.03)


def test_hand_overs_are_better_than_none():
    device = Device(3)
    model = device.survey()
    found = [device.measure(device.random()) for _ in range(20)]
    alone = [
        model.fitted.base_s + sum(model.costs(n)[c] for n, c in each.assignment.items())
        for each in found
    ]
    errors = [abs(model.predict(each.assignment) - each.seconds) for each in found]
    without = [abs(seconds - each.seconds) for seconds, each in zip(alone, found, strict=True)]
    assert np.mean(errors) < np.mean(without) / 3


def test_a_neighbourhood_seen_again_is_exact():
    device = Device(1, surprise_s=5e-5)
    model = device.survey()
    first = device.measure(
        {"one": CHOICES[4], "two": CHOICES[0], "three": CHOICES[1], "four": CHOICES[0]}
    )
    model = model.correct(first)
    again = device.measure(first.assignment | {"four": CHOICES[3]})
    layer = model.fitted.layer("one", again.assignment)
    assert layer == pytest.approx(again.per_layer["one"].seconds, rel=1e-9)


def test_a_factor_of_a_kernel_is_learnt_from_rounds():
    device = Device(2)
    model = device.survey(exact=False)
    for _ in range(8):
        model = model.correct(device.measure(device.random(), bits_factor=1.3))
    factors = model.fitted.factors
    assert 1.15 < factors["conv2d_bits"] < 1.35
    assert 0.97 < factors["conv2d_int8"] < 1.05


def test_without_rounds_there_are_no_factors():
    assert Device(2).survey().fitted.factors == {}


def test_noise_does_not_disturb_much():
    device = Device(4, noise=0.01)
    model = device.survey(exact=False)
    for _ in range(10):
        found = device.measure(device.random())
        assert model.predict(found.assignment) == pytest.approx(found.seconds, rel=0.05)


def test_terms_without_data_for_all_have_one_solution():
    found = fit_terms([Row(("a", "b"), 3.0)], {"a": 1e-9, "b": 1.0})
    assert found["a"] == pytest.approx(3.0) and found["b"] == pytest.approx(0.0, abs=1e-8)


def test_terms_are_least_squares():
    rng = np.random.default_rng(0)
    rows = [Row(tuple(rng.choice(list("abcd"), 2, replace=False)), rng.random()) for _ in range(9)]
    ridge = dict.fromkeys("abcd", 0.1)
    found = fit_terms(rows, ridge)
    terms = sorted(found)
    counts = np.array([[row.terms.count(term) for term in terms] for row in rows], "float64")
    longer = np.vstack([counts, np.sqrt(0.1) * np.eye(len(terms))])
    wanted = np.concatenate([[row.seconds for row in rows], np.zeros(len(terms))])
    expected, *_ = np.linalg.lstsq(longer, wanted, rcond=None)
    np.testing.assert_allclose([found[term] for term in terms], expected, rtol=1e-9)
