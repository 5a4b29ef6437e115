"""The same promises with real processes: they are killed, and there are several."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from .conftest import results

HERE = Path(__file__).parent
CONFIG = "[run]\nfiles_per_batch = 1\nshards = 4\n[report]\npaper_figures = false\n"


@pytest.fixture
def command(tmp_path, survey):
    """The command line of a run, with stand-ins or not, and its environment."""
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)

    def command(out, *more, module="stand_in"):
        arguments = ["run", survey, "-o", tmp_path / out, "--config", config, *more]
        return [sys.executable, "-m", module, *map(str, arguments)]

    return command


ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(HERE),
    "STAND_IN": "1",
    "DASK_DISTRIBUTED__WORKER__PRELOAD": "stand_in",
}


def finish(command, environment=ENVIRONMENT):
    done = subprocess.run(
        command,
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


def kill_after_start(command, delay, environment=ENVIRONMENT):
    """Start a run, wait until it works, wait for ``delay`` seconds, kill it."""
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline().startswith("steadystar")
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    return process.returncode


def kill_and_resume(command, tmp_path, kills, module, environment=ENVIRONMENT):
    began = time.monotonic()
    with subprocess.Popen(
        command("whole", module=module),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr.readline().startswith("steadystar")
        began = time.monotonic()
        process.stderr.read()
    assert process.returncode == 0
    duration = time.monotonic() - began
    whole = results(tmp_path / "whole")
    rng = np.random.default_rng(1)
    killed = 0
    while killed < kills:
        # Several kills of one run before it may end, then another run.
        out = f"killed-{killed}"
        for _ in range(min(4, kills - killed)):
            delay = rng.uniform(0, duration)
            killed += 1
            if kill_after_start(command(out, module=module), delay, environment) == 0:
                break
        finish(command(out, module=module), environment)
        assert results(tmp_path / out) == whole


def test_two_kills_at_random_moments_change_no_byte(command, tmp_path):
    kill_and_resume(command, tmp_path, 2, "stand_in")


@pytest.mark.slow
def test_twenty_kills_of_the_real_program_change_no_byte(command, tmp_path):
    kill_and_resume(command, tmp_path, 20, "steadystar.cli", dict(os.environ))


def test_two_workers_give_the_bytes_of_one(command, tmp_path):
    finish(command("one"))
    done = finish(command("two", "--workers", "2"))
    assert "Working with 2 processes" in done.stderr
    assert results(tmp_path / "one") == results(tmp_path / "two")


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one_with_the_real_program(command, tmp_path):
    real = {"module": "steadystar.cli"}
    finish(command("one", **real), dict(os.environ))
    finish(command("two", "--workers", "2", **real), dict(os.environ))
    assert results(tmp_path / "one") == results(tmp_path / "two")
