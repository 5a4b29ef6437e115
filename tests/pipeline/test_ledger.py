import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadystar.pipeline.ledger import (
    Ledger,
    Output,
    Record,
    atomic,
    content_hash,
    fingerprint,
)
from steadystar.pipeline.lock import AlreadyRunning, holder, only_run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=8,
)


@pytest.fixture
def done(tmp_path):
    """A ledger with one unit that is done: it wrote a file and a folder."""
    ledger = Ledger(tmp_path)
    table, report = tmp_path / "work/read/table", tmp_path / "report"
    with atomic(table) as part:
        part.write_bytes(b"rows")
    with atomic(report) as part:
        part.mkdir()
        (part / "index.html").write_text("<p>")
    outputs = {p.name: Output.of(p, tmp_path) for p in (table, report)}
    ledger.commit(Record("read", "one", "mark", outputs, {"files": 3}))
    return ledger


@given(JSON, JSON)
def test_fingerprints_agree_exactly_when_values_do(a, b):
    # Compared as JSON, where True and 1 differ.
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (fingerprint(a) == fingerprint(b)) == same


def test_parts_of_a_fingerprint_do_not_run_together():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_a_unit_is_done_while_mark_and_outputs_hold(done):
    record = done.done("read", "one", "mark")
    assert record.facts == {"files": 3}
    assert set(record.sha256()) == {"table", "report"}
    assert done.done("read", "one", "other mark") is None
    assert done.done("read", "two", "mark") is None
    assert done.done("match", "one", "mark") is None


@pytest.mark.parametrize("name", ["work/read/table", "report/index.html"])
def test_a_missing_or_changed_output_is_not_done(done, name):
    path = done.directory / name
    path.write_bytes(b"ROWS" if path.name == "table" else b"<q>")  # the same size
    os.utime(path, ns=(1, 1))
    assert done.done("read", "one", "mark") is None
    path.unlink()
    assert done.done("read", "one", "mark") is None


def test_an_output_that_was_only_touched_is_still_done(done):
    for path in ("work/read/table", "report/index.html"):
        os.utime(done.directory / path, ns=(1, 1))
    assert done.done("read", "one", "mark") is not None
    assert done.record("read", "one").outputs["table"].mtime_ns == 1


def test_a_run_directory_can_be_moved(done, tmp_path):
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    assert Ledger(moved).done("read", "one", "mark") is not None


@pytest.mark.parametrize("size", [0, 1, 40, 200])
def test_a_torn_record_reads_as_not_done_and_is_reported(done, size):
    path = done.folder / "read" / "one.json"
    path.write_bytes(path.read_bytes()[:size])
    assert done.done("read", "one", "mark") is None
    assert path in done.unreadable


@pytest.mark.parametrize("text", ["[]", "{}", '{"outputs": 3}', "null", '"x"'])
def test_a_record_of_another_shape_reads_as_not_done(done, text):
    (done.folder / "read" / "one.json").write_text(text)
    assert done.records("read") == {}


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("old")

    def fail():
        with atomic(path) as part:
            assert part.suffix == ".parquet"
            part.write_text("half of the n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for text in ("one", "two"):
        with atomic(tmp_path / "report") as part:
            part.mkdir()
            (part / text).write_text(text)
    assert [p.name for p in (tmp_path / "report").iterdir()] == ["two"]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_hash_of_a_folder_knows_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = content_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = content_hash(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, renamed, content_hash(tmp_path)}) == 3


def test_sweeping_removes_only_what_nothing_refers_to(done):
    work = done.directory / "work"
    keep = [done.directory / "mine.txt", done.directory / ".hidden", work / "other/x"]
    stale = [
        work / "read/stale",
        work / "read/.table.part-ab12",
        done.folder / "read/.one.part-1.json",
        done.directory / ".velocities.part-77.parquet",
    ]
    for path in [*keep, *stale]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (done.directory / ".report.part-9").mkdir()
    assert done.sweep("read") == 5
    assert all(path.exists() for path in keep)
    assert not any(path.exists() for path in stale)
    assert done.done("read", "one", "mark") is not None


def test_forgotten_units_lose_their_files_in_the_next_sweep(done):
    done.forget("read", "one")
    done.sweep("read")
    assert not (done.directory / "work/read/table").exists()
    assert (done.directory / "report").exists()


def test_times_and_hosts_are_in_the_record_only(done):
    record = done.record("read", "one")
    assert record.finished
    assert record.host
    bare = replace(record, finished="", host="")
    assert done.commit(bare).sha256() == record.sha256()


def test_two_runs_in_one_directory_are_refused(tmp_path):
    with only_run(tmp_path):
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} on"):
            only_run(tmp_path).__enter__()
        assert f"process {os.getpid()}" in holder(tmp_path)
    assert holder(tmp_path) is None
    with only_run(tmp_path):
        pass


HOLD = """
import sys, time, pathlib
from steadystar.pipeline.lock import only_run
with only_run(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_the_process_that_held_it(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match=f"process {process.pid}"):
            only_run(tmp_path).__enter__()
        process.kill()
    with only_run(tmp_path):
        pass


def test_nobody_holds_a_directory_that_is_not_there(tmp_path):
    assert holder(tmp_path / "none") is None
