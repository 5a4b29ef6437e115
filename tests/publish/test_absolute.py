"""Two methods in one table: never mixed, and what the absolute velocities add is right."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.publish.facts import gather
from steadystar.publish.figures import overview_sections, star_figures
from steadystar.publish.figures.against_relative import against_relative, differences
from steadystar.publish.figures.efficiency import (
    efficiency,
    kiel_diagram,
    star_efficiencies,
)
from steadystar.publish.figures.fiber_limits import fiber_limits, limit_by_fiber
from steadystar.publish.figures.taken_apart import (
    taken_apart_figure,
)
from steadystar.publish.figures.traces import observed_frame
from steadystar.publish.headlines import headlines, star_facts
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import glossary
from steadystar.publish.methods import ABSOLUTE, shown_method
from steadystar.publish.numbers import MINUS, binned_medians, median, robust_width
from steadystar.publish.plot import Figure, Line, Missing, Points, Steps
from steadystar.publish.relative_catalog import relative_catalog
from steadystar.publish.report import write_report
from steadystar.publish.slopes import (
    shared_motion,
    steadfast_slope,
    within_star_slope,
)
from steadystar.publish.star_lists import visit_listing

OPTIONS = ReportOptions()


def marks(figure: Figure, kind: type) -> list:
    return [m for panel in figure.panels for m in panel.marks if isinstance(m, kind)]


def absolute_table(
    seed: int = 3,
    *,
    n_stars: int = 150,
    n_visits: int = 8,
    efficiency: float = 1.0,
    slope: float = 0.0,
    arm: str = "all",
) -> pl.DataFrame:
    """Absolute velocities of steady stars that the Earth's motion carries about.

    ``slope`` of the velocity at the observatory leaks into what is measured.
    """
    rng = np.random.default_rng(seed)
    n = n_stars * n_visits
    star = np.repeat(np.arange(n_stars), n_visits)
    true = rng.normal(0, 40, n_stars)[star]
    bary = rng.uniform(-25, 25, n)
    snr = np.exp(rng.uniform(np.log(15), np.log(150), n_stars))[star]
    limit = 4.0 / snr
    error = limit / efficiency
    at_observatory = C_KMS * ((1 + true / C_KMS) / (1 + bary / C_KMS) - 1)
    raw = true + slope * at_observatory + rng.normal(0, error)
    return pl.DataFrame(
        {
            "visit_id": [f"v{i}-{arm}" for i in range(n)],
            "star_id": [f"s{i}" for i in star],
            "arm": arm,
            "exposure_id": [f"e{i}" for i in range(n)],
            "fiber": rng.integers(1, 40, n),
            "snr": snr,
            "method": ABSOLUTE,
            "rv_obs": C_KMS * ((1 + raw / C_KMS) / (1 + bary / C_KMS) - 1),
            "rv_raw": raw,
            "rv_raw_err": error,
            "rv_limit": limit,
            "rv": raw,
            "rv_err": error,
        }
    )


def with_relative(absolute: pl.DataFrame, shift: float = 0.0) -> pl.DataFrame:
    """The same visits by a relative method before the absolute rows, moved by ``shift``."""
    first = pl.col("visit_id").first().over("star_id", "arm")
    relative = absolute.with_columns(
        pl.lit("joint").alias("method"),
        *(
            pl.col(name) - pl.col(name).first().over("star_id", "arm") + shift
            for name in ("rv_raw", "rv")
        ),
        first.alias("reference_visit_id"),
        pl.lit(float("nan")).alias("rv_limit"),
        pl.when(pl.col("visit_id") == first)
        .then(int(Status.REFERENCE))
        .otherwise(0)
        .alias("status"),
    )
    return pl.concat([relative, absolute], how="diagonal")


def facts_of(velocities: pl.DataFrame, stars: pl.DataFrame | None = None):
    return gather(ReportInputs(velocities=velocities, stars=stars))


# One method a statistic


def test_the_relative_method_is_shown_even_where_the_absolute_one_measured_more():
    table = with_relative(absolute_table(n_stars=5))
    lost = pl.when((pl.col("method") == "joint") & (pl.col("star_id") == "s1"))
    table = table.with_columns(
        lost.then(float("nan")).otherwise(pl.col(name)).alias(name)
        for name in ("rv_raw", "rv")
    )
    facts = facts_of(table)
    assert facts.method == "joint"
    assert facts.relative
    assert facts.other_methods == {ABSOLUTE: 40}
    assert set(facts.absolute["method"]) == {ABSOLUTE}


def test_a_relative_method_without_any_velocity_is_not_shown():
    table = with_relative(absolute_table(n_stars=5)).with_columns(
        pl.when(pl.col("method") == "joint")
        .then(float("nan"))
        .otherwise(pl.col("rv_raw"))
        .alias("rv_raw")
    )
    assert shown_method(schema.conform(table, "velocities")) == (
        ABSOLUTE,
        {"joint": 40},
    )


def test_a_spectrum_that_no_method_got_to_is_still_a_row():
    """A star on which the program failed has rows without a method."""
    failed = pl.DataFrame(
        {"visit_id": ["x"], "star_id": ["lost"], "status": [int(Status.INTERNAL_ERROR)]}
    )
    table = with_relative(absolute_table(n_stars=4))
    facts = facts_of(pl.concat([table, failed], how="diagonal_relaxed"))
    assert len(facts.visits) == 4 * 8 + 1
    assert "lost" in facts.stars["star_id"].to_list()
    assert facts.other_methods == {ABSOLUTE: 32}


def test_the_name_of_the_method_is_that_of_the_measurement():
    from steadystar.measure.absolute import METHOD

    assert ABSOLUTE == METHOD


def test_nothing_changes_in_the_other_sections_when_absolute_rows_join(survey):
    """Every figure of every other section: the same marks, so no point is doubled."""
    alone = overview_sections(gather(survey), survey, OPTIONS)
    both = replace(survey, velocities=joined(survey.velocities))
    together = overview_sections(gather(both), both, OPTIONS)
    kept = [section for section in together if section.name != "absolute"]
    assert [s.name for s in together if s.name == "absolute"] == ["absolute"]
    assert [s.name for s in kept] == [s.name for s in alone]
    for mine, before in zip(kept, alone, strict=True):
        # Absolute velocities put the example spectra to rest.
        same, as_before = (
            [item for item in section.items if not item.name.startswith("examples")]
            for section in (mine, before)
        )
        assert repr(same) == repr(as_before)


def joined(velocities: pl.DataFrame) -> pl.DataFrame:
    """Absolute rows beside those of a survey, far off so that a mixture would show."""
    absolute = velocities.with_columns(
        pl.lit(ABSOLUTE).alias("method"),
        (pl.col("rv_raw") + 1000).alias("rv_raw"),
        (pl.col("rv") + 1000).alias("rv"),
        (0.8 * pl.col("rv_raw_err")).alias("rv_limit"),
        (pl.col("rv_raw") + 1000 - 5).alias("rv_obs"),
    )
    relative = velocities.with_columns(
        pl.col("visit_id").first().over("star_id", "arm").alias("reference_visit_id")
    )
    return pl.concat([absolute, relative])


@pytest.fixture
def survey(survey):
    """The small survey with relative velocities."""
    relative = survey.velocities.with_columns(
        pl.col("visit_id").first().over("star_id", "arm").alias("reference_visit_id")
    )
    return replace(survey, velocities=relative)


def test_the_pages_of_stars_have_each_spectrum_once(survey):
    both = replace(survey, velocities=joined(survey.velocities))
    facts, before = gather(both), gather(survey)
    star = before.stars["star_id"][0]
    mine = pl.col("star_id") == star
    listed = visit_listing(facts.visits.filter(mine), facts.absolute.filter(mine))
    plain = visit_listing(before.visits.filter(mine))
    assert len(listed.rows) == len(plain.rows)
    assert "absolute (km/s)" in listed.columns
    assert "absolute (km/s)" not in plain.columns
    row = facts.stars.filter(mine).row(0, named=True)
    # The mean in the table of stars is that of the absolute velocities; without them it
    # is of relative ones and means nothing.
    assert "mean absolute velocity" in {h.meaning for h in star_facts(facts, row)}
    assert "mean velocity" not in {h.meaning for h in star_facts(before, row)}
    drawn = star_figures(facts, replace(both, spectra=None), star, OPTIONS)[0]
    assert isinstance(drawn, Figure)
    shown = np.concatenate([m.y for m in marks(drawn, Points)])
    assert np.nanmax(np.abs(shown)) < 500


def test_headlines_and_glossary_know_both(survey):
    both = replace(survey, velocities=joined(survey.velocities))
    facts = gather(both)
    said = {h.meaning: h.value for h in headlines(facts, both)}
    assert said["spectra"] == f"{len(survey.velocities):,}"
    assert said["absolute velocities beside these"] == f"{len(facts.measured):,}"
    assert "rv_limit" in {row[0] for row in glossary(facts).rows}


def test_the_relative_catalog_takes_the_relative_rows_whatever_their_order(survey):
    both = relative_catalog(joined(survey.velocities))
    alone = relative_catalog(survey.velocities)
    assert both.equals(alone, null_equal=True)


def test_without_absolute_rows_there_is_no_section(survey):
    names = [s.name for s in overview_sections(gather(survey), survey, OPTIONS)]
    assert "absolute" not in names


def test_a_run_of_absolute_velocities_only_has_the_section_and_no_comparison():
    inputs = ReportInputs(velocities=absolute_table())
    facts = gather(inputs)
    assert not facts.both
    assert len(facts.absolute) == len(facts.visits)
    (section,) = [
        s for s in overview_sections(facts, inputs, OPTIONS) if s.name == "absolute"
    ]
    names = {item.name for item in section.items}
    assert {"efficiency", "observed-frame", "fiber-limits-all"} <= names
    assert "against-relative" not in names


def test_the_report_writes_the_section_beside_the_rest(tmp_path, survey):
    both = replace(survey, velocities=joined(survey.velocities), spectra=None)
    options = replace(OPTIONS, star_pages=1, paper_figures=False)
    page = write_report(tmp_path, both, options).read_text("utf-8")
    assert '<section id="absolute">' in page
    assert 'href="#absolute"' in page
    assert "by the method joint alone" in page


# Efficiency


@pytest.mark.parametrize("truth", [1.0, 0.6])
def test_an_injected_efficiency_is_found(truth):
    stars = star_efficiencies(facts_of(absolute_table(efficiency=truth)))
    # A jackknife scatter of 8 visits makes single efficiencies scatter by 29%, and their
    # median 1.5% high (20 000 simulated stars); of 150 stars the median has an error of
    # 1.25 * 0.29 / sqrt(150) = 3%: three times that, and the 1.5%.
    assert len(stars) == 150
    assert median(stars["efficiency"]) == pytest.approx(100 * truth, rel=0.105)


def test_the_efficiency_figure_says_its_median_and_bins_it_by_snr():
    facts = facts_of(absolute_table(efficiency=0.6))
    figure = efficiency(facts, OPTIONS)
    assert isinstance(figure, Figure)
    stars = star_efficiencies(facts)
    assert f"median efficiency {median(stars['efficiency']):.0f}%" in figure.here
    (binned,) = [m for m in marks(figure, Points) if m.label == "median"]
    assert 4 <= len(binned.x) <= 8
    assert np.all(np.diff(binned.x) > 0)
    # Each bin holds some 19 stars: 1.25 * 0.29 / sqrt(19) = 8%, times 3.5 of 8 bins.
    assert binned.y == pytest.approx(np.full(len(binned.y), 60.0), rel=0.3)


def test_variable_and_double_lined_stars_are_no_part_of_the_efficiency():
    table = absolute_table(n_stars=20).with_columns(
        pl.when(pl.col("star_id") == "s3")
        .then(int(Status.DOUBLE_LINED))
        .otherwise(0)
        .alias("status")
    )
    names = [f"s{i}" for i in range(20)]
    constant = [name != "s7" for name in names]
    stars = pl.DataFrame({"star_id": names, "constant": constant})
    found = set(star_efficiencies(facts_of(table, stars))["star_id"])
    assert found == set(names) - {"s3", "s7"}


def test_efficiency_needs_three_velocities():
    facts = facts_of(absolute_table(n_visits=2))
    missing = efficiency(facts, OPTIONS)
    assert isinstance(missing, Missing)
    assert "three absolute velocities" in missing.reason


@pytest.mark.parametrize("number", [60, 900])
def test_the_kiel_diagram_tells_low_from_high_efficiency(number):
    """Giants at 30% and dwarfs at 90%: single stars, and cells where there are many."""
    low = absolute_table(1, n_stars=number, efficiency=0.3)
    high = absolute_table(2, n_stars=number, efficiency=0.9).with_columns(
        pl.format("d{}", "star_id").alias("star_id"),
        pl.format("d{}", "visit_id").alias("visit_id"),
    )
    stars = pl.DataFrame(
        {
            "star_id": [f"s{i}" for i in range(number)]
            + [f"ds{i}" for i in range(number)],
            "constant": True,
            "teff": [4500.0] * number + [6000.0] * number,
            "logg": [2.0] * number + [4.5] * number,
        }
    )
    facts = facts_of(pl.concat([low, high]), stars)
    figure = kiel_diagram(facts)
    assert figure is not None
    assert figure.panels[0].x.reverse
    assert figure.panels[0].y.reverse
    found = {}
    for mark in marks(figure, Points):
        for teff in np.unique(mark.x):
            found.setdefault(mark.label, []).append(teff)
    if number > 500:
        # One cell each, whose median is far from the limits of its class.
        assert {k: len(v) for k, v in found.items()} == {"25 to 50%": 1, "over 75%": 1}
    giants = median(star_efficiencies(facts).filter(pl.col("star_id").str.starts_with("s"))["efficiency"])  # fmt: skip
    assert f"{giants:.0f}% for {number} giants" in figure.here


def test_without_labels_there_is_no_kiel_diagram():
    assert kiel_diagram(facts_of(absolute_table(n_stars=5))) is None


def test_binned_medians_are_medians():
    x, y = np.arange(40.0), np.arange(40.0) ** 2
    at, middle, error = binned_medians(x, y, np.array([0.0, 10.0, 20.0, 22.0]), 5)
    assert at.tolist() == [4.5, 14.5]
    assert middle.tolist() == [20.5, 210.5]
    assert error == pytest.approx(
        [1.2533 * robust_width(y[:10]) / np.sqrt(10), 1.2533 * robust_width(y[10:20]) / np.sqrt(10)]
    )  # fmt: skip


# Traces of what stands still


def slope_said(figure: Figure) -> tuple[float, float]:
    words = figure.here.partition("slope ")[2].split()
    return float(words[0].replace(MINUS, "-")), float(words[2])


@pytest.mark.parametrize("truth", [0.0, 0.02, -0.02])
def test_an_injected_slope_is_found_within_its_error(truth):
    facts = facts_of(absolute_table(slope=truth))
    figure = observed_frame(facts, (), OPTIONS)
    assert isinstance(figure, Figure)
    value, error = slope_said(figure)
    # 1200 velocities of 0.03 to 0.3 km/s, moved by 14 km/s rms: below 1 m/s per km/s.
    assert 0 < error < 1
    # Four errors, and the rounding of the sentence.
    assert value == pytest.approx(1000 * truth, abs=4 * error + 0.1)
    (line,) = [m for m in marks(figure, Line) if m.label == "fitted line"]
    assert line.y[1] / line.x[1] == pytest.approx(value, abs=0.06)


def test_noise_alone_makes_no_slope():
    """The measured velocity itself as abscissa would give a slope near one."""
    table = absolute_table(n_stars=100, n_visits=5)
    quiet = table.with_columns(
        rv_obs=C_KMS * ((1 + pl.col("rv_raw") / C_KMS) / (1 + 10 / C_KMS) - 1)
    )
    figure = observed_frame(facts_of(quiet), (), OPTIONS)
    assert isinstance(figure, Figure)
    # The Earth did not move: there is no slope to be had.
    assert "no slope, because the Earth's motion hardly changed" in figure.here
    assert not [m for m in marks(figure, Line) if m.label == "fitted line"]


def test_the_error_of_a_slope_is_that_of_many_trials():
    pulls = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        star = np.repeat(np.arange(30), 6)
        exposure = np.tile(np.arange(6), 30) + 6 * (star // 10)
        x = rng.normal(0, 10, 18)[exposure] + rng.normal(0, 3, 180)
        error = rng.uniform(0.1, 0.4, 180)
        y = rng.normal(0, 5, 30)[star] + 0.01 * x + rng.normal(0, error)
        # A zero point of each exposure that nothing has taken off.
        y = y + rng.normal(0, 0.3, 18)[exposure]
        found = within_star_slope(x, y, error, star, exposure)
        pulls.append((found.value - 0.01) / found.error)
    # 60 pulls have an rms known to 9%; with 18 exposures the error itself is known to
    # some 20%, which widens them. It must not be a factor off, as it would be (3.3) if
    # the visits were taken for independent.
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.6
    assert abs(np.mean(pulls)) < 0.6


def test_the_largest_of_the_groupings_makes_the_error():
    """Zero points of whole nights: exposures are not independent, and the error says so."""
    rng = np.random.default_rng(11)
    star, exposure = np.repeat(np.arange(50), 24), np.tile(np.arange(24), 50)
    night = exposure // 3
    x = rng.normal(0, 10, 8)[night] + rng.normal(0, 0.1, 1200)
    error = np.full(1200, 0.05)
    y = rng.normal(0, error) + rng.normal(0, 1.0, 8)[night]
    alone = within_star_slope(x, y, error, star, exposure)
    nightly = within_star_slope(x, y, error, star, exposure, night)
    assert nightly.value == alone.value
    # Three exposures a night are as one: the root of three, and of the corrections for
    # 8 groups and for 24.
    expected = np.sqrt(3 * (8 / 7) / (24 / 23))
    assert nightly.error / alone.error == pytest.approx(expected, rel=0.02)


def test_a_steadfast_slope_minimizes_the_absolute_deviations():
    rng = np.random.default_rng(6)
    x, error = rng.normal(0, 3, 51), rng.uniform(0.5, 2, 51)
    y = 0.7 * x + rng.standard_t(1, 51) * error
    tried = np.linspace(-1, 2, 3001)
    cost = (np.abs(y - tried[:, None] * x) / error).sum(axis=1)
    # The grid of trials has steps of 0.001.
    assert steadfast_slope(x, y, error) == pytest.approx(
        tried[np.argmin(cost)], abs=0.002
    )
    assert steadfast_slope(np.zeros(3), np.ones(3), np.ones(3)) == 0.0


def test_motion_that_exposures_share_is_told():
    rng = np.random.default_rng(1)
    star, exposure = np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40)
    common = rng.normal(0, 10, 5)[exposure]
    own = rng.normal(0, 10, 200)
    even = np.ones(200)
    assert shared_motion(common, even, star, exposure) == pytest.approx(1.0)
    # Five exposures explain 4/160 of what is independent, give or take as much.
    assert shared_motion(own, even, star, exposure) < 0.1


def test_where_a_zero_point_hides_a_trend_the_figure_says_so():
    table = absolute_table(n_stars=40, n_visits=6)
    night = pl.int_range(pl.len()).over("star_id")
    bary = 5.0 * night
    raw = 1 + pl.col("rv_raw") / C_KMS
    table = table.with_columns(
        pl.format("e{}", night).alias("exposure_id"),
        (C_KMS * (raw / (1 + bary / C_KMS) - 1)).alias("rv_obs"),
    )
    facts = facts_of(table)
    hiding = observed_frame(facts, ["spectrograph+arm+exposure_id"], OPTIONS)
    harmless = observed_frame(facts, ["telescope+fiber"], OPTIONS)
    assert isinstance(hiding, Figure)
    assert isinstance(harmless, Figure)
    assert "Only the slope before calibration could show it" in hiding.here
    assert "before calibration is the test" not in harmless.here


def test_wild_velocities_are_left_out_and_counted():
    table = absolute_table(n_stars=40)
    wild = pl.col("visit_id").is_in(["v3-all", "v77-all"])
    table = table.with_columns(
        pl.when(wild).then(pl.col(name) + 30).otherwise(pl.col(name)).alias(name)
        for name in ("rv_raw", "rv")
    )
    figure = observed_frame(facts_of(table), (), OPTIONS)
    assert isinstance(figure, Figure)
    assert "318 velocities (2 wild ones left out)" in figure.here
    value, error = slope_said(figure)
    assert abs(value) < 4 * error


def test_without_a_velocity_at_the_observatory_the_reason_is_given():
    missing = observed_frame(facts_of(absolute_table().drop("rv_obs")), (), OPTIONS)
    assert isinstance(missing, Missing)
    assert "barycentric correction" in missing.reason


# Absolute against relative


def test_the_difference_has_the_injected_scatter_and_no_zero():
    """Relative zeros of 7 km/s are gone; what was added in between is found."""
    table = with_relative(absolute_table(n_visits=8), shift=7.0)
    rng = np.random.default_rng(8)
    error = table["rv_err"].to_numpy()
    extra = np.where(table["method"] == "joint", rng.normal(0, 0.5 * error), 0.0)
    facts = facts_of(
        table.with_columns(pl.col(name) + extra for name in ("rv_raw", "rv"))
    )
    found = differences(facts)
    # The eight visits of a star less the reference.
    assert len(found) == 150 * 7
    assert abs(median(found["difference"])) < 0.01
    # 0.5 of one error is 0.5 / sqrt(2) of two: 1050 values give it to 4%, times three.
    assert robust_width(found["pull"]) == pytest.approx(0.5 / np.sqrt(2), rel=0.12)
    figure = against_relative(facts)
    assert isinstance(figure, Figure)
    assert f"{robust_width(found['pull']):.2f} in units of the errors" in figure.here
    (steps,) = marks(figure, Steps)
    assert np.sum(steps.heights) * 0.2 == pytest.approx(1.0)


def test_nothing_to_compare_is_said():
    table = with_relative(absolute_table(n_stars=2, n_visits=3))
    assert isinstance(against_relative(facts_of(table)), Missing)


# Fibers


def test_the_fiber_that_blurs_is_found_and_no_other():
    blurred = pl.when(pl.col("fiber") == 17).then(1.8).otherwise(1.0)
    rng = np.random.default_rng(4)
    # Fibers that differ by 3%, as line spread functions do.
    table = absolute_table().with_columns(
        pl.col("rv_limit") * blurred * rng.lognormal(0, 0.05, 1200)
    )
    facts = facts_of(table)
    rows = facts.absolute.with_columns(pl.col("fiber").cast(pl.Float64))
    wild = fiber_limits(rows).filter(pl.col("off").abs() > 5)
    assert wild["fiber"].to_list() == [17.0]
    # The limit was 4 km/s at S/N 1; some 30 spectra a fiber give it to 1%.
    assert wild["level"][0] == pytest.approx(1.8 * 4, rel=0.05)
    (figure,) = limit_by_fiber(facts)
    assert "1 fiber stands out: fiber 17 (1.8 times the median" in figure.here
    (open_,) = [m for m in marks(figure, Points) if m.symbol == "open"]
    assert open_.x.tolist() == [17.0]


def test_few_fibers_make_no_figure():
    table = absolute_table().with_columns(pl.col("fiber") % 10)
    assert limit_by_fiber(facts_of(table)) == []
    assert limit_by_fiber(facts_of(table.drop("fiber"))) == []


# One visit taken apart


@pytest.fixture
def one_star(survey):
    """Facts, spectra and absolute velocities of the star with the brightest spectrum."""
    both = replace(survey, velocities=joined(survey.velocities))
    # The simulated spectra are as recorded at the observatory, at the true velocity.
    true = both.truth["visits"]
    velocities = both.velocities.join(true, on="visit_id", maintain_order="left")
    velocities = velocities.with_columns(pl.col("rv_true").alias("rv_obs"))
    both = replace(both, velocities=velocities.drop("rv_true"))
    facts = gather(both)
    star = facts.absolute.sort("snr", descending=True)["star_id"][0]
    rows, spectra = both.spectra(star)
    return both, facts, facts.absolute.filter(pl.col("star_id") == star), rows, spectra


def test_the_best_visit_is_taken_apart_and_its_parts_sum_to_it(one_star):
    inputs, facts, absolute, rows, spectra = one_star
    figure = taken_apart_figure(facts, inputs, absolute, rows, spectra, "blue")
    assert isinstance(figure, Figure)
    best = absolute.filter(arm="blue").sort("snr", descending=True).row(0, named=True)
    assert f"exposure {best['exposure']}, S/N" in figure.here
    lines = {m.label: m for m in figure.panels[0].marks if isinstance(m, Line)}
    data, model = lines["data"].y, lines["continuum + star's lines"].y
    place = rows["visit_id"].to_list().index(best["visit_id"])
    low, high = inputs.windows["blue"]
    wave = spectra.wave_2d[place]
    inside = (wave >= low) & (wave <= high)
    assert lines["data"].x.tolist() == wave[inside].tolist()
    noise = np.sqrt(spectra.ivar[place][inside].astype(float))
    residual = next(m for m in figure.panels[2].marks if isinstance(m, Line))
    expected = np.clip((data - model) * noise, -8, 8)
    # Fluxes near 1000 in float32: 6e-5 of a noise of some 20.
    np.testing.assert_allclose(residual.y, expected, atol=1e-3)


def test_a_double_lined_visit_is_not_taken_apart_with_one_star(one_star):
    inputs, facts, absolute, rows, spectra = one_star
    double = absolute.with_columns(pl.lit(int(Status.DOUBLE_LINED)).alias("status"))
    assert taken_apart_figure(facts, inputs, double, rows, spectra, "blue") is None
    none = absolute.head(0)
    assert taken_apart_figure(facts, inputs, none, rows, spectra, "blue") is None


def test_wavelengths_without_templates_are_said_to_be_so(one_star):
    inputs, facts, absolute, rows, spectra = one_star
    far = replace(spectra, wave=spectra.wave * 1.6)
    windows = replace(inputs, windows={})
    missing = taken_apart_figure(facts, windows, absolute, rows, far, "blue")
    assert isinstance(missing, Missing)
    assert "No templates" in missing.reason
