"""What the machine does to a run: each fault has a sentence, and costs no byte."""

import errno
import os
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from steadystar.pipeline import ledger as ledger_module
from steadystar.pipeline import lock as lock_module
from steadystar.pipeline import measuring, reading, shardwork
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.faults import machine_error
from steadystar.pipeline.inputs import find_files
from steadystar.pipeline.ledger import content_hash
from steadystar.pipeline.lock import AlreadyRunning, LostDirectory, holder, only_run
from steadystar.pipeline.log import open_log
from steadystar.pipeline.mistakes import explain
from steadystar.pipeline.state import look
from steadystar.survey.observation import UnreadableFile

from . import stand_in
from .conftest import results

_UNDISTURBED: list[Path] = []


@pytest.fixture
def undisturbed(go, survey):
    """The directory of a run that nothing disturbs; made once."""
    if not _UNDISTURBED:
        _UNDISTURBED.append(go(survey, out="whole").directory)
    return _UNDISTURBED[0]


@pytest.fixture
def whole(undisturbed):
    """What a run that nothing disturbs writes."""
    return results(undisturbed)


@pytest.fixture
def done(undisturbed, survey, tmp_path):
    """Files that a test may change, of which a finished run lies in ``out``."""
    shutil.copytree(undisturbed, tmp_path / "out", symlinks=True)
    return Path(shutil.copytree(survey, tmp_path / "spectra"))


def refusal(number):
    return OSError(number, os.strerror(number))


def test_a_full_disk_is_named_and_the_run_goes_on_later(
    go, survey, whole, monkeypatch, tmp_path
):
    real, left = ledger_module.os.fsync, [40]

    def full(handle):
        left[0] -= 1
        if left[0] < 0:
            raise refusal(errno.ENOSPC)
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(ledger_module.os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            go(survey)
    said = explain(caught.value)
    assert said.startswith(str(tmp_path / "out" / "work"))
    assert "The disk is full. Make room there" in said
    assert list((tmp_path / "out").rglob(".*part*")) == []
    state = look(tmp_path / "out")
    assert (state.condition, state.told["because"]) == ("failed", said)
    assert results(go(survey).directory) == whole


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EDQUOT, "Your quota of disk space is used up. Make room there"),
        (errno.EROFS, "Its file system can only be read. Make it writable"),
        (errno.EMFILE, "This process may not open more files. Raise the limit"),
        (errno.EACCES, "You have no right to it. Give yourself the right"),
        (errno.EIO, "The disk, or the network to it, fails. See that it works"),
    ],
)
def test_what_cannot_be_written_is_named_with_reason_and_remedy(
    tmp_path, number, sentence
):
    path = tmp_path / "a.parquet"
    with (
        pytest.raises(OSError, match=os.strerror(number)) as caught,
        ledger_module.atomic(path),
    ):
        raise refusal(number)
    assert explain(caught.value).startswith(f"{path}: {sentence}")


def test_a_file_system_that_is_really_full_costs_no_byte(go, survey, whole, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(small)]
    may = os.name == "posix" and os.geteuid() == 0
    if not may or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("small file systems are for the superuser to mount")
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            go(survey, out="small/out")
        assert "The disk is full" in explain(caught.value)
        assert look(small / "out").condition == "failed"
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        assert results(go(survey, out="small/out").directory) == whole
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_no_file_is_blamed_for_what_the_machine_lacks(go, survey, whole, monkeypatch):

    def starved(path, options):
        raise UnreadableFile(path, "something") from refusal(errno.EMFILE)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read", starved)
        with pytest.raises(OSError, match="Too many open files"):
            go(survey)
    assert results(go(survey).directory) == whole


def test_no_star_is_blamed_for_what_the_machine_lacks(go, survey, whole, monkeypatch):

    def starved(*_):
        raise refusal(errno.EMFILE)

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure_relative", starved)
        with pytest.raises(OSError, match="Too many open files"):
            go(survey)
    assert results(go(survey).directory) == whole


def test_a_file_that_could_not_be_opened_is_tried_again_as_it_is(
    go, survey, monkeypatch
):
    culprit, real = min(survey.iterdir()), reading.read

    def forbidden(path, options):
        if path == str(culprit):
            raise UnreadableFile(path, "Permission denied") from refusal(errno.EACCES)
        return real(path, options)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read", forbidden)
        rejected = pl.read_parquet(go(survey).directory / "rejected.parquet")
    assert rejected["reason"].to_list() == ["Permission denied."]
    outcome = go(survey)
    assert outcome.done["read"] == 1
    assert len(pl.read_parquet(outcome.directory / "velocities.parquet")) == 32
    assert len(pl.read_parquet(outcome.directory / "rejected.parquet")) == 0
    assert not any(go(survey).done.values())


@pytest.mark.parametrize(
    "short",
    [MemoryError("no more"), RuntimeError("RESOURCE_EXHAUSTED: 3 GB are wanted")],
)
def test_want_of_memory_costs_no_star(go, survey, whole, monkeypatch, short):
    star = pl.read_parquet(go(survey).directory / "stars.parquet")["star_id"][1]
    shutil.rmtree(go(survey).directory)
    real = measuring.measure_relative

    def starved(visits, *given):
        if everyone or star in visits["star_id"].to_list():
            raise short
        return real(visits, *given)

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure_relative", starved)
        # Whoever it is: the machine is too small, and that is said.
        everyone = True
        with pytest.raises(MemoryError) as ended:
            go(survey)
        assert "device_batch" in explain(ended.value)
        # One of many may want more than others; it keeps its rows meanwhile.
        everyone = False
        velocities = pl.read_parquet(go(survey).directory / "velocities.parquet")
    assert velocities.filter(star_id=star)["rv"].is_nan().all()
    assert velocities.filter(pl.col("star_id") != star)["rv"].is_finite().all()
    assert results(go(survey).directory) == whole
    assert not any(go(survey).done.values())


def test_a_part_that_cannot_be_opened_is_the_machines_fault(
    go, survey, whole, monkeypatch
):

    def lost(path):
        raise UnreadableFile(path, "Stale file handle") from refusal(errno.ESTALE)

    with monkeypatch.context() as patch:
        patch.setattr(shardwork, "read_shard", lost)
        with pytest.raises(OSError, match="Stale"):
            go(survey)
    assert results(go(survey).directory) == whole


def test_a_directory_that_cannot_be_looked_at_is_not_taken_for_another(
    tmp_path, monkeypatch
):
    with only_run(tmp_path) as hold:

        def fails(*_, **__):
            raise refusal(errno.EIO)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", fails)
            with pytest.raises(OSError, match="Input/output error"):
                hold.check()
        hold.check()


def test_libraries_words_for_a_full_disk_are_understood():
    said = "underlying IO error: No space left on device (os error 28)"
    assert machine_error(pl.exceptions.ComputeError(said)).errno == errno.ENOSPC
    assert machine_error(OSError("100 requested and 64 written")).errno == errno.ENOSPC
    assert machine_error(ValueError("no such thing")) is None
    assert "out of memory" in explain(MemoryError())


def test_a_directory_that_is_removed_meanwhile_is_noticed_and_said(
    go, survey, whole, monkeypatch, tmp_path
):
    def removed(*arguments):
        shutil.rmtree(tmp_path / "out")
        return stand_in.measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure_relative", removed)
        with pytest.raises(LostDirectory, match="was removed, moved or replaced"):
            go(survey)
    assert results(go(survey).directory) == whole


def test_a_run_and_its_files_may_move_and_nothing_is_done_again(
    go, survey, undisturbed, whole, tmp_path
):
    time.sleep(0.01)  # copies have times of their own
    moved, files = tmp_path / "there" / "out", tmp_path / "disk2" / "spectra"
    shutil.copytree(undisturbed, moved, copy_function=shutil.copy)
    shutil.copytree(survey, files, copy_function=shutil.copy)
    outcome = go(files, out="there/out")
    assert not any(outcome.done.values())
    assert results(outcome.directory) == whole


def test_of_a_moved_file_with_another_content_the_rows_go(go, done):
    one = min(done.iterdir())
    times, content = one.stat(), bytearray(one.read_bytes())
    content[-20] ^= 255
    one.write_bytes(content)
    os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
    outcome = go(done)
    assert outcome.done["read"] == 1
    rejected = pl.read_parquet(outcome.directory / "rejected.parquet")
    assert one.name in rejected["path"][0]


def test_files_that_options_name_may_move_too():
    def mark(folder):
        values = {
            "hot": {"photometry": f"{folder}/p.fits"},
            "catalogs": {"catalogs": {"kic": f"{folder}/kic.fits"}},
        }
        return Configuration.from_values(values).section_hash("hot", "catalogs")

    assert (
        mark("/here")
        == mark("/there")
        != Configuration().section_hash("hot", "catalogs")
    )


@pytest.mark.skipif(os.name != "posix", reason="others keep no time of change")
def test_a_file_that_is_overwritten_with_its_old_size_and_time_is_changed(files):
    [known] = find_files([one := min(files.iterdir())]).files
    held, content = one.stat(), bytearray(one.read_bytes())
    content[len(content) // 2] ^= 255
    info = asdict(known) | {"sha256": content_hash(one)}
    time.sleep(0.01)  # the clock of a file system may tick every few milliseconds
    os.utime(one, ns=(held.st_atime_ns, held.st_mtime_ns))
    assert reading._same(info, *find_files([one]).files)
    one.write_bytes(content)
    os.utime(one, ns=(held.st_atime_ns, held.st_mtime_ns))
    assert not reading._same(info, *find_files([one]).files)


def test_a_clock_that_was_set_back_changes_nothing(go, done, whole, tmp_path):
    future = time.time_ns() + 10**9 * 86_400
    for path in [*done.iterdir(), *(tmp_path / "out").rglob("*")]:
        os.utime(path, ns=(future, future))
    again = go(done)
    assert not any(again.done.values())
    assert results(again.directory) == whole
    (min(done.iterdir())).write_bytes(b"a change, before what was known")
    assert go(done).done["read"] == 1


def test_a_run_of_another_host_that_still_speaks_is_not_disturbed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(lock_module, "_WATCH", 0.6)
    with only_run(tmp_path):
        pass
    lock, progress = tmp_path / "work" / "lock", tmp_path / "work" / "progress.json"
    who = '{"pid": 12, "host": "node17", "started": "today"}'
    lock.write_text(who)
    progress.write_text("{}")
    with only_run(tmp_path):  # it is silent
        pass
    lock.write_text(who)
    sleep = time.sleep

    def speak(seconds):
        os.utime(progress, ns=(1, 1))
        sleep(seconds)

    monkeypatch.setattr(lock_module.time, "sleep", speak)
    with pytest.raises(
        AlreadyRunning, match=r"process 12 on node17.*`kill 12` on node"
    ):
        only_run(tmp_path).__enter__()


def test_where_there_are_no_locks_another_host_is_believed(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def none(*_):
        raise refusal(errno.ENOLCK)

    monkeypatch.setattr(fcntl, "flock", none)
    with only_run(tmp_path):  # nobody is named
        pass
    lock = tmp_path / "work" / "lock"
    lock.write_text('{"pid": 12, "host": "node17"}')
    with pytest.raises(AlreadyRunning, match=f"remove the file {lock}"):
        only_run(tmp_path).__enter__()
    lock.unlink()
    with only_run(tmp_path):
        pass


def test_a_lock_holds_although_nobody_can_write_who_has_it(tmp_path, monkeypatch):
    def full(*_):
        raise refusal(errno.ENOSPC)

    with monkeypatch.context() as patch:
        patch.setattr(lock_module.os, "ftruncate", full)
        with only_run(tmp_path):
            assert holder(tmp_path) == "another run"
            with pytest.raises(AlreadyRunning, match="in use by another run"):
                only_run(tmp_path).__enter__()
    assert holder(tmp_path) is None


def test_a_log_that_cannot_be_written_is_said_once_and_ends_nothing(tmp_path, capsys):
    with open_log(tmp_path / "run.log", quiet=True) as log:
        log.say("before")
        log._file.close()
        log._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
        log.say("one")
        log.say("two")
    assert capsys.readouterr().err.count("run.log is not complete: No space") == 1
    assert "before" in (tmp_path / "run.log").read_text()
