"""Where units of work are done: here, on the cores of this machine, or on a Dask cluster.

A cluster is opened when there is something to do on it. Each worker has one unit that it
works on and one that waits, no more, so that what is slow holds up little and a survey
of 10^5 units does not lie in the scheduler. Results come as they are made. What a worker
had when it ended is done by another one; what one takes very long over is, in the end,
given to an idle one too. If no worker is left, or the scheduler is gone, the run waits.

Only this module, `connections` and `workers` know Dask.
"""

__all__ = ["Cluster", "Here", "Pool", "open_pool"]

import pickle
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from steadystar.pipeline.connections import (
    ANSWER,
    QUIET,
    TICK,
    Lost,
    NoScheduler,
    NoWorkers,
    ask,
    cluster_at,
    nobody,
    own_processes,
    spoken,
)
from steadystar.pipeline.log import RunLog
from steadystar.pipeline.units import Finished, first_line
from steadystar.pipeline.workers import make_call

LONG = 60.0
"""A unit is late after this, s, if that is also twice what the longest took."""


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

    def close(self) -> None:
        """End the processes; they begin again if there is more to do."""
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

    def close(self):
        """Do nothing."""


@contextmanager
def open_pool(
    workers: int,
    scheduler: str | None,
    directory: Path,
    log: RunLog,
    patience: float = 600.0,
) -> Iterator[Pool]:
    """Give a pool for as long as the block lasts; processes begin when they are needed.

    Arguments:
        workers: processes on this machine; 1 works in this process.
        scheduler: address of a Dask scheduler to use instead.
        directory: of the run.
        log: for people.
        patience: how long to wait for a scheduler that is gone or for workers where
            there are none, s.

    Raises:
        ConfigurationError: no scheduler answers, or a worker is not fit.
        NoWorkers: none came back for too long.
    """
    if workers <= 1 and scheduler is None:
        yield Here()
        return
    if scheduler is None:
        pool = Cluster(lambda: own_processes(workers, directory, log), log, patience)
    else:
        pool = Cluster(
            lambda: cluster_at(scheduler, directory, log, patience), log, patience
        )
    try:
        yield pool
    finally:
        pool.close()


class _Flight:
    """What is to do, what workers have, and what came back, of one `Cluster.map`.

    ``flying``: by key, the future, the number of its call, and when it was sent.
    """

    def __init__(self, function: Callable[..., Finished], calls) -> None:
        self.function, self.calls = function, calls
        self.left = set(range(len(calls)))
        self.waiting = deque(range(len(calls)))
        self.flying: dict[str, tuple[Any, int, float]] = {}
        self.arrived: queue.SimpleQueue = queue.SimpleQueue()
        self.longest = 0.0

    def packed(self, number: int) -> bytes:
        """Return a call as it travels."""
        return pickle.dumps((self.function, self.calls[number]))

    def drop(self, number: int | None = None) -> None:
        """Call back what workers have: one call, or all."""
        for key, (future, other, _) in list(self.flying.items()):
            if number in (None, other):
                del self.flying[key]
                future.release()

    def again(self) -> None:
        """Begin again with all that is left."""
        self.drop()
        self.arrived = queue.SimpleQueue()
        self.waiting = deque(sorted(self.left))


class Cluster:
    """Units on the workers of a Dask cluster; see the module.

    Arguments:
        connect: gives a context whose value is a client with workers that are prepared,
            and the name of the plugin that prepares them.
        log: for people.
        patience: see `open_pool`.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[tuple[Any, str]]],
        log: RunLog,
        patience: float,
    ) -> None:
        self._connect, self._log, self._patience = connect, log, patience
        self._held = ExitStack()
        self._client: Any = None
        self._workers, self._counted = 0, 0.0
        self._alone: float | None = None
        self._told_alone = False

    def map(self, function, calls):
        """Yield each call's number with its result, or with what it raised."""
        flight = _Flight(function, calls)
        try:
            while flight.left:
                try:
                    if self._client is None:
                        self._open()
                    self._count(flight)
                    # Each worker has two units at most: one to work on, and the next.
                    while flight.waiting and len(flight.flying) < 2 * self._workers:
                        number = flight.waiting.popleft()
                        if number in flight.left:  # else its twin has come back
                            self._submit(flight, number)
                    landed = self._land(flight)
                except Lost as error:
                    self._open_again(error)
                    flight.again()
                    continue
                if landed is not None:
                    flight.left.discard(landed[0])
                    flight.drop(landed[0])
                    yield landed
        finally:
            flight.drop()

    def died(self, error):
        """Whether the process ended, perhaps by the fault of another call."""
        from distributed import KilledWorker

        return isinstance(error, KilledWorker)

    def close(self):
        """End the processes of this machine, or leave the scheduler."""
        self._client = None
        with suppress(OSError, RuntimeError, Lost):  # what is done is done
            self._held.close()

    def _open(self) -> None:
        self._held = ExitStack()
        self._client, name = self._held.enter_context(self._connect())
        self._call, self._news = make_call(name), queue.SimpleQueue()
        self._client.subscribe_topic(name, self._news.put)
        self._counted = 0.0

    def _open_again(self, error: Lost) -> None:
        """Wait for the scheduler, and for workers."""
        self._log.say(
            "The Dask scheduler is gone. Waiting for it, up to "
            f"{spoken(self._patience)}; what is finished is kept."
        )
        self._log.detail(f"({error})")
        until = time.monotonic() + self._patience
        while True:
            self.close()
            try:
                self._open()
                break
            except (NoScheduler, Lost) as still:
                if time.monotonic() > until:
                    raise NoWorkers(
                        f"The Dask scheduler did not come back within "
                        f"{spoken(self._patience)}. Start one and its workers, and "
                        "run the same command again: it goes on where this one stopped."
                    ) from still
                time.sleep(TICK)
        self._log.say("The Dask scheduler is there again: going on.")

    def _count(self, flight: _Flight) -> None:
        """Count the workers now and then; wait where there are none."""
        now = time.monotonic()
        if now < self._counted + TICK:
            return
        self._workers, self._counted = len(ask(self._client, "ncores_running")), now
        while not self._news.empty():
            _, said = self._news.get()
            self._log.say(f"The worker {said['worker']} is not used. {said['why']}")
        if self._workers:
            if self._told_alone:
                self._log.say("There are workers again: going on.")
            self._alone, self._told_alone = None, False
            self._help(flight, now)
            return
        self._alone = now if self._alone is None else self._alone
        if now > self._alone + self._patience:
            raise nobody(self._patience)
        # Those of this machine that were killed begin again within seconds.
        if now > self._alone + QUIET and not self._told_alone:
            self._told_alone = True
            self._log.say(
                f"No worker is left. Waiting for some, up to {spoken(self._patience)}; "
                "what is finished is kept."
            )

    def _submit(self, flight: _Flight, number: int, **where) -> None:
        from distributed.client import ClosedClientError

        packed = flight.packed(number)
        try:
            future = self._client.submit(self._call, packed, pure=False, **where)
        except (ClosedClientError, OSError, RuntimeError) as error:
            raise Lost(first_line(error)) from error
        flight.flying[future.key] = (future, number, time.monotonic())
        future.add_done_callback(flight.arrived.put)

    def _help(self, flight: _Flight, now: float) -> None:
        """Give to idle workers what others are late with; the first result counts."""
        if flight.waiting or not flight.flying:
            return
        limit = max(LONG, 2 * flight.longest)
        times = Counter(number for _, number, _ in flight.flying.values())
        late = [
            number
            for _, number, began in flight.flying.values()
            if now > began + limit and times[number] == 1
        ]
        if not late:
            return
        busy = ask(self._client, "processing", workers=None)
        idle = [worker for worker, keys in busy.items() if not keys]
        for number, worker in zip(late, idle, strict=False):
            self._log.detail(
                f"A worker has had a unit for more than {spoken(limit)}: it is given "
                f"to the idle worker {worker} too."
            )
            self._submit(flight, number, workers=[worker], allow_other_workers=True)

    def _land(self, flight: _Flight) -> tuple[int, Any] | None:
        """Return the next result with the number of its call, if there is one soon."""
        try:
            future = flight.arrived.get(timeout=TICK)
        except queue.Empty:
            return None
        if future.key not in flight.flying:
            return None
        _, number, began = flight.flying.pop(future.key)
        if future.cancelled():
            raise Lost("it has forgotten what it was to do")
        if future.status == "error":
            error = future.exception(timeout=ANSWER)
            twin = any(other == number for _, other, _ in flight.flying.values())
            return None if twin else (number, error)
        try:
            answer, value = future.result(timeout=ANSWER)
        except (OSError, CancelledError):  # its worker has it, and is gone or stopped
            flight.waiting.appendleft(number)
            return None
        finally:
            future.release()
        if answer == "unprepared":
            raise Lost("it was started anew")
        if answer == "unfit":
            flight.waiting.appendleft(number)
            return None
        flight.longest = max(flight.longest, time.monotonic() - began)
        return number, value
