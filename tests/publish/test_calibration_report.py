"""What the report says of a calibration is what the calibration did."""

import base64
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.errors import fit_error_model
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data import schema
from steadystar.data.status import Status
from steadystar.infer.summary import summarize_stars
from steadystar.publish.comparison import compare_methods, differences, same_velocities
from steadystar.publish.facts import gather
from steadystar.publish.figures.constancy import variability
from steadystar.publish.figures.error_models import error_model_figure
from steadystar.publish.figures.errors import pulls
from steadystar.publish.figures.fibers import fiber_remainders
from steadystar.publish.figures.offset_times import offset_times
from steadystar.publish.figures.precision import precision_by_snr, star_scatters
from steadystar.publish.figures.runs import precision_by_run
from steadystar.publish.figures.ties import shared_stars, ties
from steadystar.publish.figures.zeropoints import offset_figures
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import robust_width
from steadystar.publish.offset_lists import (
    component_listing,
    set_aside_listing,
    telescope_listing,
)
from steadystar.publish.plot import Axis, Line, Matrix, Missing, Panel, Points
from steadystar.publish.report import write_report
from steadystar.publish.web import panel_spec

OPTIONS = ReportOptions()
QUICK = ReportOptions(star_pages=0, paper_figures=False)


def _mocks():
    path = Path(__file__).parents[1] / "calibrate" / "mocks.py"
    spec = importlib.util.spec_from_file_location("calibration_mocks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MOCKS = _mocks()


def calibrated(visits: pl.DataFrame, by) -> ReportInputs:
    """A table calibrated and brought into the form of a report."""
    zero = fit_zeropoints(visits, by=by)
    table = zero.apply(visits)
    model = fit_error_model(table)
    table = model.apply(table)
    table = schema.conform(table, "velocities", keep_dtype=tuple(table.columns))
    return ReportInputs(
        velocities=table,
        stars=summarize_stars(table),
        offsets=zero.offsets,
        zeropoints=zero,
        error_model=model,
    )


@pytest.fixture(scope="module")
def roaming() -> tuple[ReportInputs, dict]:
    """60 fibers in two bundles, and the truth."""
    visits, truth = MOCKS.fibers(3, 1500, 60)
    return calibrated(visits, ["fiber"]), truth


@pytest.fixture(scope="module")
def two_sets() -> ReportInputs:
    """Two fields that share no star, on four nights, seen from China: around noon UT."""
    fields = [MOCKS.field(i, stars=50, name=name) for i, name in enumerate("fg")]
    visits = pl.concat(fields)
    number = pl.col("exposure_id").str.slice(1).cast(pl.Int64)
    # Three exposures a night, an hour apart, before and after noon of Greenwich.
    bjd = 2_458_400.0 + number // 3 + (number % 3 - 1) / 24
    visits = visits.with_columns(bjd=bjd, snr=10 / pl.col("rv_raw_err"))
    return calibrated(visits, ["spectrograph,arm,exposure_id"])


def marks(figure, kind):
    return [m for panel in figure.panels for m in panel.marks if isinstance(m, kind)]


def test_the_map_counts_stars_not_visits():
    star = np.array([0, 0, 0, 1, 1, 2, 2, -1, 3])
    group = np.array([0, 0, 1, 0, 1, 1, 2, 2, -1])
    # Star 0 (twice in group 0) and star 1 are in 0 and 1; star 2 is in 1 and 2.
    assert shared_stars(star, group, 3).tolist() == [[2, 2, 0], [2, 3, 1], [0, 1, 1]]


def test_the_map_shows_the_constant_stars_that_fibers_share(roaming):
    inputs, _ = roaming
    facts = gather(inputs)
    (figure,) = ties(facts, inputs)
    counts, correlation = marks(figure, Matrix)
    rows = facts.visits.filter("steady").group_by("star_id").agg(pl.col("fiber"))
    fibers = [set(f) for f in rows["fiber"].to_list()]
    assert counts.z[3, 7] == sum({3, 7} <= f for f in fibers) > 0
    assert counts.z[5, 5] == sum(5 in f for f in fibers)
    covariance = inputs.zeropoints.covariance_of("fiber", [3, 7])
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert correlation.z[3, 7] == pytest.approx(expected)
    assert np.isnan(np.diag(correlation.z)).all()
    # Few stars change the bundle: its fibers are known together.
    bundle = correlation.z[:30, :30][~np.eye(30, dtype=bool)]
    assert bundle.min() > correlation.z[:30, 30:].max()


def test_the_arms_of_a_relative_velocity_are_no_tie():
    velocities = pl.DataFrame(
        {
            "star_id": ["a"] * 4 + ["b"] * 4,
            "arm": ["blue", "red"] * 4,
            "exposure_id": ["1", "1", "2", "2"] * 2,
            "rv_raw": [0.0, 0.0, 1.0, 2.0] * 2,
            "rv_raw_err": [0.1] * 8,
            "reference_visit_id": ["b1", "r1"] * 4,
        }
    )
    table = velocities.select("arm", "exposure_id").unique(maintain_order=True)
    table = table.with_columns(offset=pl.Series([0.0, 0.0, 1.0, 2.0]))
    inputs = ReportInputs(velocities=velocities, offsets={"arm+exposure_id": table})
    (figure,) = ties(gather(inputs), inputs)
    (counts,) = marks(figure, Matrix)
    assert counts.z.tolist() == [[2, 0, 2, 0], [0, 2, 0, 2]] * 2


def test_connected_sets_stand_together_and_are_parted(two_sets):
    (figure,) = ties(gather(two_sets), two_sets)
    counts, correlation = marks(figure, Matrix)
    assert counts.starts == (10,)
    for mark in (counts, correlation):
        assert not mark.z[:10, 10:].any()
    assert counts.z[:10, :10].all()
    assert "in 2 connected sets" in figure.here


def test_many_offsets_share_rows_and_no_star_is_lost():
    n = 700
    velocities = pl.DataFrame(
        {
            # Every star is seen in two neighboring exposures.
            "star_id": np.repeat(np.arange(n - 1), 2),
            "exposure_id": (np.arange(n - 1)[:, None] + [0, 1]).ravel(),
            "rv_raw": np.zeros(2 * n - 2),
            "rv_raw_err": np.ones(2 * n - 2),
        }
    )
    table = pl.DataFrame({"exposure_id": np.arange(n), "offset": np.zeros(n)})
    inputs = ReportInputs(velocities=velocities, offsets={"exposure_id": table})
    (figure,) = ties(gather(inputs), inputs)
    (counts,) = marks(figure, Matrix)
    # Three neighbors a row: 234 rows. Each pair of rows shares the star in between.
    assert counts.z.shape == (234, 234)
    assert np.diag(counts.z, 1).tolist() == [1] * 233
    assert counts.names[0] == "0 to 2"
    assert "A row is 3 neighbors" in figure.shows


def test_one_great_set_among_thousands_keeps_the_map_small():
    velocities = pl.DataFrame(
        {"star_id": ["a"], "exposure_id": [0], "rv_raw": [0.0], "rv_raw_err": [1.0]}
    )
    part = np.concatenate([np.zeros(2000, int), np.arange(1, 3000)])
    table = pl.DataFrame({"exposure_id": np.arange(part.size), "component": part})
    table = table.with_columns(offset=pl.lit(0.0))
    inputs = ReportInputs(velocities=velocities, offsets={"exposure_id": table})
    (figure,) = ties(gather(inputs), inputs)
    (counts,) = marks(figure, Matrix)
    # 29 sets of one exposure, and 250 rows of 8.
    assert counts.z.shape == (279, 279)
    assert "Of 3,000 sets the 30 largest are drawn. A row is 8" in figure.shows


def test_of_many_small_sets_the_largest_are_drawn_whole():
    # 200 sets of two or three exposures, three stars each.
    size = np.where(np.arange(200) < 60, 3, 2)
    exposure = np.arange(size.sum())
    part = np.repeat(np.arange(200), size)
    star = (3 * part[:, None] + np.arange(3)).ravel()
    velocities = pl.DataFrame(
        {
            "star_id": star,
            "exposure_id": np.repeat(exposure, 3),
            "rv_raw": np.zeros(star.size),
            "rv_raw_err": np.ones(star.size),
        }
    )
    zeros = np.zeros(exposure.size)
    table = pl.DataFrame({"exposure_id": exposure, "offset": zeros, "component": part})
    inputs = ReportInputs(velocities=velocities, offsets={"exposure_id": table})
    (figure,) = ties(gather(inputs), inputs)
    (counts,) = marks(figure, Matrix)
    # All 60 sets of three, and as many of two as fit into 300 rows.
    assert counts.z.shape == (300, 300)
    assert len(counts.starts) + 1 == 60 + 60
    assert counts.z[:3, :3].tolist() == [[3] * 3] * 3
    assert counts.z[180:182, 180:182].tolist() == [[3] * 2] * 2
    assert counts.z.sum() == 3 * (60 * 9 + 60 * 4)
    assert "Of 200 sets the 120 largest are drawn." in figure.shows
    assert "460 zero points in 200 connected sets" in figure.here


def test_a_map_on_the_page_holds_the_counts_and_tells_equal_names_apart():
    z = np.array([[5, 0, 70_000], [0, 3, 1], [70_000, 1, 1]], float)
    names = ("a<b>", "a<b>", "a<b> (2)")
    panel = Panel(Axis("x"), Axis("y"), (Matrix(names, z, "stars", counts=True),))
    (trace,) = panel_spec(panel)["data"]
    data = trace["customdata"]
    assert data["dtype"] == "u4"
    held = np.frombuffer(base64.b64decode(data["bdata"]), "<u4").reshape(3, 3)
    assert held.tolist() == z.astype(int).tolist()
    steps = np.frombuffer(base64.b64decode(trace["z"]["bdata"]), "u1").reshape(3, 3)
    assert steps[0, 1] == 0
    assert steps[1, 2] == 1
    assert steps[0, 2] == 255
    assert len(set(trace["y"])) == 3
    assert not any("<" in name for name in trace["y"])


def test_exposures_stand_at_their_times_with_their_errors(two_sets):
    (figure,) = offset_times(gather(two_sets), two_sets.offsets)
    (points,) = marks(figure, Points)
    table = next(iter(two_sets.offsets.values()))
    number = table["exposure_id"].str.slice(1).cast(pl.Int64)
    days = (400 + number // 3 + (number % 3 - 1) / 24).to_numpy()
    order = np.argsort(days, kind="stable")
    assert np.sort(points.x) == pytest.approx(days[order], abs=1e-6)
    assert sorted(points.y) == pytest.approx(sorted(table["offset"]))
    assert sorted(points.error) == pytest.approx(sorted(table["offset_err"]))


def test_fibers_are_no_moments_in_time(roaming):
    inputs, _ = roaming
    days = pl.int_range(pl.len()) % 50 + 2_458_000.0
    velocities = inputs.velocities.with_columns(bjd=days)
    facts = gather(replace(inputs, velocities=velocities))
    assert offset_times(facts, inputs.offsets) == []


def test_fibers_of_two_telescopes_have_a_panel_each_with_errors():
    table = pl.DataFrame(
        {
            "telescope": ["apo"] * 3 + ["lco"] * 3,
            "fiber": [10, 20, 30] * 2,
            "offset": [0.1, 0.2, 0.3, -0.1, None, 0.4],
            "offset_err": [0.01, 0.02, 0.03, 0.04, None, 0.06],
        }
    )
    facts = gather(ReportInputs(velocities=pl.DataFrame()))
    (figure,) = offset_figures(facts, {"telescope+fiber": table})
    apo, lco = marks(figure, Points)
    assert apo.x.tolist() == lco.x.tolist() == [10, 20, 30]
    assert apo.error.tolist() == [0.01, 0.02, 0.03]
    assert [panel.title for panel in figure.panels] == ["apo", "lco"]


def undetermined_exposure() -> ReportInputs:
    """A field in which exposure f03 has but one star, and another a lamp that jumps."""
    visits = MOCKS.field(5, stars=40, exposures=12, spread=0.2)
    lone = (pl.col("exposure_id") == "f03") & (pl.col("star_id") != "f020")
    shift = pl.when(pl.col("exposure_id") == "f07").then(6.5).otherwise(0.0)
    visits = visits.filter(~lone).with_columns(pl.col("rv_raw") + shift)
    return calibrated(visits, ["spectrograph,arm,exposure_id"])


def test_an_undetermined_exposure_is_listed_with_its_reason():
    inputs = undetermined_exposure()
    listing = set_aside_listing(inputs.offsets, OPTIONS)
    rows = {row[1]: row for row in listing.rows}
    assert set(rows) == {
        f"spectrograph 4, red arm, exposure {e}" for e in ("f03", "f07")
    }
    lost = rows["spectrograph 4, red arm, exposure f03"]
    assert "too few constant stars" in lost[2]
    assert lost[3:6] == ("\N{EN DASH}", "1", "1")
    lamp = rows["spectrograph 4, red arm, exposure f07"]
    assert "change of the arc lamp" in lamp[2]
    assert lamp[4:6] == ("40", "40")
    assert "stay as measured" in listing.note


def test_every_reason_has_words_of_its_own():
    flags = [
        Status.PLATE_REFUSED | Status.UNCALIBRATED,
        Status.INCONSISTENT_SCATTER | Status.UNCALIBRATED,
        Status.TOO_FEW_STARS | Status.UNCALIBRATED,
        Status.TOO_FEW_VISITS | Status.UNCALIBRATED,
        Status.UNCALIBRATED,
        Status.REDUNDANT,
        Status(0),
        Status.LAMP_OUTLIER,
        Status.AMBIGUOUS,
    ]
    known = [False] * 7 + [True] * 2
    table = pl.DataFrame(
        {
            "night": range(9),
            "offset": [0.1 if k else None for k in known],
            "status": [int(f) for f in flags],
        }
    )
    listing = set_aside_listing({"night": table}, OPTIONS)
    assert len({row[2] for row in listing.rows}) == 9
    # One that is well determined is not set aside.
    good = table.with_columns(offset=pl.lit(0.1), status=pl.lit(0))
    assert set_aside_listing({"night": good}, OPTIONS).rows == ()


def test_hundreds_with_one_reason_take_one_row():
    table = pl.DataFrame(
        {
            "fiber": range(500),
            "offset": [float("nan")] * 500,
            "n_visits": [2] * 500,
            "status": [int(Status.UNCALIBRATED)] * 500,
        }
    )
    (row,) = set_aside_listing({"fiber": table}, OPTIONS).rows
    assert row[1] == "500 groups: 500 fibers (0 to 499)"
    assert row[4] == "1,000"


def test_connected_groups_are_listed_where_there_are_several(two_sets, roaming):
    listing = component_listing(two_sets.offsets, OPTIONS)
    assert [row[1].rpartition("; ")[2] for row in listing.rows] == [
        "10 exposures (f00 to f09)",
        "10 exposures (g00 to g09)",
    ]
    assert [row[2:4] for row in listing.rows] == [("10", "500")] * 2
    assert component_listing(roaming[0].offsets, OPTIONS) is None


def test_the_scatter_in_one_fiber_leaves_out_pairs_of_other_fibers():
    rows = pl.DataFrame(
        {
            "star_id": ["a"] * 5 + ["b"] * 3,
            "arm": ["all"] * 8,
            "unit": [""] * 8,
            "fiber": [1, 1, 1, 2, 2, 1, 2, 3],
            "snr": [50.0] * 8,
            "value": [0.0, 1.0, 2.0, 90.0, 95.0, 0.0, 50.0, 100.0],
        }
    )
    alone = star_scatters(rows, ("unit", "fiber"), "value")
    assert alone["star_id"].to_list() == ["a"]
    # Three values one apart: deviation 1; without one of them 0.71, 1.41, 0.71.
    left_out = np.sqrt([0.5, 2.0, 0.5]).mean()
    assert alone["s"].item() == pytest.approx(3 * 1.0 - 2 * left_out)
    every = star_scatters(rows, (), "value")
    assert set(every["star_id"]) == {"a", "b"}
    assert every["s"].min() > 40


def test_what_fibers_do_to_each_star_remains_but_not_in_one_fiber():
    rng = np.random.default_rng(4)
    star = np.repeat(np.arange(400), 10)
    fiber = rng.integers(0, 3, star.size)
    own = rng.normal(0, 0.08, (400, 3))[star, fiber]
    visits = pl.DataFrame(
        {
            "star_id": star,
            "fiber": fiber,
            "snr": np.exp(rng.normal(5.2, 0.2, star.size)),
            "rv_raw": np.array([-0.2, 0.0, 0.2])[fiber]
            + own
            + rng.normal(0, 0.05, star.size),
            "rv_raw_err": np.full(star.size, 0.05),
        }
    )
    figure = precision_by_snr(gather(calibrated(visits, ["fiber"])))
    lines = marks(figure, Line)
    labels = [line.label for line in lines]
    assert labels == ["as measured", "calibrated", "same fiber only"]
    before, after, same = (float(np.median(line.y)) for line in lines)
    # Three fibers as often, 0.2 apart: 0.2 sqrt(2/3). Medians in bins of 40 stars or
    # more, with 10 visits each in three fibers, are known to 5% or 10%.
    left = np.hypot(0.08 * np.sqrt(2 / 3), 0.05)
    assert before == pytest.approx(np.hypot(0.2 * np.sqrt(2 / 3), left), rel=0.2)
    assert after == pytest.approx(left, rel=0.2)
    assert same == pytest.approx(0.05, rel=0.15)


def test_without_signal_to_noise_there_is_no_precision_by_it(two_sets):
    velocities = two_sets.velocities.with_columns(snr=pl.lit(float("nan")))
    figure = precision_by_snr(gather(replace(two_sets, velocities=velocities)))
    assert isinstance(figure, Missing)
    assert "signal-to-noise" in figure.reason


def test_a_noisy_night_stands_out(two_sets):
    rng = np.random.default_rng(8)
    # The second night ends one exposure after noon of Greenwich, as the first does.
    night = ((two_sets.velocities["bjd"] - 0.5).floor() - 2_458_399).to_numpy()
    noise = rng.normal(0, np.where(night == 1, 1.0, 0.0))
    velocities = two_sets.velocities.with_columns(pl.col("rv") + noise)
    figure = precision_by_run(gather(replace(two_sets, velocities=velocities)))
    after = next(m for m in marks(figure, Points) if m.label == "calibrated")
    # Ten exposures, three a night: four nights, though each spans noon.
    assert after.x.size == 4
    assert int(np.argmax(after.y)) == 1
    assert after.y[1] > 2 * np.delete(after.y, 1).max()


def test_the_mean_of_each_fiber_is_brought_to_zero(roaming):
    inputs, truth = roaming
    (figure,) = fiber_remainders(gather(inputs))
    before, after = marks(figure, Points)
    assert (before.label, after.label) == ("as measured", "calibrated")
    zero = truth["zero"] - truth["zero"].mean()
    # A fiber's mean is about that of its stars' other fibers: it is its own zero point
    # but for the mean of its bundle, hence a correlation, not equality.
    assert np.corrcoef(before.y, zero[before.x.astype(int)])[0, 1] > 0.9
    assert np.std(after.y) < 0.25 * np.std(before.y)
    # In units of its error: the fit has absorbed noise, so at most 1.
    assert np.std(after.y / after.error) < 1.1


def test_the_error_model_meets_the_real_scatter(roaming):
    inputs, _ = roaming
    figure = error_model_figure(gather(inputs), inputs.error_model)
    given, final = marks(figure, Line)
    (real,) = marks(figure, Points)
    assert (given.label, final.label) == ("error as given", "error calibrated")
    # The mock adds a floor of 40 m/s that the given errors lack.
    assert real.y[-1] > 1.5 * given.y[-1]
    assert np.abs((real.y - final.y) / real.error).max() < 4
    floor = 1000 * inputs.error_model.table["floor"].item()
    assert f"floor {floor:.0f}" in figure.here or f"floor {floor:.1f}" in figure.here


def test_pulls_know_that_zero_points_follow_the_noise_they_were_solved_from():
    """Eight stars in an exposure: its zero point takes an eighth of their variance."""
    visits = MOCKS.field(11, stars=8, exposures=400, variable=0.0, error=0.3)
    inputs = calibrated(visits, ["spectrograph,arm,exposure_id"])
    facts = gather(inputs)
    # 3200 Gaussian values: 1.3%, and the error model another 1%; twice that. Blind to
    # what the zero points took, the width would be 0.94.
    pulls = facts.visits["pull"].to_numpy()
    assert np.std(pulls[np.isfinite(pulls)]) == pytest.approx(1.0, abs=0.035)
    naive = facts.visits["after"] / facts.visits["expected"]
    assert robust_width(naive) < 0.93


def test_widths_of_pulls_cover_every_signal_to_noise(roaming):
    figure = pulls(gather(roaming[0]), OPTIONS)
    given, final = (m for m in figure.panels[1].marks if isinstance(m, Points))
    assert (given.symbol, final.symbol) == ("open", "circle")
    assert final.x.size >= 8
    assert final.x[0] < 25
    assert final.x[-1] > 250
    assert np.abs((final.y - 1) / final.error).max() < 4
    # Given errors of 0.02 at S/N 300, with a floor of 0.04.
    assert given.y[-1] == pytest.approx(np.hypot(0.02, 0.04) / 0.02, rel=0.2)


@pytest.fixture(scope="module")
def three_methods():
    visits, truth = MOCKS.xiong(0)
    by = [("spectrograph", "arm", "exposure_id")]
    solved = {m: fit_zeropoints(visits, by, m) for m in ("joint", "xiong", "linear")}
    return visits, truth, solved


def test_the_comparison_shows_how_much_more_another_method_errs(three_methods):
    visits, truth, solved = three_methods
    others = {name: solved[name] for name in ("xiong", "linear")}
    told = compare_methods(visits, solved["joint"], others)
    assert list(told) == ["joint", "xiong", "linear"]

    def error(name):
        (table,) = solved[name].offsets.values()
        miss = table["offset"].to_numpy() - truth["zero"]
        return np.std(miss)

    for name in others:
        known = error(name) / error("joint")
        # 30 offsets tell an rms to 13%, the error that joint states to as much.
        assert told[name]["error_ratio"] == pytest.approx(known, rel=0.3)
        assert told[name]["error_ratio"] > 2
    same = compare_methods(visits, solved["joint"], {"twin": solved["joint"]})
    assert same["twin"]["error_ratio"] == pytest.approx(1.0, abs=1e-9)
    assert told["joint"]["scatter_kms"] < told["xiong"]["scatter_kms"]
    assert told["joint"]["velocities"] == told["linear"]["velocities"] > 4000
    assert told["linear"]["constant_stars"] is None
    assert told["xiong"]["undetermined"] == 0


def test_methods_are_compared_in_one_gauge(three_methods):
    _, _, solved = three_methods
    shifted = {
        name: table.with_columns(pl.col("offset") + 3.0)
        for name, table in solved["xiong"].offsets.items()
    }
    moved = replace(solved["xiong"], offsets=shifted)
    _, mine, theirs, _ = differences(solved["joint"], moved)
    assert np.mean(theirs - mine) == pytest.approx(0.0, abs=1e-12)
    _, _, before, _ = differences(solved["joint"], solved["xiong"])
    assert theirs == pytest.approx(before)


def test_scatter_is_that_of_one_velocity_however_few_a_star_has():
    rng = np.random.default_rng(0)
    star = np.repeat(np.arange(600), 2)
    table = pl.DataFrame({"star_id": star, "exposure_id": np.tile([0, 1], 600)})
    table = table.with_columns(
        rv_raw=pl.Series(rng.normal(0, 20, 600)[star] + rng.normal(0, 0.1, 1200)),
        rv_raw_err=pl.lit(0.1),
    )
    zero = fit_zeropoints(table, ["exposure_id"], "linear")
    found = same_velocities(table, {"linear": zero})["linear"]
    # 600 pairs tell a robust width to 5%.
    assert found["scatter_kms"] == pytest.approx(0.1, rel=0.15)


def test_a_method_that_calibrates_next_to_nothing_judges_no_other(three_methods):
    visits, _, solved = three_methods
    nothing = fit_zeropoints(
        visits, [("spectrograph", "arm", "exposure_id")], "common-constant"
    )
    told = compare_methods(visits, solved["joint"], {"common-constant": nothing})
    assert told["common-constant"]["undetermined"] == 30
    assert told["common-constant"]["scatter_kms"] is None
    assert told["joint"]["scatter_kms"] > 0


def test_telescopes_are_compared_with_the_error_of_their_difference():
    visits, truth = MOCKS.fibers(6, 900, 60)
    north = pl.col("fiber") < 30
    telescope = pl.when(north).then(pl.lit("apo")).otherwise(pl.lit("lco"))
    shift = pl.when(north).then(0.3).otherwise(0.0)
    visits = visits.with_columns(pl.col("rv_raw") + shift, telescope=telescope)
    zero = fit_zeropoints(visits, ["telescope,fiber"])
    (row,) = telescope_listing(zero).rows
    assert row[0] == "apo \N{MINUS SIGN} lco"
    known = 300 + 1000 * (truth["zero"][:30].mean() - truth["zero"][30:].mean())
    assert float(row[2]) == pytest.approx(known, abs=4 * float(row[3]))
    assert 0 < float(row[3]) < 40
    assert telescope_listing(fit_zeropoints(visits, ["fiber"])) is None


def test_no_star_is_counted_twice_among_the_uncertain():
    both = pl.DataFrame(
        {
            "star_id": ["a", "b"],
            "constant": [True, False],
            "variable": [True, False],
        }
    )
    velocities = pl.DataFrame({"star_id": list("aabb"), "rv_raw": [0.0, 1.0, 2.0, 4.0]})
    facts = gather(ReportInputs(velocities=velocities, stars=both))
    here = variability(facts, OPTIONS).here
    assert here == "Here: 1 constant star, 1 variable, 1 uncertain."


def test_hostile_names_are_escaped_in_lists_and_maps(two_sets, tmp_path):
    bad = "<img src=x onerror=alert(1)>%{x}"
    visits = undetermined_exposure().velocities.with_columns(
        pl.col("exposure_id") + bad, arm=pl.lit("</script>")
    )
    visits = visits.drop("rv", "rv_err", "correction", "correction_err")
    inputs = calibrated(visits, ["spectrograph,arm,exposure_id"])
    other = fit_zeropoints(visits, ["spectrograph,arm,exposure_id"], "xiong")
    inputs = replace(
        inputs, compared={"xiong": other}, not_compared={"linear": f"No: {bad}"}
    )
    write_report(tmp_path, inputs, QUICK)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    # Beside the two files of scripts, only data follow an opening tag.
    assert text.count("<script") == text.count("</script>")
    assert "too few constant stars" in text
    assert "Methods compared" in text


def test_a_report_without_all_this_says_nothing_of_it(survey, tmp_path):
    write_report(tmp_path, replace(survey, spectra=None), QUICK)
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "Methods compared" not in text
    assert "What the errors became" not in text
    assert "Correlation of the errors" not in text
