"""What a process must be, and is made, before it works on a survey.

Tables have the same bytes wherever they are made, if the programs are the same and each
process computes with one thread. So a worker is asked what it has before it is given
anything: versions, the code of steadystar itself, the run's directory. One that comes
later is asked when it comes. What can be set from here is set: one thread in all
libraries, and the cache of compiled programs. A worker that is not fit ends itself.

What is sent for that is sent whole, not by name, so that a worker without steadystar can
answer, and a scheduler needs nothing but Dask.
"""

__all__ = [
    "ONE_THREAD",
    "begin",
    "expectation",
    "make_call",
    "make_inspection",
    "make_plugin",
    "refusals",
    "use_one_thread",
]

import hashlib
import importlib.util
import os
import pickle
import platform
import signal
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from steadystar.pipeline.compiled import keep_programs

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
"""Environment of a process that computes with one thread."""

_PACKAGES = (
    *("steadystar", "jax", "jaxlib", "numpy", "scipy", "polars", "pyarrow", "astropy"),
    "distributed",
)
_READ_ONCE = {
    "OMP_NUM_THREADS": "numpy",
    "OPENBLAS_NUM_THREADS": "numpy",
    "MKL_NUM_THREADS": "numpy",
    "NPROC": "jax",
    "XLA_FLAGS": "jax",
}


def expectation(sign: Path) -> dict[str, Any]:
    """Describe this process: what every worker is compared with.

    Arguments:
        sign: a file in the run's directory; who reads the same there shares it.
    """
    return make_inspection(sign)()


def make_plugin(name: str, sign: Path, expected: dict[str, Any] | None):
    """Return a Dask plugin that refuses a worker, or prepares it; see above.

    Arguments:
        name: of the plugin; another one for each run.
        sign: see `expectation`.
        expected: what `expectation` returned here; None for children of this process,
            which are like it.
    """
    from distributed import WorkerPlugin

    inspect, compare = make_inspection(sign), _make_comparison()

    class Preparation(WorkerPlugin):
        """Stays with the worker, and knows whether that is fit."""

        def __init__(self) -> None:
            self.name, self.why = name, ""

        def setup(self, worker) -> None:
            if expected is not None:
                self.why = compare(expected, inspect(), worker.state.nthreads)
            if not self.why:
                from steadystar.pipeline.workers import begin

                begin(expected is None)
                return
            worker.log_event(name, {"worker": worker.address, "why": self.why})
            worker.loop.add_callback(worker.close_gracefully, restart=False)

        def teardown(self, worker) -> None:
            if not self.why and worker.status.name.startswith("clos"):
                from steadystar.pipeline.compiled import leave_programs

                leave_programs()

    return Preparation()


def make_call(name: str) -> Callable[[bytes], tuple[str, Any]]:
    """Return the function that calls a function in a worker with the plugin ``name``.

    What it gets is pickled already. It returns ``("done", result)``; or ``("unfit",
    None)`` from a worker that must not do it, ``("unprepared", None)`` from one that
    never heard of the plugin.
    """

    def call(packed: bytes) -> tuple[str, Any]:
        from distributed import get_worker

        plugin: Any = get_worker().plugins.get(name)
        if plugin is None or plugin.why:
            return ("unprepared" if plugin is None else "unfit"), None
        function, arguments = pickle.loads(packed)
        return "done", function(*arguments)

    return call


def refusals(
    expected: dict[str, Any],
    found: dict[str, Any],
    threads: dict[str, int],
) -> dict[str, str]:
    """Say of each worker that is not fit what it lacks."""
    compare = _make_comparison()
    why = {
        worker: (
            compare(expected, facts, threads.get(worker, 1))
            if isinstance(facts, dict)
            else f"It does not answer: {facts}."
        )
        for worker, facts in found.items()
    }
    return {worker: text for worker, text in why.items() if text}


def use_one_thread() -> None:
    """Let the libraries that are not loaded yet compute with one thread, here as there.

    Sums of two threads have other last digits. What the user has set stays. polars may
    have more: its results do not depend on it.
    """
    for name in _READ_ONCE:
        os.environ.setdefault(name, ONE_THREAD[name])


def begin(local: bool) -> None:
    """Prepare this process. Ctrl-C is for the main one, which ends its children."""
    if local:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, value in ONE_THREAD.items():
        os.environ[name] = value
    keep_programs()


def make_inspection(sign: Path) -> Callable[[], dict[str, Any]]:
    """Return a function that describes the process it runs in, with Python alone.

    Arguments:
        sign: see `expectation`.
    """
    packages, once, needed = _PACKAGES, _READ_ONCE, ONE_THREAD

    def inspect() -> dict[str, Any]:
        versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
        for package in packages:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                versions[package] = ""
        code = hashlib.sha256()
        spec = importlib.util.find_spec("steadystar")
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).rglob("*.py")):
                code.update(path.relative_to(folder).as_posix().encode())
                code.update(path.read_bytes())
        try:
            seen = sign.read_text()
        except OSError:
            seen = ""
        late = [
            f"{variable}={needed[variable]}"
            for variable, reader in once.items()
            if reader in sys.modules and os.environ.get(variable) != needed[variable]
        ]
        return {
            "versions": versions,
            "code": code.hexdigest(),
            "seen": seen,
            "writes": os.access(sign.parent, os.W_OK),
            "late": late,
        }

    return inspect


def _make_comparison() -> Callable[[dict[str, Any], dict[str, Any], int], str]:
    """Return a function that says why a process cannot take part; empty if it can."""

    def compare(here: dict[str, Any], there: dict[str, Any], threads: int) -> str:
        other = [
            f"{package} {there['versions'].get(package) or 'not at all'} (here {mine})"
            for package, mine in here["versions"].items()
            if there["versions"].get(package) != mine
        ]
        if other:
            return (
                f"It has {', '.join(other)}. Equal bytes need equal versions: give all "
                "processes the same environment."
            )
        if there["code"] != here["code"]:
            return (
                "It has this version of steadystar, but other code. Install the same "
                "everywhere, and start the workers again."
            )
        if there["seen"] != here["seen"]:
            return (
                "It does not see the run's directory. Use one that all machines share "
                "under the same name."
            )
        if not there["writes"]:
            return "It cannot write to the run's directory. Let its user write there."
        if threads > 1:
            return (
                f"It has {threads} threads. Start workers with --nthreads 1, and more "
                "of them."
            )
        if there["late"]:
            return (
                "Its libraries began with several threads. Start it with "
                f"{' '.join(there['late'])} in its environment."
            )
        return ""

    return compare
