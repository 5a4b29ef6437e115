"""The stars and their parameters: figures agree with the tables, and with the truth."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.label_laws import LabelLaws
from steadystar.calibrate.label_zeropoints import label_zeropoints
from steadystar.calibrate.laws import ZONG_2020, UncertaintyLaw
from steadystar.calibrate.lawtable import UncertaintyLaws
from steadystar.data.schema import LABEL_NAMES
from steadystar.data.status import Status
from steadystar.publish.facts import gather
from steadystar.publish.figures import overview_sections
from steadystar.publish.figures.kiel import median_cells, metallicity_range, star_kiel
from steadystar.publish.figures.label_constancy import (
    changing_listing,
    label_constancy,
)
from steadystar.publish.figures.label_errors import (
    label_laws_figure,
    label_pulls,
    label_repeats,
    law_listing,
    laws_of,
)
from steadystar.publish.figures.label_zeropoints import label_zeropoint_figure
from steadystar.publish.figures.labels import (
    error_histograms,
    fast_listing,
    label_histograms,
    label_status_listing,
)
from steadystar.publish.figures.survey_sections import parameter_section
from steadystar.publish.headlines import headlines, star_facts
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.label_facts import repeats
from steadystar.publish.numbers import robust_width
from steadystar.publish.plot import (
    Cells,
    Density,
    Figure,
    Line,
    Missing,
    Points,
    Shaded,
    Steps,
)
from steadystar.publish.report import write_report

from .label_mock import LAWS, label_survey

OPTIONS = ReportOptions()
SCALE = 1.25


@pytest.fixture(scope="module")
def labeled() -> ReportInputs:
    """A survey with labels whose errors are too small by a quarter."""
    return label_survey(n=250, scale=SCALE)


@pytest.fixture(scope="module")
def facts(labeled):
    return gather(labeled)


@pytest.fixture(scope="module")
def groups(labeled, facts):
    return laws_of(facts, labeled)


def marks(figure, kind, panel=None):
    chosen = figure.panels if panel is None else [figure.panels[panel]]
    return [m for one in chosen for m in one.marks if isinstance(m, kind)]


def section_of(inputs, options=OPTIONS):
    return parameter_section(gather(inputs), inputs, options)


# Where the labels come from


def test_a_run_without_labels_has_no_empty_section(survey):
    assert section_of(survey) is None
    names = [s.name for s in overview_sections(gather(survey), survey, OPTIONS)]
    assert "parameters" not in names


def test_labels_of_a_foreign_table_are_shown_and_told(survey):
    """A table of velocities that brings temperatures: medians over a star's visits."""
    star = pl.col("star_id").rank("dense")
    table = survey.velocities.with_columns(
        teff=5000 + 10 * star, logg=pl.lit(4.0), feh=pl.lit(-9999.0)
    )
    inputs = replace(survey, velocities=table)
    section = section_of(inputs)
    assert "this run measured none" in section.lead
    assert [item.name for item in section.items] == ["kiel", "parameters"]
    facts = gather(inputs)
    assert facts.stars["teff"].n_unique() == len(facts.stars)
    # -9999 stands for unknown, and colors nothing.
    assert not facts.stars["feh"].is_finite().any()
    assert not marks(section.items[0], Shaded)


def test_labels_of_stars_are_made_from_spectra_where_the_table_has_none(labeled):
    columns = [c for c in labeled.stars.columns if c.split("_")[0] not in LABEL_NAMES]
    plain = labeled.stars.select(columns).drop("n_labels")
    made = gather(replace(labeled, stars=plain)).stars
    both = made.join(labeled.stars, on="star_id", suffix="_given")
    for name in ("teff", "logg_scatter", "feh_p_value"):
        assert both[name].to_numpy() == pytest.approx(
            both[f"{name}_given"].to_numpy(), nan_ok=True
        )


def test_hardly_any_labels_make_no_broken_figure(labeled):
    """One spectrum with labels, or none at all: a sentence, and never a crash."""
    for rows in (labeled.labels.head(0), labeled.labels.filter(status=0).head(1)):
        inputs = replace(labeled, labels=rows, stars=None)
        section = section_of(inputs)
        if not len(rows):
            assert section is None
            continue
        repeats_said = [i for i in section.items if i.name == "label-repeats"]
        assert isinstance(repeats_said[0], Missing)


def test_every_fit_failed_is_said(labeled):
    nothing = labeled.labels.with_columns(
        *(pl.lit(float("nan")).alias(n) for n in LABEL_NAMES),
        status=pl.lit(int(Status.NO_LABELS)),
    )
    section = section_of(replace(labeled, labels=nothing, stars=None))
    by_name = {item.name: item for item in section.items}
    assert "No label could be measured." in by_name["parameters"].reason
    assert by_name["label-statuses"].rows == (
        ("No labels could be measured.", f"{len(nothing):,}", f"{len(nothing):,}"),
    )


# Kiel diagram


def test_the_kiel_diagram_holds_every_star_metal_poor_ones_last(labeled, facts):
    figure = star_kiel(facts, OPTIONS)
    (cloud,) = marks(figure, Shaded)
    assert cloud.x.size == labeled.stars["teff"].is_finite().sum()
    assert np.all(np.diff(cloud.z) <= 0)
    assert figure.panels[0].x.reverse
    assert figure.panels[0].y.reverse


def test_typical_errors_are_drawn_as_long_as_they_are(labeled, facts):
    figure = star_kiel(facts, OPTIONS)
    crosses = {m.label: m for m in marks(figure, Line)}
    star = crosses["typical error of a star"]
    error = labeled.stars["teff_mean_err"].drop_nans().median()
    assert np.nanmax(star.x) - np.nanmin(star.x) == pytest.approx(2 * error)
    spectrum = crosses["typical error of a spectrum"]
    assert np.nanmax(spectrum.y) - np.nanmin(spectrum.y) > 0.05


def test_a_crowd_of_stars_becomes_counts_and_medians(labeled, facts):
    figure = star_kiel(facts, replace(OPTIONS, aggregate_above=50))
    (counts,), (cells,) = marks(figure, Density), marks(figure, Cells)
    inside = labeled.stars["teff"].is_finite().sum()
    assert counts.counts.sum() == inside
    assert counts.unit == "stars"
    assert np.isfinite(cells.z).sum() == (counts.counts > 0).sum()


def test_the_median_of_a_cell_is_that_of_its_stars():
    rng = np.random.default_rng(1)
    x, y, z = rng.uniform(0, 3, 200), rng.uniform(0, 2, 200), rng.normal(size=200)
    z[::10] = np.nan
    edges = np.arange(4.0), np.arange(3.0)
    found = median_cells(x, y, z, edges)
    for (row, column), value in np.ndenumerate(found):
        inside = (np.floor(x) == column) & (np.floor(y) == row)
        assert value == np.nanmedian(z[inside])


def test_the_color_bar_spans_half_a_dex_at_least():
    assert metallicity_range(np.full(9, -0.1)) == pytest.approx((-0.4, 0.2), abs=0.06)


# Histograms


def test_histograms_hold_every_star(labeled, facts):
    figure = label_histograms(facts)
    assert len(figure.panels) == 5
    for place, name in enumerate(("teff", "logg", "feh", "vsini", "rv_mean")):
        stars = marks(figure, Steps, place)[0]
        assert stars.heights.sum() == labeled.stars[name].is_finite().sum()


def test_single_spectra_are_drawn_to_the_same_area(facts):
    stars, spectra = marks(label_histograms(facts), Steps, 0)
    assert spectra.heights.sum() == pytest.approx(stars.heights.sum(), rel=0.01)
    assert not spectra.filled


def test_fits_on_the_edge_of_the_models_do_not_enter(labeled, facts):
    edge = int((labeled.labels["status"] == int(Status.LABEL_EDGE)).sum())
    assert edge > 0
    assert f"{edge} fits lie on the edge" in label_histograms(facts).here


def test_relative_velocities_are_no_parameter(labeled):
    relative = labeled.velocities.with_columns(
        reference_visit_id=pl.lit("v"), method=pl.lit("relative")
    )
    inputs = replace(labeled, velocities=relative)
    assert len(label_histograms(gather(inputs)).panels) == 4
    assert fast_listing(gather(inputs), OPTIONS) is None


def test_errors_of_means_lie_left_of_those_of_spectra(facts):
    figure = error_histograms(facts)
    blue, red, means = marks(figure, Steps, 0)
    middle = (blue.edges[1:] + blue.edges[:-1]) / 2
    typical = [middle @ m.heights / m.heights.sum() for m in (blue, red, means)]
    assert typical[2] < 0.6 * typical[0] < typical[1]
    assert means.label == "means of stars"


def test_statuses_of_fits_add_up(labeled, facts):
    rows = {row[0]: row[1:] for row in label_status_listing(facts).rows}
    good = int((labeled.labels["status"] == 0).sum())
    assert rows["Nothing to remark."] == (f"{good:,}", "0")


def test_fast_stars_are_listed_the_fastest_first():
    facts = gather(
        ReportInputs(
            velocities=pl.DataFrame({"star_id": list("abcd"), "rv_raw": [1.0] * 4}),
            stars=pl.DataFrame(
                {"star_id": list("abcd"), "rv_mean": [310.0, -400.0, 299.0, None]}
            ),
        )
    )
    listing = fast_listing(facts, OPTIONS)
    assert [row[0] for row in listing.rows] == ["b", "a"]


# Repeats, laws, pulls


def test_deviations_are_those_of_the_paper(labeled, facts):
    """Equation 3 of Zong et al. (2020), for one star, the long way."""
    rows = labeled.labels.filter(status=0, arm="blue")
    star = rows["star_id"].value_counts(sort=True)["star_id"][0]
    mine = rows.filter(star_id=star)
    weight = mine["snr"].to_numpy() ** 2
    mean = np.sum(weight * mine["teff"].to_numpy()) / weight.sum()
    n = len(mine)
    expected = (mine["teff"].to_numpy() - mean) * np.sqrt(n / (n - 1))
    found = repeats(facts.labels, "teff").filter(star_id=star, arm="blue")
    assert found["deviation"].to_numpy() == pytest.approx(expected)


def test_the_published_law_comes_back_from_spectra_that_follow_it(groups):
    """The mock's blue arm follows table 4: 101, 55 and 29 K at S/N 10, 20 and 50."""
    for name in ("teff", "logg", "feh"):
        (law,) = [g.law for g in groups if (g.label, g.arm) == (name, "blue")]
        at = np.array([10.0, 20.0, 50.0])
        # Three errors, and a little for the pulsating stars among them.
        limit = 3 * law.error(at) + 0.02 * law.apply(at)
        assert np.all(np.abs(law.apply(at) - ZONG_2020[name].apply(at)) < limit)


def test_laws_and_the_published_ones_are_listed(groups):
    listing = law_listing(groups)
    rows = {tuple(row[:2]): row for row in listing.rows}
    published = rows["Teff, published", "blue"]
    assert [published[i] for i in (6, 7, 8)] == ["101", "54.7", "28.9"]
    assert "±" in rows["Teff", "blue"][6]
    assert ("v sin i, published", "blue") not in rows


def test_a_law_that_the_run_found_is_drawn_and_no_other(labeled, facts):
    flat = UncertaintyLaw(0.0, -1.0, 77.0, np.zeros((3, 3)))
    laws = UncertaintyLaws("teff", "snr", (), pl.DataFrame(), (flat,))
    found = laws_of(facts, replace(labeled, label_laws=LabelLaws({"teff": laws})))
    assert {g.law is None for g in found if g.label == "logg"} == {True}
    figure = label_repeats(facts, found, OPTIONS)
    upper, lower = marks(figure, Line, 0)
    assert upper.y.tolist() == [77.0] * len(upper.y)
    assert lower.y.tolist() == [-77.0] * len(lower.y)
    assert not marks(figure, Line, 1)
    assert "no law" in {row[:2]: row for row in law_listing(found).rows}["log g", "red"][-1]  # fmt: skip


def test_real_scatter_stands_above_errors_that_are_too_small(facts, groups):
    figure = label_laws_figure(facts, groups)
    dots = next(m for m in marks(figure, Points, 0) if m.label == "blue arm")
    claimed = [m for m in marks(figure, Line, 0) if m.color == "blue" and m.width == 1]
    at = np.interp(np.log(dots.x), np.log(claimed[0].x), claimed[0].y)
    # A dozen bins of a hundred spectra and more: their median ratio is good to 3%.
    assert np.median(dots.y / at) == pytest.approx(SCALE, rel=0.1)
    dashed = [m for m in marks(figure, Line, 0) if m.dash == "dash"]
    assert dashed[0].y == pytest.approx(ZONG_2020["teff"].apply(dashed[0].x))


def test_pulls_have_the_width_by_which_the_errors_are_wrong(facts):
    figure = label_pulls(facts)
    assert "log g blue arm 1.2" in figure.here
    steps = marks(figure, Steps, 1)[0]
    # Normalized to an area of one, but for what lies beyond five errors.
    assert steps.heights.sum() * 0.2 == pytest.approx(1.0, abs=0.01)


def test_the_arms_of_an_exposure_and_their_joint_fit_are_not_mixed(labeled):
    """A joint fit 300 K off is no scatter of the arms, nor do stars count it twice."""
    arm = labeled.labels.filter(arm="blue")
    both = arm.with_columns(pl.lit("all").alias("arm"), pl.col("teff") + 300)
    inputs = replace(labeled, labels=pl.concat([arm, both]), stars=None)
    facts = gather(inputs)
    width = robust_width(repeats(facts.labels, "teff")["deviation"])
    alone = gather(replace(inputs, labels=arm))
    # Quartiles of twice the same values lie between others by a hair.
    single = robust_width(repeats(alone.labels, "teff")["deviation"])
    assert width == pytest.approx(single, rel=2e-3)
    shift = (facts.stars["teff"] - alone.stars["teff"]).drop_nans()
    # Edges and failures differ by nothing here: the joint fit alone counts.
    assert shift.to_numpy() == pytest.approx(np.full(len(shift), 300.0))


# Constancy


def test_pulsators_are_found_by_their_temperature():
    inputs = label_survey(seed=8, n=300, scale=1.0)
    facts = gather(inputs)
    listing = changing_listing(facts, OPTIONS)
    found = {row[0] for row in listing.rows if row[1] == "Teff"}
    teff = label_constancy(facts, OPTIONS)
    moving = [m for m in marks(teff, Points, 0) if m.label == "changes"]
    assert moving[0].x.size == len(found)
    seen = facts.labels.filter("counts").group_by("star_id").len()
    pulsating = inputs.velocities.filter("pulsates")["star_id"].unique()
    bright = seen.filter(pl.col("star_id").is_in(pulsating.implode()), pl.col("len") > 8)  # fmt: skip
    caught = found & set(bright["star_id"])
    # 250 K in amplitude stand out of the errors of most stars.
    assert len(caught) >= 0.6 * len(bright) > 0
    # At a false-discovery rate of 1% hardly another star is among them (Benjamini and
    # Hochberg 1995, the long way).
    judged = facts.stars.filter(pl.col("teff_p_value").is_finite()).sort("teff_p_value")
    p = judged["teff_p_value"].to_numpy()
    last = max(k for k in range(len(p) + 1) if k == 0 or p[k - 1] <= 0.01 * k / len(p))
    assert found == set(judged["star_id"][:last])
    assert len(found - set(pulsating)) <= 2


def test_the_surest_change_comes_first(facts):
    listing = changing_listing(facts, OPTIONS)
    p = [0.0 if row[7].startswith("<") else float(row[7]) for row in listing.rows]
    assert p == sorted(p)


# Zero points of the labels


def test_zero_points_of_labels_are_drawn_and_taken_at_their_word(labeled, facts):
    rng = np.random.default_rng(4)
    exposures = labeled.labels["exposure_id"].unique(maintain_order=True)
    shift = pl.DataFrame({"exposure_id": exposures, "shift": rng.normal(0, 200, len(exposures))})  # fmt: skip
    moved = labeled.labels.join(shift, on="exposure_id", maintain_order="left")
    moved = moved.with_columns(pl.col("teff") + pl.col("shift")).drop("shift")
    found = label_zeropoints(moved, [("arm", "exposure_id")], "teff")
    shifted = gather(replace(labeled, labels=moved))
    figure = label_zeropoint_figure(shifted, {"teff": found})
    before, after = marks(figure, Steps, 0)
    middle = (before.edges[1:] + before.edges[:-1]) / 2
    widths = [np.sqrt(middle**2 @ m.heights / m.heights.sum()) for m in (before, after)]
    assert widths[1] < 0.6 * widths[0]
    assert "worth taking off" in figure.here
    assert label_zeropoint_figure(facts, {}) is None


# The page


def test_the_section_says_something_everywhere_and_twice_the_same(labeled):
    one, two = section_of(labeled), section_of(labeled)
    assert repr(one) == repr(two)
    assert not [item for item in one.items if isinstance(item, Missing)]
    for figure in (item for item in one.items if isinstance(item, Figure)):
        assert figure.here.startswith("Here: ")
        for text in (figure.shows, figure.good, figure.here):
            assert text.endswith(".")
            assert "nan" not in text.split()


def test_a_report_with_labels_can_be_written(labeled, tmp_path):
    options = ReportOptions(paper_figures=False, star_pages=1)
    inputs = replace(labeled, spectra=None)
    page = write_report(tmp_path, inputs, options).read_text("utf-8")
    assert "The stars and their parameters" in page
    assert 'class="table-observing-log sortable"' in page
    # Light enough to mail: a few hundred kB of figures beside the drawing library.
    assert len(page) < 3_000_000


def test_a_star_says_its_labels_at_the_top_of_its_page(labeled, facts):
    row = facts.stars.filter(pl.col("teff").is_finite()).row(0, named=True)
    said = {headline.meaning: headline.value for headline in star_facts(facts, row)}
    assert float(said["effective temperature"].removesuffix(" K").replace(",", "")) == pytest.approx(row["teff"], abs=0.5)  # fmt: skip
    number = facts.stars["teff"].is_finite().sum()
    first = {headline.meaning: headline.value for headline in headlines(facts, labeled)}
    assert first["stars with a temperature"] == f"{number:,}"


def test_strange_numbers_in_labels_break_nothing(labeled):
    strange = [float("inf"), -1e300, 1e300, 0.0, -0.0, 1e-300]
    n = len(labeled.labels)
    columns = {
        name: pl.Series(np.resize(strange, n))
        for name in ("teff", "logg_err", "feh", "vsini_err", "snr", "rv_raw")
    }
    table = labeled.labels.with_columns(**columns, star_id=pl.lit("<b>%{x}</b>"))
    section = section_of(replace(labeled, labels=table, stars=None))
    assert section is not None
    assert "parameters" in {item.name for item in section.items}


def test_the_mock_knows_the_published_laws():
    for name, coefficients in LAWS.items():
        if name in ZONG_2020:
            law = ZONG_2020[name]
            assert coefficients == (law.a, law.b, law.c)
