"""Accuracies that quantizing after training must reach, without labels."""

import pytest
from quantizer import CONFIGURATIONS, measure

pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.shared, pytest.mark.slow]


@pytest.mark.parametrize(
    ("network", "weights", "activations", "required"),
    CONFIGURATIONS,
    ids=[f"{name}-w{w}a{a}" for name, w, a, _ in CONFIGURATIONS],
)
def test_reaches_the_required_accuracy(network, weights, activations, required, shared, tmp_path):
    found = measure(network, (weights, activations), 0, shared, tmp_path)
    assert found.top_1 >= required
