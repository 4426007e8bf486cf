"""Small segments for VTA, and their tasks."""

import numpy as np

from qcompile.targets import load_target
from qcompile.targets.vta.layers import MaxPool, Segment, Source, Sums, VtaTensor
from qcompile.tuning.vta_tasks import vta_tasks

BOARD = load_target("vta-pynq")


def tensor(name, size, channels):
    return VtaTensor(name, (1, size, size, channels), 0, -128, 127)


def convolution(name, x, outputs, kernel=3, seed=0):
    """A layer of stride 1 that keeps the size of its image."""
    rng, channels = np.random.default_rng(seed), x.shape[3]
    source = Source(
        x.name,
        rng.integers(-128, 128, (outputs, kernel, kernel, channels)),
        padding=(kernel // 2,) * 4,
    )
    bias = rng.integers(-5000, 5000, outputs)
    output = tensor(f"{name}_out", x.shape[1], outputs)
    return Sums(name, (source,), bias, 9, -128, 127, output)


def chain():
    """A segment of four layers; the second and third are the same problem."""
    x = tensor("x", 8, 32)
    first = convolution("first", x, 48)
    second = convolution("second", first.output, 48, kernel=1, seed=1)
    third = convolution("third", second.output, 48, kernel=1, seed=2)
    last = MaxPool("pool", "third_out", (2, 2), (2, 2), (0, 0, 0, 0), tensor("y", 4, 48))
    return Segment("segment", (x,), ("x",), ("y",), (first, second, third, last))


def one_task(size=14, channels=32, outputs=64):
    x = tensor("x", size, channels)
    layer = convolution("layer", x, outputs)
    segment = Segment("segment", (x,), ("x",), (layer.output.name,), (layer,))
    (task,) = vta_tasks([segment], BOARD)
    return task
