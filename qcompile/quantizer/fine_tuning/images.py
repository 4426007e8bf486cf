"""Images as they might also have been.

The float network tells what a changed image should give, so no label is lost by changing it; few
calibration images are learned by heart soon.
"""

from collections.abc import Mapping

import numpy as np

from qcompile.quantizer.grid import Array

SHARE = 16  # images are moved by at most their height's and width's 16th part


def varied(batch: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """The batch, half of its images mirrored, all moved by as much; the edge fills what is empty.

    Images are float inputs of (N, C, H, W); others stay as they are.
    """
    mirrored = rng.random(len(next(iter(batch.values())))) < 0.5
    down, right = rng.uniform(-1, 1, 2)
    return {name: _varied(x, mirrored, down, right) for name, x in batch.items()}


def _varied(x: Array, mirrored: Array, down: float, right: float) -> Array:
    if x.ndim != 4 or x.dtype.kind != "f" or len(x) != len(mirrored):
        return x
    height, width = x.shape[2:]
    rows = _moved(height, round(down * (height // SHARE)))
    columns = _moved(width, round(right * (width // SHARE)))
    turned = np.where(mirrored[:, None, None, None], x[..., ::-1], x)
    return turned[:, :, rows[:, None], columns]


def _moved(extent: int, distance: int) -> Array:
    return np.clip(np.arange(extent) + distance, 0, extent - 1)
