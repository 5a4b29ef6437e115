"""steadystar standards: files, sentences, exit codes, and a page that can be read."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from steadystar import cli
from steadystar.calibrate.standards import StandardsTie
from steadystar.publish.figures.standards import standards_items
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.plot import Figure, Missing
from steadystar.publish.standards_page import write_standards_page

FILES = {
    *("standards.parquet", "standards-groups.parquet", "velocities.parquet"),
    *("stars.parquet", "standards.zip", "summary.json", "run.log", "report"),
}


def call(*arguments):
    return CliRunner().invoke(cli.app, ["standards", *map(str, arguments)])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Forty standards at two telescopes 104 m/s apart; one moves, one is odd."""
    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("tables")
    star, visit = (grid.ravel() for grid in np.mgrid[:40, :8])
    true, teff = rng.normal(0, 30, 40), rng.uniform(4500, 6500, 40)
    rv = true[star] + 0.4 + 0.104 * (visit % 2) + rng.normal(0, 0.05, 320)
    rv = (
        rv + np.where(star == 3, 9 * np.sin(2.0 * visit), 0) + np.where(star == 5, 6, 0)
    )
    pl.DataFrame(
        {
            "star_id": [f"HD {n}" for n in star],
            "telescope": np.where(visit % 2, "north", "<b>south</b>"),
            "rv": rv,
            "rv_err": np.full(320, 0.02),
            "note": [f"n{n}" for n in range(320)],
        }
    ).write_csv(folder / "velocities.csv")
    pl.DataFrame(
        {"name": [f"hd{n}" for n in range(40)], "V": 1000 * true, "teff": teff}
    ).write_csv(folder / "list.csv")
    return folder


@pytest.fixture(scope="module")
def results(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    result = call(
        *(tables / "velocities.csv", "--against", tables / "list.csv", "-o", out),
        *("--against-columns", "star_id=name,rv=V[m/s]"),
    )
    assert result.exit_code == 0, result.output
    return result, out


def test_the_command_writes_all_files_and_says_what_it_found(results):
    result, out = results
    assert {path.name for path in out.iterdir()} == FILES
    assert "north: +50" in result.stderr
    assert "left out as variable by these velocities: hd3." in result.stderr
    for line in result.stderr.strip().splitlines():
        assert line in (out / "run.log").read_text()


def test_telescopes_are_tied_within_their_errors(results):
    _, out = results
    tie = StandardsTie.load(out / "standards.zip")
    value, error, common = tie.difference("north", "<b>south</b>")
    assert common == 39  # all but the one that moves
    assert value == pytest.approx(0.104, abs=4 * error)
    assert error < 0.01
    groups = pl.read_parquet(out / "standards-groups.parquet")
    assert groups.equals(tie.groups)
    matches = pl.read_parquet(out / "standards.parquet")
    assert set(matches.filter("outlier")["standard_id"]) == {"hd5"}
    tied = pl.read_parquet(out / "velocities.parquet")
    assert tied["note"].to_list() == [f"n{n}" for n in range(320)]
    assert tied["tied"].all()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["standards"], summary["left_out"], summary["tied"]) == (39, 1, 320)
    assert [row["offset"] for row in summary["offsets"]] == groups["offset"].to_list()


def test_a_standard_does_not_vary_because_telescopes_differ(results):
    # 104 m/s are five errors: without the tie every star would seem to vary.
    _, out = results
    stars = pl.read_parquet(out / "stars.parquet")
    assert set(stars.filter("variable")["star_id"]) == {"HD 3"}


def test_whoever_varies_is_judged_once_the_telescopes_agree(tables, tmp_path):
    # Calibrated errors of 50 m/s, telescopes 500 m/s apart: untied, all would vary.
    table = pl.read_csv(tables / "velocities.csv").with_columns(
        rv=pl.col("rv")
        + pl.when(pl.col("telescope") == "north").then(0.4).otherwise(0),
        rv_err=0.05,
        correction=0.0,
    )
    table.write_parquet(tmp_path / "calibrated.parquet")
    result = call(
        *(tmp_path / "calibrated.parquet", "--against", tables / "list.csv"),
        *("--against-columns", "star_id=name,rv=V[m/s]", "-o", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    stars = pl.read_parquet(tmp_path / "out" / "stars.parquet")
    assert set(stars.filter("variable")["star_id"]) == {"HD 3"}


def test_equal_calls_give_equal_bytes(results, tables, tmp_path):
    _, out = results
    again = call(
        *(tables / "velocities.csv", "--against", tables / "list.csv", "-o", tmp_path),
        *("--against-columns", "star_id=name,rv=V[m/s]", "--quiet"),
    )
    assert again.exit_code == 0
    assert again.output == ""
    for name in sorted(FILES - {"run.log", "report"}):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_the_page_tells_it_and_escapes_what_came_from_files(results):
    _, out = results
    page = (out / "report" / "index.html").read_text()
    assert "<b>south</b>" not in page
    assert "&lt;b&gt;south&lt;/b&gt;" in page
    for words in (
        "velocities.csv against list.csv",
        "39 stars with known velocities, observed in 2 groups of visits",
        "Standards that disagree",
        "variable by these velocities",
        "neither table gives it",
    ):
        assert words in page
    for figure in ("velocity", "scatter", "temperature", "groups"):
        assert (out / "report" / "figures" / f"standards-{figure}.png").exists()


def test_one_offset_for_all_and_groups_of_a_column(tables, tmp_path):
    both = ("--against-columns", "star_id=name,rv=V[m/s]", "--quiet", "-o", tmp_path)
    common = (tables / "velocities.csv", "--against", tables / "list.csv", *both)
    assert call(*common, "--by", "").exit_code == 0
    assert len(pl.read_parquet(tmp_path / "standards-groups.parquet")) == 1
    assert call(*common, "--by", " telescope").exit_code == 0
    assert len(pl.read_parquet(tmp_path / "standards-groups.parquet")) == 2
    assert "nothing of an instrument" in call(*common, "--by", "star_id").stderr


def test_mistakes_get_one_sentence_and_status_2(tables, tmp_path):
    velocities, known = tables / "velocities.csv", tables / "list.csv"
    mapped = ("--against-columns", "star_id=name,rv=V[m/s]")
    for arguments, words in (
        ((velocities, "--against", tmp_path / "none.csv"), "no such file"),
        ((tmp_path / "none.csv", "--against", known), "no such file"),
        (
            (velocities, "--against", known, "--against-columns", "rv"),
            "names no column",
        ),
        ((velocities, "--against", known, *mapped, "--by", "plate"), "no column plate"),
        ((velocities, "--against", known, *mapped, "--radius", "0"), "radius of 0"),
        ((velocities, "--against", known), "look like m/s"),
        ((velocities, "--against", known, "--survey", "nobody"), "no survey 'nobody'"),
    ):
        result = call(*arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2, arguments
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("steadystar: ")
        assert words in lines[0]
    assert call(velocities, "-o", tmp_path).exit_code == 2


def test_no_match_is_a_sentence(tables, tmp_path):
    pl.DataFrame({"name": ["HD 9999"], "rv": [1.0]}).write_csv(tmp_path / "other.csv")
    result = call(
        tables / "velocities.csv",
        "--against",
        tmp_path / "other.csv",
        "-o",
        tmp_path / "o",
    )
    assert result.exit_code == 2
    assert "None of the 40 stars is one of the 1 standards" in result.stderr
    assert not (tmp_path / "o").exists()


def small_tie(stars, groups):
    rows = [(f"s{i}", f"h{i}", g) for i in range(stars) for g in range(groups)]
    n = len(rows)
    matches = pl.DataFrame(
        rows, schema=["star_id", "standard_id", "plate"], orient="row"
    )
    numbers = ("separation", "bjd", "rv_standard_err", "teff", "color")
    matches = matches.with_columns(
        *(pl.lit(float("nan")).alias(name) for name in numbers),
        rv=1.0, rv_err=0.1, rv_standard=0.5, difference=0.5, difference_err=0.1,
        matched=pl.lit("name"), n_visits=pl.lit(2), used=True,
        reason=pl.lit(None, pl.String), residual=0.0, outlier=False,
    )  # fmt: skip
    nan = [float("nan")] * groups
    table = pl.DataFrame(
        {
            "plate": range(groups), "n_standards": [stars] * groups,
            "n_visits": [2 * stars] * groups, "offset": [0.5] * groups,
            "offset_err": [0.1] * groups, "scatter": nan, "scatter_err": nan,
            "mean": nan, "mean_err": nan, "chi2": nan, "dof": [0] * groups,
        }
    )  # fmt: skip
    assert len(matches) == n
    return StandardsTie(("plate",), table, matches)


@pytest.mark.parametrize(("stars", "groups"), [(1, 1), (2, 30), (6, 2)])
def test_a_page_of_little_data_says_what_is_missing(stars, groups, tmp_path):
    tie = small_tie(stars, groups)
    items = standards_items(tie)
    missing = {item.name for item in items if isinstance(item, Missing)}
    assert {"standards-velocity", "standards-time", "standards-scatter"} <= missing
    drawn = [item for item in items if isinstance(item, Figure)]
    assert [f.name for f in drawn] == (["standards-groups"] if groups > 1 else [])
    options = ReportOptions(paper_figures=groups > 1)
    page = write_standards_page(tmp_path, tie, "little", ("a <i>note</i>",), options)
    assert "a &lt;i&gt;note&lt;/i&gt;" in page.read_text()
