"""Codes and steps of weights that keep what a layer computes.

The loss of weights V is the sum over rows of (V - W) H (V - W)^T: H is the mean outer product of
the inputs about their mean, so it is the mean squared error of the outputs with the best bias.
W: (g, o, d) for the g groups of a convolution, float64; H: (g, d, d), positive definite; steps and
owners: (g, o). Rows with the same owner, an integer from 0, share their step.
"""

import numpy as np

from qcompile.quantizer.grid import Array, Grid

RATIOS = np.linspace(0.2, 1.0, 17)  # of the largest weight, tried as the end of the range
SWEEPS = 12  # over all weights, at most, of one descent
REFITS = 6  # of the steps, at most
LEAST_STEP = 1e-12  # where all weights are 0
SETTLED = 1e-6  # a relative change of the steps that is none


def losses(weights: Array, values: Array, hessian: Array) -> Array:
    """The loss of each row: (g, o)."""
    error = values - weights
    return np.asarray((np.matmul(error, hessian) * error).sum(axis=2))


def end_steps(weights: Array, grid: Grid, owners: Array) -> Array:
    """The smallest steps with which no weight is out of range."""
    above = weights.max(axis=2) / max(grid.high, 1)
    below = weights.min(axis=2) / min(grid.low, -1)
    largest = np.full(owners.max() + 1, LEAST_STEP)
    np.maximum.at(largest, owners, np.maximum(above, below))
    return np.asarray(largest[owners])


def nearest(weights: Array, steps: Array, grid: Grid) -> Array:
    """Each weight's own nearest code."""
    return grid.codes(weights / steps[:, :, None])


def round_in_turn(weights: Array, hessian: Array, steps: Array, grid: Grid) -> Array:
    """Codes, each column rounded after the errors of those before are passed on to it.

    Frantar et al. 2022 (GPTQ), algorithm 1; columns of large inputs come first.
    """
    depth = weights.shape[2]
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1)
    rows, columns = order[:, :, None], order[:, None, :]
    every = np.arange(len(weights))[:, None, None]
    inverse = np.linalg.inv(hessian[every, rows, columns])
    upper = np.linalg.cholesky(inverse).swapaxes(1, 2)
    left = np.take_along_axis(weights, columns, axis=2)
    codes = np.empty_like(left)
    for j in range(depth):
        codes[:, :, j] = grid.codes(left[:, :, j] / steps)
        error = (left[:, :, j] - codes[:, :, j] * steps) / upper[:, j, j, None]
        left[:, :, j + 1 :] -= error[:, :, None] * upper[:, j, None, j + 1 :]
    found = np.empty_like(codes)
    np.put_along_axis(found, np.broadcast_to(columns, codes.shape), codes, axis=2)
    return found


def descend(weights: Array, hessian: Array, codes: Array, steps: Array, grid: Grid) -> Array:
    """Codes of a loss that no change of one code lowers (or after SWEEPS)."""
    codes = codes.copy()
    gradient = np.matmul(codes * steps[:, :, None] - weights, hessian)
    curvature = np.diagonal(hessian, axis1=1, axis2=2)
    for _ in range(SWEEPS):
        changed = False
        for j in range(codes.shape[2]):
            aim = codes[:, :, j] - gradient[:, :, j] / (curvature[:, j, None] * steps)
            moved = grid.codes(aim) - codes[:, :, j]
            group, row = np.nonzero(moved)
            if group.size:
                change = (moved * steps)[group, row]
                gradient[group, row] += change[:, None] * hessian[group, j]
                codes[:, :, j] += moved
                changed = True
        if not changed:
            break
    return codes


def best_steps(weights: Array, hessian: Array, codes: Array, old: Array, owners: Array) -> Array:
    """The steps of least loss for given codes; `old` where those would not be positive."""
    pulled = np.matmul(codes, hessian)
    along = np.bincount(owners.ravel(), (pulled * weights).sum(axis=2).ravel())[owners]
    across = np.bincount(owners.ravel(), (pulled * codes).sum(axis=2).ravel())[owners]
    usable = (along > 0) & (across > 0)
    return np.where(usable, along / np.where(usable, across, 1), old)


def choose_steps(
    weights: Array, hessian: Array, grid: Grid, owners: Array, in_turn: bool
) -> tuple[Array, Array]:
    """Codes and steps of the least loss of each owner's rows, over ranges of several sizes."""
    groups, rows, depth = weights.shape
    steps = RATIOS[None, :, None] * end_steps(weights, grid, owners)[:, None, :]
    flat = steps.reshape(groups, -1)
    tiled = np.tile(weights, (1, len(RATIOS), 1))
    codes = round_in_turn(tiled, hessian, flat, grid) if in_turn else nearest(tiled, flat, grid)
    found = losses(tiled, codes * flat[:, :, None], hessian).reshape(groups, -1, rows)
    together = np.stack(
        [np.bincount(owners.ravel(), found[:, k].ravel()) for k in range(len(RATIOS))]
    )
    best = together.argmin(axis=0)[owners]
    group, row = np.indices(owners.shape)
    return codes.reshape(groups, -1, rows, depth)[group, best, row], steps[group, best, row]


def round_weights(weights: Array, hessian: Array, grid: Grid, owners: Array) -> tuple[Array, Array]:
    """Codes (g, o, d) and steps of small loss: in turn, then by descent on codes and steps."""
    codes, steps = choose_steps(weights, hessian, grid, owners, in_turn=True)
    for _ in range(REFITS):
        better = descend(weights, hessian, codes, steps, grid)
        refitted = best_steps(weights, hessian, better, steps, owners)
        settled = np.array_equal(better, codes) and np.allclose(refitted, steps, rtol=SETTLED)
        codes, steps = better, refitted
        if settled:
            break
    return codes, steps
