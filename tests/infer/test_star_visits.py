import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from steadystar.data.status import Status
from steadystar.infer.star_visits import count_nights, night_runs, usable_visits


def table(**columns) -> pl.DataFrame:
    given = {
        "star_id": ["b", "b", "a", "a", "a", None],
        "visit_id": list("uvwxyz"),
        "rv": [1.0, 2.0, 3.0, 4.0, np.nan, 5.0],
        "rv_err": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    }
    return pl.DataFrame(given | columns)


def test_rows_that_cannot_be_compared_are_left_out_and_the_order_is_kept():
    status = [0, int(Status.TWO_MINIMA), 0, int(Status.UNCALIBRATED), 0, 0]
    found = usable_visits(table(status=status))
    assert found["visit_id"].to_list() == ["u", "w", "x"]
    assert found["row"].to_list() == [0, 2, 3]
    assert found["star"].to_list() == [1, 0, 0]
    everything = usable_visits(table(status=status), Status.TWO_MINIMA)
    assert everything["visit_id"].to_list() == ["u", "v", "w", "x"]


def test_velocities_that_are_not_calibrated_yet_count_as_measured():
    nan = float("nan")
    measured = pl.DataFrame(
        {
            "star_id": ["a", "a"],
            "rv_raw": [1.0, 2.0],
            "rv_raw_err": [0.1, 0.2],
            "rv": [nan, nan],
            "rv_err": [nan, nan],
        }
    )
    found = usable_visits(measured)
    assert found["rv"].to_list() == [1.0, 2.0]
    assert found["rv_err"].to_list() == pytest.approx([0.1, 0.2])


def test_the_common_part_of_the_error_is_taken_out():
    found = usable_visits(table(correction_common_err=[0.3, 0.4, 0.0, None, 0.3, 0.3]))
    assert_allclose(found["rv_err"], [0.4, 0.3, 0.5, 0.5], rtol=1e-12)
    assert_allclose(found["rv_common_err"], [0.3, 0.4, 0.0, 0.0])


def test_a_second_star_is_corrected_as_the_first():
    found = usable_visits(
        table(
            rv_raw=[11.0, 12.0, 13.0, 14.0, 15.0, 16.0],
            rv_2=[50.0, None, 60.0, 70.0, 0.0, 0.0],
            rv_2_err=[0.4] * 6,
            correction=[10.0] * 6,
            correction_err=[0.3] * 6,
        )
    )
    assert_allclose(found["rv_2"], [40.0, np.nan, 50.0, 60.0])
    assert_allclose(found["rv_2_err"], [0.5, np.nan, 0.5, 0.5])
    assert found["double_lined"].to_list() == [True, False, True, True]
    assert_allclose(found["rv_raw"], [11.0, 12.0, 13.0, 14.0])


def test_arms_of_relative_velocities_have_zeros_of_their_own():
    arm = ["blue", "red", "red", "blue", "red", "red"]
    assert usable_visits(table(arm=arm))["zero"].to_list() == [0, 0, 0, 0]
    relative = usable_visits(table(arm=arm, reference_visit_id=list("rrssst")))
    zero = dict(relative.select("visit_id", "zero").iter_rows())
    assert {zero["u"], zero["v"]} == {0, 1}
    assert {zero["w"], zero["x"]} == {0, 1}


def test_nights_have_names_or_are_divided_by_gaps():
    # From 11 to 20 UT, an evening and a morning of China; then the next evening.
    t = 2_458_000.0 + np.array([0.34, np.nan, -0.04, 0.9, 0.1])
    assert night_runs(t).tolist() == [0, -1, 0, 1, 0]
    assert night_runs(t, np.array([0, 0, 0, 1, 1])).tolist() == [0, -1, 0, 2, 1]
    visits = pl.DataFrame(
        {"star_id": list("aaabb"), "bjd": t, "rv": [1.0] * 5, "rv_err": [0.1] * 5}
    )
    assert count_nights(usable_visits(visits), 2).tolist() == [1, 2]
    # A name counts without a time, and goes to visits beside those that have it.
    named = visits.with_columns(night=pl.Series([7, 9, None, None, 7]))
    assert count_nights(usable_visits(named), 3).tolist() == [2, 2, 0]
    text = named.with_columns(pl.col("night").cast(pl.String))
    assert count_nights(usable_visits(text), 2).tolist() == [2, 2]
    assert count_nights(usable_visits(visits).clear(), 2).tolist() == [0, 0]


def test_what_comes_from_here_may_come_again():
    once = usable_visits(
        table(correction_common_err=[0.3] * 6, correction=[1.0] * 6, rv_2=[9.0] * 6)
    )
    assert_frame_equal(usable_visits(once), once)
    assert_frame_equal(usable_visits(once.filter(pl.col("star") == 0)), once[2:])


def test_a_table_without_stars_says_what_it_needs():
    with pytest.raises(ValueError, match="no column star_id"):
        usable_visits(table().drop("star_id"))
