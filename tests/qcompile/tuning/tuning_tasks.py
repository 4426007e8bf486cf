"""Small networks in integer form, and their tasks."""

import numpy as np
import tvm
from tvm import relax

from qcompile.ops import conv2d, requantize
from qcompile.pipeline import lower_passes, task_passes
from qcompile.targets import load_target
from qcompile.tuning.tasks import extract_tasks
from tests.passes.modules import module

TARGET = load_target("x86-64-v3")
IMAGE = (1, 8, 8, 16)


def weights(outputs, seed):
    return np.random.default_rng(seed).integers(-100, 101, (outputs, 3, 3, 16), dtype="int8")


def scales(outputs, seed):
    return np.random.default_rng(seed).uniform(1e-4, 1e-3, outputs).astype("float32")


def layer(emit, x, name, *, outputs=16, seed=0, dtype="uint8"):
    """A convolution and the codes of its sums."""
    geometry = {"strides": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    bias = np.random.default_rng(seed + 100).integers(-1000, 1000, outputs, dtype="int32")
    sums = conv2d(
        x,
        relax.const(weights(outputs, seed)),
        relax.const(bias),
        zero_point=0,
        bits=(8, 8),
        codes=(0, 1),
        layer=name,
        **geometry,
    )
    limits = {"low": 0, "high": 127, "dtype": dtype}
    scale = relax.const(scales(outputs, seed))
    return emit(requantize(emit(sums), scale, None, input_zero=0, zero_point=3, **limits))


def network():
    """first and second compute the same with other constants; third does not."""

    def body(emit, x):
        for name, outputs, seed in [("first", 16, 1), ("second", 16, 2), ("third", 40, 3)]:
            x = layer(emit, x, name, outputs=outputs, seed=seed)
        return x

    return module(body, (IMAGE, "uint8"))


def tasks_in(mod, target=TARGET, costs=None):
    passes = [*lower_passes(target, costs), *task_passes()]
    return extract_tasks(tvm.transform.Sequential(passes)(mod), target)
