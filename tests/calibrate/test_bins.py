"""Families of bins: a drift in time, a bundle of fibers."""

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.bins import with_bins
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.zeropoint import ZeroPoints, fit_zeropoints


def _drifting_night(seed: int = 0) -> pl.DataFrame:
    """Three nights of 120 exposures with one or two stars each; 2 km/s of drift."""
    rng = np.random.default_rng(seed)
    exposures, stars = 360, 25
    night = np.repeat(np.arange(3), 120)
    time = 60000 + night + np.tile(np.arange(120) / 120 * 0.4, 3)
    drift = (1 + night) * (time - 60000 - night - 0.2) * 2.5
    star = rng.integers(0, stars, (exposures, 2))
    exposure = np.repeat(np.arange(exposures), 2)
    star = star.ravel()
    rv = rng.normal(0, 30, stars)[star] + drift[exposure]
    return pl.DataFrame(
        {
            "star_id": star,
            "exposure_id": exposure,
            "night": night[exposure],
            "bjd": time[exposure],
            "rv": rv + rng.normal(0, 0.05, len(star)),
            "rv_err": 0.05,
            "true_zero": drift[exposure],
        }
    )


def _miss(visits: pl.DataFrame, by: str) -> float:
    out = fit_zeropoints(visits, [by]).apply(visits)
    miss = out["correction"].to_numpy() - visits["true_zero"].to_numpy()
    return float(np.median(np.abs(miss - np.median(miss))))


def test_a_slow_drift_is_found_where_exposures_have_too_few_stars():
    visits = _drifting_night()
    alone, binned = _miss(visits, "exposure_id"), _miss(visits, "night,bjd@30min")
    # No exposure has three stars, so that the drift stays; half an hour has ten stars
    # and drifts by 0.05 to 0.16 km/s.
    assert alone > 0.3
    assert binned < 0.04


def test_bins_are_named_by_their_lower_edge():
    visits = pl.DataFrame(
        {"bjd": [0.0, 0.49, 0.5, -0.1, None, np.inf], "fiber": [1] * 6}
    )
    out = with_bins(visits, ["bjd@12h", "fiber@30", "fiber"])
    assert out["bjd@12h"].to_list() == [0.0, 0.0, 0.5, -0.5, None, None]
    assert out["fiber@30"].to_list() == [0.0] * 6


def test_offsets_in_bins_correct_another_table(tmp_path):
    visits = _drifting_night()
    zero = fit_zeropoints(visits, ["night,bjd@30min"])
    zero.save(tmp_path / "zero")
    again = ZeroPoints.load(tmp_path / "zero").apply(visits.head(50))
    here = zero.apply(visits).head(50)
    assert here["correction"].abs().max() > 0.3
    for column in ("correction", "correction_err", "rv", "rv_err", "status"):
        assert again[column].equals(here[column])
    assert "bjd@30min" not in again.columns


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("bjd@", "how wide"),
        ("bjd@0", "how wide"),
        ("bjd@3weeks", "how wide"),
        ("@3", "how wide"),
        ("mjd@1h", "no column mjd"),
        ("arm@2", "no numbers"),
    ],
)
def test_bins_without_sense_are_refused(column, sentence):
    visits = _drifting_night().with_columns(arm=pl.lit("red"))
    with pytest.raises(CalibrationError, match=sentence):
        fit_zeropoints(visits, [column])
