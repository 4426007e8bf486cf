"""Scores of layers and widths."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from qcompile.arrays import Array
from qcompile.commands.progress import Progress, silent
from qcompile.quantizer import Widths
from qcompile.search.sensitivity.course import Course
from qcompile.search.sensitivity.options import SensitivityOptions
from qcompile.search.sensitivity.request import read_request
from qcompile.search.sensitivity.scores import Sensitivities
from qcompile.search.sensitivity.store import Store


def measure_sensitivity(
    model: str | Path | onnx.ModelProto,
    calibration: str | Path | Mapping[str, Array],
    choices: Mapping[str, Sequence[Widths]],
    *,
    kinds: Sequence[str] = ("block", "kl", "hutchinson"),
    labelled: str | Path | Mapping[str, Array] | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    options: SensitivityOptions | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = silent,
) -> Sensitivities:
    """The scores of each layer of `choices` at each of its widths, all other layers float.

    block: squared error of the outputs of the layer's block, which ends where one tensor alone is
    alive, over their variance; the block's inputs are the float network's. kl: divergence of the
    float network's classes from the changed one's. accuracy: loss of top-1 on `labelled`, as a
    share of its samples.

    calibration: as for qcompile.quantize; labelled: the same with labels `y`. What is found is
    kept in `folder`: the same call later goes on where it stopped. Raises InvalidInput, Unsupported
    and UndefinedLoss.
    """
    options = options or SensitivityOptions()
    request = read_request(model, calibration, choices, kinds, labelled, seed, options, shapes)
    store = Store(folder)
    Course(request, store, progress).run()
    return Sensitivities(request.collect(store), request.calibration.count)
