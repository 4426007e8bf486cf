"""Binary attention runs on bits from the first projection to the last, with float residuals."""

import numpy as np
import onnx
import pytest

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model
from qcompile.targets import host_features, load_target
from tests.acceptance.binary_attention import POSITIONS, WIDTH, binary_attention

FLOAT_ERROR = 1e-5  # of the output's range: the norms are float
SAMPLES = 5


@pytest.mark.parametrize("name", ["znver4", "x86-64-v3"])
def test_agrees_with_the_reference(name, tmp_path):
    target = load_target(name)
    if not target.runs_on(host_features()):
        pytest.skip(f"{name} needs instructions that this processor lacks")
    model = tmp_path / "attention.onnx"
    onnx.save(binary_attention(), model)
    compiled = compile_model(model, target, output=tmp_path / "bundle")
    layers = {layer.name: layer for layer in compiled.analysis.layers}
    assert all(layer.integer for layer in layers.values())
    assert [(layers[name].a_bits, layers[name].w_bits) for name in ("scores", "context")] == [
        (1, 1),
        (1, 1),
    ]
    if name == "znver4":
        assert {layers[name].kernel for name in ("scores", "context")} == {"batch_matmul_bits"}

    ours, theirs = load(tmp_path / "bundle", threads=1), load_reference(model)
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        x = rng.normal(0, 1, (1, POSITIONS, WIDTH)).astype("float32")
        (found,), (expected,) = ours.run({"x": x}), theirs({"x": x})
        np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT_ERROR * np.ptp(expected))
