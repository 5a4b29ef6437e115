import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from steadystar.calibrate.visitsums import Groups
from steadystar.infer.scatter import (
    intrinsic_scatter,
    jackknife_about,
    jackknife_scatter,
)


def visits(seed, stars, n, tau=0.0, error=1.0):
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(stars), n)
    err = error * rng.uniform(0.5, 1.5, len(star))
    rv = rng.normal(0, 30, stars)[star]
    return rv + rng.normal(0, 1, len(star)) * np.hypot(err, tau), err, star


def pooled(v, zero):
    """Standard deviation about the means of the zeros, in plain loops."""
    total, freedom = 0.0, 0
    for one in set(zero):
        mine = v[zero == one]
        total += np.sum((mine - mine.mean()) ** 2)
        freedom += len(mine) - 1
    return np.sqrt(total / freedom)


@pytest.mark.parametrize("zeros", [1, 2, 3])
def test_the_jackknife_leaves_each_visit_out_in_turn(zeros):
    rng = np.random.default_rng(zeros)
    star = np.repeat(np.arange(5), 7)
    zero = star * zeros + rng.integers(0, zeros, len(star))
    rv = rng.normal(0, 2, len(star))
    groups = Groups(zero, np.repeat(np.arange(5), zeros), 5)
    value, error = jackknife_scatter(rv, groups)
    for one in range(5):
        v, z = rv[star == one], zero[star == one]
        n = len(v)
        left = [pooled(np.delete(v, k), np.delete(z, k)) for k in range(n)]
        mean = np.mean(left)
        assert value[one] == pytest.approx(n * pooled(v, z) - (n - 1) * mean)
        want = np.sqrt((n - 1) / n * np.sum((left - mean) ** 2))
        assert error[one] == pytest.approx(want)


@pytest.mark.parametrize(("n", "plain"), [(3, 0.886), (4, 0.921)])
def test_the_jackknife_removes_the_bias_of_few_visits(n, plain):
    rng = np.random.default_rng(n)
    star = np.repeat(np.arange(40_000), n)
    rv = rng.standard_normal(len(star))
    value, _ = jackknife_scatter(rv, Groups.of_stars(star))
    biased = np.mean(rv.reshape(-1, n).std(axis=1, ddof=1))
    # c4(n), the mean of a sample standard deviation: 11% and 8% low.
    assert biased == pytest.approx(plain, abs=0.01)
    # What is left is of second order in 1/n: 6% too much for three visits.
    assert abs(np.mean(value) - 1) < 0.6 * (1 - plain)


def test_two_visits_have_no_jackknife():
    rv, _, star = visits(0, 10, 2)
    value, error = jackknife_scatter(rv, Groups.of_stars(star))
    assert np.isnan(value).all()
    assert np.isnan(error).all()


def test_about_a_known_mean_each_visit_is_left_out_in_turn():
    rng = np.random.default_rng(4)
    star = np.repeat(np.arange(6), 5)
    deviation = rng.normal(0, 2, len(star))
    value, error = jackknife_about(deviation, Groups.of_stars(star))
    for one in range(6):
        d = deviation[star == one]
        left = [np.sqrt(np.mean(np.delete(d, k) ** 2)) for k in range(5)]
        full = np.sqrt(np.mean(d**2))
        assert value[one] == pytest.approx(5 * full - 4 * np.mean(left))
        want = np.sqrt(4 / 5 * np.sum((left - np.mean(left)) ** 2))
        assert error[one] == pytest.approx(want)
    assert np.isnan(jackknife_about(np.ones(2), Groups.of_stars(np.zeros(2, int)))[0])


def restricted(tau, v, err):
    """Minus ln L with the mean integrated out."""
    w = 1 / (err**2 + tau**2)
    mean = np.sum(w * v) / np.sum(w)
    return 0.5 * (np.sum(w * (v - mean) ** 2) - np.sum(np.log(w)) + np.log(np.sum(w)))


@pytest.mark.parametrize("tau", [0.0, 0.5, 3.0])
def test_intrinsic_scatter_maximizes_the_likelihood(tau):
    rv, err, star = visits(5, 60, 7, tau)
    value, _ = intrinsic_scatter(rv, err, Groups.of_stars(star))
    for one in range(60):
        mine = star == one
        grid = np.linspace(0, 15, 400)
        lowest = grid[np.argmin([restricted(t, rv[mine], err[mine]) for t in grid])]
        best = minimize_scalar(
            restricted,
            bounds=(max(lowest - 0.05, 0), lowest + 0.05),
            args=(rv[mine], err[mine]),
            method="bounded",
            options={"xatol": 1e-7},
        )
        # The likelihood is flat: compare its height too.
        height = restricted(value[one], rv[mine], err[mine])
        assert height <= best.fun + 1e-6


def test_intrinsic_scatter_is_unbiased_and_its_error_honest():
    rv, err, star = visits(6, 4000, 12, 2.0)
    value, error = intrinsic_scatter(rv, err, Groups.of_stars(star))
    # 4000 stars: the mean of the variances is known to 0.5%.
    assert np.mean(value**2) == pytest.approx(4.0, rel=0.03)
    assert np.std(value) == pytest.approx(np.mean(error), rel=0.1)


def test_constant_stars_have_none_within_its_error():
    rv, err, star = visits(7, 4000, 8)
    value, error = intrinsic_scatter(rv, err, Groups.of_stars(star))
    assert np.mean(value == 0) == pytest.approx(0.55, abs=0.08)
    assert np.mean(value < 2 * error) > 0.95
    assert np.isfinite(error).all()


def test_stars_do_not_see_each_other():
    rv, err, star = visits(8, 20, 5, 1.0)
    together = intrinsic_scatter(rv, err, Groups.of_stars(star))
    for one in (0, 7, 19):
        mine = star == one
        alone = intrinsic_scatter(
            rv[mine], err[mine], Groups.of_stars(np.zeros(mine.sum(), np.intp))
        )
        # Iterations stop at a hundred-thousandth of the error.
        assert_allclose(
            [alone[0][0], alone[1][0]], [together[0][one], together[1][one]], atol=1e-4
        )
