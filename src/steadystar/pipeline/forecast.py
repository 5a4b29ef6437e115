"""Forecast the calibration of a planned survey: from one table to errors and a page."""

__all__ = ["forecast_table"]

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from steadystar.calibrate.forecast import (
    Forecast,
    ForecastOptions,
    forecast_zeropoints,
)
from steadystar.calibrate.laws import UncertaintyLaw
from steadystar.calibrate.options import CalibrationError
from steadystar.data.schema import conform
from steadystar.pipeline.answers import Answer
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import content_hash
from steadystar.pipeline.publishing import offsets_name, provenance
from steadystar.publish.forecast_page import write_forecast_page
from steadystar.survey.catalogs import open_velocity_table


def forecast_table(
    table: Path,
    directory: Path,
    by: Sequence[str],
    options: ForecastOptions,
    configuration: Configuration,
    *,
    law: str | None = None,
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    quiet: bool = True,
) -> Forecast:
    """Forecast the errors of zero points from a table of planned visits.

    Arguments:
        table: Parquet, FITS, VOTable, ECSV or CSV; a row a visit.
        directory: where the results go; made if need be.
        by: families of offsets; if empty, those usual for the survey.
        options: what is assumed of the stars.
        configuration: of it the section ``zeropoints`` matters.
        law: ``"a,b,c"``: errors are ``a S/N^b + c`` km/s, from the column ``snr``;
            None to take those of the table.
        survey, columns: as in `calibrate_table`.
        quiet: write to ``run.log`` only.

    Writes ``offsets-FAMILY.parquet`` with the errors to come, ``velocities.parquet`` (the
    plan, with ``correction_err`` and ``rv_err``), ``weak-links.parquet``,
    ``new-ties.parquet``, ``summary.json`` and ``report/index.html``.

    Raises:
        ValueError: the table cannot be read, or is no plan; the message says what to do.
    """
    read = open_velocity_table(table, survey, columns, planned=True)
    writes = ("velocities", "weak-links", "new-ties")
    answer = Answer(directory, "forecast", [table], writes)
    plan = _with_errors(read.frame, law)
    forecast = forecast_zeropoints(plan, by or None, options, configuration.zeropoints)
    visits = forecast.apply(plan)
    with answer.begun(quiet) as log:
        log.say(f"Read        {len(plan)} planned visits of {printable(str(table))}")
        given = [survey, str(columns), law, options, [list(c) for c in forecast.by]]
        origin = provenance(configuration, [content_hash(table), *map(str, given)])
        own = tuple(visits.columns)
        frames = {
            "velocities": conform(visits, "velocities", keep_dtype=own),
            "weak-links": forecast.weak_links,
            "new-ties": forecast.new_ties,
        }
        frames |= {offsets_name(n): t for n, t in forecast.offsets.items()}
        for old in answer.directory.glob("offsets-*.parquet"):
            old.unlink()
        for name, frame in frames.items():
            answer.table(name, frame, origin)
        answer.summary(_summary(forecast, plan, read.notes), origin)
        title, pages = f"What {table.name} would calibrate", configuration.report
        answer.report(
            lambda part: write_forecast_page(
                part, forecast, visits, title, read.notes, pages
            )
        )
        for line in [*_lines(forecast), *answer.lines()]:
            log.say(line)
    return forecast


def _with_errors(plan: pl.DataFrame, law: str | None) -> pl.DataFrame:
    """Return the plan with the errors that a law gives, if there is one."""
    if law is None:
        if plan["rv_raw_err"].is_nan().all():
            raise CalibrationError(
                "The plan has no errors: give the error that is expected of each velocity "
                "in a column rv_err, km/s, or a law of S/N (option --error-law)."
            )
        return plan
    try:
        a, b, c = (float(text) for text in law.split(","))
    except ValueError as error:
        raise CalibrationError(
            f"{law!r} is no law of errors: give three numbers a,b,c, for a S/N^b + c in "
            "km/s, such as 6,-1,0.04."
        ) from error
    if "snr" not in plan.columns:
        raise CalibrationError(
            "The plan has no column snr, from which the law would tell its errors: map "
            "the one that has the S/N (snr=COLUMN, option --columns)."
        )
    found = UncertaintyLaw(a, b, c, np.full((3, 3), np.nan)).apply(
        plan["snr"].to_numpy()
    )
    return plan.with_columns(rv_raw_err=pl.Series(found))


def _summary(
    forecast: Forecast, plan: pl.DataFrame, notes: Sequence[str]
) -> dict[str, Any]:
    families = {}
    for name, table in forecast.offsets.items():
        error = table["offset_err"].drop_nans()
        families[name] = {
            "groups": len(table),
            "determined": len(error),
            "median_err": error.median() if len(error) else None,
            "largest_err": error.max() if len(error) else None,
        }
    return {
        "visits": len(plan),
        "stars": plan["star_id"].drop_nulls().n_unique(),
        "variable_share": forecast.options.variable_share,
        "floor": forecast.options.floor,
        "zero_points": families,
        "weak_links": forecast.weak_links.to_dicts(),
        "new_ties": [
            {
                n: None if isinstance(v, float) and isnan(v) else v
                for n, v in row.items()
            }
            for row in forecast.new_ties.to_dicts()
        ],
        "notes": [*notes, *forecast.notes],
    }


def _lines(forecast: Forecast) -> list[str]:
    """Say what was found, a line each."""
    lines = []
    for name, table in forecast.offsets.items():
        error = 1000 * table["offset_err"].drop_nans().to_numpy()
        said = f"{len(error)} of {len(table)} zero points by {name} would be known"
        if len(error):
            said += (
                f", to {np.median(error):.2g} m/s (median), {error.max():.2g} at worst"
            )
        lines.append(said)
    if len(forecast.weak_links):
        link = forecast.weak_links.row(0, named=True)
        lines.append(
            f"The weakest link: {link['groups']}, tied to {link['n_rest']} others by "
            f"{link['n_stars']} stars, to {1000 * link['difference_err']:.2g} m/s"
        )
    lines = [f"{'' if i else 'Forecast':<12}{line}" for i, line in enumerate(lines)]
    notes = [f"{'' if i else 'Notes':<12}{n}" for i, n in enumerate(forecast.notes)]
    return [*lines, *notes]
