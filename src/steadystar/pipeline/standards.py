"""Tie a table of velocities to standards: from two tables to offsets and a page."""

__all__ = ["tie_to_standards"]

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import polars as pl

from steadystar.calibrate.errors import fit_error_model
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.standard_list import read_standards
from steadystar.calibrate.standards import StandardsTie, compare_with_standards
from steadystar.data.match import RADIUS_ARCSEC
from steadystar.data.schema import conform
from steadystar.infer.summary import summarize_stars
from steadystar.pipeline.answers import Answer
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import content_hash
from steadystar.pipeline.publishing import provenance
from steadystar.publish.standards_page import write_standards_page
from steadystar.survey.catalogs import open_velocity_table


def tie_to_standards(
    table: Path,
    against: Path,
    directory: Path,
    *,
    by: Sequence[str] | None = None,
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    against_columns: Mapping[str, str] | str | None = None,
    radius_arcsec: float = RADIUS_ARCSEC,
    quiet: bool = True,
) -> StandardsTie:
    """Compare a table of velocities with standards, and write all results.

    Arguments:
        table: velocities of visits; Parquet, FITS, VOTable, ECSV or CSV.
        against: standards, or any other catalog of velocities.
        directory: where the results go; made if need be.
        by: columns whose groups have offsets of their own; telescope and arm if None.
        survey: whose columns ``table`` has, if that is not clear from their names.
        columns, against_columns: our names of the columns of both tables.
        radius_arcsec: how far apart a star and a standard may be.
        quiet: write to ``run.log`` only.

    Writes ``standards.parquet`` (star by star), ``standards-groups.parquet``,
    ``velocities.parquet`` (tied), ``stars.parquet`` (who varies, once tied),
    ``standards.zip`` (`StandardsTie.save`), ``summary.json`` and ``report/index.html``.

    Raises:
        ValueError: a table cannot be read, or no standard was observed; the message says
            what to do.
    """
    read = open_velocity_table(table, survey, columns)
    standards = read_standards(against, against_columns)
    writes = ("standards", "standards-groups", "velocities", "stars")
    answer = Answer(directory, "standards", [table, against], writes)
    first = compare_with_standards(read.frame, standards, by, radius_arcsec)
    stars = _verdicts(read.frame, first)
    tie = compare_with_standards(read.frame, standards, by, radius_arcsec, stars)
    with answer.begun(quiet) as log:
        log.say(f"Read        {len(read.frame)} velocities of {printable(str(table))}")
        log.say(f"Against     {len(standards)} stars of {printable(str(against))}")
        given = [str(columns), str(against_columns), survey, radius_arcsec]
        inputs = [content_hash(table), content_hash(against), *given]
        origin = provenance(Configuration(), [*inputs, list(tie.by)])
        velocities = tie.apply(read.frame)
        own = conform(velocities, "velocities", keep_dtype=tuple(velocities.columns))
        frames = (tie.matches, tie.groups, own, stars)
        for name, frame in zip(writes, frames, strict=True):
            answer.table(name, frame, origin)
        answer.file("standards.zip", tie.save)
        summary = _summary(tie, velocities, [*read.notes, *tie.notes])
        answer.summary(summary, origin)
        title = f"{table.name} against {against.name}"
        answer.report(lambda part: write_standards_page(part, tie, title, read.notes))
        for line in [*_lines(tie), *answer.lines()]:
            log.say(line)
    return tie


def _verdicts(visits: pl.DataFrame, tie: StandardsTie) -> pl.DataFrame:
    """Judge the stars by velocities from which the groups' offsets are gone.

    Errors as they were given may be too small, and all standards would seem to vary:
    they are calibrated first, unless the table says that they are.
    """
    tied = tie.apply(visits)
    if "correction" not in visits.columns:
        try:
            tied = fit_error_model(tied).apply(tied)
        except CalibrationError:
            return summarize_stars(tied)
    return summarize_stars(tied)


def _summary(
    tie: StandardsTie, velocities: pl.DataFrame, notes: Sequence[str]
) -> dict[str, Any]:
    used = tie.matches.filter("used")
    left = tie.matches.filter(~pl.col("used"))
    groups = []
    for row, values in enumerate(tie.groups.iter_rows(named=True)):
        numbers = {
            name: None if isinstance(value, float) and isnan(value) else value
            for name, value in values.items()
            if name not in tie.by
        }
        groups.append({"group": tie.name(row), **numbers})
    return {
        "velocities": len(velocities),
        "tied": int(velocities["tied"].sum()),
        "standards": used["star_id"].n_unique(),
        "left_out": left["star_id"].n_unique(),
        "outliers": int(used["outlier"].sum()),
        "by": list(tie.by),
        "offsets": groups,
        "notes": list(notes),
    }


def _lines(tie: StandardsTie) -> list[str]:
    """Say what was found, a line each."""
    lines = []
    for row, group in enumerate(tie.groups.iter_rows(named=True)):
        if group["n_standards"]:
            scatter = group["scatter"]
            wide = f", scatter {1000 * scatter:.0f} m/s" if not isnan(scatter) else ""
            lines.append(
                f"{tie.name(row)}: {1000 * group['offset']:+.0f} ± "
                f"{1000 * group['offset_err']:.0f} m/s from {group['n_standards']} "
                f"standards{wide}"
            )
    more = len(lines) - 12
    lines = lines[:12] + ([f"and {more} more groups"] if more > 0 else [])
    lines = [f"{'' if i else 'Offsets':<12}{line}" for i, line in enumerate(lines)]
    notes = [f"{'' if i else 'Notes':<12}{note}" for i, note in enumerate(tie.notes)]
    return [*lines, *notes]
