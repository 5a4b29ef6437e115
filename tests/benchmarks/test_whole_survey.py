"""The stages of a whole survey on a small one: what is left on the disk changes nothing."""

import importlib
import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.infer.summary import summarize_stars
from steadystar.infer.variability import find_variables
from steadystar.pipeline.ledger import Ledger
from steadystar.pipeline.starvisits import read_for_stars

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("whole_survey")


@pytest.fixture(scope="module")
def done(benchmark, tmp_path_factory):
    """The stages but the report, one after the other; few stars are searched."""
    directory = tmp_path_factory.mktemp("survey")
    table = benchmark.make_velocities(4000, velocities="both")
    table = table.filter(pl.col("star_id").str.contains("[0-3][+]"))
    benchmark.prepare(directory, table)
    for name in benchmark.STAGES_AFTER[:-1]:
        assert benchmark.do_stage(directory, name)["seconds"] > 0
    return table, directory


def test_every_row_is_calibrated_and_every_star_judged(done):
    table, directory = done
    found = pl.read_parquet(directory / "velocities.parquet")
    assert_frame_equal(
        found.select("visit_id", "rv_raw"), table[["visit_id", "rv_raw"]]
    )
    assert found["method"].n_unique() == 2
    measured = found.filter(pl.col("rv_raw").is_finite())
    assert measured["rv"].is_finite().all()
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["stars"] == table["star_id"].n_unique()
    facts = Ledger(directory).records("judge")["all"].facts
    searched = pl.read_parquet(directory / "periods.parquet")["star_id"].n_unique()
    assert (
        0
        < facts["chosen"]
        == searched
        == summary["variability"]["stars_searched_for_periods"]
    )
    classes = pl.read_parquet(directory / "stars.parquet")["class"]
    assert classes.null_count() == 0


def test_stars_are_judged_alike_without_the_columns_of_spectra(done):
    _, directory = done
    path = directory / "velocities.parquet"
    whole, part = pl.read_parquet(path), read_for_stars(path)
    assert {"path", "chi2"} <= set(whole.columns) - set(part.columns)
    assert "chi2" in read_for_stars(path, ["arm+chi2@3"]).columns
    assert_frame_equal(summarize_stars(part), summarize_stars(whole))
    record = Ledger(directory).records("zeropoints")["all"]
    zero = ZeroPoints.load(directory / record.outputs["zeropoints"].path)
    assert_frame_equal(
        find_variables(part, zeropoints=zero), find_variables(whole, zeropoints=zero)
    )
