"""Who varies: the stages of a run, and the command on any table of velocities.

All stars are judged together, for who varies depends on how many do. Those that do are
searched for periods some hundred at a time, wherever there is room. In the end every star
gets its class, by all that was found.
"""

__all__ = [
    "classify_survey",
    "find_table_variables",
    "judge_survey",
    "plan_classes",
    "plan_judging",
    "plan_periods",
    "search_periods",
]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data import schema
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.periods import FAILED
from steadystar.pipeline.candidates import (
    Candidates,
    Tasks,
    choose_stars,
    visits_of_stars,
)
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.judging import (
    Judged,
    explain_lost,
    judge_closely,
    search_stars,
    variable_facts,
)
from steadystar.pipeline.starvisits import read_for_stars
from steadystar.pipeline.table_variables import (
    TableJob,
    replaced,
    with_class,
    work_on_table,
)
from steadystar.pipeline.units import (
    Result,
    Run,
    Stage,
    Unit,
    write_tables,
)

STARS_PER_UNIT = 250
"""Stars that are searched for periods as one unit of work: some ten seconds."""


@dataclass(frozen=True)
class _Job:
    velocities: Path
    labels: Path | None
    zeropoints: Path | None
    tasks: Tasks


def plan_judging(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all stars, for who varies depends on how many do."""
    ledger = run.ledger
    velocities, zero = (
        ledger.records(name)["all"] for name in ("errors", "zeropoints")
    )
    labels = ledger.records("parameters").get("all")
    inputs = [velocities.outputs["velocities"].sha256]
    if labels:
        inputs.append(labels.outputs["labels"].sha256)
    known = "zeropoints" in zero.outputs
    if known:
        inputs.append(zero.outputs["zeropoints"].sha256)
    job = _Job(
        ledger.path(velocities, "velocities"),
        ledger.path(labels, "labels") if labels else None,
        ledger.path(zero, "zeropoints") if known else None,
        tasks_of_run(run.configuration),
    )
    return [Unit("all", inputs, job)]


def tasks_of_run(configuration: Configuration) -> Tasks:
    """Return what a run does by itself."""
    orbits = configuration.orbits
    return Tasks(
        configuration.variables,
        configuration.periods,
        orbits if orbits.in_run else None,
        most_orbits=orbits.most,
    )


def judge_survey(job: _Job, prefix: Path) -> Result:
    """Judge the stars of a run, and choose those that are searched for periods."""
    zeropoints = ZeroPoints.load(job.zeropoints) if job.zeropoints else None
    families = ["+".join(columns) for columns in job.tasks.variables.families()]
    families += zeropoints.offsets if zeropoints else []
    chosen = choose_stars(
        read_for_stars(job.velocities, families),
        job.tasks,
        zeropoints=zeropoints,
        labels=pl.read_parquet(job.labels) if job.labels else None,
    )
    stars = pl.Series("star_id", chosen.stars, chosen.variables.schema["star_id"])
    tables = {
        "judged": chosen.variables,
        "chosen": stars.to_frame(),
        "visits": chosen.visits,
    }
    facts = {"chosen": len(stars), "notes": list(chosen.notes)}
    return Result(write_tables(tables, prefix), facts)


@dataclass(frozen=True)
class _SearchJob:
    chosen: Path
    visits: Path
    number: int
    options: PeriodOptions


def plan_periods(run: Run, stage: Stage) -> list[Unit]:
    """One unit for every few hundred of the stars that were chosen."""
    record = run.ledger.records("judge")["all"]
    chosen, visits = (run.ledger.path(record, name) for name in ("chosen", "visits"))
    marks = [record.outputs[name].sha256 for name in ("chosen", "visits")]
    return [
        Unit(
            f"{number:05d}",
            [*marks, number, STARS_PER_UNIT],
            _SearchJob(chosen, visits, number, run.configuration.periods),
        )
        for number in range(-(-record.facts["chosen"] // STARS_PER_UNIT))
    ]


def search_periods(job: _SearchJob, prefix: Path) -> Result:
    """Search some stars for periods."""
    first = job.number * STARS_PER_UNIT
    stars = pl.read_parquet(job.chosen)["star_id"][first : first + STARS_PER_UNIT]
    rows = pl.scan_parquet(job.visits).filter(pl.col("star_id").is_in(stars.implode()))
    periods, lost = search_stars(rows.collect(), stars.to_list(), job.options)
    failed = periods.filter(pl.col("period_status").str.starts_with(FAILED))
    # What is the program's fault may be mended with it: it is tried again.
    facts = {
        "stars": len(stars),
        "failed": sorted(failed["star_id"]),
        "again": bool(lost),
    }
    notes = tuple(explain_lost(lost))
    return Result(write_tables({"periods": periods}, prefix), facts, notes)


@dataclass(frozen=True)
class _ClassJob:
    judged: Path
    chosen: Path
    visits: Path
    periods: tuple[Path, ...]
    stars: Path
    tasks: Tasks
    notes: tuple[str, ...]


def plan_classes(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all stars, with the periods that were found."""
    ledger = run.ledger
    judged, stars = (ledger.records(name)["all"] for name in ("judge", "stars"))
    periods = ledger.records("periods").values()
    job = _ClassJob(
        judged=ledger.path(judged, "judged"),
        chosen=ledger.path(judged, "chosen"),
        visits=ledger.path(judged, "visits"),
        periods=tuple(ledger.path(record, "periods") for record in periods),
        stars=ledger.path(stars, "stars"),
        tasks=tasks_of_run(run.configuration),
        notes=tuple(judged.facts["notes"]),
    )
    inputs = [judged.sha256(), [record.sha256() for record in periods], stars.sha256()]
    return [Unit("all", inputs, job)]


def classify_survey(job: _ClassJob, prefix: Path) -> Result:
    """Fit the orbits that are wanted, tell every star's class, and the table of stars."""
    parts = [schema.empty("periods"), *(pl.read_parquet(path) for path in job.periods)]
    chosen = Candidates(
        pl.read_parquet(job.judged),
        pl.read_parquet(job.chosen)["star_id"].to_list(),
        _visits_for_orbits(job),
        job.notes,
    )
    periods = pl.concat(parts).sort("star_id", "rank")
    judged = judge_closely(chosen, periods, job.tasks)
    stars = with_class(pl.read_parquet(job.stars), judged.variables)
    tables = {
        "stars": stars,
        "variables": judged.variables,
        "periods": judged.periods,
    }
    if job.tasks.orbits is not None:
        tables |= {"orbits": judged.orbits, "orbit-samples": judged.samples}
    facts = variable_facts(judged) | {"notes": list(judged.notes)}
    return Result(write_tables(tables, prefix), facts)


def _visits_for_orbits(job: _ClassJob) -> pl.DataFrame:
    if job.tasks.orbits is None:
        return schema.empty("velocities")
    first = pl.read_parquet(job.chosen)["star_id"][: job.tasks.most_orbits]
    return visits_of_stars(pl.read_parquet(job.visits), first.to_list())


def find_table_variables(
    table: Path,
    directory: Path,
    configuration: Configuration | None = None,
    *,
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    periods: bool = True,
    rate: float | None = None,
    quiet: bool = True,
) -> Judged:
    """Judge the stars of a table of velocities, and write all results.

    Arguments:
        table: calibrated velocities of any survey; Parquet, FITS, VOTable, ECSV or CSV.
        directory: where the results go; made if need be.
        configuration: of it the sections ``variables``, ``periods`` and ``report`` matter.
        survey: whose columns the table has, if that is not clear from their names.
        columns: our names of the table's columns; a mapping, or text as ``rv=V``.
        periods: whether periods of the stars that vary are looked for.
        rate: the false-discovery rate, instead of the configuration's.
        quiet: write to ``run.log`` only.

    Writes ``variables.parquet`` (every star), ``periods.parquet``, ``summary.json`` and
    ``report/index.html`` with a page for each of the stars of most interest.

    Raises:
        ValueError: the table cannot be read or judged; the message says what to do.
    """
    configuration = configuration or Configuration()
    options = configuration.variables
    if rate is not None:
        options = replaced(options, false_discovery_rate=rate)
    tasks = Tasks(options, configuration.periods if periods else None)
    job = TableJob("variables", table, directory, survey, columns, configuration)
    return work_on_table(job, lambda _: tasks, quiet=quiet)
