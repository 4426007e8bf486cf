"""Calibration data, cut into the batches that a network takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qcompile.arrays import (
    Array,
    Samples,
    TensorSpec,
    batch_size,
    batches,
    read_samples,
    take_samples,
)
from qcompile.errors import InvalidInput
from qcompile.frontend.shapes import declared_shape, static_shapes
from qcompile.frontend.tensors import io_dtype
from qcompile.quantizer.network import Network

BATCH = 50  # samples at a time where the model leaves it open: columns stay near 50 MB


@dataclass(frozen=True)
class Calibration:
    """Each input as one array for each batch; how many samples they hold."""

    batches: dict[str, list[Array]]
    samples: int


def read_calibration(
    network: Network,
    calibration: str | Path | Mapping[str, Array],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Calibration:
    """The samples, cut. Raises InvalidInput where they do not fit."""
    samples = read_network_samples(network, calibration, shapes)
    return Calibration(cut(network, samples, shapes), samples.count)


def read_network_samples(
    network: Network,
    data: str | Path | Mapping[str, Array],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Samples:
    """The samples, with labels where there are any. Raises InvalidInput where they do not fit."""
    specs = _specs(network, shapes)
    samples = take_samples(data, specs) if isinstance(data, Mapping) else read_samples(data, specs)
    for name, array in samples.inputs.items():
        if not np.isfinite(array).all():
            raise InvalidInput(f"calibration of '{name}' holds values that are no finite numbers")
    return samples


def _specs(network: Network, shapes: Mapping[str, Sequence[int]] | None) -> list[TensorSpec]:
    fixed = static_shapes(network.model.graph, None, shapes or {})
    return [
        TensorSpec(v.name, str(io_dtype(v.type.tensor_type.elem_type, v.name)), fixed[v.name])
        for v in network.inputs
    ]


def cut(
    network: Network, samples: Samples, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, list[Array]]:
    """Each input as one array for each batch."""
    specs = _specs(network, shapes)
    declared = [declared_shape(value).extents for value in network.inputs]
    if not shapes and all(extents and isinstance(extents[0], str) for extents in declared):
        starts = range(0, samples.count, BATCH)
        return {n: [a[k : k + BATCH] for k in starts] for n, a in samples.inputs.items()}
    runs = list(batches(samples, batch_size(specs)))
    return {name: [run[name] for run in runs] for name in samples.inputs}
