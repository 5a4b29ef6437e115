import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.data.status import Status
from steadystar.infer.moonlight import MoonlightOptions, moonlight_velocity
from steadystar.infer.variability import VariabilityOptions, find_variables
from steadystar.survey.observatory import SITES, barycentric

FULL = 58_504.2
"""MJD (UTC) of the full moon of January 21, 2019; the next new one is 15 days later."""

RA, DEC = 120.0, 20.0


def visits(mjd, rv=30.0, **columns) -> pl.DataFrame:
    mjd = np.asarray(mjd, float)
    rng = np.random.default_rng(1)
    bjd, correction = barycentric(mjd - 0.005, RA, DEC, SITES["lamost"])
    return pl.DataFrame(
        {
            "star_id": ["a"] * len(mjd),
            "visit_id": [f"v{i}" for i in range(len(mjd))],
            "telescope": ["lamost"] * len(mjd),
            "night": np.floor(mjd).astype(int),
            "ra": RA,
            "dec": DEC,
            "bjd": bjd,
            "bary_corr": correction,
            "rv": np.full(len(mjd), rv) + rng.normal(0, 0.2, len(mjd)),
            "rv_err": np.full(len(mjd), 0.2),
        }
        | columns
    )


def test_moonlight_stands_at_the_barycentric_correction_within_two_km_s():
    table = visits(FULL + np.arange(0, 360, 7.3))
    velocity, lit = moonlight_velocity(table)
    off = velocity - table["bary_corr"].to_numpy()
    # Moon about Earth 1.0 km/s, Earth's eccentric orbit 0.5, rotation 0.35 at 40 degrees.
    assert np.abs(off).max() < 2
    assert np.ptp(off) > 0.5
    assert np.ptp(velocity) > 40
    assert (lit.min() < 0.05) & (lit.max() > 0.95)
    assert moonlight_velocity(visits([FULL, FULL + 15]))[1] == pytest.approx(
        [1, 0], abs=0.02
    )


def test_the_correction_is_computed_where_it_is_not_given():
    table = visits([FULL, FULL + 40])
    given = moonlight_velocity(table)[0]
    # BJD for UTC: up to ten minutes of the Earth's rotation.
    assert_allclose(moonlight_velocity(table.drop("bary_corr"))[0], given, atol=0.03)
    nowhere = table.drop("bary_corr").with_columns(telescope=pl.lit("elsewhere"))
    assert np.isnan(moonlight_velocity(nowhere)[0]).all()
    pole = moonlight_velocity(table.with_columns(telescope=pl.lit("elsewhere")))[0]
    assert_allclose(pole, given, atol=0.5)
    assert np.isnan(moonlight_velocity(table.drop("bjd"))[0]).all()


def moved(times, index, dark=False) -> pl.DataFrame:
    table = visits(times)
    moon = moonlight_velocity(table)[0][index]
    shifted = np.where(np.arange(len(table)) == index, moon, table["rv"].to_numpy())
    return table.with_columns(rv=pl.Series(shifted + (20.0 if dark else 0.0)))


def test_a_visit_at_the_velocity_of_the_moon_is_flagged_and_left_out():
    times = FULL + np.array([-60, -30, 0, 29, 59.0])
    star = find_variables(moved(times, 2)).row(0, named=True)
    assert (star["n_moonlight"], star["n_visits"]) == (1, 4)
    assert star["p_value"] > 0.001
    assert "moonlight in 1 visit" in star["evidence"]
    kept = find_variables(moved(times, 2), VariabilityOptions(use_moonlit=True))
    assert (kept["n_moonlight"][0], kept["n_visits"][0]) == (1, 5)
    assert kept["variable"][0]


def test_a_visit_elsewhere_or_under_a_new_moon_is_not():
    new = FULL + 15 + np.array([-59, -29.5, 0, 29.5, 59.0])
    assert find_variables(moved(new, 2))["n_moonlight"][0] == 0
    times = FULL + np.array([-60, -30, 0, 29, 59.0])
    other = visits(times).with_columns(
        rv=pl.when(pl.int_range(5) == 2).then(pl.col("rv") - 60).otherwise("rv")
    )
    star = find_variables(other).row(0, named=True)
    assert (star["n_moonlight"], star["variable"]) == (0, True)


def test_a_star_that_happens_to_have_the_velocity_of_the_moon_is_not():
    times = FULL + np.array([0.0, 0.04, 0.08, 1, 1.04])
    table = visits(times)
    table = table.with_columns(rv=pl.Series(moonlight_velocity(table)[0]))
    assert find_variables(table)["n_moonlight"][0] == 0


def test_a_second_star_that_follows_the_moon_is_the_moon():
    times = FULL + np.array([-59.0, -30, 0, 29, 59])
    table = visits(times)
    moon = moonlight_velocity(table)[0]
    double = table.with_columns(
        rv_2=pl.Series(moon), rv_2_err=pl.lit(1.0), status=int(Status.DOUBLE_LINED)
    )
    star = find_variables(double).row(0, named=True)
    assert not star["double_lined"]
    assert (star["n_moonlight"], star["n_double_lined"]) == (5, 0)
    # One that stays where the star is, is a star.
    still = double.with_columns(rv_2=pl.lit(float(moon[2])))
    star = find_variables(still).row(0, named=True)
    assert star["double_lined"]
    assert star["class"] == "double-lined binary"
    assert star["n_moonlight"] == 1


@pytest.mark.parametrize("named", [True, False])
def test_noon_of_greenwich_is_no_end_of_a_night(named):
    # 11:30 and 12:30 UT are one evening of China, whose Moon may be a star; a day later not.
    for later, double_lined in ((1 / 24, True), (25 / 24, False)):
        evening = np.floor(FULL) + 11.5 / 24
        table = visits(evening + np.array([0.0, later, -60, -50, -40]))
        if not named:
            table = table.drop("night")
        moon = pl.Series(moonlight_velocity(table)[0])
        two = pl.int_range(5) < 2
        table = table.with_columns(
            rv_2=pl.when(two).then(moon).otherwise(None),
            rv_2_err=pl.lit(1.0),
            status=pl.when(two).then(int(Status.DOUBLE_LINED)).otherwise(0),
        )
        star = find_variables(table).row(0, named=True)
        assert star["n_moonlight"] == 2
        assert star["double_lined"] is double_lined


def test_options_that_find_nothing_are_refused():
    with pytest.raises(ValueError, match="is never found"):
        MoonlightOptions(lit=2.0)
