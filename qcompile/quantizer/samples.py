"""Calibration data, cut into the batches that a network takes."""

from collections.abc import Iterator, Mapping, Sequence
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
    """Each input as one array for each batch; how many samples they hold.

    `fixed`: the samples of a batch where the model or the caller fixes it; None where samples may
    be regrouped.
    """

    batches: dict[str, list[Array]]
    samples: int
    fixed: int | None = None

    def shuffled(self, rows: int, rng: np.random.Generator) -> Iterator[dict[str, Array]]:
        """Batches without end, each sample once in a round: of `rows` samples, or as fixed."""
        count = len(next(iter(self.batches.values())))
        while True:
            if self.fixed is not None:
                for k in rng.permutation(count):
                    yield {name: chunks[k] for name, chunks in self.batches.items()}
            else:
                order = rng.permutation(self.samples)
                for start in range(0, max(self.samples - rows + 1, 1), rows):
                    yield self._gathered(order[start : start + rows])

    def _gathered(self, samples: Array) -> dict[str, Array]:
        return {
            name: np.stack([chunks[k // BATCH][k % BATCH] for k in samples])
            for name, chunks in self.batches.items()
        }


def read_calibration(
    network: Network,
    calibration: str | Path | Mapping[str, Array],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Calibration:
    """The samples, cut. Raises InvalidInput where they do not fit."""
    samples = read_network_samples(network, calibration, shapes)
    batch = None if _regroupable(network, shapes) else batch_size(_specs(network, shapes)) or 1
    return Calibration(cut(network, samples, shapes), samples.count, batch)


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
    if _regroupable(network, shapes):
        starts = range(0, samples.count, BATCH)
        return {n: [a[k : k + BATCH] for k in starts] for n, a in samples.inputs.items()}
    runs = list(batches(samples, batch_size(_specs(network, shapes))))
    return {name: [run[name] for run in runs] for name in samples.inputs}


def _regroupable(network: Network, shapes: Mapping[str, Sequence[int]] | None) -> bool:
    """Whether the model takes any number of samples at a time."""
    declared = [declared_shape(value).extents for value in network.inputs]
    return not shapes and all(extents and isinstance(extents[0], str) for extents in declared)
