"""steadystar compare: files, sentences, exit codes, and a page that can be read."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from steadystar import cli
from steadystar.data.tables import read_metadata
from steadystar.infer.compare import compare_catalogs
from steadystar.infer.comparison import CompareOptions, Comparison
from steadystar.pipeline.compare import parse_range
from steadystar.publish.compare_page import write_compare_page
from steadystar.publish.figures.compare_quantity import plus_minus, quantity_figures
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import DASH, MINUS
from steadystar.publish.plot import Cells, Density, Figure, Missing, Shaded
from steadystar.survey.columns import CatalogError

FILES = {
    *("compare.parquet", "unmatched.parquet", "high-velocity.parquet", "compare.zip"),
    *("summary.json", "run.log", "report"),
}


def call(*arguments):
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A run's directory, and a catalog with names and units of its own."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("tables")
    n = 300
    ra, dec = rng.uniform(280, 290, n), rng.uniform(40, 45, n)
    rv, teff = rng.normal(0, 30, n), rng.uniform(4000, 7000, n)
    rv[0] = 410.0
    (folder / "run").mkdir()
    pl.DataFrame(
        {
            "star_id": [f"<b>{i}</b>" for i in range(n)],
            "ra": ra,
            "dec": dec,
            "n_visits": [1] * 30 + [4] * (n - 30),
            "rv_mean": rv + rng.normal(0, 0.5, n),
            "rv_mean_err": np.full(n, 0.5),
            "rv_scatter": np.full(n, 0.2),
            "teff": teff + rng.normal(0, 50, n) + 800 * (np.arange(n) == 7),
            "teff_err": np.full(n, 50.0),
        }
    ).write_parquet(folder / "run" / "stars.parquet")
    pl.DataFrame(
        {
            "RAH": ra / 15,
            "DE": dec,
            "V": 1000 * (rv - 1.1),
            "T": teff,
            "AG": rng.gamma(1, 0.3, n),
        }
    ).head(280).write_csv(folder / "other.csv")
    return folder


def arguments(tables, out, *more):
    return (
        *(tables / "run", tables / "other.csv", "-o", out, *more),
        *("--columns-b", "ra=RAH[h],dec=DE,rv=V[m/s],teff=T", "--color", "AG"),
    )


@pytest.fixture(scope="module")
def results(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    result = call(*arguments(tables, out))
    assert result.exit_code == 0, result.output
    return result, out


def test_the_command_writes_all_files_and_says_what_it_found(results):
    result, out = results
    assert {path.name for path in out.iterdir()} == FILES
    for words in (
        "280 stars are in both tables: 280 by position",
        "rv: 30 stars are set aside, fewer than 2 visits in A.",
        "teff: 280 stars, A - B = ",
        "1 outliers",
    ):
        assert words in result.stderr
    for line in result.stderr.strip().splitlines():
        assert line in (out / "run.log").read_text()


def test_the_files_hold_what_was_compared(results):
    _, out = results
    summary = json.loads((out / "summary.json").read_text())
    assert summary["quantities"]["rv"]["bias"] == pytest.approx(1.1, abs=0.15)
    assert summary["matched"] == 280
    assert [row["len"] for row in summary["unmatched"]] == [20]
    matches = pl.read_parquet(out / "compare.parquet")
    assert matches["rv_used"].sum() == 250
    assert matches.filter("teff_outlier")["star_id_a"].to_list() == ["<b>7</b>"]
    assert len(pl.read_parquet(out / "unmatched.parquet")) == 20
    fast = pl.read_parquet(out / "high-velocity.parquet")
    assert fast["doubts"].to_list() == ["one visit"]
    assert Comparison.load(out / "compare.zip").matches.equals(matches)
    origin = read_metadata(out / "compare.parquet")
    assert origin["steadystar.inputs"] == summary["inputs"]


def test_equal_calls_give_equal_bytes(results, tables, tmp_path, monkeypatch):
    _, out = results
    page = "steadystar.pipeline.compare.write_compare_page"
    monkeypatch.setattr(page, lambda folder, *_: folder.mkdir())  # drawn once already
    again = call(*arguments(tables, tmp_path, "--quiet"))
    assert again.exit_code == 0
    assert again.output == ""
    for name in sorted(FILES - {"run.log", "report"}):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_the_page_tells_it_and_escapes_what_came_from_files(results):
    _, out = results
    page = (out / "report" / "index.html").read_text()
    assert "<b>7</b>" not in page
    assert "&lt;b&gt;7&lt;/b&gt;" in page
    for words in (
        "run against other.csv",
        "280 stars are both in A, run (300 stars)",
        "What the errors predict",
        "Candidates for high velocity",
        "Stars in one table only",
        "no star within 3 arcsec",
        "differences against AG",
    ):
        assert words in page
    for quantity in ("rv", "teff"):
        for figure in ("", "-histogram", "-color"):
            name = f"compare-{quantity}{figure}.png"
            assert (out / "report" / "figures" / name).exists()


def test_mistakes_get_one_sentence_and_status_2(tables, tmp_path):
    a, b = tables / "run", tables / "other.csv"
    for more, words in (
        ((a, tmp_path / "none.csv"), "no such file"),
        ((tmp_path, b), "without stars.parquet"),
        ((a, b), "share no quantity"),
        ((a, b, "--columns-b", "teff=T"), "Stars cannot be matched"),
        ((a, b, "--columns-b", "teff=T,ra=RAH,dec=DE"), "Taken as hours"),
        ((a, b, "--columns-b", "teff"), "names no column"),
        (arguments(tables, tmp_path, "--range", "teff=hot"), "is no range"),
        (arguments(tables, tmp_path, "--radius", "0"), "radius_arcsec = 0"),
        (arguments(tables, tmp_path, "--against", "c"), "mean, a or b"),
        (arguments(tables, tmp_path, "--quantity", "AG"), "has no numbers 'AG'"),
    ):
        result = call(*more, *(() if "-o" in more else ("-o", tmp_path / "out")))
        assert result.exit_code == 2, more
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("steadystar: ")
        assert words in lines[0]
    assert not (tmp_path / "out").exists()


def test_ranges_are_read():
    assert parse_range("teff=4000:7000") == ("teff", (4000.0, 7000.0))
    assert parse_range(" feh = -1: ") == ("feh", (-1.0, np.inf))
    assert parse_range("logg=:3.5") == ("logg", (-np.inf, 3.5))
    for words in ("teff", "teff=", "teff=4000", "teff=:", "=1:2"):
        with pytest.raises(CatalogError, match="is no range"):
            parse_range(words)


def test_numbers_have_the_digits_that_their_errors_allow():
    assert plus_minus(1.23456, 0.0456, "km/s") == "1.235 ± 0.046 km/s"
    assert plus_minus(-5432.1, 123.4) == f"{MINUS}5,432 ± 123"
    assert plus_minus(5.0, float("nan"), "K") == "5.00 K"
    assert plus_minus(float("nan"), 1.0) == DASH


def small(size, **more):
    rng = np.random.default_rng(size)
    teff = rng.uniform(4000, 6000, size)
    table = pl.DataFrame({"id": range(1, size + 1), "teff": teff, **more})
    return table, table.with_columns(teff=pl.col("teff") + 30)


@pytest.mark.parametrize("size", [1, 3, 20])
def test_a_page_of_little_data_says_what_is_missing(size, tmp_path):
    comparison = compare_catalogs(*small(size))
    items = quantity_figures(comparison, "teff")
    drawn = {item.name for item in items if isinstance(item, Figure)}
    missing = {item.name for item in items if isinstance(item, Missing)}
    # All differences are 30 K: there is no distribution to draw.
    assert "compare-teff-histogram" in missing
    assert drawn == (set() if size == 1 else {"compare-teff"})
    options = ReportOptions(paper_figures=size == 3)
    page = write_compare_page(tmp_path, comparison, "x", ["a <i>note</i>"], options)
    assert "a &lt;i&gt;note&lt;/i&gt;" in page.read_text()


def test_a_crowd_is_drawn_as_cells_and_few_as_points():
    rng = np.random.default_rng(3)
    a, b = small(400, ebv=rng.gamma(1, 0.1, 400))
    a = a.with_columns(teff=pl.col("teff") + pl.Series(rng.normal(0, 50, 400)))
    plain = compare_catalogs(a, b)
    colored = compare_catalogs(a, b, CompareOptions(color="ebv"))
    for comparison, crowd, kind in (
        (plain, 100, Density),
        (colored, 100, Cells),
        (colored, 1000, Shaded),
    ):
        figure = quantity_figures(comparison, "teff", crowd)[0]
        assert isinstance(figure, Figure)
        for panel in figure.panels:
            assert any(isinstance(mark, kind) for mark in panel.marks)
