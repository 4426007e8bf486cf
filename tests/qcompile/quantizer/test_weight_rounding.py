"""Codes and steps of weights: what the loss says about them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.quantizer.grid import Grid
from qcompile.quantizer.rounding import (
    best_steps,
    choose_steps,
    descend,
    end_steps,
    losses,
    nearest,
    round_in_turn,
    round_weights,
)

SEEDS, BITS = st.integers(0, 2**31), st.integers(1, 8)


def problem(seed, groups=1, rows=3, depth=6):
    """Weights and the covariance of correlated inputs."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(groups, 40, depth)) @ rng.normal(size=(groups, depth, depth))
    hessian = mixed.swapaxes(1, 2) @ mixed / 40 + 0.01 * np.eye(depth)
    return rng.normal(size=(groups, rows, depth)), hessian


def each(groups, rows):
    return np.arange(groups * rows).reshape(groups, rows)


def test_loss_is_the_error_of_the_outputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6))
    weights, values = rng.normal(size=(1, 2, 6)), rng.normal(size=(1, 2, 6))
    expected = np.square((x - x.mean(0)) @ (values - weights)[0].T).mean(axis=0)

    found = losses(weights, values, np.cov(x.T, bias=True)[None])

    np.testing.assert_allclose(found[0], expected, rtol=1e-10)


@given(SEEDS, BITS)
def test_independent_inputs_ask_for_the_nearest_codes(seed, bits):
    weights, _ = problem(seed)
    grid, steps = Grid(bits, True), np.full((1, 3), 0.3)
    diagonal = np.diag(np.random.default_rng(seed).uniform(0.1, 9, 6))[None]
    expected = nearest(weights, steps, grid)

    np.testing.assert_array_equal(round_in_turn(weights, diagonal, steps, grid), expected)


@settings(deadline=None)
@given(SEEDS, BITS)
def test_descent_ends_where_no_single_code_is_better(seed, bits):
    weights, hessian = problem(seed)
    grid, steps = Grid(bits, True), end_steps(weights, Grid(bits, True), each(1, 3))
    start = nearest(weights, steps, grid)

    codes = descend(weights, hessian, start, steps, grid)

    reached = losses(weights, codes * steps[:, :, None], hessian)
    assert (reached <= losses(weights, start * steps[:, :, None], hessian) + 1e-12).all()
    for j, change in itertools.product(range(6), (-1, 1)):
        other = codes.copy()
        other[:, :, j] = grid.codes(other[:, :, j] + change * (2 if grid.bipolar else 1))
        assert (losses(weights, other * steps[:, :, None], hessian) >= reached - 1e-9).all()


@given(SEEDS)
def test_steps_are_the_best_for_their_codes(seed):
    weights, hessian = problem(seed)
    codes = nearest(weights, np.full((1, 3), 0.5), Grid(4, True))
    found = best_steps(weights, hessian, codes, np.ones((1, 3)), each(1, 3))

    least = losses(weights, codes * found[:, :, None], hessian)
    for factor in (0.99, 1.01):
        other = losses(weights, codes * factor * found[:, :, None], hessian)
        assert (least <= other).all()


@settings(deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_rounding_in_turn_and_descent_beat_the_nearest_codes(seed, bits):
    weights, hessian = problem(seed, groups=2)
    grid, owners = Grid(bits, True), each(2, 3)
    codes, steps = round_weights(weights, hessian, grid, owners)
    plain, plain_steps = choose_steps(weights, hessian, grid, owners, in_turn=False)

    ours = losses(weights, codes * steps[:, :, None], hessian).sum()
    assert ours <= losses(weights, plain * plain_steps[:, :, None], hessian).sum() * 1.02


def test_finds_the_optimum_of_a_small_problem_nearly():
    ratios = []
    for seed in range(20):
        weights, hessian = problem(seed, rows=1, depth=5)
        grid, steps = Grid(2, True), np.full((1, 1), 0.7)
        start = round_in_turn(weights, hessian, steps, grid)
        found = descend(weights, hessian, start, steps, grid)
        every = np.array(list(itertools.product(range(-2, 2), repeat=5)), "float64")[None]
        best = losses(np.repeat(weights, 4**5, axis=1), every * 0.7, hessian).min()
        ratios.append(losses(weights, found * 0.7, hessian).item() / best)
    assert np.median(ratios) < 1.3


@pytest.mark.parametrize("owners", [[[0, 0, 0], [0, 0, 0]], [[0, 0, 1], [2, 2, 2]]])
def test_rows_of_one_owner_share_their_step(owners):
    weights, hessian = problem(0, groups=2)
    _, steps = round_weights(weights, hessian, Grid(3, True), np.array(owners))
    for owner in np.unique(owners):
        assert len(np.unique(steps[np.array(owners) == owner])) == 1


def test_weights_that_are_all_zero_get_code_zero():
    _, hessian = problem(0)
    codes, steps = round_weights(np.zeros((1, 3, 6)), hessian, Grid(4, True), each(1, 3))
    assert not codes.any() and (steps > 0).all()
