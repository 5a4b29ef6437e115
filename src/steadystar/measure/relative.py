"""Relative velocities: every star against itself, one arm at a time.

``joint`` (the default) estimates a star's template and the velocities of its exposures
together; ``published`` is the estimator of Xiong et al. (2021), with the exposure of the
highest S/N as the reference. Both start from the same normalized spectra and give the
same table. Velocities of a star are relative to one zero per arm: for ``joint`` the
weighted mean of the exposures that made the template, for ``published`` the reference.

A template, once made, can be kept (`StarTemplates`) and new exposures be measured
against it: the star's zero then stays what it was.
"""

__all__ = [
    "RelativeOptions",
    "RelativeVelocities",
    "StarTemplates",
    "measure_relative",
]

from dataclasses import dataclass, field
from typing import Annotated, Literal

import jax
import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.data.doppler import without
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.measure.arm import ArmOnGrid, rows_by
from steadystar.measure.extent import recorded, stretch
from steadystar.measure.normalize import Window, grid_for, prepare
from steadystar.measure.templates import TEMPLATE_COLUMNS, StarTemplates

# Xiong et al. 2021, section 4: spectra of 4950-5350 and 6300-6800 A, measured within.
_WINDOWS = {"blue": (5000.0, 5300.0), "red": (6400.0, 6700.0)}


@dataclass(frozen=True)
class RelativeOptions:
    """How relative velocities are measured."""

    method: Annotated[
        Literal["joint", "published"],
        "Estimator: joint (template and velocities together) or published (Xiong 2021).",
    ] = "joint"
    windows: Annotated[
        dict[str, tuple[float, float]],
        "Measuring window of each arm, Angstrom in vacuum; other arms use all they have.",
    ] = field(default_factory=lambda: dict(_WINDOWS))
    margin: Annotated[
        float, "Beyond the window, Angstrom on either side, for the continuum."
    ] = 50.0
    continuum: Annotated[
        Literal["spline", "polynomial"],
        "Pseudo-continuum: spline (Xiong 2021) or polynomial (Zong 2020).",
    ] = "spline"
    min_snr: Annotated[
        float, "Exposures with a lower S/N per pixel are kept as rows, not measured."
    ] = 5.0
    search_kms: Annotated[
        float, "Velocities within this many km/s of the reference are searched."
    ] = 400.0
    min_good_fraction: Annotated[
        float, "Smallest share of usable pixels in the window."
    ] = 0.3


@dataclass(frozen=True)
class RelativeVelocities:
    """The result: ``table`` (schema "velocities", one row a visit, in input order).

    ``covariances`` has one row a star and arm, with ``visit_ids`` and the flattened
    covariance matrix of their velocities (km/s squared) in the gauge of weighted mean
    zero; ``templates`` are those that were made here.
    """

    table: pl.DataFrame
    covariances: pl.DataFrame
    templates: StarTemplates


def measure_relative(
    visits: pl.DataFrame,
    spectra: Spectra,
    options: RelativeOptions = RelativeOptions(),
    templates: StarTemplates | None = None,
) -> RelativeVelocities:
    """Measure every visit against its own star.

    Arguments:
        visits: schema "visits" with ``star_id`` filled, rows aligned with ``spectra``.
        spectra: what was recorded.
        options: method, windows, limits.
        templates: of earlier runs; stars that have one there are measured against it
            (method ``joint`` only).

    Returns:
        One row a visit in the order given; those that could not be measured hold NaN
        and a status. Errors are such that the difference of two visits of a star has
        the sum of their variances.

    Raises:
        ValueError: the rows of ``visits`` and ``spectra`` do not agree in number.
    """
    if len(visits) != len(spectra):
        raise ValueError(
            f"There are {len(visits)} visits but {len(spectra)} spectra: pass one row "
            "a spectrum, in the same order."
        )
    visits = schema.conform(visits, "visits")
    given = visits["snr"].to_numpy()
    visits = visits.with_columns(
        snr=pl.Series(np.where(np.isfinite(given), given, spectra.snr())),
        status=visits["status"].fill_null(0),
    )
    known = (
        templates.table
        if templates is not None
        else pl.DataFrame(schema=TEMPLATE_COLUMNS)
    )
    parts = []
    with jax.enable_x64(True):
        for arm, rows in rows_by(visits["arm"].fill_null("all")):
            parts += _measure_arm(
                visits[rows], spectra[rows], options, known.filter(arm=arm), rows
            )
    return RelativeVelocities(
        _table(visits, options.method, [part.columns for part in parts]),
        pl.DataFrame(
            [row for part in parts for row in part.covariances], schema=_COVARIANCES
        ),
        StarTemplates(
            pl.DataFrame(
                [row for part in parts for row in part.templates],
                schema=TEMPLATE_COLUMNS,
            ).sort("star_id", "arm")
        ),
    )


def _measure_arm(visits, spectra, options, known, rows) -> list[ArmOnGrid]:
    """Measure the visits of one arm; ``rows`` are their places in the whole table."""
    arm = visits["arm"].fill_null("all")[0]
    low, high = stretch(spectra, arm, options.windows, recorded)
    window = Window(low, high, options.margin)
    default = grid_for(spectra, window, options.search_kms)
    # A star that has a template stays on the grid of its template.
    grids = {
        row["star_id"]: LogGrid(row["start"], row["step"], len(row["template"]))
        for row in known.iter_rows(named=True)
        if len(row["template"])
    }
    stars = visits["star_id"].fill_null("").to_list()
    by_grid: dict[LogGrid, list[int]] = {}
    for i, star in enumerate(stars):
        grid = grids.get(star, default) if options.method == "joint" else default
        by_grid.setdefault(grid, []).append(i)
    parts = []
    for grid, members in by_grid.items():
        some = np.array(members)
        prepared = prepare(
            spectra[some],
            visits["bary_corr"].to_numpy()[some],
            window,
            grid,
            options.continuum,
            options.min_good_fraction,
        )
        part = ArmOnGrid(rows[some], visits[some], arm, prepared, options)
        part.measure({row["star_id"]: row for row in known.iter_rows(named=True)})
        parts.append(part)
    return parts


def _table(visits: pl.DataFrame, method: str, parts: list[dict]) -> pl.DataFrame:
    """Put the measured columns beside the visits, in the order of the visits."""
    names = list(parts[0]) if parts else []
    merged = {n: np.concatenate([part[n] for part in parts]) for n in names}
    order = np.argsort(merged.pop("_row")) if parts else np.zeros(0, int)
    merged = {n: values[order] for n, values in merged.items()}
    if not parts:
        return schema.conform(visits.with_columns(method=pl.lit(method)), "velocities")
    rv = merged.pop("rv")
    reference = pl.Series(merged.pop("reference_visit_id").tolist(), dtype=pl.String)
    table = visits.with_columns(
        **{name: pl.Series(values) for name, values in merged.items()},
        method=pl.lit(method),
        reference_visit_id=reference,
        # Prepared spectra are barycentric, so this is what was measured.
        rv_raw=pl.Series(rv),
    )
    bary = pl.col("bary_corr").fill_null(float("nan")).fill_nan(0.0)
    observed = without(pl.col("rv_raw"), bary)
    return schema.conform(table.with_columns(rv_obs=observed), "velocities")


_COVARIANCES = {
    "star_id": pl.String,
    "arm": pl.String,
    "visit_ids": pl.List(pl.String),
    "covariance": pl.List(pl.Float64),
}
