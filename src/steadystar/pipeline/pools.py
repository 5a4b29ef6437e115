"""Where units of work are done: here, on the cores of this machine, or on a Dask cluster.

Every process measures with one thread: the same sums in the same order, so that tables
have the same bytes with any number of workers. This is the only module that knows Dask.
"""

__all__ = ["ONE_THREAD", "Here", "Pool", "open_pool"]

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from steadystar.pipeline.compiled import keep_programs, leave_programs
from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.log import RunLog
from steadystar.pipeline.units import Finished, first_line

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


@runtime_checkable
class Pool(Protocol):
    """Where units are done."""

    def map(
        self, function: Callable[..., Finished], calls: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Finished | Exception]]:
        """Yield the number of each call with its result, or with what it raised."""
        ...

    def died(self, error: Exception) -> bool:
        """Whether the process ended, perhaps by the fault of another call."""
        ...


class Here:
    """One unit after the other, in this process."""

    def map(self, function, calls):
        """Yield each call's number with its result, or with what it raised."""
        for number, call in enumerate(calls):
            try:
                outcome = function(*call)
            except Exception as error:  # noqa: BLE001 - the engine decides
                outcome = error
            yield number, outcome

    def died(self, error):
        """Whether the process ended: it lives."""
        return False


class _Cluster:
    """Units on the workers of a Dask client, results as they come."""

    def __init__(self, client) -> None:
        self._client = client

    def map(self, function, calls):
        from distributed import as_completed

        futures = {
            self._client.submit(function, *call, pure=False): number
            for number, call in enumerate(calls)
        }
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], future.result() if error is None else error
            future.release()

    def died(self, error):
        from distributed import KilledWorker

        return isinstance(error, KilledWorker)


@contextmanager
def open_pool(
    workers: int, scheduler: str | None, directory: Path, log: RunLog
) -> Iterator[Pool]:
    """Open a pool for as long as the block lasts.

    Raises:
        ConfigurationError: no scheduler answers, or its workers cannot do the work.
    """
    if workers <= 1 and scheduler is None:
        yield Here()
        return
    from dask import config
    from distributed import Client, LocalCluster

    with config.set(
        {
            # The engine does a unit again alone; a second chance there is enough.
            "distributed.scheduler.allowed-failures": 1,
            "distributed.nanny.pre-spawn-environ": ONE_THREAD,
            "distributed.comm.timeouts.connect": "60s",
        }
    ):
        if scheduler is not None:
            with _client(Client, scheduler) as client:
                _check_workers(client, scheduler, directory)
                log.say(f"Working on the Dask cluster at {scheduler}.")
                yield _Cluster(client)
            return
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,  # pyright: ignore[reportArgumentType]
            silence_logs=logging.CRITICAL,
        )
        with cluster, Client(cluster) as client:
            log.say(f"Working with {workers} processes on this machine.")
            client.run(_begin_worker)
            yield _Cluster(client)
            client.run(leave_programs)


def _begin_worker() -> None:
    """Prepare a worker process: Ctrl-C is for the main process, which then ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_programs()


def _client(kind, address: str):
    try:
        return kind(address, timeout="30s")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"There is no Dask scheduler at {address}: {first_line(error)}. Give its "
            "address as tcp://HOST:PORT, or use --workers on this machine."
        ) from error


def _check_workers(client, address: str, directory: Path) -> None:
    """Make sure that there are workers, and that they can do what is asked of them."""
    try:
        client.wait_for_workers(1, timeout=60)
        seen = client.run(_sees, str(directory))
    except Exception as error:
        raise ConfigurationError(
            f"The workers of the Dask scheduler at {address} cannot be used: "
            f"{first_line(error)}. Start some, with this version of steadystar."
        ) from error
    blind = [worker for worker, sees in seen.items() if not sees]
    if blind:
        raise ConfigurationError(
            f"{len(blind)} workers of the Dask scheduler at {address} do not see "
            f"{directory}: use a directory that all machines share."
        )


def _sees(directory: str) -> bool:
    return Path(directory).is_dir()
