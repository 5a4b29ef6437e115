"""Nothing that a command did not write is written over."""

import json

import numpy as np
import pytest

from steadystar.pipeline import lock
from steadystar.pipeline.answers import Answer, write_summary
from steadystar.pipeline.claims import claim_directory
from steadystar.pipeline.lock import AlreadyRunning
from steadystar.survey.catalogs import CatalogError

NAMES = {"variables.parquet", "summary.json"}


def claim(directory, table, command="variables"):
    claim_directory(directory, command, ("variables", "orbits"), [table], NAMES)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "velocities.csv"
    path.write_text("star_id,rv\n")
    return path


def test_a_new_directory_and_one_of_the_same_commands_are_free(tmp_path, table):
    out = tmp_path / "out"
    claim(out, table)
    (out / "report").mkdir(parents=True)
    (out / "report" / "files.json").write_text("[]")
    (out / "summary.json").write_text(json.dumps({"command": "orbits"}))
    claim(out, table)


@pytest.mark.parametrize("text", ["{}", "no json", '{"command": "run"}', "[1]"])
def test_the_results_of_another_command_are_not_replaced(tmp_path, table, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(CatalogError, match=r"another command.*-o"):
        claim(tmp_path, table)


def test_a_report_of_somebody_else_is_not_removed(tmp_path, table):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(CatalogError, match="report is none"):
        claim(tmp_path, table)


def test_the_table_that_is_read_is_not_written_over(tmp_path):
    table = tmp_path / "variables.parquet"
    table.write_text("velocities")
    with pytest.raises(CatalogError, match="table to be read"):
        claim(tmp_path, table)


def test_a_file_and_a_folder_in_the_way_are_named(tmp_path, table):
    with pytest.raises(CatalogError, match="is a file"):
        claim(table, table)
    (tmp_path / "variables.parquet").mkdir()
    with pytest.raises(CatalogError, match=r"variables.parquet is a folder"):
        claim(tmp_path, table)


def test_a_run_that_has_not_ended_is_left_alone(tmp_path, table):
    (tmp_path / "work" / "ledger").mkdir(parents=True)
    with pytest.raises(CatalogError, match="a run that can be resumed"):
        claim(tmp_path, table)


def test_two_commands_at_once_in_a_directory_do_not_mix(tmp_path, table):
    out = tmp_path / "out"
    one, other = (Answer(out, "compare", [table], ["compare"]) for _ in range(2))
    with one.begun(quiet=True) as log:
        log.say("mine")
        with pytest.raises(AlreadyRunning, match=r"in use by .*choose another"):  # noqa: SIM117
            with other.begun(quiet=True):
                pass
    with other.begun(quiet=True):
        pass
    # Nothing is left of the lock.
    assert [path.name for path in out.iterdir()] == ["run.log"]


def test_who_waited_for_a_lock_that_is_removed_takes_the_new_one(tmp_path, monkeypatch):
    path, take = tmp_path / "work" / "lock", lock._take
    path.parent.mkdir()

    def removed_meanwhile(file, alone=True):
        monkeypatch.setattr(lock, "_take", take)
        path.unlink()
        path.parent.rmdir()
        return take(file, alone)

    monkeypatch.setattr(lock, "_take", removed_meanwhile)
    with lock.only_run(tmp_path) as hold:
        hold.check()
        with pytest.raises(AlreadyRunning), lock.only_run(tmp_path):
            pass


def test_a_summary_has_null_where_a_number_is_unknown(tmp_path):
    facts = {"a": float("nan"), "b": [np.float64(2.5), np.int64(3)], "c": {"d": "inf"}}
    write_summary(tmp_path / "s.json", "compare", facts, {"steadystar.version": "1"})
    expected = {"command": "compare", "a": None, "b": [2.5, 3], "c": {"d": "inf"}}
    assert json.loads((tmp_path / "s.json").read_text()) == expected | {"version": "1"}
