"""Double-lined stars, each against itself: marked always, measured if seen in eclipse."""

import numpy as np
import polars as pl
import pytest

from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.relative import StarTemplates, measure_relative

from .mock import RESOLUTION, mock

DOUBLE = int(Status.DOUBLE_LINED)
ALWAYS_APART = [-70.0, -66.0, 74.0, 60.0, 52.0]
ONE_ECLIPSE = [0.0, -66.0, 74.0, 60.0, 52.0]


def pair(velocities, light_ratio, snr=40.0, stars=3, seed=2):
    """Twins on opposite orbits, the second 1.2 times as fast: visits and spectra."""
    first, a = mock(stars, len(velocities), snr=1e6, seed=seed, velocities=velocities)
    opposite = [-1.2 * v for v in velocities]
    _, b = mock(stars, len(velocities), snr=1e6, seed=seed, velocities=opposite)
    flux = (a.flux + light_ratio * b.flux.astype(float)) / (1 + light_ratio)
    noise = np.random.default_rng(seed + 10).normal(size=flux.shape) * 1e4 / snr
    ivar = np.full(flux.shape, (snr / 1e4) ** 2)
    spectra = Spectra.from_arrays(
        a.wave, flux + noise, ivar, RESOLUTION, frame="barycenter"
    )
    return first.with_columns(
        snr=pl.lit(snr), truth_2=pl.Series(opposite * stars)
    ), spectra


def marked(table):
    return (table["status"] & DOUBLE) != 0


@pytest.mark.parametrize("light_ratio", [0.3, 1.0])
def test_a_star_seen_in_eclipse_gives_the_velocities_of_both(light_ratio):
    visits, spectra = pair(ONE_ECLIPSE, light_ratio)
    found = measure_relative(visits, spectra).table
    apart = visits["truth"] != 0
    assert marked(found).to_list() == apart.to_list()
    assert found["rv_raw"].is_finite().all()
    # In eclipse it has one velocity: the systemic one, which is the zero here.
    assert found.filter(~apart)["rv_2"].is_nan().all()
    assert (found.filter(~apart)["rv_raw_err"] > 0).all()
    at, true = found.filter(apart), visits.filter(apart)
    # Which one is the brighter is open where both are alike: compare the two as a set.
    measured = np.sort(at.select("rv_raw", "rv_2").to_numpy(), axis=1)
    expected = np.sort(true.select("truth", "truth_2").to_numpy(), axis=1)
    error = np.hypot(at["rv_raw_err"].to_numpy(), at["rv_2_err"].to_numpy())[:, None]
    assert np.abs((measured - expected) / error).max() < 4
    if light_ratio == 0.3:
        ratio = at["light_ratio"].to_numpy()
        assert ratio == pytest.approx(np.full(len(ratio), 0.3), abs=0.05)
        assert np.abs(at["rv_raw"] - true["truth"]).max() < 1.5
    else:
        alike = (at["status"] & int(Status.TWO_MINIMA)) != 0
        assert alike.mean() > 0.8  # two standard deviations: 95% of them


@pytest.mark.parametrize("light_ratio", [0.3, 1.0])
def test_a_star_that_is_always_double_is_marked(light_ratio):
    visits, spectra = pair(ALWAYS_APART, light_ratio)
    found = measure_relative(visits, spectra).table
    seen = found.select("star_id", double=marked(found)).group_by("star_id")
    assert seen.agg(pl.col("double").any())["double"].all()


def test_single_stars_are_not_called_double():
    # Cosmic rays, and depths that change by a tenth as in a pulsator.
    visits, spectra = mock(40, 5, snr=60, seed=7, hits=3)
    depth = 1 + 0.1 * np.sin(np.arange(len(visits)))[:, None]
    level = 1e4 * (
        1 + 0.1 * np.linspace(0, 1, 3440) - 0.2 * np.linspace(0, 1, 3440) ** 2
    )
    flux = level + (spectra.flux - level) * depth
    changed = Spectra.from_arrays(
        spectra.wave, flux, spectra.ivar, RESOLUTION, frame="barycenter"
    )
    found = measure_relative(visits, changed).table
    assert found["rv_raw"].is_finite().all()
    assert marked(found).sum() == 0


def test_new_exposures_of_a_double_star_keep_its_zero(tmp_path):
    visits, spectra = pair(ONE_ECLIPSE, 0.3)
    later = visits["truth"].is_in([60.0, 52.0]).to_numpy()
    first = measure_relative(visits.filter(~later), spectra[~later])
    first.templates.save(tmp_path / "templates.parquet")
    kept = StarTemplates.load(tmp_path / "templates.parquet")
    second = measure_relative(visits.filter(later), spectra[later], templates=kept)
    assert marked(second.table).all()
    # Between the two runs, star by star: the zero is that of the first.
    for star in visits["star_id"].unique():
        of_star = pl.col("star_id") == star
        before, true = first.table.filter(of_star), visits.filter(of_star)
        zero = (before["rv_raw"] - true.filter(pl.Series(~later[:5]))["truth"]).median()
        after, true = second.table.filter(of_star), true.filter(pl.Series(later[:5]))
        assert np.abs(after["rv_raw"] - true["truth"] - zero).max() < 2
        # The kept template is of three exposures: the second star is smeared in it.
        second_star = (after["rv_2"] - true["truth_2"] - zero).drop_nans()
        assert second_star.abs().max() is None or second_star.abs().max() < 5
