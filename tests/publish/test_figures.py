"""The numbers in the figures are those of the tables, and the sentences agree."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data import schema
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.publish.facts import gather
from steadystar.publish.figures import overview_sections, star_figures
from steadystar.publish.figures.constancy import before_and_after
from steadystar.publish.figures.distributions import by_exposure
from steadystar.publish.figures.errors import error_against_snr, pulls
from steadystar.publish.figures.fibers import fiber_remainders
from steadystar.publish.figures.truth import (
    classification,
    joined_truth,
    velocity_residuals,
    zero_point_recovery,
)
from steadystar.publish.figures.zeropoints import offset_figures
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import status_listing
from steadystar.publish.numbers import (
    calendar_date,
    outline,
    probability,
    robust_width,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Band,
    Density,
    Figure,
    Heat,
    Line,
    Missing,
    Points,
    Steps,
    Violins,
)
from steadystar.publish.star_lists import visit_listing
from steadystar.publish.web import escape, spec_json

FAMILY = "spectrograph+arm+exposure_id"
OPTIONS = ReportOptions()


def facts_of(stars=None, **columns):
    velocities = pl.DataFrame(columns)
    return gather(ReportInputs(velocities=velocities, stars=stars))


def marks(figure: Figure, kind: type) -> list:
    return [m for panel in figure.panels for m in panel.marks if isinstance(m, kind)]


def test_residuals_are_about_the_weighted_mean_of_a_star_in_an_arm():
    facts = facts_of(
        star_id=["a", "a", "a", "b"],
        arm=["red", "red", "blue", "red"],
        rv_raw=[1.0, 4.0, 7.0, 9.0],
        rv_raw_err=[1.0, 2.0, 1.0, 1.0],
    )
    # Weights 1 and 1/4: the mean is (1 + 1) / 1.25 = 1.6. One velocity has no residual.
    assert facts.visits["before"].to_list()[:2] == pytest.approx([-0.6, 2.4])
    assert np.isnan(facts.visits["before"].to_numpy()[2:]).all()
    # Var(v - mean) = err^2 - 1/W, with W = 1.25.
    assert facts.visits["expected"].to_list()[:2] == pytest.approx(
        [np.sqrt(1 - 0.8), np.sqrt(4 - 0.8)]
    )


def test_before_uses_the_measured_and_after_the_calibrated_velocity():
    facts = facts_of(
        star_id=["a", "a"], rv_raw=[0.0, 2.0], rv=[0.0, 0.5], rv_err=[1.0, 1.0]
    )
    assert facts.visits["before"].to_list() == [-1.0, 1.0]
    assert facts.visits["after"].to_list() == [-0.25, 0.25]


def test_a_velocity_that_could_not_be_calibrated_stays_as_measured():
    facts = facts_of(star_id=["a", "a"], rv_raw=[3.0, 2.0], rv=[float("nan"), 1.0])
    assert facts.visits["value"].to_list() == [3.0, 1.0]
    assert facts.visits["measured"].all()


def gaussian_survey(scale: float, n_stars: int = 600, n_visits: int = 5):
    rng = np.random.default_rng(5)
    error = np.repeat(rng.uniform(0.2, 2.0, n_stars), n_visits) * rng.uniform(
        0.7, 1.4, n_stars * n_visits
    )
    return facts_of(
        star_id=np.repeat([f"s{i}" for i in range(n_stars)], n_visits).tolist(),
        rv_raw=rng.normal(0, scale * error),
        rv_raw_err=error,
        snr=(20 / error),
    )


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
def test_pulls_have_the_width_by_which_the_errors_are_wrong(scale):
    # 3000 Gaussian values give the width to 1.17 / sqrt(3000) = 2%; three times that.
    width = robust_width(gaussian_survey(scale).visits["pull"])
    assert width == pytest.approx(scale, rel=0.065)


def test_errors_that_were_scaled_to_fit_are_not_their_own_proof():
    """A width of 1 that calibration made is told beside that of the errors as measured."""
    rng = np.random.default_rng(7)
    n_stars, n_visits = 600, 5
    error = rng.uniform(0.5, 1.5, n_stars * n_visits)
    velocity = rng.normal(0, 0.6 * error)
    facts = facts_of(
        star_id=np.repeat([f"s{i}" for i in range(n_stars)], n_visits).tolist(),
        rv_raw=velocity,
        rv_raw_err=error,
        rv=velocity,
        rv_err=0.6 * error,
        snr=np.full(error.size, 20.0),
    )
    # 3000 values: 2%, as above; three times that.
    assert robust_width(facts.visits["pull"]) == pytest.approx(1.0, rel=0.065)
    assert robust_width(facts.visits["pull_given"]) == pytest.approx(0.6, rel=0.065)
    here = pulls(facts, OPTIONS).here
    assert "after the errors were scaled to make it so" in here
    assert "as measured" not in pulls(gaussian_survey(1.0), OPTIONS).here
    # A rescaled error can be smaller than the measured one: it is not "with" more.
    assert "km/s in the end" in error_against_snr(facts, OPTIONS).here


def test_the_reference_exposure_has_no_pull():
    facts = facts_of(
        star_id=["a"] * 3,
        rv_raw=[0.0, 1.0, 2.0],
        rv_raw_err=[0.5] * 3,
        status=[int(Status.REFERENCE), 0, 0],
    )
    assert facts.visits["pull"].is_nan().to_list() == [True, False, False]


def test_only_constant_stars_have_pulls(survey):
    facts = gather(survey)
    steady = survey.stars.filter("constant")["star_id"].to_list()
    assert set(facts.visits.filter(pl.col("pull").is_finite())["star_id"]) <= set(
        steady
    )
    assert "Constant stars are those classified so." in pulls(facts, OPTIONS).here


def test_the_method_with_the_most_velocities_is_shown_and_the_rest_is_told():
    facts = facts_of(
        star_id=["a"] * 5,
        rv_raw=[1.0, float("nan"), float("nan"), 2.0, 3.0],
        method=["p", "p", "p", "j", "j"],
    )
    assert facts.method == "j"
    assert facts.other_methods == {"p": 3}
    assert len(facts.visits) == 2


def test_exposures_are_ranked_by_time_whatever_their_names():
    facts = facts_of(
        star_id=["a", "b", "a"],
        rv_raw=[1.0, 1.0, 1.0],
        exposure_id=["9", "9", "10"],
        bjd=[1.0, 1.1, 2.0],
    )
    assert facts.visits["place"].to_list() == [1, 1, 2]


def test_stars_of_interest_are_variable_flagged_and_bright_in_turn():
    stars = pl.DataFrame(
        {
            "star_id": ["dull", "bright", "flagged", "moving"],
            "rv_intrinsic": [0.1, 0.0, 0.05, 9.0],
            "variable": [False, False, False, True],
        }
    )
    facts = facts_of(
        stars=stars,
        star_id=["dull", "dull", "bright", "bright", "flagged", "flagged", "moving"],
        rv_raw=[1.0, 1.0, 1.0, 1.0, 1.0, float("nan"), 1.0],
        snr=[10.0, 10.0, 99.0, 99.0, 9.0, 9.0, 20.0],
    )
    order = facts.stars.sort("interest")["star_id"].to_list()
    assert order == ["moving", "flagged", "bright", "dull"]


def test_the_slope_of_photon_noise_goes_through_the_median():
    snr = np.array([10.0, 20.0, 40.0, 80.0])
    facts = facts_of(
        star_id=list("abcd"), rv_raw=[0.0] * 4, rv_raw_err=(14 / snr), snr=snr
    )
    figure = error_against_snr(facts, OPTIONS)
    (slope,) = marks(figure, Line)
    assert slope.y * slope.x == pytest.approx([14.0, 14.0])


def test_the_map_has_every_offset_in_its_cell(survey):
    facts = gather(survey)
    (figure,) = offset_figures(facts, survey.offsets)
    table = survey.offsets[FAMILY]
    exposures = sorted(table["exposure_id"].unique())
    for arm, heat in zip(("blue", "red"), marks(figure, Heat), strict=True):
        assert heat.rows == ("1", "2")
        for i, spectrograph in enumerate((1, 2)):
            for j, exposure in enumerate(exposures):
                cell = table.filter(
                    spectrograph=spectrograph, exposure_id=exposure, arm=arm
                )
                assert heat.z[i, j] == cell["offset"].item()
                assert heat.counts[i, j] == cell["n_constant"].item()


def test_a_wide_map_averages_its_neighbors(survey):
    number = 1000
    table = pl.DataFrame(
        {
            "spectrograph": [1, 2] * number,
            "exposure_id": np.repeat([f"{i:05d}" for i in range(number)], 2),
            "offset": np.repeat(np.arange(float(number)), 2),
        }
    )
    (figure,) = offset_figures(gather(survey), {"spectrograph+exposure_id": table})
    (heat,) = marks(figure, Heat)
    # 1000 exposures in groups of 4.
    assert heat.z.shape == (2, 250)
    assert heat.z[0, :2].tolist() == [1.5, 5.5]
    assert figure.panels[0].x.label.endswith("(4 averaged)")


def test_fibers_of_a_telescope_are_points_with_errors(survey):
    table = pl.DataFrame(
        {
            "fiber": [2, 1, 3],
            "offset": [0.2, 0.1, None],
            "offset_err": [0.01, 0.02, None],
        }
    )
    (figure,) = offset_figures(gather(survey), {"fiber": table})
    (points,) = marks(figure, Points)
    assert points.y[:2].tolist() == [0.1, 0.2]
    assert points.error[:2].tolist() == [0.02, 0.01]
    assert "1 group of fiber could not be determined" in figure.here


def test_what_single_stars_do_is_not_shown_as_the_exposures():
    facts = facts_of(
        star_id=["a", "a", "b", "b"],
        rv_raw=[1.0, 2.0, 3.0, 4.0],
        exposure_id=["1", "2", "1", "2"],
        bjd=[1.0, 2.0, 1.0, 2.0],
    )
    assert isinstance(by_exposure(facts), Missing)


def test_calibration_is_seen_to_shrink_the_scatter(survey):
    figure = before_and_after(gather(survey), OPTIONS)
    assert isinstance(figure, Figure)
    assert "before" in figure.here
    scatter = [
        m for m in marks(figure, Points) if m.label in ("as measured", "calibrated")
    ]
    measured, calibrated = scatter[2], scatter[3]
    assert np.median(calibrated.y) < 0.6 * np.median(measured.y)


def test_each_fiber_has_its_mean_remainder(survey):
    facts = gather(survey)
    blue, red = fiber_remainders(facts)
    assert blue.name == "fibers-blue"
    assert red.name == "fibers-red"
    points = marks(blue, Points)[0]
    rows = facts.of_arm("blue").filter(
        pl.col("steady") & (pl.col("unit") == "spectrograph 1")
    )
    one = rows.filter(pl.col("fiber") == int(points.x[0]))
    assert points.y[0] == pytest.approx(one["after"].mean())


def test_a_few_wild_fibers_do_not_flatten_all_others(survey):
    wild = pl.col("fiber") == pl.col("fiber").min().over("spectrograph")
    change = pl.when(wild).then(30.0 * (pl.col("bjd").rank("dense") % 2)).otherwise(0.0)
    velocities = survey.velocities.with_columns(pl.col("rv") + change)
    facts = gather(replace(survey, velocities=velocities, stars=None))
    figure = fiber_remainders(facts)[0]
    typical = np.median(np.concatenate([m.error for m in marks(figure, Points)]))
    assert figure.panels[0].y.high < 10 * typical
    assert "reach out of the panel" in figure.here


def test_no_constant_star_is_cut_from_the_histogram_of_scatter(survey):
    figure = before_and_after(gather(survey), OPTIONS)
    counted = [m.heights.sum() for m in marks(figure, Steps)]
    drawn = [m.x.size for m in marks(figure, Points)]
    assert counted == drawn


def test_every_shape_of_an_exposure_has_its_body_inside_the_panel(survey):
    figure = by_exposure(gather(survey))
    for panel in figure.panels:
        means = next(m for m in panel.marks if isinstance(m, Violins)).means
        assert panel.y.low < np.nanmin(means)
        assert np.nanmax(means) < panel.y.high


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_recovery_does_not_depend_on_the_gauge(survey, shift):
    shifted = survey.offsets[FAMILY].with_columns(pl.col("offset") + shift)
    rows = joined_truth(FAMILY, shifted, survey.truth["offsets"])
    assert len(rows) == 36
    miss = (rows["offset"] - rows["offset_true"]).to_numpy()
    # The factory adds 0.05 km/s to 36 offsets: known to 0.05 / sqrt(72), 12%.
    assert np.sqrt(np.mean(miss**2)) == pytest.approx(0.05, rel=0.4)


def test_a_zero_point_of_the_wrong_sign_is_exposed(survey):
    wrong = survey.offsets[FAMILY].with_columns(-pl.col("offset"))
    inputs = replace(survey, offsets={FAMILY: wrong})
    (figure,) = zero_point_recovery(gather(survey), inputs)
    rows = joined_truth(FAMILY, wrong, survey.truth["offsets"])
    assert (rows["offset"] - rows["offset_true"]).std() > 1.0
    assert "km/s rms" in figure.here


def test_velocities_are_held_against_the_truth(survey):
    figure = velocity_residuals(gather(survey), survey, OPTIONS)
    before, after = (
        float(word.split(" km/s")[0])
        for word in (figure.here.split("width ")[1], figure.here.split("and ")[1])
    )
    assert after < 0.6 * before
    assert "times their errors" in figure.here
    assert figure.panels[2].x.label.endswith("truth) / error")


def test_the_truth_of_a_star_lies_about_the_mean_of_its_velocities(survey):
    """Errors that differ weigh the velocities, and so the truth beside them."""
    star = survey.truth["visits"]["visit_id"][0]
    mine = survey.velocities.filter(pl.col("visit_id") == star)["star_id"][0]
    rows = survey.velocities.filter(pl.col("star_id") == mine)
    known = pl.DataFrame(
        {"visit_id": rows["visit_id"], "rv_true": np.linspace(-50, 50, len(rows))}
    )
    exact = rows.drop("rv").join(known.rename({"rv_true": "rv"}), on="visit_id")
    exact = exact.with_columns(
        rv_err=pl.Series(np.geomspace(0.1, 5.0, len(rows))),
        reference_visit_id=pl.lit("one"),
    )
    inputs = replace(
        survey,
        velocities=schema.conform(exact, "velocities"),
        truth={"visits": known},
        spectra=None,
    )
    first = star_figures(gather(inputs), inputs, mine, OPTIONS)[0].panels[0].marks
    true = next(m for m in first if isinstance(m, Points) and m.symbol == "cross")
    drawn = [m for m in first if isinstance(m, Points) and m.symbol != "cross"]
    for mark in drawn:
        for x, y in zip(mark.x, mark.y, strict=True):
            miss = np.abs(true.y - y)[np.abs(true.x - x) < 1e-6].min()
            assert miss < 1e-6
    assert first[0] is true


def test_stars_are_counted_by_truth_and_class_also_under_other_names(survey):
    facts = gather(survey)
    counts = classification(facts, survey.truth)
    total = sum(sum(row.values()) for row in counts.values())
    assert total == survey.stars["constant"].is_not_null().sum() + sum(
        facts.stars["constant"].is_null()
    )
    renamed = survey.truth["stars"].with_columns(pl.lit("?").alias("star_id"))
    assert classification(facts, {"stars": renamed}) == counts


def test_many_points_become_counts():
    rng = np.random.default_rng(2)
    x, y = rng.random(1000), rng.random(1000)
    few = scatter_or_density(x, y, 1000, color="ink")
    many = scatter_or_density(x, y, 999, color="ink")
    assert isinstance(few, Points)
    assert isinstance(many, Density)
    assert many.counts.sum() == 1000


def test_a_star_has_each_exposure_with_its_window(survey):
    facts = gather(survey)
    star = facts.stars.sort("snr", descending=True)["star_id"][0]
    velocities, blue, red = star_figures(facts, survey, star, OPTIONS)
    assert velocities.name == "velocities"
    for figure, window in ((blue, (5000.0, 5300.0)), (red, (6400.0, 6700.0))):
        (band,) = marks(figure, Band)
        assert (band.low, band.high) == window
        lines = marks(figure, Line)
        assert len(lines) == 9
        # Normalized and shifted by 0.6 each.
        level = [np.nanmedian(line.y) for line in lines]
        assert np.diff(level) == pytest.approx(np.full(8, 0.6), abs=0.02)
        assert level[0] == pytest.approx(1.0, abs=0.02)


def test_many_exposures_are_thinned_and_the_reader_is_told(survey):
    facts = gather(survey)
    star = facts.stars.sort("snr", descending=True)["star_id"][0]
    options = replace(OPTIONS, exposures_per_star=4)
    _, blue, _ = star_figures(facts, survey, star, options)
    assert len(marks(blue, Line)) == 3
    assert "3 exposures, one in 3 of 9" in blue.here


def test_spectra_of_noise_do_not_hide_the_others(survey):
    facts = gather(survey)
    star = facts.stars.sort("snr", descending=True)["star_id"][0]
    visits, spectra = survey.spectra(star)
    rng = np.random.default_rng(1)
    flux = spectra.flux.copy()
    blue = np.flatnonzero((visits["arm"] == "blue").to_numpy())
    flux[blue[0]] = rng.normal(1, 5, flux.shape[1])
    noisy = Spectra(spectra.wave, flux, spectra.ivar, spectra.resolution)
    inputs = replace(survey, spectra=lambda _: (visits, noisy))
    figure = star_figures(facts, inputs, star, OPTIONS)[1]
    assert len(marks(figure, Line)) == 8
    assert "1 exposure of mostly noise" in figure.here


def test_dead_spectra_are_no_figure(survey):
    facts = gather(survey)
    star = facts.stars["star_id"][0]
    visits, spectra = survey.spectra(star)
    dead = replace(spectra, ivar=np.zeros_like(spectra.ivar))
    figures = star_figures(
        facts, replace(survey, spectra=lambda _: (visits, dead)), star, OPTIONS
    )
    assert [type(f) for f in figures[1:]] == [Missing, Missing]


def test_statuses_are_counted_by_arm_in_words(survey):
    facts = gather(survey)
    listed = {row[0]: row[1:] for row in status_listing(facts).rows}
    low = facts.visits.filter((pl.col("status") & int(Status.LOW_SNR)) != 0)
    name = "The signal-to-noise ratio is below the configured minimum."
    assert listed[name] == (
        f"{(low['arm'] == 'blue').sum():,}",
        f"{(low['arm'] == 'red').sum():,}",
        f"{(~low['measured']).sum():,}",
    )


def test_every_visit_of_a_star_is_listed_in_order_of_time(survey):
    facts = gather(survey)
    star = facts.stars["star_id"][0]
    listing = visit_listing(facts.visits.filter(pl.col("star_id") == star))
    assert len(listing.rows) == 18
    times = [float(row[1]) for row in listing.rows]
    assert times == sorted(times)


def test_every_figure_has_a_name_of_its_own_and_every_section_says_something(survey):
    sections = overview_sections(gather(survey), survey, OPTIONS)
    items = [item for section in sections for item in section.items]
    names = [item.name for item in items]
    assert len(names) == len(set(names))
    for figure in (item for item in items if isinstance(item, Figure)):
        assert figure.shows.endswith(".")
        assert figure.good.endswith(".")
        assert figure.here.startswith("Here: ")
        for panel in figure.panels:
            assert panel.x.label


def test_relative_velocities_are_said_to_be_relative():
    facts = facts_of(
        star_id=["a", "a"], rv_raw=[0.0, 1.0], reference_visit_id=["v", "v"]
    )
    assert facts.relative


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), max_size=40), st.floats(-50, 50))
def test_a_violin_is_symmetric_about_its_place(values, center):
    x, y = outline(np.array(values), center)
    assert x.shape == y.shape
    assert np.abs(x - center).max() <= 0.4 + 1e-9
    assert x.min() - center == pytest.approx(center - x.max(), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_a_label_holds_no_markup_and_no_template(text):
    shown = escape(text)
    assert "<" not in shown
    assert ">" not in shown
    assert "%{" not in shown
    assert shown.isprintable()
    assert len(shown) <= 120 * 5


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.text() | st.integers(), st.lists, max_leaves=8))
def test_embedded_data_cannot_end_their_element(value):
    text = spec_json(value)
    assert "<" not in text
    assert ">" not in text


def test_numbers_are_written_for_people():
    assert significant(0.05234, 2) == "0.052"
    assert significant(1234.5) == "1,234"
    assert significant(-0.5) == "\N{MINUS SIGN}0.500"
    assert significant(float("nan")) == "\N{EN DASH}"
    assert significant(1.4e-45, 2) == "1.4e-45"
    assert probability(2.6e-269) == "< 0.001"
    assert probability(1.0) == "> 0.999"
    assert probability(0.52) == "0.52"
    assert calendar_date(58268) == "2018-05-30"
    assert calendar_date(1e300) == "1e+300"


def test_schema_columns_that_are_empty_are_not_in_the_glossary(survey):
    from steadystar.publish.lists import glossary

    named = {row[0] for row in glossary(gather(survey)).rows}
    assert "rv" in named
    assert "rv_2" not in named
    assert named <= set(schema.columns("velocities"))


def test_spectra_that_cannot_be_read_do_not_take_the_report_away(survey):
    def damaged(star_id):
        raise ValueError("shard 3 is damaged; delete it and run again")

    star = survey.stars["star_id"][0]
    inputs = replace(survey, spectra=damaged)
    velocities, spectra = star_figures(gather(survey), inputs, star, OPTIONS)
    assert isinstance(velocities, Figure)
    assert "shard 3 is damaged" in spectra.reason
