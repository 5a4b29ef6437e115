"""A survey's velocities in the system of model spectra, beside the relative ones.

`measure_absolute` is to `measure_velocities` what a survey is to an array: it takes the
table of visits with the spectra, chooses templates by wavelength, arm by arm, and gives
one row a spectrum in the columns of the velocity table. Every spectrum is measured on its
own, so that a star of one visit has a velocity as well, and a new visit changes none.
"""

__all__ = ["METHOD", "AbsoluteOptions", "AbsoluteVelocities", "measure_absolute"]

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.measure.arm import rows_by
from steadystar.measure.extent import alike, sharpest
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.templates import Templates, templates_for

METHOD = "marginal"
"""The name of these velocities in the column ``method``."""


@dataclass(frozen=True)
class AbsoluteOptions(VelocityOptions):
    """Velocities in the system of model spectra, by marginalizing over stellar type."""

    templates: Annotated[
        str,
        "File of templates that Templates.save wrote; empty for the bundled model "
        "spectra of the spectra's wavelengths.",
    ] = ""


@dataclass(frozen=True)
class AbsoluteVelocities:
    """The result: ``table`` (schema "velocities", one row a visit, in input order).

    ``notes`` say in sentences which spectra no templates were there for.
    """

    table: pl.DataFrame
    notes: tuple[str, ...]


def measure_absolute(
    visits: pl.DataFrame,
    spectra: Spectra,
    options: AbsoluteOptions = AbsoluteOptions(),
) -> AbsoluteVelocities:
    """Measure every visit against templates of all types.

    Arguments:
        visits: schema "visits", rows aligned with ``spectra``.
        spectra: what was recorded.
        options: windows, limits, templates.

    Returns:
        Rows of the visits for whose wavelengths there are templates, in the order
        given; those that could not be measured hold NaN and a status.

    Raises:
        ValueError: the rows of ``visits`` and ``spectra`` do not agree in number, or
            ``options.templates`` is no file of templates.
    """
    if len(visits) != len(spectra):
        raise ValueError(
            f"There are {len(visits)} visits but {len(spectra)} spectra: pass one row "
            "a spectrum, in the same order."
        )
    visits = schema.conform(visits, "visits")
    own = Templates.load(Path(options.templates)) if options.templates else None
    tables, notes = [], []
    groups = (
        (arm, ends, rows[members])
        for arm, rows in rows_by(visits["arm"].fill_null("all"))
        for ends, members in alike(spectra[rows], arm, options.windows)
    )
    for arm, (low, high), rows in groups:
        some = spectra[rows]
        templates = templates_for(low, high, sharpest(some)) if own is None else own
        if templates is None or not _covers(templates, low, high, options):
            notes.append(
                f"Spectra of {arm} have no absolute velocities: there are no "
                f"templates for {low:.0f} to {high:.0f} A with room for "
                f"{options.search_kms:.0f} km/s. Name a file of your own in the "
                "configuration: templates, in the section absolute."
            )
            continue
        here = replace(options, windows={arm: (low, high)})
        bary = visits["bary_corr"].to_numpy()[rows]
        found = measure_velocities(some, templates, here, arm=arm, bary_corr=bary)
        tables.append(_rows(visits[rows], found).with_columns(_row=pl.Series(rows)))
    if not tables:
        return AbsoluteVelocities(schema.empty("velocities"), tuple(notes))
    table = pl.concat(tables).sort("_row").drop("_row")
    return AbsoluteVelocities(table, tuple(notes))


def _rows(visits: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Put what was measured beside what is known of the visits."""
    measured = found.with_columns(
        snr=pl.Series(_either(visits["snr"].to_numpy(), found["snr"].to_numpy())),
        status=visits["status"].fill_null(0) | found["status"],
        method=pl.lit(METHOD),
    )
    kept = visits.drop(name for name in measured.columns if name in visits.columns)
    return schema.conform(pl.concat([kept, measured], how="horizontal"), "velocities")


def _either(given, measured):
    return np.where(np.isfinite(given), given, measured)


def _covers(templates: Templates, low: float, high: float, options) -> bool:
    room = 1 + options.search_kms / C_KMS
    first, last = templates.wave[0] * room, templates.wave[-1] / room
    return bool(max(low, first) < min(high, last))
