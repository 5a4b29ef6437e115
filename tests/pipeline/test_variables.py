"""steadystar variables and orbits: files, rows, sentences, exit codes, pages."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from steadystar import cli
from steadystar.data import schema
from steadystar.data.schema import columns, conform
from steadystar.data.status import Status
from steadystar.infer import periods
from steadystar.infer.moonlight import moonlight_velocity
from steadystar.infer.orbit import Orbits
from steadystar.infer.orbit_masses import companion_mass, mass_function
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.star_visits import usable_visits
from steadystar.infer.summary import summarize_stars
from steadystar.infer.variability import VariabilityOptions
from steadystar.pipeline import candidates, judging, variables
from steadystar.pipeline.candidates import visit_temperatures
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.results import NoResults, export_tables, rewrite_report

PERIOD, K = 3.7, 20.0
CONFIG = "[report]\npaper_figures = false\nstar_pages = 3\n[periods]\ndraws = 20\n"
SMALL = ("--prior-samples", "8192")
TABLES = {"variables.parquet", "periods.parquet"}
ORBITS = {"orbits.parquet", "orbit-samples.parquet", "orbit-modes.parquet"}
BESIDE = {"summary.json", "run.log", "report"}


@pytest.fixture(scope="module", autouse=True)
def _programs():
    """Leave the cache of compiled programs alone, as for a user who has one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", "the user's own")
        yield


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve stars of which number 3 is on an orbit; the last has one visit."""
    rng = np.random.default_rng(4)
    star, visit = (grid.ravel() for grid in np.mgrid[:12, :10])
    keep = (star < 11) | (visit == 0)
    star, visit = star[keep], visit[keep]
    bjd = 2458400.3 + 7.3 * visit + rng.uniform(0, 0.4, star.size)
    rv = 4.0 * star + rng.normal(0, 0.2, star.size)
    rv += np.where(star == 3, K * np.sin(2 * np.pi * bjd / PERIOD), 0)
    folder = tmp_path_factory.mktemp("table")
    pl.DataFrame(
        {
            "star_id": [f"<i>HD {n}" for n in star],
            "bjd": bjd,
            "rv": rv,
            "rv_err": np.full(star.size, 0.2),
            "mass": np.where(star == 3, 0.8, np.nan),
            "note": [f"n{n}" for n in range(star.size)],
        }
    ).write_csv(folder / "table.csv")
    (folder / "small.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def judged(folder):
    out = folder / "variables"
    result = call(
        *("variables", folder / "table.csv", "-o", out),
        *("--config", folder / "small.toml"),
    )
    assert result.exit_code == 0, result.output
    return result, out


@pytest.fixture(scope="module")
def fitted(folder):
    out = folder / "orbits"
    result = call(
        *("orbits", folder / "table.csv", "-o", out, *SMALL, "--mass", "mass"),
        *("--star", "<i>HD 11", "--star", "<i>HD 3"),
        *("--config", folder / "small.toml"),
    )
    assert result.exit_code == 0, result.output
    return result, out


def test_every_star_has_a_row_and_the_one_that_moves_its_period(judged):
    result, out = judged
    assert {path.name for path in out.iterdir()} == TABLES | BESIDE
    table = pl.read_parquet(out / "variables.parquet")
    assert table.columns == list(columns("variables"))
    assert sorted(table["star_id"]) == sorted(f"<i>HD {n}" for n in range(12))
    assert table.filter("variable")["star_id"].to_list() == ["<i>HD 3"]
    found = table.filter("variable").row(0, named=True)
    assert found["class"] == "single-lined binary"
    # Ten visits over 66 d: a period is good to a few thousandths.
    assert found["period"] == pytest.approx(PERIOD, rel=0.01)
    periods = pl.read_parquet(out / "periods.parquet")
    assert set(periods["star_id"]) == {"<i>HD 3"}
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["stars"], summary["variable_stars"]) == (12, 1)
    assert summary["classes"]["single-lined binary"] == 1
    for line in result.stderr.strip().splitlines():
        assert line in (out / "run.log").read_text()


def test_pages_escape_names_and_begin_with_the_candidate(judged):
    _, out = judged
    page = (out / "report" / "index.html").read_text()
    assert "<i>HD" not in page
    assert "&lt;i&gt;HD 3" in page
    assert len(list((out / "report" / "stars").iterdir())) == 3
    star = next((out / "report" / "stars").glob("*HD_3-*")).read_text()
    for words in ("Periodogram", "Folded velocities", "single-lined binary"):
        assert words in star


def test_equal_calls_give_equal_bytes(judged, fitted, folder, tmp_path):
    again = call(
        *("orbits", folder / "table.csv", "-o", tmp_path, *SMALL, "--mass", "mass"),
        *("--star", "<i>HD 11", "--star", "<i>HD 3", "--quiet"),
        *("--config", folder / "small.toml"),
    )
    assert again.exit_code == 0
    assert again.output == ""
    files = [p for p in fitted[1].rglob("*") if p.is_file() and p.name != "run.log"]
    assert len(files) > 8
    for path in files:
        other = tmp_path / path.relative_to(fitted[1])
        assert other.read_bytes() == path.read_bytes(), path.name


def test_stars_that_were_asked_for_have_an_orbit_or_the_reason(fitted):
    _, out = fitted
    assert {path.name for path in out.iterdir()} == TABLES | ORBITS | BESIDE
    orbits = pl.read_parquet(out / "orbits.parquet")
    assert orbits["star_id"].to_list() == ["<i>HD 11", "<i>HD 3"]
    assert orbits["orbit_status"][0].startswith("fewer than")
    row = orbits.row(1, named=True)
    assert row["n_samples"] > 0
    samples = pl.read_parquet(out / "orbit-samples.parquet")
    modes = pl.read_parquet(out / "orbit-modes.parquet")
    assert modes.columns == list(columns("orbit-modes"))
    assert modes["n_samples"].sum() == len(samples) == row["n_samples"]
    assert modes["share"].sum() == pytest.approx(1)
    variables = pl.read_parquet(out / "variables.parquet")
    assert len(variables) == 12


def test_the_summary_counts_every_orbit_by_its_status(fitted):
    _, out = fitted
    summary = json.loads((out / "summary.json").read_text())
    orbits = pl.read_parquet(out / "orbits.parquet")
    counts = summary["orbit_statuses"]
    assert sum(counts.values()) == len(orbits)
    for status, number in counts.items():
        assert number == (orbits["orbit_status"] == status).sum()
    assert summary["orbits"] == (orbits["n_samples"] > 0).sum()


def test_a_mass_gives_the_least_mass_of_the_companion(fitted):
    _, out = fitted
    row = pl.read_parquet(out / "orbits.parquet").row(1, named=True)
    samples = pl.read_parquet(out / "orbit-samples.parquet").filter(mode=0)
    assert row["mass"] == 0.8
    numbers = (samples[name].to_numpy() for name in ("period", "k", "e"))
    least = companion_mass(mass_function(*numbers), 0.8)
    # The same medians by another way: rounding.
    assert row["m2_min"] == pytest.approx(np.median(least), rel=1e-9)
    assert row["m2_min_low"] <= row["m2_min"] <= row["m2_min_high"]


def test_a_page_of_orbits_shows_them_and_why_there_is_none(fitted):
    _, out = fitted
    page = (out / "report" / "index.html").read_text()
    assert "fewer than" in page
    star = next((out / "report" / "stars").glob("*HD_3-*")).read_text()
    assert "Which periods the velocities allow" in star
    without = next((out / "report" / "stars").glob("*HD_11-*")).read_text()
    assert "fewer than" in without


def test_results_can_be_exported_but_not_reported_again(fitted, tmp_path):
    _, out = fitted
    names = {path.stem for path in export_tables(out, "fits")}
    assert names == {name.removesuffix(".parquet") for name in TABLES | ORBITS}
    with pytest.raises(NoResults, match="give that command again"):
        rewrite_report(out, Configuration())
    assert "Orbits" in call("status", out).stdout


def test_without_times_stars_are_judged_and_the_reason_is_said(folder, tmp_path):
    table = pl.read_csv(folder / "table.csv").drop("bjd")
    table.write_csv(tmp_path / "table.csv")
    result = call(
        *("variables", tmp_path / "table.csv", "-o", tmp_path / "out"),
        *("--config", folder / "small.toml", "--rate", "0.001"),
    )
    assert result.exit_code == 0, result.output
    assert "no times of the visits" in result.stderr
    found = pl.read_parquet(tmp_path / "out" / "variables.parquet")
    assert found.filter("variable")["star_id"].to_list() == ["<i>HD 3"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["false_discovery_rate"] == 0.001


def test_periods_need_not_be_looked_for(folder, tmp_path):
    result = call(
        *("variables", folder / "table.csv", "-o", tmp_path, "--no-periods"),
        *("--config", folder / "small.toml", "--quiet"),
    )
    assert result.exit_code == 0, result.output
    assert not len(pl.read_parquet(tmp_path / "periods.parquet"))


def test_mistakes_get_one_sentence_and_status_2(folder, tmp_path):
    table = folder / "table.csv"
    (tmp_path / "bad.toml").write_text("[orbits]\nmin_period = -1\n")
    worded = tmp_path / "worded.csv"
    worded.write_text("star_id,rv,rv_err,correction\na,1.0,0.1,no\na,2.0,0.1,yes\n")
    for arguments, words in (
        (("variables", tmp_path / "none.csv"), "no such file"),
        (("variables", table, "--survey", "nobody"), "no survey 'nobody'"),
        (("variables", table, "--rate", "2"), "is no rate"),
        (("variables", worded), "Column correction of"),
        (("orbits", table, "--star", "HD 99"), "no star 'HD 99'"),
        (("orbits", table, "--mass", "heavy"), "no column 'heavy'"),
        (("orbits", table, "--mass", "note"), "no number between 0 and 1000"),
        (("orbits", table, "--mass", "-2"), "none of a star"),
        (("orbits", table, "--config", tmp_path / "bad.toml"), "min_period"),
    ):
        result = call(*arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2, arguments
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        assert words in lines[0], lines[0]
    assert not (tmp_path / "out").exists()


def moonlit_binary():
    """A star on an orbit, of which three visits are at the velocity of the Moon."""
    full = 2_458_504.7 + 29.53 * np.arange(3)
    bjd = np.sort(np.r_[full, 2_458_500.2 + np.arange(20) ** 1.5])
    rv = K * np.sin(2 * np.pi * bjd / PERIOD)
    table = pl.DataFrame(
        {
            "star_id": ["a"] * len(bjd),
            "visit_id": [f"v{n}" for n in range(len(bjd))],
            "bjd": bjd,
            "bary_corr": np.full(len(bjd), 400.0),
            "rv": rv,
            "rv_err": np.full(len(bjd), 0.2),
        }
    )
    moon, _ = moonlight_velocity(table)
    lit = np.isin(bjd, full)
    return table.with_columns(rv=pl.Series(np.where(lit, moon, rv))), full


def test_moonlit_visits_enter_neither_periods_nor_orbits(monkeypatch):
    seen = []

    def fit(visits, stars, options):
        seen.append(usable_visits(visits)["bjd"].to_list())
        return Orbits(schema.empty("orbits"), schema.empty("orbit-samples"))

    monkeypatch.setattr(judging, "fit_orbits", fit)
    table, full = moonlit_binary()
    tasks = judging.Tasks(periods=PeriodOptions(1.0, draws=0), orbits=OrbitOptions())
    found = judging.judge_stars(table, tasks)
    assert found.variables["n_moonlight"].to_list() == [3]
    # Without noise the period is exact, but for the steps of the search.
    assert found.periods["period"][0] == pytest.approx(PERIOD, abs=1e-6)
    assert seen.pop() == [t for t in table["bjd"] if t not in full]
    assert found.notes == (
        "Moonlit visits left out of periods and orbits: 3, of stars: 1.",
    )
    use = replace(tasks, variables=VariabilityOptions(use_moonlit=True))
    assert judging.judge_stars(table, use).notes == ()
    assert seen.pop() == table["bjd"].to_list()


def test_double_lined_stars_come_first():
    judged = pl.DataFrame(
        {
            "star_id": list("abcde"),
            "variable": [True, True, False, False, False],
            "double_lined": [False, False, True, True, False],
            "n_double_lined": [0, 0, 2, 5, 0],
            "rv_max_difference_snr": [9.0, 90.0, 3.0, np.nan, 1.0],
        }
    )
    assert candidates._changing(judged) == ["d", "c", "b", "a"]


def test_a_fit_to_all_arms_counts_once():
    visits = pl.DataFrame(
        {
            "visit_id": ["a-blue", "a-red", "b-blue"],
            "star_id": ["s"] * 3,
            "exposure_id": ["a", "a", "b"],
            "rv": [1.0, 1.0, 1.0],
            "rv_err": [0.3, 0.2, 0.1],
        }
    )
    labels = pl.DataFrame(
        {
            "visit_id": ["a-all", "b-blue", "c-all"],
            "star_id": ["s"] * 3,
            "exposure_id": ["a", "b", "c"],
            "arm": ["all", "blue", "all"],
            "teff": [5000.0, 5100.0, 5200.0],
            "teff_err": [50.0] * 3,
            "status": [0] * 3,
        }
    )
    found = dict(visit_temperatures(visits, labels).select("visit_id", "teff").rows())
    assert found == {"b-blue": 5100.0, "a-red": 5000.0}


def two_methods():
    """Stars with relative and absolute velocities; a double one has absolute ones only."""
    rng = np.random.default_rng(6)
    star, visit = (grid.ravel() for grid in np.mgrid[:10, :8])
    bjd = 2458400.3 + 7.3 * visit + rng.uniform(0, 0.4, star.size)
    rv = K * np.sin(2 * np.pi * bjd / (PERIOD + 0.1 * star)) * (star % 3 > 0)
    table = pl.DataFrame(
        {
            "star_id": [f"s{n}" for n in star],
            "visit_id": [f"v{n}" for n in range(star.size)],
            "bjd": bjd,
            "method": "marginal",
            "rv": rv + rng.normal(0, 0.2, star.size),
            "rv_err": np.full(star.size, 0.2),
            "status": np.where(star == 8, int(Status.DOUBLE_LINED), 0),
        }
    )
    relative = table.filter(pl.col("star_id") != "s8").with_columns(
        method=pl.lit("joint"),
        rv=pl.col("rv") + 5.0,
        reference_visit_id=pl.lit("first of ") + pl.col("star_id"),
    )
    return pl.concat([table, relative], how="diagonal")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (np.linalg.LinAlgError("no inverse"), "the search failed: no inverse"),
        (IndexError("out of bounds"), "the search failed: IndexError: out of bounds"),
    ],
)
def test_a_star_that_cannot_be_searched_costs_no_other(
    tmp_path, monkeypatch, error, sentence
):
    table, options = conform(two_methods(), "velocities"), PeriodOptions(1.0, draws=20)
    table = table.filter(method="marginal")
    table.write_parquet(tmp_path / "visits.parquet")
    stars = pl.DataFrame({"star_id": [f"s{n}" for n in range(7)]})
    stars.write_parquet(tmp_path / "chosen.parquet")
    job = variables._SearchJob(
        tmp_path / "chosen.parquet", tmp_path / "visits.parquet", 0, options
    )
    whole = variables.search_periods(job, tmp_path / "whole")
    lost = table.filter(star_id="s4")["rv"].to_numpy()
    search = periods.search

    def fails(curve, *given):
        if np.isin(curve.rv, lost).all():
            raise error
        return search(curve, *given)

    monkeypatch.setattr(periods, "search", fails)
    found = variables.search_periods(job, tmp_path / "found")
    rows, before = (pl.read_parquet(one.outputs["periods"]) for one in (found, whole))
    assert_frame_equal(
        rows.filter(pl.col("star_id") != "s4"), before.filter(pl.col("star_id") != "s4")
    )
    assert rows.filter(star_id="s4").select("rank", "period_status").rows() == [
        (0, sentence)
    ]
    # What is not of the data is of the program: it is told, and tried again.
    unexpected = isinstance(error, IndexError)
    assert found.facts["failed"] == ["s4"]
    assert found.facts["again"] == unexpected
    assert (whole.facts["failed"], whole.facts["again"]) == ([], False)
    said = "Periods of s4 (1 in all) could not be searched: IndexError: out of bounds"
    if unexpected:
        assert found.notes[0].startswith(f"{said}\nTraceback")
    # On a table as well; and whoever searches all stars sees it.
    judged = judging.judge_stars(table, judging.Tasks(periods=options))
    assert judged.periods.filter(star_id="s4")["period_status"].item() == sentence
    assert (said in judged.notes) == unexpected
    if not unexpected:
        every = periods.find_periods(table, options=options)
        assert every.filter(star_id="s4")["period_status"].item() == sentence


def test_a_table_without_times_is_refused_whoever_asks():
    table = conform(two_methods(), "velocities").filter(method="marginal")
    with pytest.raises(ValueError, match="no column bjd"):
        judging.search_stars(table.drop("bjd"), ["s1", "s2"], PeriodOptions(1.0))


def test_stars_in_parts_get_what_they_get_together(tmp_path, monkeypatch):
    table = conform(two_methods(), "velocities")
    tasks = judging.Tasks(periods=PeriodOptions(1.0, draws=20))
    whole = judging.judge_stars(table, tasks)
    table.write_parquet(tmp_path / "velocities.parquet")
    monkeypatch.setattr(variables, "STARS_PER_UNIT", 4)
    job = variables._Job(tmp_path / "velocities.parquet", None, None, tasks)
    judged = variables.judge_survey(job, tmp_path / "judge")
    assert judged.facts["chosen"] == 6
    parts = [
        variables.search_periods(
            variables._SearchJob(
                judged.outputs["chosen"], judged.outputs["visits"], n, tasks.periods
            ),
            tmp_path / f"{n}",
        )
        for n in range(2)
    ]
    assert [part.facts["stars"] for part in parts] == [4, 2]
    summarize_stars(table).write_parquet(tmp_path / "stars.parquet")
    job = variables._ClassJob(
        *(judged.outputs[name] for name in ("judged", "chosen", "visits")),
        tuple(part.outputs["periods"] for part in parts),
        tmp_path / "stars.parquet",
        tasks,
        (),
    )
    found = variables.classify_survey(job, tmp_path / "all").outputs
    assert_frame_equal(pl.read_parquet(found["variables"]), whole.variables)
    assert_frame_equal(pl.read_parquet(found["periods"]), whole.periods)
    reasons = dict(whole.periods.select("star_id", "period_status").unique().rows())
    assert reasons["s8"] == "no usable visit has a time"
    assert reasons["s1"] == "good"
