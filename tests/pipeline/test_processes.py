"""The same promises with real processes: they are killed, and there are several."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steadystar.data.status import Status

from .conftest import results

HERE = Path(__file__).parent
OPTIONS = {"run": {"files_per_batch": 1, "shards": 4, "velocities": "both"}}
CONFIG = "[run]\nfiles_per_batch = 1\nshards = 4\n[report]\npaper_figures = false\n"


@pytest.fixture
def arguments(tmp_path, survey):
    """The arguments of a run into one of several directories."""
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)

    def arguments(out, *more):
        given = ["run", survey, "-o", tmp_path / out, "--config", config, *more]
        return [str(argument) for argument in given]

    return arguments


@pytest.fixture
def program(monkeypatch):
    """Start the program, with stand-ins or as it is."""

    def start(arguments, module="stand_in"):
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    return start


def finish(process):
    """Wait for the end; it must be a good one."""
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return said


def kill(process, delay):
    """Let a process begin to work, and kill it after ``delay`` seconds."""
    process.stderr.readline()
    time.sleep(delay)
    process.kill()
    process.communicate()


def test_kills_at_random_moments_change_no_byte(go, program, arguments, tmp_path):
    began = time.monotonic()
    whole = results(go(arguments("whole")[1], out="whole", **OPTIONS).directory)
    duration = time.monotonic() - began
    rng = np.random.default_rng()
    for _ in range(2):
        kill(program(arguments("killed")), rng.uniform(0, 0.9 * duration))
    finish(program(arguments("killed")))
    assert results(tmp_path / "killed") == whole


@pytest.mark.slow
def test_twenty_kills_of_the_real_program_change_no_byte(program, arguments, tmp_path):
    finish(program(arguments("compiled"), "steadystar.cli"))
    began = time.monotonic()
    finish(program(arguments("whole"), "steadystar.cli"))
    duration = time.monotonic() - began
    whole = results(tmp_path / "whole")
    rng = np.random.default_rng(1)
    for run in range(10):
        out = f"killed-{run}"
        for _ in range(2):
            process = program(arguments(out), "steadystar.cli")
            kill(process, rng.uniform(0, duration))
        finish(program(arguments(out), "steadystar.cli"))
        assert results(tmp_path / out) == whole, f"run {run}"


def test_two_workers_give_the_bytes_of_one(
    go, program, arguments, tmp_path, monkeypatch
):
    alone = go(arguments("one")[1], out="one", **OPTIONS)
    monkeypatch.setenv("STAND_IN", "1")
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "stand_in")
    said = finish(program(arguments("two", "--workers", "2")))
    assert "Working with 2 processes" in said
    assert results(tmp_path / "two") == results(alone.directory)


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_shard_until_the_next_run(
    go, program, arguments, tmp_path, monkeypatch
):
    alone = go(arguments("one")[1], out="one", **OPTIONS)
    whole = pl.read_parquet(alone.directory / "velocities.parquet")
    culprit = whole.row(0, named=True)
    monkeypatch.setenv("STAND_IN", "1")
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "stand_in")
    monkeypatch.setenv("STAND_IN_DIES", culprit["visit_id"])
    said = finish(program(arguments("two", "--workers", "2")))
    assert "The worker ended" in said
    found = pl.read_parquet(tmp_path / "two" / "velocities.parquet")
    failed = found.filter(pl.col("status") & int(Status.INTERNAL_ERROR) != 0)
    assert culprit["star_id"] in failed["star_id"].to_list()
    assert failed["star_id"].n_unique() < whole["star_id"].n_unique()
    assert found["visit_id"].equals(whole["visit_id"])
    monkeypatch.delenv("STAND_IN_DIES")
    finish(program(arguments("two")))
    assert results(tmp_path / "two") == results(alone.directory)


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one_with_the_real_program(
    program, arguments, tmp_path
):
    for out, more in (("one", ()), ("two", ("--workers", "2"))):
        finish(program(arguments(out, *more), "steadystar.cli"))
    assert results(tmp_path / "one") == results(tmp_path / "two")
