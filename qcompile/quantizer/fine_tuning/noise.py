"""How far the layers of a trained network are from the float ones."""

from collections import defaultdict

import numpy as np

from qcompile.quantizer.backward import forward
from qcompile.quantizer.fine_tuning.student import Student
from qcompile.quantizer.grid import Array
from qcompile.quantizer.samples import Calibration


def noise(student: Student, data: Calibration) -> dict[str, float]:
    """Of each layer by name, the mean squared error of its result over its variance."""
    errors, sums, squares, counts = (defaultdict[str, float](float) for _ in range(4))
    for k in range(len(next(iter(data.batches.values())))):
        batch = {name: chunks[k] for name, chunks in data.batches.items()}
        wanted, found = forward(student.network, batch), student.forward(batch).values
        for layer in student.network.layers.values():
            value = wanted[layer.output]
            errors[layer.name] += _square(found[layer.output] - value)
            squares[layer.name] += _square(value)
            sums[layer.name] += float(value.sum(dtype="float64"))
            counts[layer.name] += value.size
    spreads = {name: squares[name] - sums[name] ** 2 / counts[name] for name in counts}
    return {
        name: errors[name] / spread if spread > 0 else errors[name]
        for name, spread in spreads.items()
    }


def _square(values: Array) -> float:
    return float(np.square(values, dtype="float64").sum())
