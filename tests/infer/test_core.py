import numpy as np
import pytest

from steadystar.infer.core import fit_core


def with_binaries(rng, n, sigma=1.0, share=0.2, wide=15.0, mean=0.5):
    difference = rng.normal(mean, sigma, n)
    odd = rng.random(n) < share
    return difference + odd * rng.normal(0, wide, n)


@pytest.mark.parametrize("n", [100, 1000])
def test_a_fifth_of_binaries_does_not_widen_the_core_and_errors_are_honest(n):
    rng = np.random.default_rng(n)
    fits = [fit_core(with_binaries(rng, n)) for _ in range(200)]
    for value, error, true in (
        ([f.mu for f in fits], [f.mu_err for f in fits], 0.5),
        ([f.sigma for f in fits], [f.sigma_err for f in fits], 1.0),
    ):
        pull = (np.array(value) - true) / np.array(error)
        # 200 pulls: their median is known to 0.09, their width to 8%.
        assert abs(np.median(pull)) < 0.35
        low, high = np.percentile(pull, [16, 84])
        assert 0.8 < (high - low) / 2 < 1.25
    assert np.median([f.wing_share for f in fits]) == pytest.approx(0.2, abs=0.03)


def test_without_wings_the_standard_deviation_would_be_seven_times_too_large():
    # The control: what the wings are for.
    difference = with_binaries(np.random.default_rng(1), 1000)
    assert np.std(difference) > 5
    assert fit_core(difference).sigma == pytest.approx(1.0, abs=0.1)


def test_pure_noise_gets_no_wings():
    rng = np.random.default_rng(2)
    shares = [fit_core(rng.normal(0, 3, 300)).wing_share for _ in range(100)]
    # The information criterion allows for one in some hundreds.
    assert np.count_nonzero(shares) <= 3


def test_what_one_catalog_errs_follows_from_the_others_unequal_errors():
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(100):
        error = rng.uniform(0.3, 1.5, 500)
        difference = rng.normal(0, np.hypot(error, 0.7))
        difference += (rng.random(500) < 0.2) * rng.normal(0, 20, 500)
        fit = fit_core(difference, error**2)
        pulls.append((fit.sigma - 0.7) / fit.sigma_err)
    assert abs(np.median(pulls)) < 0.4
    assert 0.75 < np.std(pulls) < 1.3


def test_errors_that_explain_everything_leave_nothing_within_the_error():
    rng = np.random.default_rng(4)
    fit = fit_core(rng.normal(0, 1, 2000), 1.0)
    assert fit.sigma < 3 * fit.sigma_err
    assert 0 < fit.sigma_err < 0.3


def test_equal_differences_have_no_width_and_few_no_fit():
    fit = fit_core(np.full(50, 2.5))
    assert (fit.mu, fit.sigma, fit.wing_share) == (2.5, 0.0, 0.0)
    mostly = fit_core(np.concatenate([np.zeros(60), np.arange(1.0, 31.0)]))
    assert (mostly.sigma, mostly.wing_share) == (0.0, pytest.approx(1 / 3))
    assert np.isnan(fit_core(np.arange(5.0)).sigma)


def test_the_unit_does_not_matter():
    difference = with_binaries(np.random.default_rng(5), 400)
    one, thousand = fit_core(difference), fit_core(1e6 * difference - 7e6)
    assert thousand.sigma == pytest.approx(1e6 * one.sigma, rel=1e-6)
    assert thousand.mu == pytest.approx(1e6 * one.mu - 7e6, abs=1.0)


def test_the_density_of_the_model_is_one_in_all():
    fit = fit_core(with_binaries(np.random.default_rng(6), 500))
    x = np.linspace(-150, 150, 200_001)
    assert np.trapezoid(fit.density(x), x) == pytest.approx(1.0, abs=1e-6)
