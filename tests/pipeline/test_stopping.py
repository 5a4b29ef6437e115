"""Told to stop, a run ends at once, says so, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time

import pytest

from steadystar.pipeline.progress import read_progress
from steadystar.pipeline.state import look
from steadystar.pipeline.state_words import describe_state
from steadystar.pipeline.stopping import Stopped, stoppable

from .test_processes import OPTIONS, arguments, program  # noqa: F401 - fixtures

BUSY = """
import hashlib
from steadystar.pipeline.stopping import in_emergency, stoppable
with stoppable(grace=0.2), in_emergency(lambda why: print(why, flush=True)):
    while True:
        try:
            print("busy", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes outside of Python
        except KeyboardInterrupt:  # should it have come too early
            pass
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals")
def test_a_batch_system_stops_a_run_which_goes_on_where_it_was(
    go,
    program,  # noqa: F811
    arguments,  # noqa: F811
    tmp_path,
):
    process, out = program(arguments("out")), tmp_path / "out"
    while not (told := read_progress(out)) or not any(s.done for s in told[1]):
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1].startswith("Stopped by SIGTERM. Run the same command")
    assert look(out).condition == "stopped"
    assert describe_state(out)[0].endswith(": Stopped by SIGTERM.")
    assert "Stopped by SIGTERM" in (out / "run.log").read_text()
    outcome = go(arguments("out")[1], **OPTIONS)
    assert 0 <= outcome.done["read"] < 8
    assert describe_state(out)[0].startswith("Ended ")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals")
def test_a_long_call_of_a_library_does_not_keep_a_process_from_stopping():
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, text=True, stdout=-1, stderr=-1) as process:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert out.splitlines()[-1] == "Stopped by SIGTERM"
    assert err == "Stopped by SIGTERM. Run the same command again to go on.\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals")
def test_signals_that_are_ignored_or_handled_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    # A shell lets what it starts in the background ignore it.
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            with pytest.raises(Stopped, match="Ctrl-C") as caught:
                signal.raise_signal(signal.SIGINT)
        assert caught.value.status == 130
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGINT, ctrl_c)
