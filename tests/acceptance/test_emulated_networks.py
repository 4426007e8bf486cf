"""Networks compiled for ARM, under emulation: the x86 library's bytes, onnxruntime's numbers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from arm_networks import emulate
from labelled import LABELLED

import qcompile

pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not (shutil.which("qemu-aarch64") and shutil.which("qemu-arm")),
        reason="needs qemu-user (apt-get install qemu-user)",
    ),
]
BUNDLED = Path(qcompile.__file__).parent / "demo_data"
SAMPLES = 16
# All targets with all networks take long; benchmarks/arm_networks.py compiles them.
BUNDLED_NETWORKS = {
    "fmnist_cnn_fp32": ("rpi4", "armv7-a9"),
    "fmnist_cnn_int8_qdq": ("rpi5", "armv7-a9"),
    "fmnist_cnn_w4a4_qcdq": ("rpi3", "armv7-a9"),
}


@pytest.mark.parametrize("model", sorted(BUNDLED.glob("*.onnx")), ids=lambda path: path.stem)
def test_bundled_networks_give_the_same_everywhere(model, tmp_path):
    targets = BUNDLED_NETWORKS[model.stem]
    pixels = np.load(BUNDLED / "fashion_mnist_1k.npz")["x"][:SAMPLES, None]
    images = pixels.astype("float32") / np.float32(255)
    for found in emulate(model, images, targets, tmp_path):
        assert found.right, (found.target, found.different, found.of_range)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["resnet8_int8_qdq", "fmnist_cnn_mixed_qonnx", "tfc_1w2a_qonnx"])
def test_trained_networks_give_the_same_everywhere(name, shared, tmp_path):
    network = LABELLED[name]
    images, _ = network.samples(shared)
    for found in emulate(network.model(shared), images[:SAMPLES], ("rpi3", "rpi5"), tmp_path):
        assert found.right, (found.target, found.different, found.of_range)
