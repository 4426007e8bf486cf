"""Binary networks in float operators run on integers, with the reference's numbers."""

import numpy as np
import onnx
import pytest

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model
from qcompile.targets import load_target
from tests.acceptance.float_binary import LAYERS, binary_network

BITS = {"xnor": (2, 1), "bireal": (2, 1), "reactnet": (2, 1), "larq": (1, 1)}
BITS |= {"where": (1, 2), "strict": (1, 1), "masks": (1, 1), "irnet": (2, 1)}
BITS |= {"dorefa": (2, 1), "learned_steps": (3, 3), "learned_basis": (2, 1)}
PLANES = {"learned_basis": 2}  # of weights, each a layer of its own
SAMPLES = 5
FLOAT_ERROR = 1e-5  # of the output's range


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_integer(name, tmp_path):
    model = tmp_path / "net.onnx"
    onnx.save(binary_network(name), model)
    compiled = compile_model(model, load_target("host"), output=tmp_path / "bundle")
    inner, planes = compiled.analysis.layers[1:-1], PLANES.get(name, 1)
    assert [layer.integer for layer in inner] == [True] * 2 * planes
    assert [(layer.a_bits, layer.w_bits) for layer in inner] == [BITS[name]] * 2 * planes

    ours, theirs = load(tmp_path / "bundle", threads=1), load_reference(model)
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        x = rng.normal(0, 1, (1, 3, 10, 10)).astype("float32")
        (found,), (expected,) = ours.run({"x": x}), theirs({"x": x})
        np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT_ERROR * np.ptp(expected))
