"""Connections to Dask: processes of this machine, or a cluster at an address.

Each is a context whose value is a client with workers that are checked and prepared, and
the name of the plugin that prepares them; `pools.Cluster` gives them their units.
"""

__all__ = [
    "ANSWER",
    "QUIET",
    "TICK",
    "Lost",
    "NoScheduler",
    "NoWorkers",
    "ask",
    "cluster_at",
    "nobody",
    "own_processes",
    "spoken",
]

import atexit
import logging
import secrets
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.log import RunLog
from steadystar.pipeline.units import first_line
from steadystar.pipeline.workers import (
    ONE_THREAD,
    expectation,
    make_inspection,
    make_plugin,
    refusals,
)

TICK = 1.0
"""How often workers are counted, s."""
ANSWER = 60.0
"""How long a scheduler or a worker may take to answer, s."""
PARTING = 5.0
"""How long is waited for workers to forget a run that has ended, s."""
QUIET = 10.0
"""How long nothing is said where there is no worker, s."""


class NoWorkers(ConfigurationError):
    """Nothing is left to work with; the message says how to go on."""


class NoScheduler(ConfigurationError):
    """Nobody answers at the address."""


class Lost(Exception):
    """The scheduler is gone, or does not answer."""


def ask(client, what: str, within: float | None = None, **options) -> Any:
    """Ask the scheduler, and wait for the answer for a limited time."""
    if client.status != "running":
        raise Lost("the connection is broken")
    try:
        asked = getattr(client.scheduler, what)
        return client.sync(asked, callback_timeout=within or ANSWER, **options)
    except (OSError, RuntimeError, AttributeError) as error:
        raise Lost(first_line(error)) from error


@contextmanager
def own_processes(workers: int, directory: Path, log: RunLog):
    """Begin processes on this machine; end them with the block. For `Cluster`."""
    from dask import config
    from distributed import Client, LocalCluster
    from distributed.deploy.spec import close_clusters

    with ExitStack() as held:
        held.enter_context(config.set(_SETTINGS))
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,  # pyright: ignore[reportArgumentType]
                # At a limit of its own Dask pauses a worker for ever: it counts pages
                # that processes share once for each, and programs once compiled stay.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        except KeyboardInterrupt:
            # Stopped while they begin: they end with this process, and Dask would find
            # at its end that what it closes is not there yet.
            atexit.unregister(close_clusters)
            raise
        held.enter_context(cluster)
        client = held.enter_context(Client(cluster, set_as_default=False))
        name = _name()
        client.register_plugin(make_plugin(name, directory, None))
        log.say(f"Working with {workers} processes on this machine.")
        yield client, name


_SETTINGS = {
    # The engine does a unit again alone; a second chance there is enough.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    "distributed.comm.timeouts.connect": "60s",
    # By which Dask watches itself 50 to 100 times a second: a tenth of every processor.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
}


@contextmanager
def cluster_at(address: str, directory: Path, log: RunLog, patience: float):
    """Take part in a Dask cluster: check its workers, prepare them. For `Cluster`."""
    from dask import config
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as held:
        # What goes wrong is said once, in sentences.
        for logger in ("distributed", "distributed.client"):
            held.enter_context(silence_logging_cmgr(logging.CRITICAL, root=logger))
        held.enter_context(config.set({"distributed.comm.timeouts.connect": "30s"}))
        try:
            timeout = min(ANSWER / 2, max(patience, TICK))
            client = Client(address, timeout=timeout, set_as_default=False)
        except (OSError, ValueError) as error:
            raise NoScheduler(
                f"There is no Dask scheduler at {address}: {first_line(error)}. Give "
                "its address as tcp://HOST:PORT, or use --workers on this machine."
            ) from error
        held.enter_context(client)
        number = _await_workers(client, address, log, patience)
        workers = "1 worker" if number == 1 else f"{number} workers"
        name = _name()
        # The name is one that `Ledger.sweep` removes, should this process be killed.
        sign = directory / "work" / f".{name}.part-sign"
        sign.write_text(name)
        held.callback(sign.unlink, missing_ok=True)
        expected = expectation(sign)
        _check(client, address, sign, expected)
        client.register_plugin(make_plugin(name, sign, expected))
        held.callback(_take_back, client, name)
        log.say(f"Working on the Dask cluster at {address}: {workers} now.")
        yield client, name


def _take_back(client, name: str) -> None:
    """Let workers forget this run, if the scheduler is still there."""
    with suppress(Lost):
        ask(client, "unregister_worker_plugin", PARTING, name=name)


def _name() -> str:
    return f"steadystar-{secrets.token_hex(6)}"


def _await_workers(client, address: str, log: RunLog, patience: float) -> int:
    """Wait until there are workers; return how many."""
    began, told = time.monotonic(), False
    while not (number := len(ask(client, "ncores_running"))):
        if time.monotonic() > began + patience:
            raise nobody(patience)
        if not told and time.monotonic() > began + QUIET:
            told = True
            log.say(
                f"The Dask scheduler at {address} has no workers yet. Waiting for "
                f"some, up to {spoken(patience)}."
            )
        time.sleep(TICK / 4)
    return number


def _check(client, address: str, sign: Path, expected: dict[str, Any]) -> None:
    """Refuse workers that are not fit; a shared folder may take a while to show."""
    until = time.monotonic() + QUIET
    while True:
        try:
            found = client.run(
                make_inspection(sign), on_error="return", callback_timeout=ANSWER
            )
            threads = client.nthreads(callback_timeout=ANSWER)
        except OSError as error:
            raise ConfigurationError(
                f"Not all workers of the Dask scheduler at {address} answer: "
                f"{first_line(error)}. End those that hang, and run this again."
            ) from error
        refused = refusals(expected, found, threads)
        if not refused:
            return
        if time.monotonic() > until or not any("see" in w for w in refused.values()):
            break
        time.sleep(TICK)
    worker, why = next(iter(refused.items()))
    raise ConfigurationError(
        f"{len(refused)} of {len(found)} workers of the Dask scheduler at {address} "
        f"cannot be used, {worker} for one. {why}"
    )


def nobody(patience: float) -> NoWorkers:
    """Return what is raised where there was no worker for so long, s."""
    return NoWorkers(
        f"There was no worker for {spoken(patience)}. Start some, and run the same "
        "command again: it goes on where this one stopped."
    )


def spoken(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes"
