"""Run the stages: here, on the cores of this machine, or on a Dask cluster.

The main process plans, and alone writes the ledger; units of work are functions of
their jobs, so that it does not matter where or in which order they are done. Every
process measures with one thread: the same sums in the same order, so that tables have
the same bytes with any number of workers. Where units are done, `pools` decides.
"""

__all__ = ["Outcome", "run_pipeline"]

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steadystar.pipeline.claims import command_of
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.connections import NoWorkers
from steadystar.pipeline.faults import out_of_memory, refused
from steadystar.pipeline.inputs import InputError, find_files, printable
from steadystar.pipeline.ledger import Ledger, Record
from steadystar.pipeline.lock import only_run
from steadystar.pipeline.log import RunLog, open_log
from steadystar.pipeline.pools import Here, Pool, open_pool
from steadystar.pipeline.progress import Counter, Progress
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
from steadystar.pipeline.workers import use_one_thread

_FEW = 64
"""Up to so many units, some 30 000 spectra, the tables are small: processes that will be
needed again are kept meanwhile, since they take seconds to begin."""
_ENDED = 8
"""After so many units that end their process even alone, with none done, the run ends."""


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
    _refuse_other_commands(directory)
    use_one_thread()  # JAX reads this when it begins to work; see `compiled_programs`
    with only_run(directory) as hold, open_log(directory / "run.log", quiet) as log:
        ledger = Ledger(directory, hold.check)
        run = Run(directory, configuration or Configuration(), found, ledger, truth)
        try:
            for line in describe_inputs(run, inputs):
                log.say(line)
            _refuse_other_runs(run, pipeline)
            patience = run.configuration.run.patience
            who = f"Dask at {scheduler}" if scheduler else f"{workers} processes"
            here = scheduler is None and workers <= 1
            said = [(stage.name, stage.says) for stage in pipeline.stages]
            with (
                Progress(hold, said, "" if here else who).told() as progress,
                open_pool(workers, scheduler, directory, log, patience) as pool,
            ):
                return _advance(run, pipeline, pool, log, progress)
        except KeyboardInterrupt as error:
            why = str(error) or "Interrupted"
            log.detail(f"{why}. Run the same command again to go on from here.")
            raise
        except Exception:
            log.detail(traceback.format_exc())
            hold.check()  # all else follows from a directory that is gone
            raise


def _refuse_other_commands(directory: Path) -> None:
    """Leave alone what a command on a table found."""
    command = command_of(directory)
    if command not in (None, "run", "hot"):
        raise ConfigurationError(
            f"{printable(str(directory))} holds the results of `steadystar "
            f"{printable(command)}`, which would be replaced: choose another directory "
            "with -o."
        )


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


def _advance(
    run: Run, pipeline: Pipeline, pool: Pool, log: RunLog, progress: Progress
) -> Outcome:
    # A wrong name is said before hours of reading.
    pipeline.check(run.configuration)
    names = [stage.name for stage in pipeline.stages]
    run.ledger.sweep(*names)
    done: dict[str, int] = {}
    most = 0
    for number, stage in enumerate(pipeline.stages):
        progress.begin(stage.name)
        units = stage.plan(run, stage)
        todo = [unit for unit in units if not _is_done(run, stage, unit)]
        old = len(units) - len(todo)
        with log.progress(stage.says, len(todo)) as bar:
            step = progress.counter(stage.name, len(todo), old, bar.advance)
            settled = _settle(run, stage, pool, todo, log, step, begun=old > 0)
        most = max(most, len(units))
        soon = pipeline.stages[number + 1 : number + 3]
        if most > _FEW and not any(later.spread for later in soon):
            pool.close()  # the memory of its processes is for what follows
        keep = {unit.name for unit in units} - {u.name for u in todo} | set(settled)
        for name in run.ledger.records(stage.name).keys() - keep:
            run.ledger.forget(stage.name, name)
        done[stage.name] = len(todo)
        progress.end(stage.name)
        told = stage.tells(run.ledger.records(stage.name))
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
    found = pipeline.conclude(run, records, done, progress.describe_times())
    for line in found:
        log.say(line)
    progress.found(found)
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
    step: Counter,
    *,
    begun: bool,
    ended: list[str] | None = None,
) -> list[str]:
    """Do units and record them; return their names.

    Those whose process died are done again, alone. Those that fail as a whole are cut;
    one that cannot be cut is rescued, and recorded with an empty mark, so that it is
    tried again next time; so is one that says itself that it must be. A full disk, want
    of memory, a fault in a stage that sees the whole survey, or processes that all end,
    end the run.

    ``begun``: whether other units of the stage are done. ``ended``: given where a unit is
    done alone; its name is put there if its process dies again.
    """
    settled, broken, dead = [], [], []
    where = pool if stage.spread else Here()
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
        again = bool(outcome.facts.get("again"))
        _record(run, stage, unit, "" if again else mark, outcome, log)
        settled.append(unit.name)
        step.advance(outcome.facts, again=again)
    for unit, error in broken:
        if where.died(error) and ended is None:
            settled += _settle(
                run, stage, pool, [unit], log, step, begun=True, ended=dead
            )
            least = min(len(units), _ENDED)
            if not begun and len(dead) == len(settled) == least > 1:
                raise NoWorkers(_ended(stage, unit))
            continue
        if where.died(error) and ended is not None:
            ended.append(unit.name)
        if stage.rescue is None and where.died(error):
            raise NoWorkers(_ended(stage, unit)) from error
        if stage.rescue is None or _is_of_the_machine(error, stage):
            raise error
        log.detail("".join(traceback.format_exception(error)))
        pieces = stage.split(unit) if stage.split else []
        if len(pieces) > 1:
            step.add(len(pieces) - 1)
            settled += _settle(run, stage, pool, pieces, log, step, begun=True)
            continue
        rescue, why = stage.rescue, first_line(error)
        prefix = _prefix(run, stage, unit)
        finished = perform(
            lambda job, prefix, rescue=rescue, why=why: rescue(job, prefix, why),
            unit.job,
            prefix.with_name(f"{prefix.name}r"),  # a worker given up may yet write
            run.directory,
        )
        _record(run, stage, unit, "", finished, log)
        step.advance(finished.facts, again=True)
        settled.append(unit.name)
    return settled


def _is_of_the_machine(error: Exception, stage: Stage) -> bool:
    """Whether neither a star nor a file is to blame; one file may want all memory."""
    if isinstance(error, OSError | ImportError):
        return True
    return stage.split is None and bool(refused(error) or out_of_memory(error))


def _ended(stage: Stage, unit: Unit) -> str:
    return (
        f"Every process that worked on {unit.name} of the stage {stage.name} has ended, "
        "perhaps for want of memory. Use fewer --workers, or a machine with more memory; "
        "then run the same command again: it goes on where it stopped."
    )


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
