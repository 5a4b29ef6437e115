"""The periodogram: its power, band, chances and peaks, against twins and truth."""

import numpy as np
import polars as pl
import pytest
from astropy.timeseries import LombScargle

from steadystar.infer.false_alarms import FalseAlarms, fit_law
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.periodogram import periodogram
from steadystar.infer.periods import find_periods

QUICK = PeriodOptions(min_period=0.5, draws=0)


def star(seed, n=20, period=2.9098, amplitude=6.0, span=120, error=0.5):
    rng = np.random.default_rng(seed)
    t = 2459000 + np.sort(rng.choice(span, n, replace=False)) + rng.uniform(0, 0.3, n)
    err = error * rng.uniform(0.5, 1.5, n)
    rv = amplitude * np.sin(2 * np.pi * t / period) + rng.normal(size=n) * err
    return t, rv, err


# 8 visits go through products of matrices, 25 through the transform.
@pytest.mark.parametrize("n", [8, 25])
@pytest.mark.parametrize("noise", ["added", "known"])
def test_power_is_that_of_astropy(n, noise):
    t, rv, err = star(1, n)
    found = periodogram(t, rv, err, PeriodOptions(0.5, draws=0, noise=noise))
    assert (found.scatter > 0) == (noise == "added")
    twin = LombScargle(t - t.mean(), rv, np.hypot(err, found.scatter))
    power = twin.power(found.frequency, method="cython")
    # The transform was asked for 1e-12.
    np.testing.assert_allclose(found.power, power, atol=1e-9)


def test_every_zero_and_known_period_has_its_free_parameters():
    t, rv, err = star(2, 24)
    zero = np.arange(24) % 3
    found = periodogram(t, rv, err, QUICK, zero, known_periods=(7.0,))
    sigma = np.hypot(err, found.scatter)

    def chi2(*frequencies):
        columns = [zero == 0, zero == 1, zero == 2]
        for f in frequencies:
            # Around a middle of their own: the fit must not depend on where t is 0.
            phase = 2 * np.pi * f * (t - t[3])
            columns += [np.cos(phase), np.sin(phase)]
        design = np.stack(columns, 1) / sigma[:, None]
        best, *_ = np.linalg.lstsq(design, rv / sigma)
        return np.square(rv / sigma - design @ best).sum()

    for i in range(3, len(found.frequency), 97):
        share = 1 - chi2(1 / 7.0, found.frequency[i]) / chi2(1 / 7.0)
        # Both routes lose some ten digits where phases of 1e3 cycles meet.
        assert found.power[i] == pytest.approx(share, abs=1e-9)


def test_constants_of_arms_land_in_the_zeros():
    t, rv, err = star(3)
    zero = np.arange(20) % 2
    moved = rv + np.where(zero == 1, 40.0, -3.0)
    once, again = (periodogram(t, v, err, QUICK, zero) for v in (rv, moved))
    np.testing.assert_allclose(once.power, again.power, atol=1e-9)
    alone = periodogram(t, moved, err, QUICK)
    assert alone.peaks["power"][0] < once.peaks["power"][0] - 0.1


def test_a_sine_between_two_frequencies_of_the_grid_is_found_exactly():
    t, _, err = star(4)
    rv = 5 * np.sin(2 * np.pi * t / 1.23456789) + 17
    peak = periodogram(t, rv, err, PeriodOptions(0.5, draws=0, noise="known")).peaks
    # Gauss and Newton's steps end at rounding; the climb leaves 1e-3 of a step.
    assert peak["period"][0] == pytest.approx(1.23456789, abs=1e-9)
    assert peak["amplitude"][0] == pytest.approx(5, abs=1e-8)
    assert peak["power"][0] == pytest.approx(1, abs=1e-4)


def test_errors_of_periods_and_amplitudes_are_what_estimates_scatter_by():
    rows = [np.stack(star(seed, 15), 1) for seed in range(40)]
    visits = pl.DataFrame(np.concatenate(rows), schema=["bjd", "rv", "rv_err"])
    visits = visits.with_columns(star_id=pl.Series(np.repeat(np.arange(40), 15)))
    options = PeriodOptions(2.0, 4.0, n_peaks=1, draws=0)
    best = find_periods(visits, options=options).filter(rank=1)
    pulls = best.select(
        (pl.col("period") - 2.9098) / pl.col("period_err"),
        (pl.col("amplitude") - 6.0) / pl.col("amplitude_err"),
    ).to_numpy()
    width = np.std(pulls, axis=0)
    # 40 stars: a width has an error of 11%; scatter that is fitted to 15 visits widens
    # pulls to those of Student's t, by some 10%.
    assert np.all((width > 0.75) & (width < 1.4))
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.5)


@pytest.mark.parametrize("nights", [False, True])
def test_the_band_is_the_jackknife_over_visits_or_nights(nights):
    t, rv, err = star(5, 12)
    if nights:
        t = np.repeat(t[:8], 2) + np.tile([0.0, 0.04], 8)
        rng = np.random.default_rng(0)
        rv, err = rng.normal(0, 3, 16), np.full(16, 0.5)
    found = periodogram(t, rv, err, QUICK)
    blocks = np.arange(len(t)) // 2 if nights else np.arange(len(t))
    sigma = np.hypot(err, found.scatter)
    powers = [
        LombScargle(t[blocks != b], rv[blocks != b], sigma[blocks != b]).power(
            found.frequency, method="cython"
        )
        for b in np.unique(blocks)
    ]
    n = len(powers)
    error = np.sqrt((n - 1) / n * np.square(powers - np.mean(powers, axis=0)).sum(0))
    np.testing.assert_allclose(
        found.high, np.minimum(found.power + error, 1), atol=1e-7
    )
    np.testing.assert_allclose(found.low, np.maximum(found.power - error, 0), atol=1e-7)


def test_four_visits_say_nothing_however_well_a_sine_fits():
    t, rv, err = star(6, 4, error=1e-3)
    peak = periodogram(t, rv, err, PeriodOptions(0.5)).peaks.row(0, named=True)
    assert peak["power"] > 0.999
    assert peak["fap"] == 1


def test_known_noise_counts_its_size():
    t, rv, err = star(7, 6, amplitude=0.0)
    found = [
        periodogram(t, scale * rv, err, PeriodOptions(0.5, noise=noise))
        for noise in ("known", "scaled")
        for scale in (1, 10)
    ]
    fap = [one.peaks["fap"][0] for one in found]
    assert fap[0] > 0.01
    assert fap[1] < 1e-6  # ten times the errors: no noise of this size
    assert fap[2] == pytest.approx(fap[3])  # of unknown size: the same


def test_the_law_has_the_tail_of_the_draws():
    # Highest of 300 independent powers of noise with 12 degrees of freedom.
    rng = np.random.default_rng(8)
    nu, many = 12.0, 300
    single = rng.uniform(size=(4000, many)).min(1)
    highest = 1 - single ** (2 / (nu - 2))
    law = FalseAlarms(nu, 1e6, *fit_law(highest[:1000], nu))
    for q in (0.5, 0.1, 0.01):
        share = (law.probability(highest) < q).mean()
        # Sampling of 4000, and a slope fitted to 1000.
        assert share == pytest.approx(q, abs=4 * np.sqrt(q / 4000) + 0.15 * q)
    assert law.probability(law.level(0.03)) == pytest.approx(0.03, rel=1e-6)


def test_no_chance_is_above_baluevs_bound():
    bound = FalseAlarms(12.0, 500.0, 500.0, 1.0)
    law = FalseAlarms(12.0, 500.0, 30.0, 0.6)
    power = np.linspace(0.3, 0.999, 50)
    assert np.all(law.probability(power) <= bound.probability(power))
    assert law.probability(0.999) == bound.probability(0.999)


def test_nightly_visits_give_aliases_that_have_names():
    t, rv, err = star(9, 40, period=2.9098, span=60)
    peaks = periodogram(t, rv, err, PeriodOptions(0.3, draws=0)).peaks
    named = {row["alias"]: row for row in peaks.iter_rows(named=True)}
    f = 1 / 2.9098
    # Peaks of 60 days are 1/60 wide.
    assert 1 / named["f + 1/d"]["period"] == pytest.approx(f + 1, abs=0.01)
    assert 1 / named["1/d - f"]["period"] == pytest.approx(1 - f, abs=0.01)
    assert named["f + 1/d"]["alias_of"] == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t, v, e: (t, v, 0 * e), "no error above zero"),
        (lambda t, v, e: (t, np.nan * v, e), "no number"),
        (lambda t, v, e: (t[:-1], v, e), "one value of each"),
        (lambda t, v, e: (t[:3], v[:3], e[:3]), "3 visits with times, 4 are needed"),
        (lambda t, v, e: (0.001 * t, v, e), "no period of 0.5 d"),
    ],
)
def test_what_cannot_be_searched_is_said(spoil, words):
    with pytest.raises(ValueError, match=words):
        periodogram(*spoil(*star(0)), QUICK)


@pytest.mark.parametrize(
    "wrong", [{"draws": 5}, {"n_modes": 0}, {"min_period": 3.0, "max_period": 2.0}]
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="give"):
        PeriodOptions(**wrong)
