"""Who varies: the stage of a run, and the command on any table of velocities."""

__all__ = [
    "find_table_variables",
    "judge_survey",
    "plan_variables",
]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.judging import (
    Judged,
    Tasks,
    judge_stars,
    variable_facts,
)
from steadystar.pipeline.table_variables import (
    TableJob,
    replaced,
    with_class,
    work_on_table,
)
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables


@dataclass(frozen=True)
class _Job:
    velocities: Path
    stars: Path
    labels: Path | None
    zeropoints: Path | None
    tasks: Tasks


def plan_variables(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all stars, for who varies depends on how many do."""
    ledger = run.ledger
    velocities, stars, zero = (
        ledger.records(name)["all"] for name in ("errors", "stars", "zeropoints")
    )
    labels = ledger.records("parameters").get("all")
    inputs = [velocities.outputs["velocities"].sha256, stars.outputs["stars"].sha256]
    if labels:
        inputs.append(labels.outputs["labels"].sha256)
    known = "zeropoints" in zero.outputs
    if known:
        inputs.append(zero.outputs["zeropoints"].sha256)
    job = _Job(
        ledger.path(velocities, "velocities"),
        ledger.path(stars, "stars"),
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
    """Judge the stars of a run, and tell the table of stars."""
    labels = pl.read_parquet(job.labels) if job.labels else None
    judged = judge_stars(
        pl.read_parquet(job.velocities),
        job.tasks,
        zeropoints=ZeroPoints.load(job.zeropoints) if job.zeropoints else None,
        labels=labels,
    )
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
