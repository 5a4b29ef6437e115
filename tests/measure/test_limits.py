"""The table of photon limits: textbook and honest, by kind of star and arm."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.measure.information import limit_from_quality
from steadystar.measure.limits import Arm, limit_table, survey_arms
from steadystar.models.library import bundled

SUN = (5777.0, 4.44, 0.0)
METAL_POOR = (5777.0, 4.44, -2.0)
GIANT = (4500.0, 2.5, 0.0)


@pytest.fixture(scope="module")
def table():
    return limit_table([SUN, METAL_POOR, GIANT], [10.0, 100.0])


def test_every_star_in_every_arm_at_every_snr(table):
    assert table.height == 3 * 3 * 2
    assert table["arm"].unique(maintain_order=True).to_list() == [
        "blue",
        "red",
        "apogee",
    ]
    assert table.null_count().sum_horizontal()[0] == 0


def test_the_quality_factor_says_the_same(table):
    simple = limit_from_quality(table["quality"], table["n_pixels"], table["snr"])
    # One through the spline of pixels, the other by moving the sharp model.
    assert_allclose(simple, table["limit"], rtol=1e-3)


def test_more_unknowns_and_fewer_photons_cost_precision(table):
    assert (table["limit_continuum"] >= table["limit"]).all()
    assert (table["limit_profiled"] >= table["limit_continuum"]).all()
    faint = table.filter(snr=10.0)["limit_profiled"].to_numpy()
    bright = table.filter(snr=100.0)["limit_profiled"].to_numpy()
    assert_allclose(faint, 10 * bright)


def test_giants_are_better_and_metal_poor_stars_worse_than_the_sun(table):
    for arm in ("blue", "red", "apogee"):
        here = table.filter(arm=arm, snr=100.0)
        sun, poor, giant = (
            here.filter(teff=teff, feh=feh)["limit"][0]
            for teff, feh in ((5777.0, 0.0), (5777.0, -2.0), (4500.0, 0.0))
        )
        assert giant < sun < poor
    # Saydjari et al. 2025 quote some 30 m/s for APOGEE dwarfs at S/N 100.
    apogee = table.filter(
        (pl.col("arm") == "apogee") & (pl.col("snr") == 100) & (pl.col("feh") == 0)
    )
    assert apogee.filter(teff=5777.0)["limit"][0] == pytest.approx(0.03, rel=0.3)


def test_at_the_border_of_the_models_one_side_is_enough():
    arm = Arm("narrow", bundled("h-band"), np.arange(15300, 15400, 0.25), 22500.0)
    corner = bundled("h-band").parts[0].domain.limits[0]
    found = limit_table(corner, arms=[arm])
    assert np.isfinite(found["limit_profiled"][0])
    assert found["limit_profiled"][0] > found["limit"][0]


def test_wrong_tables_are_refused():
    with pytest.raises(ValueError, match="give teff, logg, feh for each star"):
        limit_table([5777.0, 4.4])
    with pytest.raises(ValueError, match="must be positive"):
        limit_table(SUN, [0.0])
    with pytest.raises(ValueError, match="outside the models"):
        limit_table((99_000.0, 4.0, 0.0), arms=survey_arms()[:1])
