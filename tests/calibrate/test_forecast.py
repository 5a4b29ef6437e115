"""The calibration of a survey that is only planned."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate.forecast import ForecastOptions, forecast_zeropoints
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.zeropoint import fit_zeropoints


def _plan(seed: int = 0, *, ties: int = 3, error: float = 0.1) -> pl.DataFrame:
    """60 stars in fibers 0 to 9, 40 in fibers 10 to 14, and ``ties`` stars in both."""
    rng = np.random.default_rng(seed)
    rows = []
    for star in range(100 + ties):
        low, high = (0, 10) if star < 60 else (10, 15)
        if star >= 100:
            low, high = 0, 15
        fibers = rng.integers(low, high, 6)
        if star >= 100:
            fibers[:2] = star % 10, 10 + star % 5
        rows += [(f"s{star}", int(fiber)) for fiber in fibers]
    frame = pl.DataFrame(rows, schema=["star_id", "fiber"], orient="row")
    spread = rng.uniform(0.5, 1.5, len(frame))
    return frame.with_columns(rv_err=pl.Series(error * spread))


def test_the_forecast_is_the_error_of_the_solution_to_come():
    plan = _plan()
    rng = np.random.default_rng(1)
    velocities = plan.with_columns(rv=pl.Series(rng.normal(0, 30, len(plan))))
    solved = fit_zeropoints(velocities, ["fiber"], "linear")
    forecast = forecast_zeropoints(plan, ["fiber"])
    assert_allclose(
        forecast.offsets["fiber"]["offset_err"], solved.offsets["fiber"]["offset_err"]
    )
    after = solved.apply(velocities)
    assert_allclose(forecast.apply(plan)["correction_err"], after["correction_err"])
    assert_allclose(forecast.apply(plan)["rv_err"], after["rv_err"])


def test_the_forecast_holds_where_stars_vary_and_errors_have_a_floor(mocks):
    options = ForecastOptions(variable_share=0.12, floor=0.04)
    visits, _ = mocks.fibers(0, 6000)
    plan = visits.drop("rv_raw")
    forecast = forecast_zeropoints(plan, ["fiber"], options).offsets["fiber"]
    found = fit_zeropoints(visits, ["fiber"]).offsets["fiber"]
    # Which binaries are lost, and how many a fiber has, is chance: 8% of a fiber's stars.
    assert_allclose(found["offset_err"], forecast["offset_err"], rtol=0.1)
    ratio = found["offset_err"].mean() / forecast["offset_err"].mean()
    assert ratio == pytest.approx(1, abs=0.03)


def test_the_weakest_link_is_the_bundle_that_few_stars_tie():
    link = forecast_zeropoints(_plan(), ["fiber"]).weak_links.row(0, named=True)
    assert (link["n_groups"], link["n_rest"], link["n_stars"]) == (5, 10, 3)
    assert link["groups"] == "fiber 10 to 14"
    # Three stars, three visits on either side of each or so, at 0.1 km/s.
    assert 0.03 < link["difference_err"] < 0.12


def test_one_more_star_buys_what_was_said():
    plan = _plan()
    before = forecast_zeropoints(plan, ["fiber"])
    tie = before.new_ties.row(0, named=True)
    fibers = [int(tie[n].removeprefix("fiber ")) for n in ("first", "second")]
    assert fibers[0] < 10 <= fibers[1]
    error = float(np.median(plan["rv_err"]))
    more = pl.DataFrame({"star_id": "new", "fiber": fibers, "rv_err": error})
    after = forecast_zeropoints(pl.concat([plan, more]), ["fiber"])

    def rms(forecast) -> float:
        return float(
            np.sqrt(np.mean(forecast.offsets["fiber"]["offset_err"].to_numpy() ** 2))
        )

    assert tie["before"] == pytest.approx(rms(before), rel=1e-6)
    # The gauge, weighted by visits, moves by the two of six hundred.
    assert tie["after"] == pytest.approx(rms(after), rel=5e-3)
    assert tie["after"] < 0.98 * tie["before"]
    # No other of the 105 pairs buys more: by the formula all, by solving three.
    matrix = before.zeropoints.covariance_of("fiber", np.arange(15))
    left = []
    for a, b in combinations(range(15), 2):
        step = matrix[a] - matrix[b]
        gain = step @ step / (2 * error**2 + step[a] - step[b])
        left.append((np.sqrt((np.trace(matrix) - gain) / 15), [a, b]))
    assert min(left)[1] == fibers
    for a, b in ((0, 1), (0, 14), (5, 12)):
        other = more.with_columns(fiber=pl.Series([a, b]))
        found = forecast_zeropoints(pl.concat([plan, other]), ["fiber"])
        assert rms(found) > rms(after) - 5e-3 * tie["before"]


def test_sets_that_no_star_ties_are_named_with_the_star_that_would():
    forecast = forecast_zeropoints(_plan(ties=0), ["fiber"])
    assert any("2 sets that no star ties" in note for note in forecast.notes)
    row = forecast.new_ties.filter(purpose="connect").row(0, named=True)
    assert np.isnan(row["before"])
    groups = {int(row[n].removeprefix("fiber ")) for n in ("first", "second")}
    assert len([g for g in groups if g < 10]) == 1
    # A star measures the difference of two fibers with two errors of 0.1.
    assert row["after"] == pytest.approx(0.15, abs=0.02)


def test_an_exposure_of_too_few_stars_is_named_with_what_it_lacks():
    plan = pl.concat(
        [_plan(), _plan(1).head(2).with_columns(fiber=pl.lit(99, pl.Int64))]
    )
    forecast = forecast_zeropoints(plan, ["fiber"])
    lost = forecast.offsets["fiber"].filter(fiber=99)
    assert np.isnan(lost["offset_err"].item())
    assert any(
        "fiber 99 (1 star)" in n and "needs 3 stars" in n for n in forecast.notes
    )
    assert forecast.apply(plan)["correction_err"].to_numpy()[-1] == pytest.approx(0.1)


def test_several_families_are_forecast_together(mocks):
    plan = mocks.field(0, stars=60, exposures=6).drop("rv_raw")
    plan = plan.with_columns(fiber=pl.col("fiber") % 7)
    forecast = forecast_zeropoints(plan, ["exposure_id", "field,fiber"])
    assert set(forecast.weak_links["family"]) == {"exposure_id"}
    # Every star keeps its fiber: nothing can be said of fibers.
    assert forecast.offsets["field+fiber"]["offset_err"].is_nan().all()
    assert any("7 of the 7 offsets of field+fiber" in note for note in forecast.notes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: p.drop("rv_err"), "has no errors"),
        (lambda p: p.drop("star_id"), "no column star_id"),
        (lambda p: p.drop("fiber"), "no column fiber"),
        (lambda p: p.with_columns(rv_err=pl.lit("?")), "should hold numbers"),
        (lambda p: p.with_columns(rv_err=pl.lit(-1.0)), "no velocity errors|no errors"),
    ],
)
def test_plans_without_sense_are_refused(change, sentence):
    with pytest.raises(CalibrationError, match=sentence):
        forecast_zeropoints(change(_plan()), ["fiber"])


@pytest.mark.parametrize("bad", [{"variable_share": 1.0}, {"floor": -1.0}])
def test_assumptions_without_sense_are_refused(bad):
    with pytest.raises(CalibrationError, match=next(iter(bad))):
        ForecastOptions(**bad)


def test_a_plan_of_nothing_is_no_trouble():
    forecast = forecast_zeropoints(_plan().clear(), ["fiber"])
    assert len(forecast.offsets["fiber"]) == 0
    assert len(forecast.weak_links) == 0
