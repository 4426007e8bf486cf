"""What the cost model sees of a candidate for VTA: sizes, the tiling, and the accelerator.

A vector of the same length for all layers and configurations.
"""

from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.targets import VtaTarget
from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.planner.problem import Problem, SumsProblem
from qcompile.targets.vta.planner.tiles import Tiling, window

SIZES = ("log_inp_width", "log_wgt_width", "log_acc_width", "log_batch", "log_block")
BUFFERS = (Buffer.UOP, Buffer.INP, Buffer.WGT, Buffer.ACC)


def vta_features(
    problem: Problem, board: VtaTarget, tiling: Tiling, estimate: Any
) -> NDArray[np.float32]:
    """The vector of one candidate, (n,) float32. estimate: the planner's, of the problem."""
    config = board.config
    fits = bool(estimate.fits(tiling))
    return np.array(
        [
            *_problem(problem, config),
            *_tiling(problem, tiling, config),
            float(fits),
            log2(estimate.cycles(tiling)) if fits else 0.0,
            *(float(getattr(config, name)) for name in SIZES),
            *(log2(config.depth(buffer)) for buffer in BUFFERS),
            float(board.port_bytes),
        ],
        "float32",
    )


def _problem(problem: Problem, config: Config) -> list[float]:
    images, height, width, channels = problem.output
    sizes = [images, height, width, -(-channels // config.block_out)]
    if not isinstance(problem, SumsProblem):
        (tall, wide), (down, across) = problem.kernel, problem.strides
        return [0.0, *map(_log, (*sizes, 0, tall, wide, down, across)), 0, 0, 0, 0, 0, 0]
    first = problem.operands[0]
    inputs = sum(-(-each.shape[2] // config.block_in) for each in problem.operands)
    return [
        1.0,
        *map(_log, (*sizes, inputs, *first.kernel, *first.strides)),
        float(len(problem.operands)),
        float(sum(each.digits * each.planes for each in problem.operands)),
        float(problem.planes),
        float(problem.start_vector) + float(not problem.starts_over),
        float(problem.shift_vector),
        float(sum(problem.limits)),
    ]


def _tiling(problem: Problem, tiling: Tiling, config: Config) -> list[float]:
    """Sizes of a tile, how many there are, what is cut off at borders, how full buffers are."""
    _, height, width, channels = problem.output
    blocks = -(-channels // config.block_out)
    cuts = ((height, tiling.rows), (width, tiling.columns), (blocks, tiling.outputs))
    counts = [-(-whole // part) for whole, part in cuts]
    positions = tiling.rows * tiling.columns
    operands = problem.operands if isinstance(problem, SumsProblem) else (problem,)
    seen = max(window(x, (0, tiling.rows), (0, tiling.columns)).elements for x in operands)
    kernel = max(x.kernel[0] * x.kernel[1] for x in operands)
    return [
        *map(_log, (tiling.rows, tiling.columns, tiling.outputs, tiling.inputs, *counts)),
        *(part * count / whole for (whole, part), count in zip(cuts, counts, strict=True)),
        float(tiling.order == "weights"),
        float(tiling.threads),
        tiling.threads * positions * tiling.outputs / config.depth(Buffer.ACC),
        tiling.threads * seen * tiling.inputs / config.depth(Buffer.INP),
        tiling.threads * kernel * tiling.inputs * tiling.outputs / config.depth(Buffer.WGT),
        seen / (positions * kernel),
    ]


def _log(value: float) -> float:
    return log2(1 + value)
