"""steadystar distances: files, sentences, exit codes, and a page that can be read."""

import json
from functools import partial

import numpy as np
import polars as pl
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from steadystar import cli, estimate_distances
from steadystar.data.tables import read_metadata
from steadystar.pipeline import distances
from steadystar.publish.inputs import ReportOptions

FILES = {"distances.parquet", "summary.json", "run.log", "report"}


def call(*arguments):
    return CliRunner().invoke(cli.app, ["distances", *map(str, arguments)])


@pytest.fixture(scope="module")
def stars():
    """Two hundred stars; some lack a parallax, one is far too bright."""
    rng = np.random.default_rng(3)
    distance = rng.uniform(300, 4000, 200)
    m_ks = rng.normal(-1, 1, 200)
    ks = m_ks + 5 * np.log10(distance) - 5 + 0.09
    ks[7] -= 2
    return pl.DataFrame(
        {
            "star_id": [f"<b>{i}</b>" for i in range(200)],
            "ra": rng.uniform(0, 360, 200),
            "dec": rng.uniform(-90, 90, 200),
            "m_ks": m_ks + rng.normal(0, 0.25, 200),
            "m_ks_err": np.full(200, 0.25),
            "ks": ks,
            "ks_err": np.full(200, 0.02),
            "ebv": np.full(200, 0.3),
            "ebv_err": np.full(200, 0.03),
            "parallax": 1000 / distance + rng.normal(0, 0.03, 200),
            "parallax_error": np.full(200, 0.03),
            "note": [f"n{i}" for i in range(200)],
        }
    ).with_columns(
        parallax=pl.when(pl.int_range(pl.len()) % 20 > 0)
        .then("parallax")
        .otherwise(None)
    )


@pytest.fixture
def plain(monkeypatch):
    """Pages without figures for papers, which take seconds to draw."""
    quick = partial(
        distances.write_distances_page, options=ReportOptions(paper_figures=False)
    )
    monkeypatch.setattr(distances, "write_distances_page", quick)


@pytest.fixture(scope="module")
def results(stars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distances")
    stars.write_csv(folder / "stars.csv")
    result = call(folder / "stars.csv", "-o", folder / "out")
    assert result.exit_code == 0, result.output
    return folder, result


def test_the_command_writes_what_the_function_returns(results, stars):
    folder, result = results
    out = folder / "out"
    assert {path.name for path in out.iterdir()} == FILES
    written = pl.read_parquet(out / "distances.parquet")
    wanted = estimate_distances(stars)
    assert written.columns == wanted.columns
    # CSV keeps all digits of a float64.
    assert written.equals(wanted)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["from_both"] == 190
    assert summary["from_magnitude_alone"] == 10
    assert summary["over_luminous"] == (wanted["binary_flag"] == 1).sum()
    assert "190 from parallax and magnitude" in result.stderr
    said = json.loads(read_metadata(out / "distances.parquet")["columns"])
    assert {c["column"]: c["unit"] for c in said}["dis"] == "pc"


def test_equal_calls_give_equal_bytes(results, plain, tmp_path):
    folder, _ = results
    assert call(folder / "stars.csv", "-o", tmp_path, "-q").output == ""
    for name in ("distances.parquet", "summary.json"):
        assert (tmp_path / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_treatments_can_be_chosen(results, plain, tmp_path):
    folder, _ = results
    chosen = ("--pairs", "published", "--prior", "volume", "-q")
    assert call(folder / "stars.csv", "-o", tmp_path, *chosen).exit_code == 0
    done = pl.read_parquet(tmp_path / "distances.parquet")
    assert "parallax alone" in done["distance_status"][7]
    options = json.loads((tmp_path / "summary.json").read_text())["options"]
    assert (options["pairs"], options["prior"]) == ("published", "volume")


def test_the_page_has_all_figures_and_escapes_what_came_from_files(results):
    folder, _ = results
    page = (folder / "out" / "report" / "index.html").read_text()
    assert "<b>7</b>" not in page
    assert "&lt;b&gt;7&lt;/b&gt;" in page
    for words in (
        "200 distances of 200 rows",
        "The most over-luminous stars",
        "No parallax, since parallax or parallax_error has no usable value.",
    ):
        assert words in page
    for figure in ("errors", "both", "excess", "pairs", "map"):
        png = folder / "out" / "report" / "figures" / f"distances-{figure}.png"
        assert png.stat().st_size > 5000, figure


def test_any_format_other_names_units_and_no_positions(results, plain, stars, tmp_path):
    folder, _ = results
    known = pl.read_parquet(folder / "out" / "distances.parquet")
    other = Table(
        {
            name: stars[name].fill_null(float("nan")).to_numpy()
            for name in stars.columns
            if name not in ("star_id", "note", "ra", "dec")
        }
    )
    other["NAME"] = [f"star {i}" for i in range(200)]
    other["PLX"] = other["parallax"] / 1000
    other["PLX"].unit = "arcsec"
    other["M_KS"] = other["m_ks"]
    other.remove_columns(["parallax", "m_ks"])
    other.write(tmp_path / "other.fits")
    named = ("--columns", "star_id=NAME,parallax=PLX", "-o", tmp_path / "out", "-q")
    result = call(tmp_path / "other.fits", *named)
    assert result.exit_code == 0, result.output
    done = pl.read_parquet(tmp_path / "out" / "distances.parquet")
    # Parallaxes went through arcsec: rounding only.
    assert np.allclose(done["dis"], known["dis"], rtol=1e-6)
    assert done["x"].is_nan().all()
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "No star has a position and a distance" in page


def test_a_single_star_and_stars_without_anything_have_a_page(plain, stars, tmp_path):
    stars.head(1).write_csv(tmp_path / "one.csv")
    assert call(tmp_path / "one.csv", "-o", tmp_path / "one", "-q").exit_code == 0
    empty = stars.with_columns(m_ks=float("nan"), parallax=float("nan"))
    empty.write_parquet(tmp_path / "none.parquet")
    result = call(tmp_path / "none.parquet", "-o", tmp_path / "none")
    assert result.exit_code == 0, result.output
    assert "Distances   0:" in result.stderr
    summary = json.loads((tmp_path / "none" / "summary.json").read_text())
    assert summary["median_relative_error"] is None


def test_mistakes_get_one_sentence_and_status_2(stars, tmp_path):
    whole, lacking = tmp_path / "stars.csv", tmp_path / "lacking.csv"
    stars.write_csv(whole)
    stars.drop("parallax", "parallax_error").write_csv(lacking)
    stars.head(0).write_csv(tmp_path / "empty.csv")
    for arguments, words in (
        ((tmp_path / "none.csv",), "no such file"),
        ((tmp_path / "empty.csv",), "no rows"),
        ((lacking,), "no column parallax and no column parallax_error"),
        ((whole, "--columns", "m_ks=MK"), "no column 'MK'"),
        ((whole, "--columns", "teff=ks"), "teff cannot be named"),
        ((whole, "--columns", "parallax=parallax[km/s]"), "'km/s'"),
        ((whole, "--columns", "m_ks=note"), "holds no number"),
        ((whole, "--max-distance", "-1"), "max_distance = -1.0"),
        ((whole, "--a-ks", "nan"), "a_ks_per_ebv"),
    ):
        result = call(*arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2, arguments
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("steadystar: ")
        assert words in lines[0]
    assert call(whole, "-o", tmp_path, "--pairs", "some").exit_code == 2


def test_the_help_has_an_example():
    assert "steadystar distances hot_stars.fits -o out/" in call("--help").output
