import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr
from scipy.stats import studentized_range

from steadystar.infer.variability_pairs import (
    chance_of_largest,
    chance_sampled,
    largest_difference,
)


def drawn(n, spread, stars=4000, seed=0):
    rng = np.random.default_rng([seed, n])
    sigma = np.exp(rng.normal(0, spread, (stars, n)))
    return rng.normal(size=sigma.shape) * sigma, sigma**2


@pytest.mark.parametrize("n", [3, 8, 30])
@pytest.mark.parametrize("t", [2.0, 3.5, 5.0])
def test_equal_errors_give_the_studentized_range(n, t):
    chance = chance_of_largest(np.array([t]), np.full((1, n), 0.3))
    # The range in units of one error is sqrt(2) times that of the difference.
    exact = studentized_range.sf(t * np.sqrt(2), n, np.inf)
    assert_allclose(chance, exact, rtol=2e-3, atol=1e-9)


def test_two_visits_are_one_comparison():
    variance = np.array([[0.1, 3.0]])
    assert_allclose(chance_of_largest(np.array([2.5]), variance), 2 * ndtr(-2.5))


@pytest.mark.parametrize("n", [3, 6, 20])
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
def test_the_chance_is_uniform_whatever_the_errors(n, spread):
    rv, variance = drawn(n, spread)
    found = largest_difference(rv, variance)
    chance = chance_of_largest(found.ratio, variance)
    for level in (0.5, 0.1, 0.02):
        # 4000 stars: four standard errors, and 5% for the overlaps of pairs.
        allowed = 4 * np.sqrt(level * (1 - level) / 4000) + 0.05 * level
        assert np.mean(chance < level) == pytest.approx(level, abs=allowed)


def test_the_sum_over_pairs_would_be_too_large_and_one_pair_too_small():
    # Controls: what the chance would be without thought is far from uniform.
    rv, variance = drawn(20, 0.3)
    ratio = largest_difference(rv, variance).ratio
    assert np.mean(2 * ndtr(-ratio) < 0.05) > 0.9
    assert np.mean(190 * 2 * ndtr(-ratio) < 0.5) < 0.4


@pytest.mark.parametrize("t", [2.5, 3.5, 4.5])
def test_sampling_agrees_with_the_integral(t):
    n = 12
    variance = np.full((1, n), 0.7)
    dense = variance[:, :, None] * np.eye(n)
    exact = chance_of_largest(np.array([t]), variance)
    # 200 samples of one over a number of pairs: 7% at most, four of these.
    for form in (variance, dense):
        assert_allclose(chance_sampled(np.array([t]), form), exact, rtol=0.28)


def test_the_chance_is_uniform_where_groups_share_errors():
    rng = np.random.default_rng(7)
    n, stars = 12, 3000
    group = np.repeat([0, 1, 2], 4)
    shared = (group[:, None] == group) * 1.0
    covariance = np.broadcast_to(shared + 0.2 * np.eye(n), (stars, n, n))
    rv = rng.normal(size=(stars, 3))[:, group] + np.sqrt(0.2) * rng.normal(
        size=(stars, n)
    )
    ratio = largest_difference(rv, covariance).ratio
    chance = chance_sampled(ratio, covariance)
    for level in (0.5, 0.1, 0.02):
        # As above; the same samples serve all stars, so their error does not average.
        allowed = 4 * np.sqrt(level * (1 - level) / stars) + 0.1 * level
        assert np.mean(chance < level) == pytest.approx(level, abs=allowed)
    # The control, visits as independent, finds far too few.
    blind = chance_of_largest(ratio, np.full((stars, n), 1.2))
    assert np.mean(blind < 0.1) < 0.08


def test_the_largest_pair_is_that_of_the_loop():
    rv, variance = drawn(7, 0.5, stars=20)
    found = largest_difference(rv, variance)
    for k in range(20):
        pairs = [
            (abs(rv[k, i] - rv[k, j]) / np.sqrt(variance[k, i] + variance[k, j]))
            for i in range(7)
            for j in range(i)
        ]
        assert found.ratio[k] == pytest.approx(max(pairs))
    assert_allclose(found.difference, found.ratio * found.error)
