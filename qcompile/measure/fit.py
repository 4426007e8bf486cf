"""Tables of costs from measured kernels: non-negative least squares of relative errors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from qcompile.passes.kernel_work import LayerShape, Work
from qcompile.targets.costs import KERNELS, Costs, KernelCost

# What of `Work` each cost is multiplied with; a call is one.
COUNTS = {
    "step_s": "steps",
    "narrow_step_s": "narrow_steps",
    "load_s": "loads",
    "tile_s": "tiles",
    "sum_s": "sums",
    "output_s": "outputs",
    "near_byte_s": "near_bytes",
    "far_byte_s": "far_bytes",
}
DATA = {"read_s": "read", "pack_s": "packed", "copy_s": "copied"}


@dataclass(frozen=True)
class Sample:
    """The measured time of a kernel; `packing`: of what makes its data ready."""

    layer: LayerShape
    work: Work
    packing: bool
    seconds: float


def fit(samples: Sequence[Sample], source: str) -> Costs:
    """The table that predicts the samples best."""
    packing = [s for s in samples if s.packing and (s.work.packed or s.work.copied)]
    counts = [[float(getattr(s.work, n)) for n in DATA.values()] for s in packing]
    data = dict(zip(DATA, _solve(counts, packing), strict=True))
    kernels = {}
    for name in KERNELS:
        own = [s for s in samples if s.work.kernel == name and not s.packing]
        counts = [[*(float(getattr(s.work, n)) for n in COUNTS.values()), 1.0] for s in own]
        values = dict(zip((*COUNTS, "call_s"), _solve(counts, own), strict=True))
        if name.endswith("int8"):  # every sum is an output: one number tells both
            values["output_s"], values["sum_s"] = values["output_s"] + values["sum_s"], 0.0
        kernels[name] = KernelCost(**{f.name: values[f.name] for f in fields(KernelCost)})
    return Costs(kernels=kernels, source=source, **data)


def _solve(counts: Sequence[Sequence[float]], samples: Sequence[Sample]) -> list[float]:
    """Seconds for each count, none negative, that make the relative errors small."""
    measured = np.array([sample.seconds for sample in samples])
    rows: NDArray[np.float64] = np.array(counts, "float64") / measured[:, None]
    sizes = np.abs(rows).max(axis=0)
    sizes[sizes == 0] = 1
    found, _ = nnls(rows / sizes, np.ones(len(rows)))
    return [float(value) for value in found / sizes]
