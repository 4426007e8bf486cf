"""How far a network that is trained is from the float one, over all calibration data."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from qcompile.quantizer.backward import forward
from qcompile.quantizer.fine_tuning.aims import Aims
from qcompile.quantizer.fine_tuning.student import Student
from qcompile.quantizer.grid import Array
from qcompile.quantizer.samples import Calibration


@dataclass(frozen=True)
class Survey:
    """The mean loss of a batch; of each layer by name, its squared error over its variance."""

    loss: float
    noise: dict[str, float]


def survey(student: Student, aims: Aims, data: Calibration) -> Survey:
    loss, count = 0.0, len(next(iter(data.batches.values())))
    errors, sums, squares, sizes = (defaultdict[str, float](float) for _ in range(4))
    for k in range(count):
        batch = {name: chunks[k] for name, chunks in data.batches.items()}
        wanted, found = forward(student.network, batch), student.forward(batch).values
        loss += aims.seeds(wanted, found)[0] / count
        for layer in student.network.layers.values():
            value = wanted[layer.output]
            errors[layer.name] += _square(found[layer.output] - value)
            squares[layer.name] += _square(value)
            sums[layer.name] += float(value.sum(dtype="float64"))
            sizes[layer.name] += value.size
    spreads = {name: squares[name] - sums[name] ** 2 / size for name, size in sizes.items()}
    noise = {name: errors[name] / (spread if spread > 0 else 1) for name, spread in spreads.items()}
    return Survey(loss, noise)


def _square(values: Array) -> float:
    return float(np.square(values, dtype="float64").sum())
