"""The command that forecasts, from a file to a page."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from steadystar.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def plan() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    star = np.repeat(np.arange(80), 5)
    fiber = np.where(star < 40, rng.integers(1, 9, 400), rng.integers(9, 17, 400))
    fiber[star % 20 == 0] = rng.integers(1, 17, int((star % 20 == 0).sum()))
    return pl.DataFrame(
        {
            "star_id": [f"s{i}" for i in star],
            "telescope": "apo",
            "fiber": fiber,
            "snr": rng.uniform(20, 200, 400),
        }
    )


def _forecast(path, out, *options: str):
    command = ["forecast", str(path), "-o", str(out), "--by", "telescope,fiber"]
    return runner.invoke(app, [*command, *options])


def test_a_plan_becomes_errors_and_a_page(plan, tmp_path):
    plan.write_csv(tmp_path / "plan.csv")
    out = tmp_path / "out"
    result = _forecast(tmp_path / "plan.csv", out, "--error-law", "6,-1,0.04")
    assert result.exit_code == 0, result.output
    offsets = pl.read_parquet(out / "offsets-telescope+fiber.parquet")
    assert "offset" not in offsets.columns
    assert offsets["offset_err"].is_finite().all()
    summary = json.loads((out / "summary.json").read_text())
    family = summary["zero_points"]["telescope+fiber"]
    assert family["median_err"] == pytest.approx(offsets["offset_err"].median())
    assert summary["visits"] == 400
    visits = pl.read_parquet(out / "velocities.parquet")
    law = 6 / visits["snr"] + 0.04
    assert np.allclose(visits["rv_raw_err"], law)
    assert (visits["rv_err"] > visits["rv_raw_err"]).all()
    page = (out / "report" / "index.html").read_text()
    assert "The weakest links" in page
    assert pl.read_parquet(out / "weak-links.parquet")["groups"][0] in page


def test_the_same_plan_gives_the_same_bytes(plan, tmp_path):
    plan.with_columns(rv_err=0.1).write_parquet(tmp_path / "plan.parquet")
    for name in ("one", "two"):
        result = _forecast(tmp_path / "plan.parquet", tmp_path / name, "--quiet")
        assert result.exit_code == 0, result.output
    files = sorted(
        p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*")
    )
    tables = [f for f in files if f.suffix in (".parquet", ".json", ".html")]
    assert len(tables) > 5
    for file in tables:
        one, two = (tmp_path / name / file for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), file


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "has no errors"),
        (("--error-law", "6,-1"), "is no law of errors"),
        (("--error-law", "six,-1,0"), "is no law of errors"),
        (("--error-law", "6,-1,0", "--variable-share", "1.5"), "is no share"),
        (("--error-law", "6,-1,0", "--by", "plate"), "no column plate"),
    ],
)
def test_wrong_calls_end_in_one_sentence(plan, tmp_path, options, sentence):
    plan.write_parquet(tmp_path / "plan.parquet")
    result = _forecast(tmp_path / "plan.parquet", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_law_needs_signal_to_noise(plan, tmp_path):
    plan.drop("snr").write_parquet(tmp_path / "plan.parquet")
    law = ("--error-law", "6,-1,0")
    result = _forecast(tmp_path / "plan.parquet", tmp_path / "out", *law)
    assert result.exit_code == 2
    assert "no column snr" in result.stderr


def test_names_from_a_file_are_escaped(plan, tmp_path):
    evil = plan.with_columns(telescope=pl.lit("<script>alert(1)</script>"), rv_err=0.1)
    evil.write_parquet(tmp_path / "plan.parquet")
    result = _forecast(tmp_path / "plan.parquet", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "<script>alert" not in page
    assert "alert(1)" in page
