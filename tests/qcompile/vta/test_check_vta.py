"""`check` of networks for boards with VTA: where layers run, and what shifts cost in accuracy."""

import json
from importlib import resources

import numpy as np
import pytest

import qcompile
from qcompile.errors import InvalidInput
from qcompile.scales import EXACT, POWER_OF_TWO

BOARD = "vta-pynq"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "w4a4.onnx"
    path.write_bytes(
        (resources.files("qcompile") / "demo_data" / "fmnist_cnn_w4a4_qcdq.onnx").read_bytes()
    )
    return path


@pytest.fixture(scope="module")
def samples(model):
    """Random images, and labels that mean nothing."""
    path, rng = model.with_name("samples.npz"), np.random.default_rng(0)
    images = rng.uniform(0, 1, (20, 1, 28, 28)).astype("float32")
    np.savez(path, input=images, y=rng.integers(0, 10, 20))
    return path


def test_tells_the_programs_of_compile(model, tmp_path):
    found = qcompile.check(model, BOARD)
    qcompile.compile(model, BOARD, tmp_path / "bundle")
    report = json.loads((tmp_path / "bundle" / "report.json").read_text())
    assert json.loads(json.dumps(found.analysis.vta)) == report["vta"]
    assert {layer.kernel for layer in found.analysis.layers} == {"vta"}
    assert found.scales == POWER_OF_TWO


def test_compares_what_vta_computes(model, samples):
    shifted, exact = (qcompile.check(model, each, data=samples) for each in (BOARD, "host"))
    assert shifted.comparison.accuracy is not None
    ((ours,), (best,)) = (each.comparison.max_difference.values() for each in (shifted, exact))
    assert ours > best
    same = qcompile.check(model, "host", data=samples, scales=POWER_OF_TWO)
    assert same.comparison == shifted.comparison


def test_layers_are_compared_with_the_models_own_scales(model, samples):
    with pytest.raises(InvalidInput, match=f"--scales {EXACT}"):
        qcompile.check(model, BOARD, data=samples, layers=True)
    found = qcompile.check(model, BOARD, data=samples, layers=True, scales=EXACT)
    assert found.agrees and found.layers
