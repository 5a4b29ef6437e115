"""Tables and wishes that nobody plans for, in Python: an answer or a sentence."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from steadystar.calibrate.errors import ErrorModel, fit_error_model
from steadystar.calibrate.forecast import forecast_zeropoints
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.standards import compare_with_standards
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status


def field(stars: int = 40, groups: int = 6) -> pl.DataFrame:
    """Constant stars in groups whose zero points differ by 0.5 km/s."""
    rng = np.random.default_rng(0)
    star, group = (x.ravel() for x in np.indices((stars, groups)))
    zero, velocity = rng.normal(0, 0.5, groups), rng.normal(0, 30, stars)
    return pl.DataFrame(
        {
            "star_id": [f"s{i}" for i in star],
            "telescope": [f"T{g}" for g in group],
            "spectrograph": group,
            "rv": velocity[star] + zero[group] + rng.normal(0, 0.1, len(star)),
            "rv_err": np.full(len(star), 0.1),
        }
    )


STANDARDS = field().unique("star_id", maintain_order=True).select("star_id", "rv")


def test_a_velocity_beyond_light_is_no_velocity_and_spoils_no_other():
    visits = field()
    wild = visits.with_columns(
        rv=pl.when(pl.int_range(pl.len()) == 3).then(1e20).otherwise("rv")
    )
    without = visits.with_columns(
        rv=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("rv")
    )
    zero, expected = (fit_zeropoints(v, ["spectrograph"]) for v in (wild, without))
    columns = ["spectrograph", "offset", "offset_err"]
    assert_frame_equal(
        zero.offsets["spectrograph"].select(columns),
        expected.offsets["spectrograph"].select(columns),
        # Weights of the gauge differ by the one visit that has a number.
        abs_tol=5e-3,
    )
    assert (
        "1 of 240 visits stay out of the solution: their velocity is beyond"
        in (zero.notes[0])
    )


def test_flags_that_another_program_made_floats_are_flags():
    bad = float(Status.USER_EXCLUDED)
    flag = pl.when(pl.col("spectrograph") == 2).then(bad)
    visits = field().with_columns(status=flag.otherwise(float("nan")))
    zero = fit_zeropoints(visits, ["spectrograph"])
    assert zero.notes[0].startswith("40 of 240 visits stay out")
    status = zero.apply(visits)["status"].to_numpy()
    assert ((status & int(bad)) != 0).sum() == 40


def test_many_telescopes_are_compared_in_few_notes():
    zero = fit_zeropoints(field(groups=9), ["telescope"])
    told = [note for note in zero.notes if " m/s " in note and " reads " in note]
    assert len(told) == 6
    found = zero.compare("telescope")
    sigma = (found["difference"] / found["difference_err"]).abs()
    row = found.row(int(sigma.arg_max()), named=True)
    assert told[0].startswith(f"telescope {row['first']} reads")
    assert f"than {row['second']}:" in told[0]
    assert zero.notes[-1].startswith("30 more pairs of telescope")


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (["spectrograph"], "their visits are UNCALIBRATED"),
        (["spectrograph", "telescope"], "where no other offset corrects them, are"),
    ],
)
def test_a_missing_offset_says_what_becomes_of_its_visits(by, words):
    visits = field().with_columns(spectrograph=pl.col("star_id"))
    zero = fit_zeropoints(visits, by)
    missing = [note for note in zero.notes if note.startswith("None of the 40")]
    assert len(missing) == 1
    assert words in missing[0]
    status = zero.apply(visits)["status"].to_numpy()
    lost = (status & int(Status.UNCALIBRATED)) != 0
    assert lost.all() == (len(by) == 1)
    assert lost.any() == (len(by) == 1)


def test_an_error_model_of_an_enumeration_is_kept(tmp_path):
    kind = pl.Enum([f"T{n}" for n in range(6)])
    visits = field().with_columns(pl.col("telescope").cast(kind))
    model = fit_error_model(visits, by=["telescope"])
    model.save(tmp_path / "errors.json")
    again = ErrorModel.load(tmp_path / "errors.json")
    assert_frame_equal(again.table, model.table)
    assert_frame_equal(again.apply(visits), model.apply(visits))


def test_errors_by_columns_in_one_word():
    visits = field()
    one = fit_error_model(visits, by="telescope,spectrograph")
    assert one.by == ("telescope", "spectrograph")
    assert_frame_equal(
        one.table, fit_error_model(visits, by=["telescope", "spectrograph"]).table
    )


def test_groups_of_standards_may_be_numbers_and_columns_one_word():
    tie = compare_with_standards(field(), STANDARDS, by=["spectrograph"])
    offset = tie.groups["offset"]
    assert tie.difference(1, 2)[2] == 40
    # With 40 standards in both, star by star; it agrees within its error.
    assert abs(tie.difference(1, 2)[0] - (offset[1] - offset[2])) < 0.1
    with pytest.raises(CalibrationError, match="no group 77"):
        tie.difference(1, 77)
    twice = compare_with_standards(field(), STANDARDS, by="spectrograph,spectrograph")
    assert_frame_equal(twice.groups, tie.groups)


@pytest.mark.parametrize(
    ("visits", "standards"),
    [
        (field(), STANDARDS.clear()),
        (field().with_columns(star_id=pl.lit(None, pl.String)), STANDARDS),
    ],
)
def test_nothing_to_compare_is_said(visits, standards):
    with pytest.raises(CalibrationError, match="nothing to compare"):
        compare_with_standards(visits, standards)


def test_one_star_is_one_star():
    plan = field().vstack(
        field().head(1).with_columns(spectrograph=pl.lit(99, pl.Int64))
    )
    notes = forecast_zeropoints(plan, ["spectrograph"]).notes
    assert "spectrograph 99 (1 star)." in notes[0]
