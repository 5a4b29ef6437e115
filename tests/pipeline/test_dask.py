"""Workers come and go, hang, and are not what they should be: results are the same."""

import importlib
import os
import pickle
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import distributed
import pytest

from steadystar.pipeline import connections, measuring, pools, run
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.connections import NoWorkers
from steadystar.pipeline.log import open_log
from steadystar.pipeline.mistakes import explain
from steadystar.pipeline.pools import Cluster, Here, open_pool
from steadystar.pipeline.run import run_pipeline
from steadystar.pipeline.workers import expectation, make_call, refusals

from .conftest import results

HERE = Path(__file__).parent
BRIEF = 0.2
"""How long a chore takes, s."""


@pytest.fixture
def machines(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))
    monkeypatch.syspath_prepend(str(HERE.parents[1] / "benchmarks"))
    machines = importlib.import_module("_machines").Machines(tmp_path)
    yield machines
    machines.end()


@pytest.fixture
def work(machines, tmp_path, monkeypatch):
    """Do chores on the machines; something may happen after some of the results."""
    monkeypatch.syspath_prepend(HERE)
    import chores

    def work(count, events=None, patience=60.0, fails=None):
        (tmp_path / "work").mkdir(exist_ok=True)
        events, found, pids = dict(events or {}), {}, []
        calls = [(str(tmp_path), number, BRIEF) for number in range(count)]
        if fails is not None:
            calls[fails] = (str(tmp_path), fails, -1.0)
        with (
            open_log(tmp_path / "run.log", quiet=True) as log,
            open_pool(1, machines.address, tmp_path, log, patience) as pool,
        ):
            for number, result in pool.map(chores.chore, calls):
                assert number not in found
                found[number] = result
                pids += [result[1]] if isinstance(result, tuple) else []
                happens = events.pop(len(found), None)
                if happens:
                    happens(pids[-1])
        return found

    return work


def begun(folder: Path) -> list[int]:
    lines = (folder / "began").read_text().splitlines()
    return [int(line.split()[0]) for line in lines]


def said(folder: Path) -> str:
    return (folder / "run.log").read_text()


def test_workers_that_are_killed_or_hang_cost_their_own_units(
    machines, work, tmp_path, monkeypatch
):
    monkeypatch.setattr(pools, "LONG", 1.0)
    monkeypatch.setattr(connections, "PARTING", 0.5)
    machines.start(workers=3)
    stopped = []

    def kill(pid):
        os.kill(pid, signal.SIGKILL)

    def stop(pid):
        stopped.append(pid)
        os.kill(pid, signal.SIGSTOP)

    found = work(24, {3: kill, 7: stop}, fails=1)
    assert sorted(found) == list(range(24))
    assert isinstance(found.pop(1), ZeroDivisionError)
    assert all(number == done for number, (done, _) in found.items())
    # Each of the two had one that it worked on.
    assert len(begun(tmp_path)) <= 23 + 2
    late = [pid for _, pid in list(found.values())[8:]]
    assert stopped[0] not in late
    assert "given to the idle worker" in said(tmp_path)


def test_a_scheduler_that_is_started_anew_goes_on(
    machines, work, tmp_path, monkeypatch
):
    monkeypatch.setattr(pools, "QUIET", 0.0)
    machines.start(workers=1)

    def restart(_):
        machines.end()
        machines.start_scheduler()
        machines.start_worker()

    found = work(6, {2: restart})
    assert sorted(found) == list(range(6))
    assert len({pid for _, pid in found.values()}) == 2
    assert "scheduler is gone. Waiting for it" in said(tmp_path)
    assert "there again: going on" in said(tmp_path)
    assert len(begun(tmp_path)) <= 6 + 1

    # No worker, no scheduler: what to do is said.
    with pytest.raises(NoWorkers, match="it goes on where this one stopped"):
        work(4, {2: lambda pid: os.kill(pid, signal.SIGKILL)}, patience=2.0)
    assert "No worker is left. Waiting for some, up to 2 seconds" in said(tmp_path)
    machines.start_worker()
    machines.wait_for(1)
    with pytest.raises(NoWorkers, match="it goes on where this one stopped"):
        work(4, {2: lambda _: machines.end()}, patience=2.0)


def test_a_worker_that_comes_late_and_is_another_one_is_not_used(
    machines, work, tmp_path
):
    old = tmp_path / "old" / "polars-0.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: polars\nVersion: 0.1\n")
    other = os.pathsep.join([str(old.parent), os.environ["PYTHONPATH"]])
    machines.start(workers=1)

    def join(_):
        machines.start_worker(PYTHONPATH=other)
        machines.workers[-1].wait(60)  # it ends itself

    found = work(6, {1: join})
    assert len({pid for _, pid in found.values()}) == 1
    assert "is not used. It has polars 0.1" in said(tmp_path)
    machines.workers[0].kill()
    machines.wait_for(0)
    machines.start_worker(PYTHONPATH=other)
    machines.wait_for(1)
    with pytest.raises(
        ConfigurationError, match=r"cannot be used.* polars 0\.1 \(here"
    ):
        work(1)


@pytest.mark.parametrize(
    ("change", "threads", "sentence"),
    [
        ({"versions": {"Python": "2.7"}}, 1, "Python 2.7 (here"),
        ({"versions": {}}, 1, "steadystar not at all (here"),
        ({"code": "other"}, 1, "but other code"),
        ({"seen": ""}, 1, "does not see the run's directory"),
        ({"writes": False}, 1, "cannot write"),
        ({}, 4, "4 threads. Start workers with --nthreads 1"),
        ({"late": ["NPROC=1"]}, 1, "with NPROC=1 in its environment"),
    ],
)
def test_what_a_worker_lacks_is_said(tmp_path, change, threads, sentence):
    sign = tmp_path / "sign"
    sign.write_text("here")
    here = expectation(sign) | {"late": []}
    assert here["versions"]["jax"]
    assert refusals(here, {"a": here}, {"a": 1}) == {}
    found = refusals(here, {"a": here | change, "b": here}, {"a": threads, "b": 1})
    assert list(found) == ["a"]
    assert sentence in found["a"]
    hangs = refusals(here, {"a": OSError("no answer")}, {})
    assert "no answer" in hangs["a"]


def test_processes_begin_when_there_is_something_to_do(tmp_path):
    begun = []

    def connect():
        begun.append(True)
        raise ConfigurationError("it began")

    with open_log(tmp_path / "run.log", quiet=True) as log:
        pool = Cluster(connect, log, patience=1.0)
        assert list(pool.map(sum, [])) == []
        pool.close()
        assert not begun
        with pytest.raises(ConfigurationError, match="it began"):
            list(pool.map(sum, [((1, 2),)]))
        with open_pool(1, None, tmp_path, log) as here:
            assert isinstance(here, Here)
            assert list(here.map(sum, [((1, 2),)])) == [(0, 3)]


def test_processes_of_this_machine_have_no_limit_of_memory_but_the_systems(tmp_path):
    # At one of its own Dask pauses a process for ever, and the run with it.
    with (
        open_log(tmp_path / "run.log", quiet=True) as log,
        connections.own_processes(1, tmp_path, log) as (client, _),
    ):
        workers = client.scheduler_info()["workers"].values()
        assert [worker["memory_limit"] for worker in workers] == [0]


@pytest.mark.parametrize("shards", [2, 64])
def test_a_survey_of_which_every_process_ends_is_not_given_up(
    go, survey, tmp_path, monkeypatch, shards
):
    whole = results(go(survey, out="whole", run={"shards": shards}).directory)
    ended = []

    class Ended(Exception):
        """What Dask says of a process that is gone."""

    class Doomed(Here):
        def map(self, function, calls):
            for number, call in enumerate(calls):
                if call[0] is measuring.measure_shard:
                    ended.append(number)
                    yield number, Ended()
                else:
                    yield number, function(*call)

        def died(self, error):
            return isinstance(error, Ended)

    with monkeypatch.context() as patch:
        patch.setattr(run, "open_pool", lambda *_: nullcontext(Doomed()))
        patch.setattr(run, "_ENDED", 2)
        with pytest.raises(NoWorkers, match="fewer --workers") as told:
            go(survey, run={"shards": shards})
    # Each shard with the others, and alone; two of them are enough here.
    units = max(ended) + 1
    assert units == 2 if shards == 2 else units > 2
    assert ended == [*range(units), 0, 0]
    assert "has ended" in explain(told.value)
    assert results(go(survey, run={"shards": shards}).directory) == whole


def test_workers_by_address_give_the_bytes_of_one(
    go, machines, survey, tmp_path, monkeypatch
):
    """The same command on two workers of a cluster, one of which is killed."""
    options = {"run": {"files_per_batch": 1, "shards": 4, "velocities": "both"}}
    alone = go(survey, out="one", **options)
    monkeypatch.setenv("STAND_IN", "1")
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "stand_in")
    machines.start(workers=2)
    ledger = tmp_path / "two" / "work" / "ledger" / "read"
    killed = []
    commit = pools.Cluster._land

    def land(self, flight):
        landed = commit(self, flight)
        if len(list(ledger.glob("*.json"))) >= 2 and not killed:
            killed.append(machines.workers[0].pid)
            machines.workers[0].kill()
        return landed

    monkeypatch.setattr(pools.Cluster, "_land", land)
    configuration = Configuration.from_values(options)
    two = run_pipeline(
        [survey], tmp_path / "two", configuration, scheduler=machines.address
    )
    assert killed
    assert results(two.directory) == results(alone.directory)
    assert two.done == alone.done


def test_the_program_computes_with_one_thread_as_its_workers_do():
    """NumPy's sums of two threads have other last digits: the program is alike."""
    code = (
        "import os, sys\n"
        "from steadystar.cli.frame import compiled_programs\n"
        "early = 'numpy' not in sys.modules\n"
        "with compiled_programs():\n"
        "    print(early, os.environ['OPENBLAS_NUM_THREADS'], os.environ['NPROC'])\n"
    )
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env=free,
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout.split() == ["True", "1", "1"]


STOPPED = """
import os, signal, sys
from pathlib import Path
from distributed.nanny import Nanny
from steadystar.pipeline import connections
from steadystar.pipeline.log import open_log

begin = Nanny.instantiate

async def stopped(self):
    os.kill(os.getpid(), signal.SIGINT)
    return await begin(self)

if __name__ == "__main__":
    Nanny.instantiate, here = stopped, Path(sys.argv[1])
    try:
        with (
            open_log(here / "run.log", quiet=True) as log,
            connections.own_processes(1, here, log),
        ):
            print("not stopped")
    except KeyboardInterrupt:
        print("stopped")
"""


def test_a_run_stopped_while_its_processes_begin_ends_without_a_word_of_dask(tmp_path):
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "stopped\n", "")


class Future:
    """What was sent to a worker that does not exist."""

    status = "finished"

    def __init__(self, key, packed, sent):
        self.key, self._packed, self._sent = key, packed, sent

    def add_done_callback(self, call):
        call(self)

    def cancelled(self):
        return False

    def result(self, timeout):
        function, arguments = pickle.loads(self._packed)
        return "done", function(*arguments)

    def release(self):
        self._sent.remove(self)


class Client:
    """Two workers; each does what it was given first when it is asked to."""

    status = "running"

    def __init__(self):
        self.scheduler = SimpleNamespace(ncores_running=lambda: {"a": 1, "b": 1})
        self.sent, self.submitted = [], 0

    def sync(self, asked, callback_timeout):
        return asked()

    def subscribe_topic(self, name, handler):
        pass

    def submit(self, call, packed, pure):
        self.submitted += 1
        self.sent.append(Future(str(self.submitted), packed, self.sent))
        return self.sent[-1]


def test_two_units_a_worker_are_sent_and_results_come_as_they_are_made(tmp_path):
    client = Client()
    calls = [((number, 1),) for number in range(1000)]
    with open_log(tmp_path / "run.log", quiet=True) as log:
        pool = Cluster(lambda: nullcontext((client, "plugin")), log, patience=1.0)
        for done, (number, result) in enumerate(pool.map(sum, calls)):
            assert number == done
            assert result == number + 1
            assert client.submitted <= done + 4
    assert not client.sent


def test_a_worker_that_is_not_fit_or_was_never_asked_does_nothing(monkeypatch):
    plugins = {}
    monkeypatch.setattr(
        distributed, "get_worker", lambda: SimpleNamespace(plugins=plugins)
    )
    call, packed = make_call("a run"), pickle.dumps((sum, ((1, 2),)))
    assert call(packed) == ("unprepared", None)
    plugins["a run"] = SimpleNamespace(why="It has polars 0.1.")
    assert call(packed) == ("unfit", None)
    plugins["a run"].why = ""
    assert call(packed) == ("done", 3)
