"""Times of disturbed samples are those of the quiet machine."""

import numpy as np
import pytest

from qcompile.tuning.outcomes import timing


@pytest.mark.parametrize("seed", range(5))
def test_disturbances_change_no_time(seed):
    rng = np.random.default_rng(seed)
    quiet = 1e-4 * (1 + 0.002 * rng.random(12))
    disturbed = rng.permutation([*quiet, *(1e-4 * rng.uniform(1.1, 9, 6))])
    found = timing(list(disturbed))
    assert found.seconds == tuple(s for s in disturbed if s in quiet)
    assert found.dropped == 6
    assert found.seconds_each == pytest.approx(1e-4, rel=0.002)  # the noise of the quiet ones
    assert 0 < found.spread <= 0.002


def test_keeps_the_spread_of_what_is_never_quiet():
    found = timing([1.0, 1.5, 2.0, 2.5])
    assert found.spread == 0.5
    assert found.seconds_each == 1.25  # the median of 1 and 1.5


def test_counts_the_faster_half_of_all_samples():
    found = timing([1.0, 1.001, 1.002, 5.0, 6.0, 7.0])
    assert found.dropped == 3 and found.seconds == (1.0, 1.001, 1.002)
    assert found.seconds_each == 1.001


def test_takes_one_sample():
    found = timing([3.0])
    assert (found.seconds, found.dropped, found.spread) == ((3.0,), 0, 0.0)
    assert found.seconds_each == 3.0
