"""Cycles that a layer takes at least, whatever its tiling and however large the buffers are."""

import numpy as np

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.planner.estimate import Estimate
from qcompile.targets.vta.planner.problem import PoolProblem, Problem, SumsProblem


def least_cycles(problem: Problem, config: Config, port_bytes: int) -> float:
    """COMPUTE's micro-ops, the weights through the port or the stores, whichever take longest.

    Buffers of the configuration play no part.
    """
    if isinstance(problem, SumsProblem):
        estimate = Estimate(problem, config, port_bytes)
        compute, store = estimate.fixed
        beats = config.element_bytes(Buffer.WGT) / port_bytes
        return max(compute, store, estimate.all_weights * beats)
    return _pool_micro_ops(problem, config)


def _pool_micro_ops(problem: PoolProblem, config: Config) -> float:
    """A copy of everything that windows see, and two cycles for a comparison along each axis."""
    images, height, width, channels = problem.output
    blocks = -(-images // config.batch) * -(-channels // config.block_out)
    kernel, outputs = problem.kernel, (height, width)
    seen = [
        min(extent, count * min(taps, stride))
        for extent, count, taps, stride in zip(
            problem.shape[:2], outputs, kernel, problem.strides, strict=True
        )
    ]
    # The last window may lie beyond the image in part.
    seen = [
        max(0, extent - pads)
        for extent, pads in zip(seen, np.add(problem.padding[:2], problem.padding[2:]), strict=True)
    ]
    compared = 2 * height * width * sum(taps > 1 for taps in kernel)
    return float(blocks * (problem.planes * int(np.prod(seen)) + compared))
