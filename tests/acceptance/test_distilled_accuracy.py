"""Accuracy at 8 bits of a trained network, from no data but its BatchNormalization statistics."""

import numpy as np
import onnx
import pytest

from qcompile.quantizer import quantize_network, simulate
from tests.qcompile.quantizer.normalized import with_batch_normalization

pytestmark = [pytest.mark.shared, pytest.mark.slow]
NAME = "resnet8_ft_fp32"
BATCH = 100


def pixels(path):
    content = np.load(path)
    images = content["x"].transpose(0, 3, 1, 2).astype("float32") / 255
    return images, content["y"]


def test_eight_bits_keep_the_accuracy(shared):
    training, _ = pixels(shared / "cifar10-jpeg" / "calib1k.npz")
    images, classes = pixels(shared / "cifar10-jpeg" / "test2k.npz")
    folded = onnx.load(shared / "models" / f"{NAME}.onnx")
    # What training left: the network itself is all that is quantized from.
    model = with_batch_normalization(folded, {"input": training[:500]})

    found = quantize_network(model, None)

    assert found.distilled is not None
    assert found.distilled.noise_loss > 10 * found.distilled.loss
    starts = range(0, len(images), BATCH)
    scores = [simulate(found, {"input": images[k : k + BATCH]})["y"] for k in starts]
    right = (np.concatenate(scores).argmax(axis=1) == classes).mean()
    assert right >= 0.8285 - 0.003  # data/README.md of the shared folder: 82.85 % in float
