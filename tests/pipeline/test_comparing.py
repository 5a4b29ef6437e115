"""Methods compared on one table, and the zero points that a directory keeps."""

import json

import numpy as np
import polars as pl
import pytest

from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.kept import kept_zeropoints, united, zeropoints_path
from steadystar.pipeline.publishing import report_inputs
from steadystar.pipeline.results import rewrite_report
from steadystar.pipeline.tables import calibrate_table, with_families

from .conftest import results


def visits(seed=3, stars=40, exposures=6, prefix="") -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    star, exposure = (grid.ravel() for grid in np.mgrid[:stars, :exposures])
    offset = rng.normal(0, 2, exposures)
    n = len(star)
    return pl.DataFrame(
        {
            "star_id": [f"{prefix}star {i}" for i in star],
            "exposure": [f"{prefix}e{i}" for i in exposure],
            "fiber": 1 + star % 250,
            "snr": np.full(n, 50.0),
            "rv": 5.0 * np.sin(star) + offset[exposure] + rng.normal(0, 0.2, n),
            "rv_err": np.full(n, 0.2),
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    visits().write_parquet(path)
    return path


def calibrate(table, directory, *compare, by=("exposure",), method="joint"):
    report = {"star_pages": 0, "paper_figures": False}
    configuration = Configuration.from_values({"report": report})
    configuration = with_families(configuration, by, method)
    return calibrate_table(table, directory, configuration, compare=compare)


def test_other_methods_are_solved_said_and_shown(table, tmp_path):
    calibrate(table, tmp_path, "xiong", "joint", "linear")
    told = json.loads((tmp_path / "summary.json").read_text())["compared"]
    assert list(told) == ["joint", "xiong", "linear"]
    assert told["xiong"]["offsets"] == 6
    assert told["xiong"]["velocities"] == told["joint"]["velocities"] > 100
    assert told["joint"]["scatter_kms"] == pytest.approx(0.2, rel=0.15)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Methods compared" in page
    assert "joint (used here)" in page
    assert "xiong: 0 of 6 undetermined" in (tmp_path / "run.log").read_text()


def test_a_method_that_cannot_is_a_sentence_not_an_error(table, tmp_path):
    by = ("exposure", "fiber")
    calibrate(table, tmp_path, "xiong", "linear", by=by)
    told = json.loads((tmp_path / "summary.json").read_text())["compared"]
    assert set(told["xiong"]) == {"reason"}
    assert told["xiong"]["reason"].startswith("Method xiong cannot do what was asked.")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Method xiong cannot do what was asked." in page
    assert told["linear"]["offsets"] > 6


def test_the_chosen_method_is_not_compared_with_itself(table, tmp_path):
    calibrate(table, tmp_path, "joint")
    told = json.loads((tmp_path / "summary.json").read_text())["compared"]
    assert told == {"joint": {"reason": "Method joint is the one that is used here."}}


def test_equal_calibrations_give_equal_bytes_and_a_later_report_too(table, tmp_path):
    calibrate(table, tmp_path / "a", "xiong")
    calibrate(table, tmp_path / "b", "xiong")
    before = results(tmp_path / "a")
    assert results(tmp_path / "b") == before
    kept = [zeropoints_path(tmp_path / name, "xiong").read_bytes() for name in "ab"]
    assert kept[0] == kept[1]
    report = {"star_pages": 0, "paper_figures": False}
    rewrite_report(tmp_path / "a", Configuration.from_values({"report": report}))
    assert results(tmp_path / "a") == before


def test_another_calibration_leaves_nothing_of_the_comparison(table, tmp_path):
    calibrate(table, tmp_path, "xiong")
    assert zeropoints_path(tmp_path, "xiong").exists()
    calibrate(table, tmp_path)
    assert not zeropoints_path(tmp_path, "xiong").exists()
    assert "compared" not in json.loads((tmp_path / "summary.json").read_text())
    assert "Methods compared" not in (tmp_path / "report/index.html").read_text()


def test_zero_points_that_are_not_those_of_the_tables_are_passed_over(table, tmp_path):
    zero = calibrate(table, tmp_path)
    inputs = report_inputs(tmp_path)
    assert inputs.zeropoints.offsets["exposure"].equals(zero.offsets["exposure"])
    assert inputs.error_model.table["n_visits"].sum() > 100
    fit_zeropoints(visits(seed=9), ["exposure"]).save(zeropoints_path(tmp_path))
    assert report_inputs(tmp_path).zeropoints is None


def test_a_damaged_archive_costs_a_figure_and_is_told(table, tmp_path):
    calibrate(table, tmp_path)
    zeropoints_path(tmp_path).write_bytes(b"PK no more")
    inputs = report_inputs(tmp_path)
    assert inputs.zeropoints is None
    assert "holds no zero points" in inputs.notes[-1]


def test_parts_that_were_solved_apart_keep_their_covariances(tmp_path):
    a = fit_zeropoints(visits(1), ["exposure"])
    b = fit_zeropoints(visits(2, prefix="b "), ["fiber", "exposure,fiber"])
    c = fit_zeropoints(visits(3, exposures=9).rename({"exposure": "e"}), ["e"])
    whole = united([a, b, c])
    for part in (a, b, c):
        for name, offsets in part.offsets.items():
            rows = list(range(len(offsets)))
            np.testing.assert_array_equal(
                whole.covariance_of(name, rows), part.covariance_of(name, rows)
            )
    whole.save(zeropoints_path(tmp_path).parent.mkdir() or zeropoints_path(tmp_path))
    notes = []
    again = kept_zeropoints(tmp_path, whole.offsets, notes)
    assert again.by == whole.by
    assert notes == []
    # A family that two parts have would be one with two gauges.
    assert united([a, a]) is None
    assert united([]) is None
    assert united([a]) is a


def test_a_run_keeps_its_zero_points_for_the_report(go, survey):
    outcome = go(survey)
    inputs = report_inputs(outcome.directory)
    family = "spectrograph+arm+exposure_id"
    assert inputs.zeropoints.offsets[family].equals(inputs.offsets[family])
    assert inputs.error_model is not None
