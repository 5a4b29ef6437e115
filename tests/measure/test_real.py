"""What the real LAMOST files must give, whatever else changes."""

import numpy as np
import polars as pl
import pytest

from steadystar.data.match import assign_stars
from steadystar.data.spectra import Spectra
from steadystar.data.status import FATAL, Status
from steadystar.measure.relative import measure_relative
from steadystar.survey.registry import read


@pytest.fixture(scope="module")
def found(real_data):
    seen = [read(path) for path in sorted((real_data / "lamost_mrs").iterdir())]
    visits = assign_stars(pl.concat([one.visits for one in seen]))
    spectra = Spectra.concatenate([one.spectra for one in seen])
    return measure_relative(visits, spectra).table


def of(found, field, arm):
    return found.filter((pl.col("field") == field) & (pl.col("arm") == arm))


@pytest.mark.parametrize("arm", ["blue", "red"])
def test_bad_nights_keep_their_rows_and_say_why(found, arm):
    night = found.filter(
        (pl.col("field") == "HIP95119KP01") & (pl.col("night") == 58268), arm=arm
    )
    assert len(night) == 9
    assert night["rv_raw"].is_nan().all()
    assert ((night["status"] & int(FATAL)) != 0).all()


@pytest.mark.parametrize("arm", ["blue", "red"])
def test_good_nights_of_the_binary_have_velocities_in_both_arms(found, arm):
    binary = found.filter(pl.col("field") != "TD230151N343645T01", arm=arm)
    by_night = {
        night: rows["rv_raw"].drop_nans().to_numpy()
        for (night,), rows in binary.group_by("night")
    }
    assert {night: len(v) for night, v in by_night.items()} == {
        58268: 0,
        58270: 4,
        58625: 2,
        58644: 4,
        58646: 3,
    }
    # The brighter star is at opposite extremes on the nights when the lines are split.
    assert by_night[58646].mean() - by_night[58644].mean() > 80
    # In the hour of a night it moves by 1 to 8 km/s, in both arms alike.
    for velocities in by_night.values():
        assert np.ptp(velocities) < 10 if len(velocities) else True


@pytest.mark.parametrize("arm", ["blue", "red"])
def test_the_binary_shows_two_velocities_of_opposite_sign_when_split(found, arm):
    binary = found.filter(pl.col("field") != "TD230151N343645T01", arm=arm)
    for night, sign, number in ((58644, -1, 4), (58646, 1, 3)):
        split = binary.filter(pl.col("rv_raw").is_finite(), night=night)
        assert len(split) == number
        assert ((split["status"] & int(Status.DOUBLE_LINED)) != 0).all()
        assert (sign * split["rv_raw"] > 30).all()
        assert (sign * split["rv_2"] < -40).all()
        assert split["light_ratio"].is_between(0.2, 0.7).all()
    steady = found.filter(pl.col("field") == "TD230151N343645T01", arm=arm)
    assert ((steady["status"] & int(Status.DOUBLE_LINED)) == 0).all()


@pytest.mark.parametrize(("arm", "scatter"), [("blue", 0.12), ("red", 0.27)])
def test_the_steady_star_scatters_by_its_exposures_zero_points(found, arm, scatter):
    star = of(found, "TD230151N343645T01", arm)
    assert len(star) == 7
    # More than the formal errors in the red: a real exposure-to-exposure term, which one
    # star alone cannot calibrate. The number is what these files gave when first read.
    assert star["rv_raw"].std() == pytest.approx(scatter, abs=0.03)
    assert star["rv_raw_err"].max() < 0.16
    # On the pixels as recorded the file's inverse variance is right to a few percent.
    assert star["ivar_scale"].to_list() == pytest.approx([0.98] * 7, abs=0.07)


def test_no_velocity_follows_a_cosmic_ray(found):
    star = of(found, "TD230151N343645T01", "red")
    hit = (star["status"] & int(Status.COSMIC_RAYS)) != 0
    assert hit.any()
    assert star.filter(hit)["rv_raw"].abs().max() < 0.6
