"""What pages say and draw of stars that vary: figures hold the numbers they claim."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from steadystar.data import schema
from steadystar.publish.facts import gather
from steadystar.publish.figures.findings import findings
from steadystar.publish.figures.folded_visits import above_center
from steadystar.publish.figures.orbit_star import (
    folded_orbits,
    period_posterior,
    wilson_plot,
)
from steadystar.publish.figures.variable_lists import (
    candidate_listing,
    class_listing,
    massive_listing,
    peak_listing,
)
from steadystar.publish.figures.variable_star import extreme_spectra, line_strength
from steadystar.publish.figures.variable_stars import (
    amplitude_period,
    differences,
    p_values,
)
from steadystar.publish.headlines import star_facts
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.plot import Line, Missing, Points
from steadystar.publish.variable_facts import candidates, evidence_of, page_order
from steadystar.publish.variables_page import write_variables_page
from steadystar.simulate.orbits import orbital_velocity

PERIOD, K, E, OMEGA, START, V0 = 7.5, 22.0, 0.3, 60.0, 2458403.0, -15.0
RATIO = 0.8


def orbit(time, k=K):
    return orbital_velocity(
        time,
        period=PERIOD,
        semi_amplitude=k,
        eccentricity=E,
        omega=np.radians(OMEGA),
        periastron=START,
    )


@pytest.fixture(scope="module")
def pair() -> ReportInputs:
    """One pair with both velocities and two modes, the second a wrong alias."""
    rng = np.random.default_rng(3)
    time = 2458400.0 + np.sort(rng.uniform(0, 60, 24))
    curve, noise = orbit(time), rng.normal(0, 0.3, (2, 24))
    velocities = pl.DataFrame(
        {
            "visit_id": [f"v{n}" for n in range(24)],
            "star_id": ["A & B"] * 24,
            "arm": ["all"] * 24,
            "bjd": time,
            "rv": V0 + curve + noise[0],
            "rv_err": np.full(24, 0.3),
            "rv_2": V0 - curve / RATIO + noise[1],
            "rv_2_err": np.full(24, 0.3),
            "status": [0] * 24,
        }
    )
    n = 200
    mode = (np.arange(n) >= 150).astype(int)
    true = pl.DataFrame(
        {
            "star_id": ["A & B"] * n,
            "sample": range(n),
            "mode": mode,
            "period": np.where(mode, 0.88, PERIOD * (1 + 1e-4 * rng.normal(size=n))),
            "e": np.full(n, E),
            "omega": np.full(n, OMEGA),
            "t_peri": np.full(n, START),
            "k": np.full(n, K),
            "k_2": np.full(n, K / RATIO),
            "v0": np.full(n, V0),
            "ln_likelihood": -(np.arange(n) + 1.0),
        }
    )
    row = {"star_id": "A & B", "n_samples": n, "n_modes": 2, "mode_share": 0.75}
    row |= {"period": PERIOD, "k": K, "mass_ratio": RATIO, "orbit_status": "several"}
    return ReportInputs(
        velocities=velocities,
        orbits=schema.conform(pl.DataFrame([row]), "orbits"),
        orbit_samples=schema.conform(true, "orbit-samples"),
    )


@pytest.fixture(scope="module")
def judged(survey) -> ReportInputs:
    """The small survey with verdicts: two variable stars, one with a heavy companion."""
    stars = survey.stars.sort("star_id")
    n = len(stars)
    p = (np.arange(n) + 0.5) / n
    p[:2] = 0
    kind = ["single-lined binary", "likely pulsator"] + ["constant"] * (n - 2)
    table = stars.select("star_id", "ra", "dec").with_columns(
        n_visits=pl.lit(18),
        p_value=pl.Series(p),
        dof=pl.lit(16),
        variable=pl.Series(p == 0),
        constant=pl.Series(p > 0),
        rv_max_difference_snr=pl.Series(np.where(p == 0, 30.0, 2.5)),
        period=pl.Series(np.where(p == 0, np.where(np.arange(n), 0.5, 3.0), np.nan)),
        period_fap=pl.Series(
            np.where(p == 0, np.where(np.arange(n), 0.4, 1e-6), np.nan)
        ),
        massive_companion=pl.Series(np.arange(n) == 1),
        evidence=pl.lit("chi2 < 1e-10 & more"),
        **{"class": pl.Series(kind)},
    )
    names = stars["star_id"][:2].to_list()
    periods = pl.DataFrame(
        {
            "star_id": names,
            "rank": [1, 1],
            "period": [3.0, 0.5],
            "fap": [1e-6, 0.4],
            "amplitude": [20.0, 5.0],
        }
    )
    return replace(
        survey,
        variables=schema.conform(table, "variables"),
        periods=schema.conform(periods, "periods"),
    )


def test_the_curves_are_those_of_the_simulator():
    time = START + np.linspace(-20, 20, 301)
    sample = {"period": PERIOD, "e": E, "omega": OMEGA, "t_peri": START, "v0": V0}
    sample |= {"k": K, "k_2": K / RATIO}
    both = pl.DataFrame([sample, sample | {"omega": OMEGA + 180}])
    curves = above_center(both, time)
    # Kepler's equation by Markley and by Newton: rounding, times of 2.5e6 d over P.
    assert np.allclose(curves[0], orbit(time), atol=1e-7)
    assert np.allclose(curves[1], -curves[0], atol=1e-7)
    second = above_center(both, time, second=True)
    assert np.allclose(second, -curves / RATIO, atol=1e-7)


def test_each_mode_has_a_panel_and_the_best_curve_goes_through_the_velocities(pair):
    figure = folded_orbits(evidence_of(pair, "A & B"), ("all",))
    assert len(figure.panels) == 4
    right, wrong, right_left, wrong_left = figure.panels
    best = next(m for m in right.marks if isinstance(m, Line) and m.color == "ink")
    points = [m for m in right.marks if isinstance(m, Points)]
    once = len(points[0].x) // 2
    on_curve = np.interp(points[0].x[:once], best.x[:120], best.y[:120])
    # 0.3 km/s of noise, and a curve in steps of 1/120 of the period.
    assert np.std(points[0].y[:once] - on_curve) < 0.5
    residuals = next(m for m in right_left.marks if isinstance(m, Points)).y
    assert np.std(residuals) < 0.45
    assert np.std(next(m for m in wrong_left.marks if isinstance(m, Points)).y) > 5
    assert points[1].symbol == "diamond"
    assert "75% of the samples" in right.title
    assert "2 modes" in figure.here
    assert figure.here.endswith("Outcome: several.")
    assert wrong.title.startswith("0.88")


def test_velocities_of_stars_that_changed_places_are_drawn_where_they_belong(pair):
    turned = pl.int_range(pl.len()) % 3 == 0
    names = ("rv", "rv_2")
    swapped = pair.velocities.with_columns(
        pl.when(turned).then(other).otherwise(own).alias(own)
        for own, other in (names, names[::-1])
    )
    figure = folded_orbits(
        evidence_of(replace(pair, velocities=swapped), "A & B"), ("all",)
    )
    first, second = (m.y for m in figure.panels[2].marks if isinstance(m, Points))
    # Where the curves cross either way fits: the errors are 0.3 km/s.
    assert np.std(first) < 0.45
    assert np.std(second) < 0.45
    number = int(figure.here.split("velocities of ")[1].split()[0])
    assert 6 <= number <= 10  # 8, but for visits where the curves cross


def test_visits_that_were_not_fitted_are_open_and_not_in_the_residuals(pair):
    blend = pl.int_range(pl.len()) < 6
    # One star's orbit: visits that show two, 40 km/s off, were left out.
    single = pair.velocities.with_columns(
        pl.when(blend).then(pl.col("rv") + 40).otherwise("rv").alias("rv"),
        double_lined=blend,
        rv_2=pl.lit(float("nan")),
    )
    samples = pair.orbit_samples.with_columns(k_2=pl.lit(float("nan")))
    one = replace(pair, velocities=single, orbit_samples=samples)
    # A pair's: those of one velocity were.
    lost = pl.when(blend).then(float("nan")).otherwise("rv_2").alias("rv_2")
    two = replace(pair, velocities=pair.velocities.with_columns(lost))
    for inputs, why in ((one, "two stars"), (two, "one velocity")):
        figure = folded_orbits(evidence_of(inputs, "A & B"), ("all",))
        points = [m for m in figure.panels[0].marks if isinstance(m, Points)]
        left = next(m for m in points if m.symbol == "open")
        assert left.label == f"{why}: not fitted"
        assert len(left.x) == 2 * 6
        assert len(points[0].x) == 2 * 18
        residual = next(m for m in figure.panels[2].marks if isinstance(m, Points)).y
        assert len(residual) == 2 * 18
        assert np.std(residual) < 0.45  # 0.3 km/s of noise
        assert float(figure.here.split("leaves ")[1].split()[0]) < 0.45


def test_zeros_of_arms_are_put_where_the_orbit_has_them(pair):
    moved = pair.velocities.with_columns(
        arm=pl.Series(["blue", "red"] * 12),
        reference_visit_id=pl.lit("v0"),
        method=pl.lit("joint"),
        **{n: pl.col(n) + pl.Series([0.0, 50.0] * 12) for n in ("rv", "rv_2")},
    )
    evidence = evidence_of(replace(pair, velocities=moved), "A & B")
    figure = folded_orbits(evidence, ("blue", "red"))
    residuals = [m.y for m in figure.panels[2].marks if isinstance(m, Points)]
    assert len(residuals) == 3  # of two arms, and of the second star
    assert all(np.std(one) < 0.5 and abs(np.mean(one)) < 0.3 for one in residuals)


def test_without_samples_a_sine_is_drawn_and_without_a_period_the_reason(pair):
    periods = pl.DataFrame({"star_id": ["A & B"], "rank": [1], "period": [PERIOD]})
    known = replace(
        pair, orbit_samples=None, periods=schema.conform(periods, "periods")
    )
    figure = folded_orbits(evidence_of(known, "A & B"), ("all",))
    assert "No orbit was fitted" in figure.shows
    # An orbit of e 0.3 leaves its second harmonic, about e K, from a sine.
    rms = np.std(next(m for m in figure.panels[1].marks if isinstance(m, Points)).y)
    assert 1 < rms < 0.5 * K
    nothing = replace(pair, orbit_samples=None)
    missing = folded_orbits(evidence_of(nothing, "A & B"), ("all",))
    assert isinstance(missing, Missing)
    assert "several" in missing.reason


def test_the_posterior_of_the_period_counts_every_sample(pair):
    figure = period_posterior(evidence_of(pair, "A & B"))
    assert sum(mark.heights.sum() for mark in figure.panels[0].marks) == 200
    assert "7.5" in figure.here


def test_the_slope_of_both_velocities_is_the_ratio_of_masses(pair):
    figure = wilson_plot(evidence_of(pair, "A & B"), ("all",))
    line = next(m for m in figure.panels[0].marks if isinstance(m, Line))
    assert np.diff(line.y)[0] / np.diff(line.x)[0] == pytest.approx(-1 / RATIO)
    points = [m for m in figure.panels[0].marks if isinstance(m, Points)][-1]
    slope = np.polyfit(points.x, points.y, 1)[0]
    assert slope == pytest.approx(-1 / RATIO, rel=0.03)


def test_heavy_companions_come_first_and_get_their_pages(judged):
    stars = sorted(judged.stars["star_id"].to_list())
    assert candidates(judged)["star_id"].to_list() == [stars[1], stars[0]]
    facts = gather(judged)
    order = page_order(facts, judged)
    assert order[:2] == [stars[1], stars[0]]
    assert sorted(order) == sorted(facts.stars["star_id"])
    listing = candidate_listing(judged, {stars[0]: "stars/a.html"}, ReportOptions())
    assert listing.links == (None, "stars/a.html")
    assert listing.sortable
    assert [row[0] for row in massive_listing(judged, {}).rows] == [stars[1]]
    counts = {row[0]: row[1] for row in class_listing(judged).rows}
    assert counts["single-lined binary"] == "1"


def test_the_level_of_p_values_is_the_share_of_constant_stars(judged):
    figure = p_values(judged)
    level = next(m for m in figure.panels[0].marks if isinstance(m, Line)).y[0]
    assert level == pytest.approx(3, abs=0.2)  # 60 stars in 20 cells
    few = replace(judged, variables=judged.variables.head(5))
    assert isinstance(p_values(few), Missing)


def test_unsure_periods_are_open_symbols(judged):
    marks = amplitude_period(judged).panels[0].marks
    found = {(m.symbol, float(m.x[0]), float(m.y[0])) for m in marks}
    assert found == {("circle", 3.0, 20.0), ("open", 0.5, 5.0)}
    nothing = amplitude_period(replace(judged, periods=None))
    assert isinstance(nothing, Missing)


def test_many_stars_are_counted_not_drawn(judged):
    drawn = differences(judged, ReportOptions()).panels[0].marks
    assert sum(len(mark.x) for mark in drawn) == len(judged.variables)
    dense = differences(judged, ReportOptions(aggregate_above=10)).panels[0].marks
    assert dense[0].counts.sum() == len(judged.variables)


def test_peaks_say_what_they_copy():
    table = {"rank": [1, 2], "period": [3.0, 0.75], "fap": [1e-12, 0.2]}
    table |= {"alias_of": [None, 1], "alias": [None, "f + 1/d"]}
    rows = peak_listing(schema.conform(pl.DataFrame(table), "periods")).rows
    assert rows[0][4] == "< 1e-10"
    assert rows[0][3] == "\N{EN DASH}"  # no jackknife of few visits
    assert rows[1][-1] == "of 1: f + 1/d"


def test_extreme_epochs_are_the_extremes_and_h_alpha_is_measured(judged):
    facts = gather(judged)
    star = facts.stars.sort("scatter_after", descending=True, nulls_last=True)
    star = star["star_id"][0]
    visits = facts.visits.filter(pl.col("star_id") == star)
    rows, spectra = judged.spectra(star)
    here = np.flatnonzero((rows["arm"] == "red").to_numpy())
    red = rows[here.tolist()]
    figure = extreme_spectra(facts, visits, red, spectra[here], "red")
    assert "H \N{GREEK SMALL LETTER ALPHA}" in [p.title for p in figure.panels]
    shown = visits.filter(pl.col("arm") == "red", "measured")["value"]
    apart = float(figure.here.split(", ")[-1].split()[0].replace(",", ""))
    assert apart == pytest.approx(shown.max() - shown.min(), rel=0.01)
    strength = line_strength(facts, visits, rows, spectra, 3.0)
    assert len(strength.panels) == 2
    points = strength.panels[0].marks[0]
    # A line of depth 0.5 and 0.6 A: 0.752 A.
    pull = (points.y - 0.5 * 0.6 * np.sqrt(2 * np.pi)) / points.error
    assert np.abs(pull).max() < 5


def test_a_page_without_spectra_or_orbits_is_written(judged, tmp_path):
    inputs = replace(judged, spectra=None, truth=None, offsets={}, title="<b>x</b>")
    options = ReportOptions(star_pages=2, paper_figures=False)
    page = write_variables_page(tmp_path, inputs, options, notes=("a <i>note</i>",))
    text = page.read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "a &lt;i&gt;note&lt;/i&gt;" in text
    stars = list((tmp_path / "stars").iterdir())
    assert len(stars) == 2
    assert all("chi2 &lt; 1e-10 &amp; more" in star.read_text() for star in stars)


def said_of(inputs, star):
    rows = findings(evidence_of(inputs, star)).rows
    return {row[0].replace("\N{NO-BREAK SPACE}", " "): row[1:] for row in rows}


def test_a_page_says_what_was_found_and_how_sure_it_is(pair, judged):
    rows = said_of(pair, "A & B")
    assert rows["orbit"][0] == "several"
    assert "2 separate periods" in rows["orbit"][1]
    assert rows["K (km/s)"][0].startswith("22.0")
    assert rows["M₂/M₁"][0].startswith("0.80")
    assert "least M₂ (M☉)" not in rows  # no mass of the star is known
    first, second = sorted(judged.stars["star_id"].to_list())[:2]
    rows = said_of(judged, second)
    assert rows["class"][0] == "likely pulsator, massive companion"
    assert rows["period (d)"][1].endswith(": 0.40")
    figure = folded_orbits(evidence_of(judged, second), ("blue", "red"))
    assert figure.here.endswith("with a chance of 0.40.")
    row = {"star_id": first, "n_measured": 2, "n_spectra": 2, "ra": None, "dec": None}
    row |= {"period": 0.5, "class": "variable", "variable": True}
    facts = gather(judged)
    for fap, said in ((0.4, "false-alarm probability 0.40"), (np.nan, "period")):
        found = [
            h for h in star_facts(facts, row | {"period_fap": fap}) if " d" in h.value
        ]
        assert [h.meaning.endswith(said) for h in found] == [True]
    assert findings(evidence_of(replace(judged, variables=None), first[:-1])) is None


def test_candidates_have_no_columns_that_nobody_fills(judged):
    listing = candidate_listing(judged, {}, ReportOptions())
    assert listing.columns[:5] == ("star", "class", "period (d)", "FAP", "K (km/s)")
    assert [row[4] for row in listing.rows] == ["5.0000", "20.000"]  # of the peaks
    assert not {"modes", "e", "least M₂ (M☉)"} & set(listing.columns)
    assert listing.columns[-1] == "visits"
    assert {len(row) for row in listing.rows} == {len(listing.columns)}
    orbit = {"star_id": listing.rows[0][0], "k": 7.0, "e": 0.25, "period": 0.51}
    orbits = schema.conform(pl.DataFrame([orbit]), "orbits")
    listing = candidate_listing(replace(judged, orbits=orbits), {}, ReportOptions())
    assert listing.rows[0][listing.columns.index("e")] == "0.25"
    assert [row[4] for row in listing.rows] == ["7.0000", "20.000"]
