"""Trained networks on labelled images, against onnxruntime without its graph optimizations."""

import numpy as np
import onnx
import pytest
from accuracy import compare
from labelled import LABELLED

from qcompile.compiler import analyze, compile_model
from qcompile.layerwise import compare_layers
from qcompile.targets import load_target

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.shared
INTEGER = [name for name, network in LABELLED.items() if network.integer]
# What computes in float beside a softmax: scales before the first layer and behind the last.
FLOAT = {
    "tfc_1w1a_qonnx": {"add", "multiply", "subtract", "divide"},
    "tfc_1w2a_qonnx": {"add", "multiply", "subtract", "divide"},
}
IMAGES = 100
LAYERWISE_IMAGES = 2
# Images whose class may differ: a value that lies on a tie rounds either way in the reference's
# float sums, and every later layer sees the step.
FLIPPED = 3


@pytest.fixture(scope="module")
def target():
    return load_target("host")


@pytest.mark.parametrize("name", LABELLED)
def test_classifies_like_onnxruntime(name, shared, target, tmp_path):
    network = LABELLED[name]
    compiled = compile_model(network.model(shared), target, output=tmp_path / "bundle", batch=1)
    images, classes = (array[:IMAGES] for array in network.samples(shared))
    found = compare(network, shared, tmp_path / "bundle", images, classes)

    assert found.same_class >= 1 - FLIPPED / IMAGES
    if network.integer:
        allowed = {"softmax"} | FLOAT.get(name, set())
        assert {operator.op for operator in compiled.analysis.float_ops} <= allowed
        assert all(layer.integer for layer in compiled.analysis.layers)
    else:
        assert found.difference.max() <= 1e-4


@pytest.mark.parametrize("name", [name for name in LABELLED if "qonnx" in name])
def test_classifies_whole_sets_like_onnxruntime(name, shared, target, tmp_path):
    """Two samples may differ: ties of the reference's float sums."""
    network = LABELLED[name]
    compile_model(network.model(shared), target, output=tmp_path / "bundle", batch=1)
    images, classes = network.samples(shared)
    found = compare(network, shared, tmp_path / "bundle", images, classes)
    different = int((found.ours.argmax(1) != found.theirs.argmax(1)).sum())

    assert len(images) == 10_000
    assert different <= 2


@pytest.mark.parametrize("name", INTEGER)
def test_layers_agree_on_the_reference_inputs(name, shared, target, tmp_path):
    network = LABELLED[name]
    images, _ = network.samples(shared)
    model = network.model(shared)
    name = onnx.load(model).graph.input[0].name
    samples = [{name: image[None]} for image in np.asarray(images[:LAYERWISE_IMAGES])]
    layers = compare_layers(model, samples, target, tmp_path)

    contractions = {layer.name for layer in analyze(model, target).layers}
    assert {name for layer in layers for name in layer.layers} >= contractions
    assert sum(layer.codes for layer in layers) >= len(contractions)
    assert [layer for layer in layers if not layer.agrees] == []
