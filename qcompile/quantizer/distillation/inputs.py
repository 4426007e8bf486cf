"""What the noise looks like that becomes calibration data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from qcompile.errors import Unsupported
from qcompile.frontend.shapes import declared_shape, static_shapes
from qcompile.frontend.tensors import io_dtype
from qcompile.quantizer.distillation.graph import StatisticsGraph
from qcompile.quantizer.distillation.noise import noise
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network

BATCH, LEAST_BATCH = 64, 8  # samples at a time where the model leaves it open
MOST_ELEMENTS = 2**21  # of the inputs at a time: all values of the network are held


@dataclass(frozen=True)
class NoiseInput:
    """An input of the network: offset + scale * u for u of `shape`, its batch included."""

    name: str
    shape: tuple[int, ...]
    offset: float
    scale: float

    @property
    def batch(self) -> int:
        return self.shape[0]

    def scaled(self, u: Array) -> Array:
        return np.asarray(np.float32(self.offset) + np.float32(self.scale) * u)


def noise_inputs(
    network: Network, graph: StatisticsGraph, shapes: Mapping[str, Sequence[int]] | None
) -> list[NoiseInput]:
    """Those of the network. Raises Unsupported for inputs that are no floats with channels."""
    fixed = static_shapes(network.model.graph, None, shapes or {})
    elements = sum(prod(shape[1:]) for shape in fixed.values())
    free = min(max(MOST_ELEMENTS // elements, LEAST_BATCH), BATCH)
    found = []
    for value in network.inputs:
        dtype, shape = io_dtype(value.type.tensor_type.elem_type, value.name), fixed[value.name]
        if dtype != "float32" or len(shape) < 2:
            raise Unsupported(
                f"input '{value.name}' is {dtype} of shape {list(shape)}: noise is made for "
                "float32 inputs of (samples, channels, ...); calibration data would work"
            )
        extents = declared_shape(value).extents
        is_open = not shapes and extents is not None and isinstance(extents[0], str)
        shape = (free if is_open else shape[0], *shape[1:])
        found.append(NoiseInput(value.name, shape, *_scale(graph, value.name, shape)))
    return found


def _scale(graph: StatisticsGraph, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Offset and scale by least squares over the channels of a layer that reads the input.

    A channel has the mean offset * sum(w) + bias, and scale times the deviation that noise gives.
    """
    u = noise(shape, np.random.default_rng(0))
    values = {each.value: each for each in graph.statistics}
    for layer in graph.network.layers.values():
        known = values.get(layer.output)
        if layer.input != name or known is None:
            continue
        sums, sizes = layer.weights.sum(axis=1), layer.flat(layer(u)).std(axis=1)
        square = float(np.dot(sums, sums))
        offset = float(np.dot(sums, known.mean - layer.bias)) / square if square else 0.0
        scale = float(np.dot(sizes, known.deviation) / np.dot(sizes, sizes))
        return offset, scale
    return 0.0, 1.0
