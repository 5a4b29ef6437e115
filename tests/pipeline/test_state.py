"""What a run says of itself while it works, after its end, and after it was killed."""

import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from steadystar.pipeline import measuring, progress, sorting
from steadystar.pipeline.progress import StageProgress, progress_path, read_progress
from steadystar.pipeline.state import NoResults, look
from steadystar.pipeline.state_words import describe_state, state_as_json

from . import stand_in


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def during(go, monkeypatch):
    """Call something at the third shard that is measured; return what it returned."""

    def during(files, act, **values):
        seen, measured = [], []

        def measure(visits, *rest):
            measured.append(len(visits))
            if len(measured) == 3:
                seen.append(act())
            return stand_in.measure(visits, *rest)

        monkeypatch.setattr(measuring, "measure_relative", measure)
        monkeypatch.setattr(progress, "BEAT", 0.01)
        go(files, run={"files_per_batch": 2, "shards": 8} | values)
        return seen[0]

    return during


def retold(directory, **values):
    """Change what a run last said of itself."""
    path = progress_path(directory)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_run_at_work_says_where_how_far_how_fast_and_what_failed(
    during, files, tmp_path
):
    (files / "notes.fits").write_text("no spectrum")

    def watched():
        before = read_progress(tmp_path / "out")[0]["seconds"]
        while read_progress(tmp_path / "out")[0]["seconds"] < before + 0.05:
            pass  # what is counted is written by another thread
        return look(tmp_path / "out"), describe_state(tmp_path / "out")

    state, lines = during(files, watched)
    text = "\n".join(lines)
    told = state.told
    assert re.match(rf"At work +for .*: process {told['pid']} on {told['host']}", text)
    assert re.search(r"Memory +[\d.]+ [MG]B now, [\d.]+ [MG]B at most", text)
    assert re.search(r"measure +Measuring velocities: 2 of \d units .* units/s", text)
    assert re.search(r"read +5 units in .*, 32 spectra, [\d,.]+ spectra/s", text)
    assert "Rejected    1 files" in text
    assert "no reader recognizes it" in text
    assert re.search(r"\d+ stages follow, labels to report; how long", text)
    facts = state.facts()
    assert (facts["condition"], facts["stage"]) == ("running", "measure")
    assert 0 < facts["memory_bytes"] <= facts["peak_memory_bytes"]
    assert facts["rejected"] == 1
    json.dumps(facts, allow_nan=False)


def test_after_the_end_it_says_what_was_done_in_what_time(go, survey):
    outcome = go(survey)
    lines = describe_state(outcome.directory)
    assert lines[0].startswith("Ended ")
    assert any(re.match(r"measure +2 units in .* spectra/s", line) for line in lines)
    assert "Measured    32 of 32 spectra (blue 16, red 16)" in lines
    assert any(line.startswith("Time ") and "spectra/s" in line for line in lines)
    log = (outcome.directory / "run.log").read_text()
    assert next(line for line in lines if line.startswith("Time ")) in log
    again = describe_state(go(survey).directory)
    assert any(re.match(r"measure +nothing to do; 2 done before", li) for li in again)
    facts = json.loads(state_as_json(outcome.directory))
    assert facts["condition"] == "ended"
    assert facts["ledger"]["read"]["units"] == 3
    assert facts["summary"]["spectra"] == 32


def test_a_later_run_knows_how_long_the_last_stages_take(during, go, files, tmp_path):
    first = go(files)
    new = {"references": "second"}  # all is measured again
    lines = during(files, lambda: describe_state(first.directory), **new)
    left = next(line for line in lines if line.startswith("Left "))
    assert re.search(
        r"stages follow, labels to report, which took .* the last time", left
    )


def test_a_run_that_died_is_told_from_one_at_work(go, survey, monkeypatch, tmp_path):
    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure_relative", die)
        with pytest.raises(Killed):
            go(survey)
    out = tmp_path / "out"
    retold(out, command="steadystar run a -o out", folder="/data")
    text = "\n".join(describe_state(out))
    assert text.startswith("Died        at stage measure, 0 of 2 units, without a word")
    assert "run the same command again: steadystar run a -o out (in /data)" in text
    # Elsewhere nobody can be asked.
    now = datetime.now(UTC)
    retold(out, host="node17", said=now.isoformat())
    text = "\n".join(describe_state(out))
    assert "on node17" in text
    assert "cannot be known from here" in text
    assert "probably ended" not in text
    retold(out, said=(now - timedelta(hours=2)).isoformat())
    assert "2 h 0 min ago" in (text := "\n".join(describe_state(out)))
    assert "So it has probably ended." in text
    retold(out, said=(now + timedelta(hours=2)).isoformat())
    assert "by a clock that is 2 h 0 min ahead" in "\n".join(describe_state(out))


def test_before_its_units_are_known_a_stage_says_so_and_promises_no_time(
    go, survey, monkeypatch, tmp_path
):
    def die(*_, **__):
        raise Killed

    monkeypatch.setattr(sorting, "hashlib", SimpleNamespace(sha256=die))
    with pytest.raises(Killed):
        go(survey)
    text = "\n".join(describe_state(tmp_path / "out"))
    assert "at stage shard, finding what there is to do, without a word" in text
    assert re.search(r"Dealing out spectra: finding what there is to do, after", text)
    _, stages = read_progress(tmp_path / "out")
    assert next(one for one in stages if one.is_on()).seconds_left() is None


def test_progress_that_cannot_be_written_ends_no_run(go, survey, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "_overwrite", full)
    outcome = go(survey)
    assert (outcome.directory / "report" / "index.html").exists()
    # What it found is that of its summary: no log is needed.
    (outcome.directory / "run.log").unlink()
    lines = describe_state(outcome.directory)
    assert lines[0] == "No run is at work here."
    assert any(line.startswith("measure     2 done") for line in lines)
    assert sum(line.startswith("Measured") for line in lines) == 1


def test_progress_is_written_in_place_where_there_is_no_room(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    progress._overwrite(path, b'{"a": 1}')

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress.Path, "write_bytes", full)
    progress._overwrite(path, b'{"a": 2, "b": 3}')
    assert json.loads(path.read_bytes()) == {"a": 2, "b": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_the_rate_leaves_out_the_first_unit_and_counts_the_wait():
    stage = StageProgress("measure", "", units=11, done=5, spectra=500)
    stage.first, stage.seconds = 60.0, 68.0
    assert stage.rate() == 0.5
    assert stage.spectra_rate() == 50.0
    assert stage.seconds_left() == 12.0
    stage.seconds = 100.0  # the sixth lasts long
    assert stage.seconds_left() == 60.0
    stage.done = 2
    assert stage.seconds_left() is None


def test_what_a_run_said_may_be_anything(tmp_path):
    directory = tmp_path
    (directory / "work" / "ledger").mkdir(parents=True)
    for text in ("", "[]", '{"stages": 3}', '{"stages": [], "pid": "x", "host": 1}'):
        progress_path(directory).write_text(text)
        assert look(directory).condition == "unknown", text


def test_of_other_commands_it_says_which_when_and_what_they_found(tmp_path):
    with pytest.raises(NoResults, match="no results"):
        describe_state(tmp_path)
    (tmp_path / "summary.json").write_text('{"command": "standards"}')
    (tmp_path / "run.log").write_text(
        "2026-01-01  Read        1 velocities\n2026-01-02  Read        9 velocities\n"
        "2026-01-02  Offsets     2\n2026-01-02  Written     x\n"
    )
    lines = describe_state(tmp_path)
    assert re.match(r"Written +\d{4}-.* UTC by steadystar standards", lines[0])
    assert lines[1:] == ["Read        9 velocities", "Offsets     2"]


def test_the_directory_above_a_run_is_no_run_but_names_it(tmp_path):
    (tmp_path / "run" / "work").mkdir(parents=True)
    with pytest.raises(NoResults, match=r"but in .*run: name that"):
        look(tmp_path)
