"""Run the stages: here, on the cores of this machine, or on a Dask cluster.

The main process plans, and alone writes the ledger; units of work are functions of
their jobs, so that it does not matter where or in which order they are done. Every
process measures with one thread: the same sums in the same order, so that tables have
the same bytes with any number of workers. This is the only module that knows Dask.
"""

__all__ = ["Outcome", "run_pipeline"]

import logging
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from steadystar.pipeline.compiled import keep_programs, leave_programs
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.inputs import InputError, find_files, printable
from steadystar.pipeline.ledger import Ledger, Record
from steadystar.pipeline.lock import only_run
from steadystar.pipeline.log import RunLog, Step, open_log
from steadystar.pipeline.stages import SURVEY
from steadystar.pipeline.summary import describe_inputs
from steadystar.pipeline.units import (
    Finished,
    Pipeline,
    Run,
    Stage,
    Unit,
    first_line,
    perform,
)

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its records by stage, and how many units were done this time."""

    directory: Path
    records: dict[str, dict[str, Record]]
    done: dict[str, int]

    def require_spectra(self) -> None:
        """Raise InputError if not one spectrum could be read."""
        summary = self.records["catalog"]["all"].facts["summary"]
        if summary["spectra"] == 0:
            first = next(iter(summary["rejected_because"]), "")
            raise InputError(
                f"None of the {summary['files']} files holds a spectrum that can be "
                f"read. {first} See {self.directory / 'rejected.parquet'} for each."
            )


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


def run_pipeline(
    inputs: Sequence[str | Path],
    directory: str | Path,
    configuration: Configuration | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    quiet: bool = True,
    truth: Path | None = None,
    pipeline: Pipeline = SURVEY,
) -> Outcome:
    """Do everything: read, match, measure, calibrate, write catalogs and the report.

    What an earlier run in ``directory`` has done, and what still holds, is not done
    again; so running again after an interruption goes on where it stopped.

    Arguments:
        inputs: files and folders; together they are the whole survey.
        directory: where the results go; made if need be.
        configuration: all options; the defaults if None.
        workers: processes on this machine; 1 works in this process.
        scheduler: address of a Dask scheduler to use instead, whose workers see the
            same files under the same names.
        quiet: write to ``run.log`` only.
        truth: folder of the tables of a simulation, for the report to compare with.
        pipeline: which stages; those of a survey of velocities if not given.

    Raises:
        InputError: an input is not there.
        AlreadyRunning: another run works in ``directory``.
        ValueError: an option cannot be used on these data; the message says what to do.
    """
    directory = Path(directory).absolute()
    found = find_files(inputs, directory)
    for name in ("NPROC", "XLA_FLAGS"):  # these are read when JAX begins to work
        os.environ.setdefault(name, _ONE_THREAD[name])
    with only_run(directory), open_log(directory / "run.log", quiet) as log:
        ledger = Ledger(directory)
        run = Run(directory, configuration or Configuration(), found, ledger, truth)
        try:
            for line in describe_inputs(run, inputs):
                log.say(line)
            _refuse_other_runs(run, pipeline)
            with _pool(workers, scheduler, directory, log) as pool:
                return _advance(run, pipeline, pool, log)
        except KeyboardInterrupt:
            log.detail("Interrupted. Run the same command again to go on from here.")
            raise
        except Exception:
            log.detail(traceback.format_exc())
            raise


def _refuse_other_runs(run: Run, pipeline: Pipeline) -> None:
    """Leave the results of another command alone."""
    folder = run.ledger.folder
    known = {stage.name for stage in pipeline.stages}
    held = {path.parent.name for path in folder.glob("*/*.json")} - known
    if held:
        raise ConfigurationError(
            f"{printable(str(run.directory))} holds a run of another kind (with the stages "
            f"{', '.join(sorted(held))}): choose another directory with -o."
        )


def _advance(run: Run, pipeline: Pipeline, pool: Pool, log: RunLog) -> Outcome:
    # A wrong name is said before hours of reading.
    pipeline.check(run.configuration)
    names = [stage.name for stage in pipeline.stages]
    run.ledger.sweep(*names)
    done: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for stage in pipeline.stages:
        began = time.perf_counter()
        units = stage.plan(run, stage)
        todo = [unit for unit in units if not _is_done(run, stage, unit)]
        with log.progress(stage.says, len(todo)) as step:
            settled = _settle(run, stage, pool, todo, log, step)
        keep = {unit.name for unit in units} - {u.name for u in todo} | set(settled)
        for name in run.ledger.records(stage.name).keys() - keep:
            run.ledger.forget(stage.name, name)
        done[stage.name] = len(todo)
        seconds[stage.name] = time.perf_counter() - began
        told = stage.tells(run.ledger.records(stage.name))
        old = len(units) - len(todo)
        before = f" ({old} of {len(units)} units done before)" if old else ""
        (log.say if todo else log.detail)(f"{stage.name:<11}{told}{before}")
        for sentence in run.news:
            log.say(f"{'':<11}{sentence}")
        run.news.clear()
    damaged = set(run.ledger.unreadable)
    if damaged:
        log.say(
            f"{len(damaged)} entries of the ledger were damaged: what they told of was "
            "done again, with new references where those were lost."
        )
    run.ledger.sweep(*names)
    records = {name: run.ledger.records(name) for name in names}
    for line in pipeline.conclude(run, records, done, seconds):
        log.say(line)
    return Outcome(run.directory, records, done)


def _is_done(run: Run, stage: Stage, unit: Unit) -> bool:
    mark = stage.mark(run.configuration, unit.inputs)
    return run.ledger.done(stage.name, unit.name, mark) is not None


def _settle(
    run: Run,
    stage: Stage,
    pool: Pool,
    units: Sequence[Unit],
    log: RunLog,
    step: Step,
    alone: bool = False,
) -> list[str]:
    """Do units and record them; return their names.

    Those whose process died are done again, alone. Those that fail as a whole are cut;
    one that cannot be cut is rescued, and recorded with an empty mark, so that it is
    tried again next time. A full disk, or a fault in a stage that sees the whole
    survey, ends the run.
    """
    settled, broken = [], []
    where = pool if stage.spread else _Here()
    calls = [
        (stage.work, unit.job, _prefix(run, stage, unit), run.directory)
        for unit in units
    ]
    for number, outcome in where.map(perform, calls):
        unit = units[number]
        if isinstance(outcome, Exception):
            broken.append((unit, outcome))
            continue
        mark = stage.mark(run.configuration, unit.inputs)
        _record(run, stage, unit, mark, outcome, log)
        settled.append(unit.name)
        step.advance()
    for unit, error in broken:
        if where.died(error) and not alone:
            settled += _settle(run, stage, pool, [unit], log, step, alone=True)
            continue
        if stage.rescue is None or isinstance(error, OSError | ImportError):
            raise error
        log.detail("".join(traceback.format_exception(error)))
        pieces = stage.split(unit) if stage.split else []
        if len(pieces) > 1:
            settled += _settle(run, stage, pool, pieces, log, step)
            continue
        rescue, why = stage.rescue, first_line(error)
        finished = perform(
            lambda job, prefix, rescue=rescue, why=why: rescue(job, prefix, why),
            unit.job,
            _prefix(run, stage, unit),
            run.directory,
        )
        _record(run, stage, unit, "", finished, log)
        settled.append(unit.name)
    return settled


def _prefix(run: Run, stage: Stage, unit: Unit) -> Path:
    """Beginning of the names of what a unit writes; never those of its old record."""
    name = f"{unit.name}-{stage.mark(run.configuration, unit.inputs)[:10]}"
    old = run.ledger.record(stage.name, unit.name)
    taken = [Path(output.path).name for output in old.outputs.values()] if old else []
    if any(path.startswith(f"{name}-") for path in taken):
        name += "b"
    return run.directory / "work" / stage.name / name


def _record(
    run: Run, stage: Stage, unit: Unit, mark: str, finished: Finished, log: RunLog
) -> None:
    for note in finished.notes:
        first, _, rest = note.partition("\n")
        log.say(f"{stage.name:<11}{first}")
        if rest:
            log.detail(rest)
    for warning in finished.warnings:
        log.detail(f"({stage.name} {unit.name}) {warning}")
    run.ledger.commit(
        Record(
            stage.name,
            unit.name,
            mark,
            finished.outputs,
            finished.facts,
            finished.seconds,
        )
    )


class _Here:
    """One unit after the other, in this process."""

    def map(self, function, calls):
        for number, call in enumerate(calls):
            try:
                outcome = function(*call)
            except Exception as error:  # noqa: BLE001 - the engine decides
                outcome = error
            yield number, outcome

    def died(self, error):
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
def _pool(
    workers: int, scheduler: str | None, directory: Path, log: RunLog
) -> Iterator[Pool]:
    if workers <= 1 and scheduler is None:
        yield _Here()
        return
    from dask import config
    from distributed import Client, LocalCluster

    with config.set(
        {
            # The engine does a unit again alone; a second chance there is enough.
            "distributed.scheduler.allowed-failures": 1,
            "distributed.nanny.pre-spawn-environ": _ONE_THREAD,
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
