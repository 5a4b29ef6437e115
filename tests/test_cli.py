import errno
import io
import json
import os
import sys

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

import steadystar
from steadystar import cli
from steadystar.pipeline import compiled, demo, labeling, measuring, tables
from steadystar.pipeline import results as finished
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.lock import only_run
from steadystar.pipeline.log import open_log
from steadystar.publish import report
from steadystar.simulate.mock import SurveyOptions, simulate_survey

from .pipeline import stand_in

COMMANDS = sorted(command.callback.__name__ for command in cli.app.registered_commands)
SMALL = "[simulate]\nn_stars = 3\nn_nights = 2\nn_exposures = 2\ncoadds = false\n"


@pytest.fixture
def call(monkeypatch):
    """Call a command with quick stand-ins for measuring and reporting."""
    monkeypatch.setattr(measuring, "measure_relative", stand_in.measure)
    monkeypatch.setattr(labeling, "label_visits", stand_in.label)
    for module in (report, finished, tables):
        monkeypatch.setattr(module, "write_report", stand_in.write_report)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "the user's own")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")

    def call(*arguments):
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])

    return call


@pytest.fixture(scope="module")
def spectra(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    options = SurveyOptions(n_stars=3, n_nights=1, n_exposures=2, coadds=False)
    simulate_survey(folder, options, seed=2)
    return folder / "spectra"


@pytest.fixture
def table(tmp_path):
    """A table of velocities with zero points of exposures, as CSV."""
    rng = np.random.default_rng(3)
    star, exposure = (grid.ravel() for grid in np.mgrid[:40, :6])
    offset = rng.normal(0, 2, 6)
    frame = pl.DataFrame(
        {
            "star_id": [f"star {n}" for n in star],
            "exposure": [f"e{n}" for n in exposure],
            "rv": 5.0 * np.sin(star) + offset[exposure] + rng.normal(0, 0.2, 240),
            "rv_err": np.full(240, 0.2),
            "note": [f"<b>{n}</b>" for n in range(240)],
        }
    )
    path = tmp_path / "table.csv"
    frame.sample(fraction=1, shuffle=True, seed=1).write_csv(path)
    return path


def refused(result, *words):
    """A user's mistake: status 2, one sentence that has the words, no traceback."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("steadystar: ")
    for word in words:
        assert str(word) in lines[0]
    return True


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(call, command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert f"steadystar {command}" in result.stdout


def test_units_in_brackets_are_not_lost_in_the_help(call):
    assert call("calibrate", "--help").stdout.count("rv=V[m/s]") == 2


def test_every_option_says_what_it_is(call):
    for command in cli.app.registered_commands:
        for name, hint in command.callback.__annotations__.items():
            if name != "return":
                assert hint.__metadata__[0].help, f"{command.callback.__name__} {name}"


def test_without_a_command_all_are_listed(call):
    result = call()
    for command in COMMANDS:
        assert command in result.output


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "x"], ["calibrate", "x"], ["nonsense"], ["export", "x"]],
)
def test_a_wrong_call_has_status_2(call, arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_run_and_what_can_be_done_with_it(call, spectra, tmp_path):
    out = tmp_path / "out"
    result = call("run", spectra, "-o", out)
    assert result.exit_code == 0, result.output
    for word in (
        "Read",
        "Measured",
        "Labels",
        "Calibrated",
        "Changed",
        "Written",
        "Time",
    ):
        assert f"\n{word} " in result.stderr
    assert result.stderr.splitlines()[-1].split() == [
        "Report",
        str(out / "report" / "index.html"),
    ]
    log = (out / "run.log").read_text()
    for line in result.stderr.strip().splitlines():
        assert line in log

    state = call("status", out)
    assert state.exit_code == 0
    assert "No run is at work here." in state.stdout
    assert "Measured    12 of 12 spectra (blue 6, red 6)" in state.stdout

    for format, suffix in (("fits", ".fits"), ("votable", ".vot"), ("csv", ".csv")):
        assert call("export", out, "--format", format, "-q").exit_code == 0
        names = ("velocities", "stars", "labels", "rejected", "relative")
        for name in (*names, "constant-stars"):
            assert (out / "export" / f"{name}{suffix}").exists()
    one = call("export", out, "--format", "parquet", "--table", "stars")
    assert one.stdout.strip() == str(out / "export" / "stars.parquet")
    assert refused(
        call("export", out, "--format", "fits", "--table", "star"), "no table star"
    )

    page = (out / "report" / "index.html").read_text()
    (out / "report" / "index.html").unlink()
    assert call("report", out).stdout.strip() == str(out / "report" / "index.html")
    assert (out / "report" / "index.html").read_text() == page


def test_quiet_is_quiet(call, spectra, table, tmp_path):
    for arguments in (
        ("run", spectra, "-o", tmp_path / "run"),
        ("calibrate", table, "-o", tmp_path / "calibrate", "--by", "exposure"),
    ):
        result = call(*arguments, "--quiet")
        assert result.exit_code == 0
        assert result.output == ""


def test_no_progress_bar_where_there_is_no_terminal(call, spectra, tmp_path):
    result = call("run", spectra, "-o", tmp_path / "out")
    assert "\r" not in result.stderr
    assert "\x1b" not in result.stderr


def test_a_table_is_calibrated_into_all_its_files(call, table, tmp_path):
    out = tmp_path / "out"
    result = call("calibrate", table, "-o", out, "--by", "exposure")
    assert result.exit_code == 0, result.output
    for name in ("summary.json", "errors.json", "report/index.html", "run.log"):
        assert (out / name).exists()
    given = pl.read_csv(table)
    velocities = pl.read_parquet(out / "velocities.parquet")
    for name in ("star_id", "exposure", "note"):
        assert velocities[name].equals(given[name])
    assert velocities["rv_raw"].equals(given["rv"].alias("rv_raw"))
    offsets = pl.read_parquet(out / "offsets-exposure.parquet")
    assert offsets["n_visits"].to_list() == [40] * 6
    difference = velocities["rv_raw"] - velocities["correction"] - velocities["rv"]
    assert difference.abs().max() < 1e-9  # rounding of the sum
    assert call("status", out).exit_code == 0
    # Another family leaves no table of the first behind.
    assert call("calibrate", table, "-o", out, "--by", "note").exit_code == 0
    assert [path.name for path in out.glob("offsets-*")] == ["offsets-note.parquet"]


@pytest.mark.parametrize("command", ["calibrate", "compare", "standards", "run"])
def test_no_command_replaces_the_results_of_another_one(
    call, table, spectra, tmp_path, command
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text('{"command": "distances"}')
    arguments = {
        "calibrate": (table, "--by", "exposure"),
        "compare": (table, table),
        "standards": (table, "--against", table),
        "run": (spectra,),
    }[command]
    result = call(command, *arguments, "-o", out)
    assert refused(result, out, "-o")
    left = {path.name for path in out.rglob("*.parquet")}
    assert not left
    assert json.loads((out / "summary.json").read_text()) == {"command": "distances"}


def test_other_methods_are_compared_when_asked(call, table, tmp_path):
    out = tmp_path / "out"
    arguments = ("calibrate", table, "-o", out, "--by", "exposure")
    result = call(*arguments, "--compare", "xiong", "--compare", "linear")
    assert result.exit_code == 0, result.output
    told = json.loads((out / "summary.json").read_text())["compared"]
    assert list(told) == ["joint", "xiong", "linear"]
    assert call(*arguments, "--compare", "nonsense").exit_code == 2


def test_columns_of_a_table_can_be_named(call, table, tmp_path):
    renamed = pl.read_csv(table).rename({"star_id": "NAME", "rv": "V", "rv_err": "E"})
    renamed.write_csv(table)
    columns = "star_id=NAME,rv=V,rv_err=E"
    arguments = ("calibrate", table, "-o", tmp_path / "out", "--by", "exposure")
    assert call(*arguments, "--columns", columns).exit_code == 0
    assert refused(call(*arguments), "star_id")
    assert refused(call(*arguments, "--columns", "star_id=NAM"), "NAM")


@pytest.mark.parametrize("by", ["exposur", "exposure,", ""])
def test_a_family_that_cannot_be_is_refused(call, table, tmp_path, by):
    result = call("calibrate", table, "-o", tmp_path / "out", "--by", by)
    assert refused(result, repr(by) if by != "exposur" else by)
    assert not (tmp_path / "out" / "velocities.parquet").exists()


def test_what_is_not_there_is_refused(call, spectra, tmp_path):
    gone, out = tmp_path / "gone", tmp_path / "out"
    assert refused(call("run", gone, "-o", out), gone)
    assert refused(call("run", spectra, "-o", spectra), "both input and output")
    assert refused(call("calibrate", gone, "-o", out, "--by", "x"), gone)
    assert refused(call("run", spectra, "-o", out, "--config", gone), gone)
    for command in (("status",), ("report",), ("export", "--format", "fits")):
        assert refused(call(*command, gone), "no results", gone)
    assert not out.exists()


def test_what_is_no_table_is_refused(call, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert refused(call("calibrate", path, "-o", tmp_path / "o", "--by", "x"), path)


def test_an_option_that_does_not_exist_is_refused(call, spectra, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[measure]\nmin_sn = 3\n")
    result = call("run", spectra, "-o", tmp_path / "out", "--config", config)
    assert refused(result, config, "measure.min_sn", "Did you mean measure.min_snr?")


def test_a_directory_that_is_a_file_is_refused(call, spectra, tmp_path):
    out = tmp_path / "out"
    out.write_text("mine")
    for named in (out, out / "sub"):
        result = call("run", spectra, "-o", named)
        assert refused(result, f"{out} is a file", "Name a folder")
    assert out.read_text() == "mine"


def test_files_that_hold_no_spectrum_have_status_2_and_their_rows(call, tmp_path):
    folder = tmp_path / "no spectra"
    folder.mkdir()
    (folder / "a.txt").write_text("hello")
    result = call("run", folder, "-o", tmp_path / "out", "--quiet")
    assert refused(result, "None of the 1 files", "rejected.parquet")
    assert len(pl.read_parquet(tmp_path / "out" / "rejected.parquet")) == 1


def test_a_directory_in_use_is_refused(call, spectra, tmp_path):
    with only_run(tmp_path / "out"):
        result = call("run", spectra, "-o", tmp_path / "out")
        assert refused(result, "is in use by another run")


def test_a_fault_of_ours_is_one_sentence_that_names_the_log(
    call, spectra, tmp_path, monkeypatch
):
    def fault(*_, **__):
        raise LookupError("a fault")

    monkeypatch.setattr("steadystar.pipeline.gathering.fit_zeropoints", fault)
    result = call("run", spectra, "-o", tmp_path / "out", "--quiet")
    assert result.exit_code == 1
    log = tmp_path / "out" / "run.log"
    assert result.stderr.startswith("steadystar: An unexpected error: LookupError.")
    assert str(log) in result.stderr
    assert "Traceback" not in result.output
    assert "LookupError: a fault" in log.read_text()


def test_interrupting_has_a_status_of_its_own(call, spectra, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "measure_relative", interrupt)
    result = call("run", spectra, "-o", tmp_path / "out", "--quiet")
    assert result.exit_code == 130
    assert "Run the same command again" in result.stderr


def test_the_written_configuration_is_the_default(call, tmp_path):
    path = tmp_path / "config.toml"
    assert call("run", "--write-config", path).exit_code == 0
    assert Configuration.load(path) == Configuration()
    assert refused(call("run", "--write-config", path), path, "exists already")


def test_the_version_is_said(call):
    assert call("--version").stdout.strip() == f"steadystar {steadystar.__version__}"


def test_a_terminal_sees_how_far_a_step_is(tmp_path):
    with open_log(tmp_path / "run.log") as log:
        screen = io.StringIO()
        log._console = Console(file=screen, force_terminal=True, highlight=False)
        with log.progress("Measuring", 4) as step:
            step.advance()
            step.advance()
        log.say("a name \x1b[31m from a file")
    assert "Measuring" in screen.getvalue()
    assert "2/4" in screen.getvalue()
    assert r"\x1b[31m" in screen.getvalue()
    assert "Measuring" not in (tmp_path / "run.log").read_text()


def test_formats_are_listed(call):
    result = call("formats")
    assert result.exit_code == 0
    for name in ("lamost", "fits", "text", "votable"):
        assert name in result.stdout


def test_a_reader_that_has_read_enough_ends_in_silence(capfd, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(cli.typer, "echo", gone)
    monkeypatch.setattr("sys.argv", ["steadystar", "formats"])
    # What typer does with a closed pipe; it changes both.
    monkeypatch.setattr("sys.stdout", sys.stdout)
    monkeypatch.setattr("sys.stderr", sys.stderr)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capfd.readouterr() == ("", "")


def test_a_survey_is_simulated_once(call, tmp_path):
    config = tmp_path / "small.toml"
    config.write_text(SMALL)
    arguments = ("simulate", tmp_path / "s", "--config", config, "--seed", 4)
    first = call(*arguments)
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("Wrote")
    spectra = sorted((tmp_path / "s" / "spectra").iterdir())
    before = [path.stat().st_mtime_ns for path in spectra]
    assert call(*arguments).stdout.startswith("Was there already")
    assert [path.stat().st_mtime_ns for path in spectra] == before
    spectra[0].unlink()
    assert call(*arguments).stdout.startswith("Wrote")
    assert spectra[0].exists()


def test_a_survey_of_hot_stars_is_simulated_once(call, tmp_path):
    config = tmp_path / "hot.toml"
    config.write_text("[hot_survey]\nn_stars = 3\n")
    arguments = ("simulate", tmp_path / "s", "--hot-stars", "--config", config)
    assert call(*arguments).stdout.startswith("Wrote")
    assert len(list((tmp_path / "s" / "spectra").glob("spec-*.fits.gz"))) >= 3
    assert call(*arguments).stdout.startswith("Was there already")
    (tmp_path / "s" / "photometry.parquet").unlink()
    assert call(*arguments).stdout.startswith("Wrote")
    assert (tmp_path / "s" / "photometry.parquet").exists()
    assert call(*arguments, "--seed", 2).stdout.startswith("Wrote")


def test_options_that_cannot_be_simulated_are_refused(call, tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text("[simulate]\nn_stars = 100000\n")
    result = call("simulate", tmp_path / "s", "--config", config)
    assert refused(result, "n_stars", config)


@pytest.mark.parametrize(("processors", "workers"), [(1, 1), (3, 3), (64, 4)])
def test_the_demo_takes_the_processors_that_there_are_but_not_more_than_four(
    call, tmp_path, monkeypatch, processors, workers
):
    asked = []
    monkeypatch.setattr(
        demo, "run_demo", lambda *_, workers, **__: asked.append(workers)
    )
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda _: set(range(processors)), raising=False
    )
    assert call("demo", "-o", tmp_path / "demo").exit_code == 0
    assert call("demo", "-o", tmp_path / "demo", "--workers", 7).exit_code == 0
    assert asked == [workers, 7]


def test_the_demo_leaves_results_and_truth(call, tmp_path):
    config = tmp_path / "small.toml"
    config.write_text(SMALL)
    options = ("--config", config, "--workers", 1, "--quiet")
    result = call("demo", "-o", tmp_path / "demo", *options)
    assert result.exit_code == 0, result.output
    page = tmp_path / "demo" / "run" / "report" / "index.html"
    assert result.stdout.strip() == str(page)
    assert page.exists()
    assert (tmp_path / "demo" / "truth" / "visits.parquet").exists()
    summary = json.loads((tmp_path / "demo/run/summary.json").read_text())
    assert summary["stars"] == 3


def test_compiled_programs_are_kept_apart_until_they_are_whole(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compiled._cache_folder()
    own = folder / "process-1"
    own.mkdir(parents=True)
    monkeypatch.setattr(compiled, "_own", [(own, folder)])
    (own / "program-cache").write_text("whole")
    compiled.publish_programs()
    assert (folder / "program-cache").read_text() == "whole"
    (own / "program-cache").unlink()
    (own / "program-cache").write_text("another")
    compiled.leave_programs()
    assert (folder / "program-cache").read_text() == "whole"
    assert not own.exists()
    assert compiled._own == []
