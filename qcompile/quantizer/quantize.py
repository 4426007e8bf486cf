"""A float network in, a quantized one out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from qcompile.arrays import Array
from qcompile.commands.progress import Progress, silent
from qcompile.quantizer.backward import expect_all_differentiable
from qcompile.quantizer.bits import resolve
from qcompile.quantizer.calibrate import Calibrated, calibrate
from qcompile.quantizer.distillation import Distilled, distil
from qcompile.quantizer.equalize import equalize
from qcompile.quantizer.fine_tuning import FineTuning, fine_tune
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import Network, load_network
from qcompile.quantizer.options import QuantizeOptions, Widths
from qcompile.quantizer.placement import Places, first_and_last, place
from qcompile.quantizer.samples import read_calibration
from qcompile.quantizer.writing import dialect, write_model


@dataclass(frozen=True)
class QuantizedLayer:
    """`noise`: the mean squared error of its results over their variance, all before included."""

    name: str
    op: str
    w_bits: int
    a_bits: int
    weights: int
    noise: float


@dataclass(frozen=True)
class QuantizedNetwork:
    """`model` as ONNX, `network`, `places` and `calibrated` for simulating it (simulate.py).

    `distilled`: the calibration data where they were made from the network itself.
    `fine_tuning`: what it did, where it was asked for.
    """

    model: onnx.ModelProto
    dialect: str
    layers: tuple[QuantizedLayer, ...]
    samples: int
    seconds: float
    network: Network
    places: Places
    calibrated: Calibrated
    distilled: Distilled | None = None
    fine_tuning: FineTuning | None = None


def quantize_network(
    model: str | Path | onnx.ModelProto,
    calibration: str | Path | Mapping[str, Array] | None,
    options: QuantizeOptions | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = silent,
) -> QuantizedNetwork:
    """The float `model` quantized without labels. Raises QCompileError.

    Without calibration data they are distilled from BatchNormalization statistics; where all
    widths are 8, weights are then rounded to the nearest: a refit to made inputs costs more.
    """
    options, start = options or QuantizeOptions(), time.perf_counter()
    progress("reading")
    loaded, distilled = load_network(model), None
    if calibration is None:
        distilled = distil(loaded, shapes=shapes, progress=progress)
        calibration = distilled.inputs
    network = fold(loaded)
    names = [layer.name for layer in network.layers.values()]
    widths = resolve(names, first_and_last(network), options)
    if distilled is not None and set(widths.values()) == {Widths()}:
        options = replace(options, rounding="nearest")
    data = read_calibration(network, calibration, shapes)
    network = equalize(network) if options.equalize else network
    places = place(network, widths, options.equal_adds)
    if options.fine_tune:
        expect_all_differentiable(network)
    found = calibrate(network, places, widths, data.batches, options, progress)
    told = None
    if options.fine_tune:
        steps, images = options.fine_tune, options.vary_images
        found, told = fine_tune(network, places, found, data, steps, images, progress)
    return QuantizedNetwork(
        model=write_model(network, places, found),
        dialect=dialect(found),
        layers=tuple(_layers(network, widths, found)),
        samples=data.samples,
        seconds=time.perf_counter() - start,
        network=network,
        places=places,
        calibrated=found,
        distilled=distilled,
        fine_tuning=told,
    )


def _layers(
    network: Network, widths: Mapping[str, Widths], found: Calibrated
) -> list[QuantizedLayer]:
    return [
        QuantizedLayer(
            layer.name,
            layer.node.op_type,
            widths[layer.name].weights,
            widths[layer.name].activations,
            layer.weights.size,
            found.noise[layer.name],
        )
        for layer in network.layers.values()
    ]
