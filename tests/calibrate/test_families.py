"""Where no families of offsets are named, each survey has its usual ones."""

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.families import (
    USUAL,
    families_by_survey,
    with_usual_families,
)
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.pipeline.gathering import fit_by_survey


def field(survey: str | None, seed: int = 1) -> pl.DataFrame:
    """Twelve constant stars, six exposures or fibers that differ by 0.4 km/s."""
    rng = np.random.default_rng(seed)
    star, group = (x.ravel() for x in np.indices((12, 6)))
    zero = 0.4 * (group - 2.5)
    return pl.DataFrame(
        {
            "star_id": [f"{survey}-{i}" for i in star],
            "survey": pl.Series([survey] * len(star), dtype=pl.String),
            "telescope": ["t"] * len(star),
            "fiber": group,
            "spectrograph": [1] * len(star),
            "arm": ["red"] * len(star),
            "exposure_id": [f"e{g}" for g in group],
            "rv_raw": rng.normal(0, 20, 12)[star] + zero + rng.normal(0, 0.05, 72),
            "rv_raw_err": [0.05] * len(star),
        }
    )


@pytest.mark.parametrize(
    ("survey", "family"),
    [
        ("apogee", "telescope+fiber"),
        ("sdss-v", "telescope+fiber"),
        ("lamost-mrs", "spectrograph+arm+exposure_id"),
        ("lamost-lrs", "spectrograph+arm+exposure_id"),
        ("desi", "spectrograph+exposure_id"),
    ],
)
def test_a_survey_is_solved_by_its_usual_family(survey, family):
    found = fit_zeropoints(field(survey))
    assert list(found.offsets) == [family]
    # Errors of 0.05 and twelve stars a group: 0.014 km/s an offset.
    expected = 0.4 * (np.arange(6) - 2.5)
    assert np.abs(found.offsets[family]["offset"] - expected).max() < 5 * 0.014


def test_named_families_go_before_usual_ones():
    found = fit_zeropoints(field("apogee"), ["exposure_id"])
    assert list(found.offsets) == ["exposure_id"]


def test_of_an_unknown_survey_only_the_columns_of_lamost_are_taken_and_said_so():
    table = field("mine")
    found = fit_zeropoints(table)
    assert list(found.offsets) == ["spectrograph+arm+exposure_id"]
    assert "of mine are not known" in found.notes[0]
    with pytest.raises(CalibrationError, match="--by telescope,fiber"):
        fit_zeropoints(table.drop("arm"))


def test_a_usual_column_that_is_missing_is_named():
    with pytest.raises(CalibrationError, match=r"telescope\+fiber, but .* telescope"):
        fit_zeropoints(field("apogee").drop("telescope"))


def test_surveys_that_differ_are_refused_as_one_table():
    both = pl.concat([field("apogee"), field("lamost-mrs")])
    with pytest.raises(CalibrationError, match=r"apogee, lamost-mrs.*by itself"):
        fit_zeropoints(both)
    alike = pl.concat([field("apogee"), field("sdss-v")])
    assert with_usual_families(alike, ZeroPointOptions())[0].by == USUAL["apogee"].by


def test_a_run_solves_surveys_apart_and_keeps_the_order_of_rows():
    apogee, lamost = field("apogee"), field("lamost-mrs", 2)
    both = pl.concat([apogee, lamost]).sample(fraction=1, shuffle=True, seed=3)
    out, parts, notes = fit_by_survey(both, ZeroPointOptions())
    assert out["star_id"].to_list() == both["star_id"].to_list()
    assert {name for part in parts for name in part.offsets} == {
        "telescope+fiber",
        "spectrograph+arm+exposure_id",
    }
    assert "solved apart" in notes[0]
    alone = fit_zeropoints(apogee).apply(apogee)
    key = ["star_id", "fiber"]
    mine = out.filter(survey="apogee").sort(key)
    assert np.allclose(mine["rv"], alone.sort(key)["rv"], atol=1e-12)


def test_visits_of_no_known_survey_come_by_telescope():
    table = pl.concat([field(None), field("fits"), field("apogee")])
    groups = families_by_survey(table)
    assert groups[("telescope",),] == [None, "fits"]
    assert groups[("telescope", "fiber"),] == ["apogee"]


def test_an_undetermined_fiber_has_the_width_of_fibers_not_of_exposures():
    one = field("apogee").filter(pl.col("star_id") == "apogee-0")
    out = fit_zeropoints(one).apply(one)
    # Xiong et al. 2021: 0.1 km/s from fiber to fiber; 0.5 is LAMOST's per exposure.
    assert out["correction_err"].to_list() == [0.1] * 6
    assert np.allclose(out["rv_err"], np.hypot(0.05, 0.1))


def test_a_width_that_was_chosen_stays():
    one = field("desi").filter(pl.col("star_id") == "desi-0")
    for options, width in (
        (ZeroPointOptions(), USUAL["desi"].width),
        (ZeroPointOptions(prior_width=0.3), 0.3),
    ):
        out = fit_zeropoints(one, options=options).apply(one)
        assert out["correction_err"][0] == width


@pytest.mark.parametrize("by", ["rv", "rv_raw_err", "star_id", "status", "correction"])
def test_what_is_no_group_is_refused(by):
    with pytest.raises(CalibrationError, match=f"Offsets by {by} have no meaning"):
        fit_zeropoints(field("apogee"), [by])


def test_bins_of_a_velocity_are_no_groups_either():
    with pytest.raises(CalibrationError, match="Offsets by rv_raw have no meaning"):
        fit_zeropoints(field("apogee"), ["rv_raw@5"])


@pytest.mark.parametrize("by", ["offset", "component", "n_stars"])
def test_a_group_named_like_a_result_is_refused(by):
    table = field("apogee").rename({"fiber": by})
    with pytest.raises(CalibrationError, match=f"group={by}"):
        fit_zeropoints(table, [by])


def test_every_usual_family_says_why():
    assert all(len(usual.source) > 20 for usual in USUAL.values())
