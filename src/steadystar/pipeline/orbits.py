"""Orbits of the stars of any table of velocities: from a file to samples and pages."""

__all__ = ["fit_table_orbits"]

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from steadystar.pipeline.candidates import Tasks
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.judging import Judged
from steadystar.pipeline.table_variables import (
    TableJob,
    TableVelocities,
    replaced,
    work_on_table,
)
from steadystar.survey.catalogs import CatalogError
from steadystar.survey.columns import named

_MOST_MASS = 1e3
"""Solar masses; no star has more."""


def fit_table_orbits(
    table: Path,
    directory: Path,
    configuration: Configuration | None = None,
    *,
    stars: Sequence[str] = (),
    mass: str | None = None,
    prior_samples: int | None = None,
    seed: int | None = None,
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    quiet: bool = True,
) -> Judged:
    """Sample the orbits of stars of a table of velocities, and write all results.

    Arguments:
        table: calibrated velocities of any survey; Parquet, FITS, VOTable, ECSV or CSV.
        directory: where the results go; made if need be.
        configuration: of it the sections ``variables``, ``periods``, ``orbits`` and
            ``report`` matter.
        stars: whose orbits, by ``star_id``; those of all that vary if empty.
        mass: of the stars, in solar masses: a number, or a column of the table.
        prior_samples, seed: instead of the configuration's; samples are drawn in
            multiples of 4096.
        survey: whose columns the table has, if that is not clear from their names.
        columns: our names of the table's columns; a mapping, or text as ``rv=V``.
        quiet: write to ``run.log`` only.

    Writes ``orbits.parquet`` (a row for each star that was asked for), ``orbit-samples``,
    ``orbit-modes``, ``periods`` and ``variables.parquet``, ``summary.json`` and
    ``report/index.html``.

    Raises:
        ValueError: the table cannot be read or judged, or has no such star or column; the
            message says what to do.
    """
    configuration = configuration or Configuration()
    options = configuration.orbits
    if prior_samples is not None:
        # Batches of one size that come to just as many.
        batches = -(-prior_samples // options.n_prior)
        batch = -(-prior_samples // batches)
        options = replaced(options, n_prior=batch, max_prior=prior_samples)
    if seed is not None:
        options = replaced(options, seed=seed)

    def tasks(read: TableVelocities) -> Tasks:
        return Tasks(
            configuration.variables,
            configuration.periods,
            options,
            stars=_found(read, stars) if stars else None,
            mass=None if mass is None else _masses(read, mass),
        )

    job = TableJob("orbits", table, directory, survey, columns, configuration)
    return work_on_table(job, tasks, quiet=quiet)


def _found(read: TableVelocities, stars: Sequence[str]) -> list:
    """The stars as the table has them, whose identifiers may be numbers."""
    every = read.visits["star_id"].drop_nulls().unique(maintain_order=True)
    known = dict(zip(every.cast(pl.String).to_list(), every.to_list(), strict=True))
    stars = list(dict.fromkeys(stars))
    if absent := [star for star in stars if star not in known]:
        raise CatalogError(
            f"{read.name} has no star {printable(absent[0])!r}. Its star_id are "
            f"{printable(named(list(known)))}."
        )
    return [known[star] for star in stars]


def _masses(read: TableVelocities, mass: str) -> pl.DataFrame:
    """Return ``star_id, mass``: one number for all, or the column's of each star."""
    stars = read.visits.select("star_id").drop_nulls().unique(maintain_order=True)
    try:
        number = float(mass)
    except ValueError:
        number = None
    if number is not None:
        if not 0 < number < _MOST_MASS:
            raise CatalogError(
                f"A mass of {mass} is none of a star: give solar masses, above 0."
            )
        return stars.with_columns(mass=pl.lit(number))
    if mass not in read.visits.columns:
        raise CatalogError(
            f"{read.name} has no column {mass!r} of masses: give one of "
            f"{named(read.visits.columns)}, or a number of solar masses."
        )
    values = pl.col(mass).cast(pl.Float64, strict=False).fill_nan(None)
    values = pl.when(values < _MOST_MASS).then(values)
    table = read.visits.drop_nulls("star_id").group_by("star_id", maintain_order=True)
    found = table.agg(values.filter(values > 0).median().alias("mass"))
    if not found["mass"].is_not_null().any():
        raise CatalogError(
            f"Column {mass!r} of {read.name} holds no number between 0 and "
            f"{_MOST_MASS:g}: masses are in solar masses."
        )
    return found.with_columns(pl.col("mass").fill_null(float("nan")))
