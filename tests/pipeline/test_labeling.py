"""Labels in a run: measured once, kept, and gone when they are not wanted."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from steadystar.data.schema import columns, empty
from steadystar.data.status import Status
from steadystar.data.tables import read_metadata, write_parquet
from steadystar.pipeline import labeling, measuring, shardwork
from steadystar.pipeline import ledger as ledger_module
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.stages import STAGES

from . import stand_in
from .conftest import results

OF_STARS = [f"{name}{end}" for name in ("teff", "logg", "feh", "vsini")
            for end in ("", "_scatter", "_err", "_mean", "_mean_err")]  # fmt: skip


def table(outcome, name="labels"):
    return pl.read_parquet(outcome.directory / f"{name}.parquet")


def log(outcome):
    return (outcome.directory / "run.log").read_text()


def done(outcome):
    return {name for name, number in outcome.done.items() if number}


def test_a_run_writes_labels_of_spectra_and_of_stars(go, survey):
    outcome = go(survey, velocities="both")
    labels, stars = table(outcome), table(outcome, "stars")
    assert labels.columns[: len(empty("labels").columns)] == empty("labels").columns
    assert len(labels) == 32
    assert labels["teff"].is_between(4500, 5500).all()
    assert labels["star_id"].to_list() == sorted(labels["star_id"])
    assert set(OF_STARS) <= set(stars.columns)
    assert list(columns("stars")) == stars.columns[: len(columns("stars"))]
    assert (stars["n_labels"] == 8).all()
    for row in stars.iter_rows(named=True):
        mine = labels.filter(star_id=row["star_id"])["teff"]
        # As many photons each, says the stand-in: the plain mean.
        assert row["teff"] == pytest.approx(mine.mean())
        assert row["logg"] == pytest.approx(4.0)
    origin = read_metadata(outcome.directory / "labels.parquet")
    assert {text for text in origin if text.startswith("steadystar.")} == {
        "steadystar.version",
        "steadystar.configuration",
        "steadystar.inputs",
    }
    text = log(outcome)
    assert "labels     32 fits" in text
    assert "32 of 32 fits have labels" in text
    assert "A note of labels." in text


def test_fits_begin_from_the_absolute_velocities(go, survey):
    outcome = go(survey, velocities="both")
    velocities = table(outcome, "velocities").filter(method="marginal")
    both = table(outcome).join(velocities, on="visit_id", suffix="_measured")
    assert len(both) == 32
    assert both["rv_raw"].to_list() == both["rv_raw_measured"].to_list()
    # Relative ones have a zero of their own: they are none to begin from.
    alone = table(go(survey, out="relative"))
    assert alone["rv_raw"].fill_null(np.nan).is_nan().all()


def test_labels_that_are_not_wanted_are_not_there(go, survey):
    before = results(go(survey, out="never", labels={"measure": False}).directory)
    outcome = go(survey)
    assert (outcome.directory / "labels.parquet").exists()
    assert (outcome.directory / "work" / "labels").exists()
    outcome = go(survey, labels={"measure": False})
    assert done(outcome) == {"stars", "judge", "variables", "catalog", "report"}
    assert results(outcome.directory) == before
    assert not set(OF_STARS) & set(table(outcome, "stars").columns)
    work = outcome.directory / "work"
    assert not [path for path in work.glob("*/*") if path.parent.name == "labels"]
    assert "not asked for" in log(outcome)


def test_running_again_does_nothing_and_gives_the_same(go, survey):
    whole = results(go(survey).directory)
    stand_in.LABELED.clear()
    outcome = go(survey)
    assert not done(outcome)
    assert stand_in.LABELED == []
    assert results(outcome.directory) == whole


def test_a_night_that_is_added_costs_its_exposures_only(go, files):
    second = max(files.iterdir())
    kept = second.rename(files.parent / second.name)
    before = table(go(files))
    kept.rename(second)
    stand_in.LABELED.clear()
    after = table(go(files))
    new = after.filter(~pl.col("visit_id").is_in(before["visit_id"].implode()))
    assert new["star_id"].n_unique() == 1
    star = new["star_id"][0]
    assert star in before["star_id"].to_list()
    assert sorted(stand_in.LABELED) == sorted(new["visit_id"])
    old = after.filter(pl.col("visit_id").is_in(before["visit_id"].implode()))
    # Errors are calibrated on all spectra: those of old ones change with new ones.
    names = ["visit_id", "star_id", "teff", "logg", "vsini", "status"]
    assert old.select(names).equals(before.select(names))


def test_options_of_labels_redo_labels_and_no_velocities(go, survey):
    whole = table(go(survey))
    stand_in.MEASURED.clear()
    stand_in.LABELED.clear()
    outcome = go(survey, labels={"max_vsini": 200.0})
    assert stand_in.MEASURED == []
    assert len(stand_in.LABELED) == 32
    assert done(outcome) == {
        "labels",
        "parameters",
        "stars",
        "judge",
        "variables",
        "catalog",
        "report",
    }
    assert (table(outcome)["teff"] == whole["teff"]).all()
    assert table(outcome)["teff_err"].to_list() != whole["teff_err"].to_list()
    # Those of zero points are no matter of labels.
    stand_in.LABELED.clear()
    outcome = go(survey, labels={"max_vsini": 200.0}, zeropoints={"prior_width": 0.7})
    assert stand_in.LABELED == []


def test_more_shards_fit_nothing_again(go, survey):
    before = table(go(survey))
    stand_in.LABELED.clear()
    for shards in (8, 1):
        run = {"files_per_batch": 3, "shards": shards}
        assert table(go(survey, run=run)).equals(before)
    assert stand_in.LABELED == []


def test_a_star_whose_fit_fails_costs_that_star(go, survey, monkeypatch):
    whole = go(survey, out="well")
    star = table(whole, "stars")["star_id"][2]
    with monkeypatch.context() as patch:
        patch.setattr(stand_in, "LABELS_FAIL", star)
        outcome = go(survey)
        labels = table(outcome)
        failed = labels.filter(star_id=star)
        assert set(failed["status"]) == {int(Status.INTERNAL_ERROR | Status.NO_LABELS)}
        assert failed["teff"].is_nan().all()
        assert len(failed) == 8
        others = labels.filter(pl.col("star_id") != star)
        assert others["teff"].is_finite().all()
        stars = table(outcome, "stars")
        assert len(stars) == 4
        assert stars.filter(star_id=star)["teff"].is_nan().all()
        assert "ZeroDivisionError: this star has no labels" in log(outcome)
        assert "24 of 32 fits have labels" in log(outcome)
        # Velocities are none the worse.
        assert table(outcome, "velocities").equals(table(whole, "velocities"))


def test_a_shard_whose_worker_dies_keeps_its_rows_and_is_tried_again(
    go, survey, monkeypatch
):
    whole = results(go(survey, out="whole").directory)

    def die(*_):
        raise RuntimeError("the worker was killed")

    work = {stage.name: stage for stage in STAGES}["labels"]
    with monkeypatch.context() as patch:
        patch.setattr(labeling._Labels, "_do_new", die)
        with pytest.raises(RuntimeError):  # even its rows cannot be had
            go(survey)
    assert work.rescue is labeling.fail_labels
    outcome = go(survey)
    assert results(outcome.directory) == whole
    real, calls = labeling._Labels.result, []

    def dies_once(self, prefix):
        calls.append(self.failure)
        if not self.failure:
            raise RuntimeError("the worker was killed")
        return real(self, prefix)

    with monkeypatch.context() as patch:
        patch.setattr(labeling._Labels, "result", dies_once)
        outcome = go(survey, out="rescued")
    assert set(calls) == {"", "The worker ended: RuntimeError: the worker was killed"}
    labels = table(outcome)
    assert len(labels) == 32
    assert labels["teff"].is_nan().all()
    assert "The worker ended: RuntimeError" in log(outcome)
    assert results(go(survey, out="rescued").directory) == whole


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def test_a_run_that_is_killed_among_labels_goes_on_to_the_same_bytes(
    go, survey, monkeypatch
):
    whole = results(go(survey, out="whole").directory)
    real, steps = ledger_module.os.fsync, [10**9]

    def dying_fsync(handle):
        steps[0] -= 1
        if steps[0] == 0:
            raise Killed
        real(handle)

    monkeypatch.setattr(ledger_module.os, "fsync", dying_fsync)
    base = go(survey, out="count", labels={"measure": False}).directory
    steps[0] = 10**9
    shutil.copytree(base, base.parent / "counted")
    go(survey, out="counted")
    number = 10**9 - steps[0]
    assert number > 15  # two shards, the gathering, stars, catalogs, records
    for step in range(2, number, 9):
        shutil.copytree(base, base.parent / f"killed-{step}")
        steps[0] = step
        with pytest.raises(Killed):
            go(survey, out=f"killed-{step}")
        steps[0] = 10**9
        outcome = go(survey, out=f"killed-{step}")
        assert results(outcome.directory) == whole, f"killed at step {step}"


@pytest.mark.parametrize("stage", ["labels", "parameters"])
def test_work_files_that_are_lost_are_made_again(go, survey, stage):
    outcome = go(survey)
    whole = results(outcome.directory)
    folder = outcome.directory / "work" / stage
    names = sorted(path.name for path in folder.iterdir())
    assert names
    for name in names:
        (folder / name).unlink(missing_ok=True)
        assert results(go(survey).directory) == whole, name


def test_a_run_without_spectra_has_a_table_of_labels_without_rows(go, tmp_path):
    folder = tmp_path / "nothing"
    folder.mkdir()
    (folder / "README.txt").write_text("these are not spectra")
    outcome = go(folder)
    assert len(table(outcome)) == 0
    assert table(outcome).columns[: len(empty("labels").columns)] == (
        empty("labels").columns
    )


def test_labels_are_an_option_with_a_sentence_for_what_is_wrong():
    assert Configuration().labels.measure
    for values, words in (
        ({"min_snr": "high"}, "labels.min_snr = 'high'"),
        ({"max_vsini": -1.0}, r"\[labels\] max_vsini = -1.0: give more than 0"),
        ({"maxvsini": 1.0}, r"Did you mean labels.max_vsini\?"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            Configuration.from_values({"labels": values})


@pytest.fixture
def kic(go, survey, tmp_path):
    """A catalog with every star but the last, somewhat off."""
    stars = table(go(survey, out="for-positions"), "stars").sort("star_id")[:-1]
    path = tmp_path / "kic.parquet"
    catalog = stars.select(
        kic=pl.int_range(8_000_000, 8_000_000 + len(stars)),
        ra="ra",
        dec=pl.col("dec") + 1.0 / 3600,
        kepmag=pl.lit(12.5),
    )
    write_parquet(catalog, path)
    return path


def test_stars_are_looked_up_in_catalogs(go, survey, kic):
    values = {"catalogs": {"catalogs": {"kic": str(kic)}, "bring": {"kic": ["kepmag"]}}}
    outcome = go(survey, **values)
    stars = table(outcome, "stars").sort("star_id")
    assert stars["kic_id"].to_list() == [8_000_000, 8_000_001, 8_000_002, None]
    np.testing.assert_allclose(stars["kic_separation"][:3], 1.0, atol=1e-3)
    assert stars["kic_kepmag"].to_list()[:3] == [12.5] * 3
    assert "kic" in log(outcome)
    assert not done(go(survey, **values))
    # The content counts: with another catalog stars are looked up again.
    write_parquet(pl.read_parquet(kic).with_columns(kic=pl.col("kic") + 5), kic)
    again = go(survey, **values)
    assert done(again) == {"stars", "variables", "catalog", "report"}
    assert table(again, "stars").sort("star_id")["kic_id"][0] == 8_000_005
    # And without one, nothing of it stays.
    gone = go(survey)
    assert "kic_id" not in table(gone, "stars").columns


@pytest.mark.parametrize("kind", ["missing", "damaged", "no positions", "no column"])
def test_a_catalog_that_cannot_be_used_is_said_before_anything_is_read(
    go, survey, tmp_path, kind
):
    path = tmp_path / "mine.csv"
    content = {
        "damaged": b"\x89HDF\r\n\x1a\n" + bytes(300),
        "no positions": b"name,color\nx,1.0\n",
        "no column": b"name,ra,dec\nx,1.0,2.0\n",
    }
    if kind in content:
        path.write_bytes(content[kind])
    bring = {"bring": {"mine": ["age"]}} if kind == "no column" else {}
    with pytest.raises(
        ConfigurationError, match=r"catalogs.catalogs: .*mine"
    ) as caught:
        go(survey, catalogs={"catalogs": {"mine": str(path)}} | bring)
    assert "\n" not in str(caught.value)
    work = tmp_path / "out" / "work"
    assert not list(work.glob("read/*"))


def test_the_summary_counts_labels(go, survey, monkeypatch):
    star = "no star"
    for fails in (False, True):
        monkeypatch.setattr(stand_in, "LABELS_FAIL", star if fails else "none")
        outcome = go(survey, out=f"fails-{fails}")
        summary = json.loads((outcome.directory / "summary.json").read_text())
        assert summary["label_fits"] == 32
        assert summary["fits_with_labels"] == (24 if fails else 32)
        star = table(outcome, "stars")["star_id"][0]
    outcome = go(survey, out="fails-True", labels={"measure": False})
    summary = json.loads((outcome.directory / "summary.json").read_text())
    assert "label_fits" not in summary


def test_labels_are_fitted_anew_when_the_velocities_they_begin_from_are_others(
    go, survey, monkeypatch
):
    whole = results(go(survey, out="whole", velocities="both").directory)
    # The velocities of one star failed with its shard, and come in the next run.
    star = table(go(survey, out="whole", velocities="both"), "stars")["star_id"][0]
    real = measuring._Velocities.result

    def dies(self, prefix):
        present = shardwork._present(self.job)["star_id"].to_list()
        if not self.failure and star in present:
            raise RuntimeError("the worker was killed")
        return real(self, prefix)

    with monkeypatch.context() as patch:
        patch.setattr(measuring._Velocities, "result", dies)
        first = go(survey, velocities="both")
    lost = table(first, "velocities").filter(star_id=star)
    assert set(lost["method"]) == {"joint", "marginal"}
    assert len(lost) == 16
    assert table(first).filter(star_id=star)["rv_raw"].fill_null(np.nan).is_nan().all()
    assert results(go(survey, velocities="both").directory) == whole
    # From relative ones alone a fit cannot begin; from absolute ones it does.
    go(survey, out="grown")
    assert results(go(survey, out="grown", velocities="both").directory) == whole
