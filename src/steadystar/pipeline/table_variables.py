"""What `steadystar variables` and `orbits` share: from a table to files and pages.

A table that lies in the directory of a run brings along what the run knows: labels of its
spectra, the zero points with their covariance, and the spectra themselves for the pages.
"""

__all__ = ["TableJob", "TableVelocities", "replaced", "with_class", "work_on_table"]

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import polars as pl

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data import schema
from steadystar.data.column import FLOAT
from steadystar.infer.orbit_summary import orbit_modes
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.summary import SummaryOptions, summarize_stars
from steadystar.pipeline.answers import Answer
from steadystar.pipeline.candidates import Tasks
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.judging import (
    Judged,
    describe_variables,
    judge_stars,
    variable_facts,
)
from steadystar.pipeline.kept import kept_zeropoints
from steadystar.pipeline.ledger import Ledger, content_hash, fingerprint
from steadystar.pipeline.publishing import spectra_of_run
from steadystar.publish.catalog import described
from steadystar.publish.inputs import ReportInputs
from steadystar.survey.catalogs import CatalogError, open_velocity_table

_TABLES = {
    "variables": ("variables", "periods"),
    "orbits": ("variables", "periods", "orbits", "orbit-samples", "orbit-modes"),
}
"""The tables that each command writes."""


@dataclass(frozen=True)
class TableJob:
    """Which command works on which table, and where its results go."""

    command: Literal["variables", "orbits"]
    table: Path
    directory: Path
    survey: str | None
    columns: Mapping[str, str] | str | None
    configuration: Configuration


@dataclass(frozen=True)
class TableVelocities:
    """A table that was read, and what lies beside it if a run wrote it."""

    name: str
    visits: pl.DataFrame
    notes: tuple[str, ...]
    labels: pl.DataFrame | None = None
    zeropoints: ZeroPoints | None = None


def work_on_table(
    job: TableJob, tasks_of: Callable[[TableVelocities], Tasks], *, quiet: bool
) -> Judged:
    """Read, judge, write tables, summary and pages, and say what was found.

    ``tasks_of``: what is to be done with the table.
    """
    read = _read(job)
    tasks = tasks_of(read)
    names = _TABLES[job.command]
    answer = Answer(job.directory, job.command, [job.table], names, tuple(_TABLES))
    with answer.begun(quiet) as log:
        log.say(f"Read        {len(read.visits):,} velocities of {read.name}")
        judged = judge_stars(
            read.visits, tasks, zeropoints=read.zeropoints, labels=read.labels
        )
        for name in set(_TABLES["orbits"]) - set(names):
            # Of an earlier command here, perhaps of another table.
            (answer.directory / f"{name}.parquet").unlink(missing_ok=True)
        origin = _origin(job, tasks)
        for name, frame in _frames(job, judged).items():
            answer.table(name, frame, origin | described(frame, name, origin))
        facts = variable_facts(judged)
        notes = [*read.notes, *judged.notes]
        summary = {
            "visits": len(read.visits),
            "stars": len(judged.variables),
            "variable_stars": int(judged.variables["variable"].sum() or 0),
            "constant_stars": int(judged.variables["constant"].sum() or 0),
            "false_discovery_rate": tasks.variables.false_discovery_rate,
            **facts,
            "notes": notes,
        }
        answer.summary(summary, origin)
        answer.report(lambda part: _write_page(part, job, read, judged, tasks, notes))
        for line in [*_lines(summary), *answer.lines()]:
            log.say(line)
    return judged


def replaced(options: Any, **values: Any) -> Any:
    """Return options with other values, given on the command line.

    Raises:
        ConfigurationError: a value cannot be.
    """
    try:
        return replace(options, **values)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _read(job: TableJob) -> TableVelocities:
    table = open_velocity_table(job.table, job.survey, job.columns)
    name = printable(str(job.table))
    _refuse_text(table.frame, name)
    # Names of our own for columns in between: a table that has them means something else.
    own = [n for n in ("zero", "rv_common_err") if n in table.frame.columns]
    table = replace(table, frame=table.frame.drop(own))
    folder = job.table.absolute().parent
    if (
        job.table.name != "velocities.parquet"
        or not (folder / "stars.parquet").exists()
    ):
        return TableVelocities(name, table.frame, tuple(table.notes))
    notes = list(table.notes)
    offsets = {
        path.stem.removeprefix("offsets-"): pl.read_parquet(path)
        for path in sorted(folder.glob("offsets-*.parquet"))
    }
    zeropoints = kept_zeropoints(folder, offsets, notes) if offsets else None
    labels = folder / "labels.parquet"
    return TableVelocities(
        name,
        table.frame,
        tuple(notes),
        pl.read_parquet(labels) if labels.exists() else None,
        zeropoints,
    )


def _refuse_text(frame: pl.DataFrame, name: str) -> None:
    numbers = {c.name for c in schema.TABLES["velocities"] if c.dtype == FLOAT}
    for column in frame.columns:
        if column not in numbers or frame[column].dtype != pl.String:
            continue
        given = frame[column].drop_nulls()
        if len(given) and given.cast(pl.Float64, strict=False).null_count() == len(
            given
        ):
            raise CatalogError(
                f"Column {column} of {name} holds text ({printable(repr(given[0]))}), no "
                "numbers: convert it (times to BJD in days), or map another column to it "
                "with --columns."
            )


def _origin(job: TableJob, tasks: Tasks) -> dict[str, str]:
    options = [asdict(o) if o else None for o in (tasks.variables, tasks.periods, tasks.orbits)]  # fmt: skip
    mass = None if tasks.mass is None else tasks.mass["mass"].to_list()
    stars = None if tasks.stars is None else [str(star) for star in tasks.stars]
    given = [
        job.command,
        repr(options),
        str(job.columns),
        job.survey,
        stars,
        repr(mass),
    ]
    return {
        "steadystar.version": version("steadystar"),
        "steadystar.configuration": fingerprint(given)[:16],
        "steadystar.inputs": fingerprint([content_hash(job.table)])[:16],
    }


def _frames(job: TableJob, judged: Judged) -> dict[str, pl.DataFrame]:
    frames = {"variables": judged.variables, "periods": judged.periods}
    if job.command == "orbits":
        frames |= {
            "orbits": judged.orbits,
            "orbit-samples": judged.samples,
            "orbit-modes": orbit_modes(judged.samples),
        }
    return frames


def _write_page(
    directory: Path,
    job: TableJob,
    read: TableVelocities,
    judged: Judged,
    tasks: Tasks,
    notes: list[str],
) -> None:
    from steadystar.publish.variables_page import write_variables_page

    rate = SummaryOptions(tasks.variables.false_discovery_rate)
    stars = with_class(summarize_stars(read.visits, rate), judged.variables)
    ledger = Ledger(job.table.absolute().parent)
    orbits = job.command == "orbits"
    inputs = ReportInputs(
        velocities=read.visits,
        stars=stars,
        labels=read.labels,
        spectra=spectra_of_run(ledger) if ledger.folder.is_dir() else None,
        windows=dict(job.configuration.measure.windows),
        title=f"{'Orbits' if orbits else 'Variable stars'} of {job.table.name}",
        variables=judged.variables,
        periods=judged.periods if tasks.periods else None,
        orbits=judged.orbits if orbits else None,
        orbit_samples=judged.samples if orbits else None,
        period_options=tasks.periods or PeriodOptions(),
    )
    first = [] if tasks.stars is None else [str(star) for star in tasks.stars]
    write_variables_page(
        directory,
        inputs,
        job.configuration.report,
        command=job.command,
        notes=notes,
        first=first,
    )


def with_class(stars: pl.DataFrame, variables: pl.DataFrame) -> pl.DataFrame:
    """Give the table of stars ``period, period_fap, class``, after ``double_lined``."""
    names = ("period", "period_fap", "class")
    found = variables.select("star_id", *names).unique("star_id", keep="first")
    stars = stars.drop(names, strict=False)
    place = stars.columns.index("double_lined") + 1
    joined = stars.join(found, "star_id", "left", maintain_order="left")
    joined = joined.with_columns(pl.col("period", "period_fap").fill_null(float("nan")))
    return joined.select(*stars.columns[:place], *names, *stars.columns[place:])


def _lines(summary: Mapping) -> list[str]:
    counts = f"{summary['constant_stars']:,} constant, {summary['variable_stars']:,}"
    rate = f"at a false-discovery rate of {summary['false_discovery_rate']:g}"
    return [
        f"Stars       {summary['stars']:,}: {counts} variable {rate}",
        *describe_variables(summary),
        *(f"{'' if i else 'Notes':<12}{n}" for i, n in enumerate(summary["notes"])),
    ]
