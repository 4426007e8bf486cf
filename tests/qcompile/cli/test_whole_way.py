"""The commands as a user runs them, on the demo's own network."""

import json
import re
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from qcompile.commands.demo import IMAGES, NETWORKS
from qcompile.targets import host_features

pytestmark = pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")

DATA = files("qcompile") / "demo_data"
MODEL = DATA / NETWORKS["int8"]
COUNT = 200


def qcompile(*arguments):
    """Output of a command that must succeed without a word on the standard error."""
    command = [sys.executable, "-m", "qcompile", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "samples.npz"
    with np.load(DATA / IMAGES) as arrays:
        images, labels = arrays["x"][:COUNT], arrays["y"][:COUNT]
    np.savez(path, input=images[:, None] / np.float32(255), y=labels)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "net"
    out = qcompile(
        "compile", MODEL, "--target", "host", "-o", folder, "--batch", 3, "--name", "net"
    )
    assert re.search(r"inputs: +input float32 3x1x28x28\n", out)
    return folder


def test_the_bundle_holds_its_certificate(bundle):
    layers = json.loads((bundle / "certificate.json").read_text())["layers"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    kernels = {layer["name"]: layer["kernel"] for layer in manifest["layers"]}
    assert {layer["name"]: layer["kernel"] for layer in layers} == kernels
    for layer in layers:
        assert -(2 ** (layer["bits"] - 1)) <= layer["lowest"] < 0 < layer["highest"]
        assert layer["highest"] < 2 ** (layer["bits"] - 1) and layer["int32"]


def test_runs_and_measures(bundle, samples, tmp_path):
    outputs = tmp_path / "out.npz"
    out = qcompile("run", bundle, "--inputs", samples, "--outputs", outputs, "--threads", 2)
    score = float(re.search(r"accuracy: ([\d.]+) % of 200 samples", out)[1])
    assert score > 90  # the network scores 93.5 on all 1,000 images
    [scores] = np.load(outputs).values()
    with np.load(samples) as arrays:
        assert 100 * (scores.argmax(1) == arrays["y"]).mean() == pytest.approx(score, abs=0.01)

    answer = json.loads(qcompile("bench", bundle, "--repeat", 20, "--per-layer", "--json", "-"))
    assert 0 < answer["latencies"][0]["median_s"] < 1
    assert {"conv2d_int8", "dense_int8"} <= {layer["kernel"] for layer in answer["layers"]}


@pytest.mark.peer
def test_agrees_with_onnxruntime(samples, tmp_path):
    pytest.importorskip("onnxruntime")
    file = tmp_path / "check.json"
    out = qcompile("check", MODEL, "--batch", 50, "--data", samples, "--json", file)
    assert "5 of 5 layers integer" in out and "no operator stays float" in out
    comparison = json.loads(file.read_text())["comparison"]
    assert comparison["samples"] == COUNT
    # A step of the output's quantizer may flip at a tie; whole classes stay.
    assert comparison["accuracy"] == comparison["reference_accuracy"]
    assert comparison["same_top1"] >= 0.99


@pytest.mark.peer
def test_every_layer_agrees_with_onnxruntime(samples, tmp_path):
    pytest.importorskip("onnxruntime")
    few, file = tmp_path / "few.npz", tmp_path / "check.json"
    with np.load(samples) as arrays:
        np.savez(few, **{name: array[:5] for name, array in arrays.items()})
    out = qcompile("check", MODEL, "--layers", "--data", few, "--json", file)
    assert "proved: no int32 accumulator overflows" in out
    answer = json.loads(file.read_text())
    assert all(layer["agrees"] for layer in answer["agreement"])
    layers = [name for layer in answer["agreement"] for name in layer["layers"]]
    assert set(layers) == {layer["name"] for layer in answer["certificate"]["layers"]}
    assert sum(layer["elements"] for layer in answer["agreement"]) > 5 * 784


@pytest.mark.peer
def test_measures_onnxruntime_beside(bundle):
    pytest.importorskip("onnxruntime")
    peers = ("--against", "onnxruntime", "--model", MODEL)
    answer = json.loads(qcompile("bench", bundle, "--repeat", 20, *peers, "--json", "-"))
    assert [latency["name"] for latency in answer["latencies"]] == ["qcompile", "onnxruntime"]
    assert answer["failed"] == {} and answer["latencies"][1]["ratio"] > 0
