"""What a run promises, whatever is measured: see `stand_in`."""

import json
import os
import shutil

import numpy as np
import polars as pl
import pytest

from steadystar.data.schema import columns
from steadystar.data.status import Status
from steadystar.data.tables import read_metadata
from steadystar.models.templates import Templates
from steadystar.pipeline import ledger as ledger_module
from steadystar.pipeline import measuring, reading, shardwork
from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.inputs import InputError
from steadystar.pipeline.lock import AlreadyRunning, only_run

from . import stand_in
from .conftest import results


def table(outcome, name="velocities"):
    return pl.read_parquet(outcome.directory / f"{name}.parquet")


def log(outcome):
    return (outcome.directory / "run.log").read_text()


def nights(files):
    """The files of the first night and those of the second."""
    first = min(files.iterdir()).name.split("-")[1]
    paths = sorted(files.iterdir())
    return (
        [p for p in paths if p.name.split("-")[1] == first],
        [p for p in paths if p.name.split("-")[1] != first],
    )


def test_a_run_writes_all_tables_with_all_columns_and_their_origin(go, survey):
    outcome = go(survey)
    for name in ("velocities", "stars", "rejected"):
        assert list(columns(name)) == table(outcome, name).columns[: len(columns(name))]
        origin = read_metadata(outcome.directory / f"{name}.parquet")
        # Beside these stand what TOPCAT and astropy want to know of columns.
        assert {text for text in origin if text.startswith("steadystar.")} == {
            "steadystar.version",
            "steadystar.configuration",
            "steadystar.inputs",
        }
    velocities = table(outcome)
    assert len(velocities) == 8 * 2 * 2  # files, arms, exposures
    assert velocities["visit_id"].n_unique() == len(velocities)
    assert velocities["rv"].is_finite().all()
    assert velocities["path"].str.starts_with("spectra/med-").all()
    assert len(table(outcome, "stars")) == 4
    assert (outcome.directory / "offsets-spectrograph+arm+exposure_id.parquet").exists()
    summary = json.loads((outcome.directory / "summary.json").read_text())
    assert (summary["files"], summary["spectra"], summary["stars"]) == (8, 32, 4)
    assert "32 velocities" in (outcome.directory / "report/index.html").read_text()


def test_each_spectrum_has_a_row_for_each_method(go, survey):
    outcome = go(survey, velocities="both")
    both = table(outcome)
    assert len(both) == 2 * 32
    assert both.select("visit_id", "method").n_unique() == 2 * 32
    relative = both.filter(method="joint")
    assert relative.equals(table(go(survey, out="one")))
    # The zero points are the exposures', whatever measured them.
    absolute = both.filter(method="marginal")
    assert absolute["correction"].to_list() == relative["correction"].to_list()
    assert absolute["rv"].is_finite().all()
    # The stand-in's absolute velocities are those of bright stars, relative ones zero.
    assert (table(outcome, "stars")["rv_mean"] > 5).all()
    summary = json.loads((outcome.directory / "summary.json").read_text())
    assert summary["spectra"] == summary["velocities"] == 32
    assert summary["also_measured"] == {
        "marginal": {"velocities": 32, "statuses_without": {}}
    }
    assert "A note of measuring." in log(outcome)


def test_what_is_measured_is_chosen_in_the_configuration(go, survey):
    first = go(survey, velocities="absolute")
    assert table(first)["method"].unique().to_list() == ["marginal"]
    again = go(survey, velocities="relative")
    assert table(again)["method"].unique().to_list() == ["joint"]
    assert again.done["measure"] == 2
    with pytest.raises(ConfigurationError, match=r"run.velocities = 'all'"):
        go(survey, velocities="all")


def test_spectra_without_templates_keep_their_rows(go, survey, monkeypatch):
    def blue_only(visits, spectra, options):
        blue = (visits["arm"] == "blue").to_numpy()
        return stand_in.measure_absolute(visits.filter(blue), spectra[blue], options)

    monkeypatch.setattr(measuring, "measure_absolute", blue_only)
    found = table(go(survey, velocities="absolute"))
    assert len(found) == 32
    red = found.filter(arm="red")
    assert red["rv_raw"].is_nan().all()
    assert (red["status"] & int(Status.NO_DATA) != 0).all()
    assert found["method"].unique().to_list() == ["marginal"]


def test_tables_say_by_what_options_absolute_velocities_were_measured(go, survey):
    names = ("velocities.parquet", "steadystar.configuration")
    marks = set()
    for values in ({}, {"absolute": {"rank": 5}}, {"velocities": "relative"}):
        outcome = go(survey, **({"velocities": "both"} | values))
        marks.add(read_metadata(outcome.directory / names[0])[names[1]])
    assert len(marks) == 3


def test_a_file_of_templates_is_checked_first_and_followed_by_content(
    go, survey, tmp_path
):
    path = tmp_path / "mine.parquet"
    values = {"velocities": "both", "absolute": {"templates": str(path)}}
    for content in (None, b"no templates"):
        if content:
            path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"absolute.templates: .*mine"):
            go(survey, **values)
    assert not (tmp_path / "out" / "velocities.parquet").exists()
    wave = np.arange(5000.0, 5300.0)
    for depth in (0.5, 0.4):
        Templates.from_arrays(wave, np.full((2, 300), depth)).save(path)
        assert go(survey, **values).done["measure"] == 2
    assert not any(go(survey, **values).done.values())


def test_running_again_does_nothing(go, survey):
    before = results(go(survey).directory)
    outcome = go(survey)
    assert not any(outcome.done.values())
    assert results(outcome.directory) == before


def test_equal_runs_give_equal_bytes_wherever_they_are(go, survey, tmp_path):
    moved = shutil.copytree(survey, tmp_path / "elsewhere" / "spectra")
    here, there = go(survey).directory, go(moved, out="another/out").directory
    assert results(here) == results(there)


def test_the_division_of_the_work_changes_nothing(go, survey):
    one = go(survey, out="one", run={"files_per_batch": 100, "shards": 1})
    many = go(survey, out="many", run={"files_per_batch": 1, "shards": 8})
    for name in ("velocities", "stars"):
        assert table(one, name).equals(table(many, name))


def test_times_are_in_the_ledger_and_the_log_only(go, survey):
    outcome = go(survey)
    today = outcome.records["read"].popitem()[1].finished[:10]
    assert today in log(outcome)
    for name, content in results(outcome.directory).items():
        assert today.encode() not in content, name


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.mark.parametrize(
    "every", [23, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_run_that_is_killed_at_a_step_goes_on_to_the_same_bytes(
    go, survey, monkeypatch, every
):
    whole = results(go(survey, out="whole").directory)
    real, steps = ledger_module.os.fsync, [0]

    def dying_fsync(handle):
        steps[0] -= 1
        if steps[0] == 0:
            raise Killed
        real(handle)

    monkeypatch.setattr(ledger_module.os, "fsync", dying_fsync)
    steps[0] = 10**9
    go(survey, out="count")
    number = 10**9 - steps[0]
    assert number > 60  # every file and folder of every unit and record
    for step in range(1 + every // 2, number + 1, every):
        steps[0] = step
        with pytest.raises(Killed):
            go(survey, out=f"killed-{step}")
        steps[0] = 0
        outcome = go(survey, out=f"killed-{step}")
        assert results(outcome.directory) == whole, f"killed at step {step}"
        left = list(outcome.directory.rglob(".*part*"))
        assert left == []


def one_more_file(go, files):
    """Run without a star's second night and then with it; return the two tables."""
    _, second = nights(files)
    late = second[0]
    kept = files.parent / "kept"
    kept.mkdir()
    for path in second:
        path.rename(kept / path.name)
    before = table(go(files))
    (kept / late.name).rename(late)
    stand_in.MEASURED.clear()
    stand_in.LABELED.clear()
    outcome = go(files)
    return late, before, outcome


def test_added_spectra_alone_are_read_and_measured(go, files, monkeypatch):
    read, real = [], reading.read
    monkeypatch.setattr(reading, "read", lambda p, o: read.append(p) or real(p, o))
    late, before, outcome = one_more_file(go, files)
    after = table(outcome)

    assert read.count(str(late)) == 1
    assert len(read) == len(set(read))
    new = after.filter(~pl.col("visit_id").is_in(before["visit_id"].implode()))
    assert new["star_id"].n_unique() == 1
    star = new["star_id"][0]
    assert star in before["star_id"].to_list()
    assert len(set(new["visit_id"])) == 4
    assert sorted(stand_in.MEASURED) == sorted(set(new["visit_id"]))
    assert sorted(stand_in.LABELED) == sorted(set(new["visit_id"]))
    reference = after.filter(star_id=star).filter(method="joint")["reference_visit_id"]
    assert set(reference) <= set(before["visit_id"])
    old = after.filter(pl.col("visit_id").is_in(before["visit_id"].implode()))
    names = ["visit_id", "star_id", "rv_raw", "reference_visit_id"]
    assert old.select(names).equals(before.select(names))
    assert "1 files are new" in log(outcome)
    assert "4 spectra came" in log(outcome)


def test_measuring_added_spectra_opens_no_file_of_old_ones(go, files, monkeypatch):
    opened, real_load, real = [], shardwork._load, shardwork.read_shard

    def load(job, wanted):
        with monkeypatch.context() as patch:
            patch.setattr(
                shardwork, "read_shard", lambda path: opened.append(path) or real(path)
            )
            return real_load(job, wanted)

    monkeypatch.setattr(shardwork, "_load", load)
    late, _, outcome = one_more_file(go, files)
    batches = [
        name
        for name, record in outcome.records["read"].items()
        if record.facts["files"][0]["path"] == str(late)
    ]
    assert len(batches) == 1
    new = [path for path in opened if path.name.startswith(batches[0])]
    # Once for velocities and once for labels; the old ones were, in the first run.
    assert opened[-2:] == new
    assert {opened.count(path) for path in opened} == {2}


def test_a_star_without_a_template_is_measured_whole(go, files, monkeypatch):
    monkeypatch.setattr(stand_in, "WITHOUT_TEMPLATES", True)
    _, before, outcome = one_more_file(go, files)
    after = table(outcome)
    new = after.filter(~pl.col("visit_id").is_in(before["visit_id"].implode()))
    star = new["star_id"][0]
    assert set(stand_in.MEASURED) == set(after.filter(star_id=star)["visit_id"])
    assert len(stand_in.MEASURED) == 8


def test_a_reference_is_frozen_until_the_user_asks_for_a_new_one(go, files):
    first, second = nights(files)
    late = files.parent / "late"
    late.mkdir()
    for path in first:  # the later night first: its visits make the templates
        path.rename(late / path.name)
    before = set(table(go(files))["reference_visit_id"])
    for path in late.iterdir():
        path.rename(files / path.name)
    assert set(table(go(files))["reference_visit_id"]) == before
    run = {"files_per_batch": 3, "shards": 2, "references": "second"}
    outcome = go(files, run=run)
    assert not outcome.done["read"]
    assert before.isdisjoint(table(outcome)["reference_visit_id"])
    assert len(second) == 4


def test_stars_keep_their_identifiers_when_files_are_added(go, files):
    _, second = nights(files)
    hidden = [path.rename(path.with_name("." + path.name)) for path in second]
    before = table(go(files), "stars").select("star_id", "ra", "dec")
    for path in hidden:
        path.rename(path.with_name(path.name[1:]))
    after = table(go(files), "stars").select("star_id", "ra", "dec")
    assert after["star_id"].to_list() == before["star_id"].to_list()


def test_a_file_that_is_taken_away_takes_its_rows_and_comes_back(go, files):
    whole = results(go(files).directory)
    path = min(files.iterdir())
    path.rename(files.parent / path.name)
    outcome = go(files)
    assert len(table(outcome)) == 28
    assert "1 files that were read before are gone" in log(outcome)
    assert "4 spectra went" in log(outcome)
    (files.parent / path.name).rename(path)
    outcome = go(files)
    assert results(outcome.directory) == whole
    assert outcome.done["read"] == 0


def test_inputs_that_are_not_named_again_leave_the_tables(go, files):
    first, second = nights(files)
    go(files)
    outcome = go(*first)
    assert len(table(outcome)) == 16
    assert "4 files that were read before are not among the inputs" in log(outcome)
    assert outcome.done["read"] == 0
    assert len(table(go(*first, *second))) == 32


def test_a_file_that_was_only_touched_is_not_read_again(go, files):
    go(files)
    for path in files.iterdir():
        os.utime(path, ns=(1, 1))
    outcome = go(files)
    assert not any(outcome.done.values())


def test_a_file_that_changed_is_read_again(go, files):
    go(files)
    one, other = sorted(files.iterdir())[:2]
    shutil.copyfile(other, one)
    outcome = go(files)
    assert "1 files have changed" in log(outcome)
    # Its spectra are now those of the other file: there twice, and rejected once.
    assert len(table(outcome)) == 28
    rejected = table(outcome, "rejected")
    assert len(rejected) == 4
    assert rejected["reason"].str.contains("was read already, from").all()


def test_a_spectrum_that_is_there_twice_is_rejected_once(go, files):
    copy = files / "zz-copy.fits.gz"
    shutil.copyfile(min(files.iterdir()), copy)
    outcome = go(files)
    assert len(table(outcome)) == 32
    rejected = table(outcome, "rejected")
    assert len(rejected) == 4
    assert rejected["path"].str.contains("zz-copy").all()
    assert "4 were there twice" in log(outcome)


def test_only_what_depends_on_an_option_is_done_again(go, survey):
    go(survey)
    changed = go(survey, zeropoints={"prior_width": 0.7})
    done = {name for name, number in changed.done.items() if number}
    assert done == {"zeropoints", "catalog", "report"}
    changed = go(survey, zeropoints={"prior_width": 0.7}, report={"dpi": 50})
    assert {name for name, number in changed.done.items() if number} == {"report"}
    changed = go(survey, zeropoints={"prior_width": 0.7}, measure={"min_snr": 6.0})
    assert changed.done["measure"]
    assert not changed.done["read"]


def test_more_shards_measure_nothing_again(go, survey):
    before = table(go(survey))
    stand_in.MEASURED.clear()
    for shards in (8, 1, 4):
        after = go(survey, run={"files_per_batch": 3, "shards": shards})
        assert after.done["measure"] == min(shards, len(after.records["measure"]))
        assert table(after).equals(before)
    assert stand_in.MEASURED == []


def test_an_output_that_was_spoiled_is_written_again(go, survey):
    outcome = go(survey)
    whole = results(outcome.directory)
    (outcome.directory / "stars.parquet").write_bytes(b"mine")
    (outcome.directory / "report" / "index.html").unlink()
    again = go(survey)
    assert results(again.directory) == whole
    assert {name for name, n in again.done.items() if n} == {"catalog", "report"}


def test_a_spoiled_ledger_is_done_again_and_said(go, survey):
    outcome = go(survey)
    whole = results(outcome.directory)
    for path in (outcome.directory / "work" / "ledger").rglob("*.json"):
        path.write_text("{")
    again = go(survey)
    assert results(again.directory) == whole
    assert "entries of the ledger were damaged" in log(again)


@pytest.mark.parametrize("stage", ["read", "match", "shard", "measure", "errors"])
def test_work_files_that_are_lost_are_made_again(go, survey, stage):
    outcome = go(survey)
    whole = results(outcome.directory)
    folder = outcome.directory / "work" / stage
    for number in range(len(list(folder.iterdir()))):
        path = sorted(folder.iterdir())[number]
        path.unlink()
        again = go(survey)
        assert results(again.directory) == whole, path.name


def test_one_star_that_fails_costs_that_star_only(go, survey, monkeypatch):
    star = table(go(survey, out="well"), "stars")["star_id"][1]
    monkeypatch.setattr(stand_in, "FAILS", star)
    outcome = go(survey)
    velocities = table(outcome)
    failed = velocities.filter(star_id=star)
    others = velocities.filter(pl.col("star_id") != star)
    assert len(failed) == 8
    assert (failed["status"] & int(Status.INTERNAL_ERROR) != 0).all()
    assert failed["rv"].is_nan().all()
    assert others["rv"].is_finite().all()
    assert "ZeroDivisionError: this star is not to be measured" in log(outcome)
    assert "1 star failed" in log(outcome)


def test_a_shard_whose_worker_dies_is_rescued_and_tried_again(go, survey, monkeypatch):
    whole = results(go(survey, out="whole").directory)

    def die(*_):
        raise MemoryError("the worker was killed")

    with monkeypatch.context() as patch:
        patch.setattr(shardwork, "_load", die)
        with pytest.raises(MemoryError):  # even its rows cannot be had
            go(survey)
    outcome = go(survey)
    assert results(outcome.directory) == whole


def test_a_file_that_ends_its_process_is_found_and_rejected(go, files, monkeypatch):
    culprit, real = sorted(files.iterdir())[2], reading._read_file

    def dying_reader(file, options):
        if file.path == str(culprit):
            raise MemoryError("killed")
        return real(file, options)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_read_file", dying_reader)
        outcome = go(files)
        rejected = table(outcome, "rejected")
        assert len(rejected) == 1
        assert culprit.name in rejected["path"][0]
        assert "ended the process: MemoryError: killed" in rejected["reason"][0]
        assert len(table(outcome)) == 28
    outcome = go(files)  # it is tried again, and all is well
    assert len(table(outcome)) == 32
    assert len(table(outcome, "rejected")) == 0


def test_a_reader_that_breaks_costs_one_file(go, files, monkeypatch):
    culprit, real = sorted(files.iterdir())[2], reading.read

    def broken_reader(path, options):
        if path == str(culprit):
            raise KeyError("a fault of ours")
        return real(path, options)

    monkeypatch.setattr(reading, "read", broken_reader)
    outcome = go(files)
    rejected = table(outcome, "rejected")
    assert "An unexpected error: KeyError: 'a fault of ours'" in rejected["reason"][0]
    assert "Traceback" in log(outcome)
    assert len(table(outcome)) == 28


def test_a_run_with_nothing_to_read_writes_its_tables_and_says_so(go, tmp_path):
    folder = tmp_path / "nothing"
    folder.mkdir()
    (folder / "README.txt").write_text("these are not spectra")
    os.mkfifo(folder / "pipe")
    outcome = go(folder)
    assert len(table(outcome)) == 0
    assert sorted(table(outcome, "rejected")["path"]) == [
        "nothing/README.txt",
        "nothing/pipe",
    ]
    with pytest.raises(InputError, match="None of the 2 files holds a spectrum"):
        outcome.require_spectra()


def test_a_run_takes_its_directory_for_itself(go, survey, tmp_path):
    with only_run(tmp_path / "out"), pytest.raises(AlreadyRunning):
        go(survey)
    assert go(survey)


def test_a_reader_that_does_not_exist_is_refused_before_anything_is_read(go, survey):
    with pytest.raises(ConfigurationError, match="no reader 'lamst'"):
        go(survey, read={"reader": "lamst"})


def test_interrupting_says_how_to_go_on(go, survey, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stand_in, "measure", interrupt)
        patch.setattr(measuring, "measure_relative", interrupt)
        with pytest.raises(KeyboardInterrupt):
            go(survey)
    text = (tmp_path / "out" / "run.log").read_text()
    assert "Run the same command again to go on" in text
    assert go(survey).done["read"] == 0
