"""Compile a network and hold it to onnxruntime's outputs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from quantized import quantize_int8, random_inputs

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.compiler import compile_model
from qcompile.layerwise import compare_layers
from qcompile.targets import Target

CALIBRATION_SAMPLES = 4
FLOAT_ERROR = 1e-5  # of an output's range
FLIPPED_ERROR = 0.05  # the same, where a tie of an early layer rounds the other way

Network = Callable[[], onnx.ModelProto]


def assert_float_agrees(network: Network, target: Target, folder: Path) -> None:
    """The float network agrees to float rounding."""
    model, inputs = _write(network, folder)
    assert_outputs_agree(model, inputs[0], target, folder, FLOAT_ERROR)


def assert_int8_agrees(network: Network, target: Target, folder: Path) -> None:
    """Every layer agrees on the reference's inputs, and roughly the whole."""
    quantized, sample = assert_int8_layers_agree(network, target, folder)
    assert_outputs_agree(quantized, sample, target, folder, FLIPPED_ERROR)


def assert_int8_layers_agree(
    network: Network, target: Target, folder: Path
) -> tuple[Path, Mapping[str, np.ndarray]]:
    """Every layer agrees on the reference's inputs; the quantized network and a sample."""
    model, inputs = _write(network, folder)
    quantized = folder / "int8.onnx"
    quantize_int8(model, quantized, inputs[1:])
    layers = compare_layers(quantized, inputs[:1], target, folder)
    assert [layer for layer in layers if not layer.agrees] == []
    return quantized, inputs[0]


def assert_outputs_agree(
    model: Path, inputs: Mapping[str, np.ndarray], target: Target, folder: Path, error: float
) -> None:
    """The outputs differ by at most `error` of their range."""
    compile_model(model, target, output=folder / "bundle")
    ours = load(folder / "bundle", threads=1).run(inputs)
    for result, expected in zip(ours, load_reference(model)(dict(inputs)), strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=0, atol=error * np.ptp(expected))


def _write(network: Network, folder: Path) -> tuple[Path, list[Mapping[str, np.ndarray]]]:
    """The network's file, one sample to run and more to calibrate with."""
    path = folder / f"{network.__name__}.onnx"
    onnx.save(network(), path)
    return path, random_inputs(path, CALIBRATION_SAMPLES + 1, seed=0)
