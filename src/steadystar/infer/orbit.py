"""Orbits of stars: from visits to samples, and a row of medians and limits.

Few visits leave many orbits possible: the answer is samples of all of them. The row of a
star describes the largest mode of its period, and says how many there are and what share of
the samples this one has. Double-lined visits have two velocities: a star that has both at
four times or more gets an orbit of both stars; else it is fitted without them, since a
blend's velocity is nobody's.
"""

__all__ = ["Orbit", "Orbits", "fit_orbit", "fit_orbits"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data import schema
from steadystar.infer.double_lined_orbit import fit_double_lined
from steadystar.infer.double_lined_pair import LEAST_EPOCHS, count_epochs
from steadystar.infer.orbit_likelihood import StarVelocities
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_sampling import sample_orbit
from steadystar.infer.orbit_summary import (
    orbit_modes,
    samples_table,
    status_of,
    summary_row,
    velocities_of,
)
from steadystar.infer.star_visits import usable_visits

_DEFAULT = OrbitOptions()


@dataclass(frozen=True, eq=False)
class Orbit:
    """Samples of the orbit of one star.

    ``samples``: schema "orbit-samples", one row a sample, angles in degrees; ``summary``:
    a row of schema "orbits"; ``notes``: sentences.
    """

    star_id: Any
    samples: pl.DataFrame
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def modes(self) -> pl.DataFrame:
        """One row a mode of the period, schema "orbit-modes"."""
        return orbit_modes(self.samples)

    def velocity(self, bjd: NDArray[np.float64], second: bool = False) -> NDArray:
        """Velocity of the star at each time, km/s, ``(sample, time)``.

        ``second``: that of the second star of a double-lined pair.
        """
        return velocities_of(self.samples, np.asarray(bjd, float), second)


@dataclass(frozen=True, eq=False)
class Orbits:
    """Orbits of many stars: ``orbits`` one row a star, ``samples`` of all; sentences."""

    orbits: pl.DataFrame
    samples: pl.DataFrame
    notes: tuple[str, ...] = ()


def fit_orbit(visits: pl.DataFrame, options: OrbitOptions = _DEFAULT) -> Orbit:
    """Sample the orbits that are possible for one star.

    Arguments:
        visits: of one star: ``bjd`` (d) and calibrated ``rv, rv_err`` (km/s); ``star_id``
            may be missing. Relative velocities of several arms may have zeros of their own.
        options: the prior, and how many samples.

    Returns:
        Samples of the posterior, all of the same weight; none, and a ``orbit_status`` that
        says why, if there are too few visits.

    Raises:
        ValueError: the table has several stars, or lacks a column.

    Source:
        Price-Whelan et al. 2017, ApJ 837, 20.
    """
    if "star_id" not in visits.columns:
        visits = visits.with_columns(star_id=pl.lit("star"))
    names = visits["star_id"].drop_nulls().unique(maintain_order=True).to_list()
    if len(names) != 1:
        raise ValueError(
            f"fit_orbit takes the visits of one star, the table has {len(names)}: choose "
            "one by its star_id, or call fit_orbits for all."
        )
    return _fit(names[0], _usable(visits), options)


def fit_orbits(
    visits: pl.DataFrame,
    star_ids: Sequence[Any] | None = None,
    options: OrbitOptions = _DEFAULT,
) -> Orbits:
    """Sample the orbits of the stars ``star_ids``, all of the table if None.

    Every star gets a row, in the order asked for; ``orbit_status`` says why one has no
    orbit. See `fit_orbit`.

    Raises:
        ValueError: a column is missing, or the table has no such star.
    """
    usable = _usable(visits)
    known = visits["star_id"].drop_nulls().unique(maintain_order=True).to_list()
    asked = known if star_ids is None else list(dict.fromkeys(star_ids))
    if absent := [star for star in asked if star not in set(known)]:
        raise ValueError(
            f"The table has no star {absent[0]!r}: see its column star_id."
        )
    groups = usable.partition_by("star_id", as_dict=True, include_key=True)
    empty = usable.clear()
    found = [_fit(star, groups.get((star,), empty), options) for star in asked]
    keep = ("star_id",)
    star_type = visits["star_id"].dtype
    rows = pl.DataFrame([one.summary for one in found], infer_schema_length=None)
    if not len(rows):
        rows = schema.empty("orbits")
    rows = rows.with_columns(pl.col("star_id").cast(star_type))
    parts = [one.samples for one in found if len(one.samples)]
    samples = (
        pl.concat(parts, how="diagonal") if parts else schema.empty("orbit-samples")
    ).with_columns(pl.col("star_id").cast(star_type))
    notes = (f"{one.star_id}: {note}" for one in found for note in one.notes)
    return Orbits(
        schema.conform(rows, "orbits", keep_dtype=keep),
        schema.conform(samples, "orbit-samples", keep_dtype=keep),
        tuple(notes),
    )


def _usable(visits: pl.DataFrame) -> pl.DataFrame:
    if "bjd" not in visits.columns:
        raise ValueError(
            "The table has no column bjd: an orbit needs the times of the visits, in days; "
            "map the column that has them to bjd."
        )
    return usable_visits(visits)


def _fit(star_id: Any, visits: pl.DataFrame, options: OrbitOptions) -> Orbit:
    try:
        return _fitted(star_id, visits, options)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        # One star whose numbers do not work out costs no other its orbit.
        row = {"star_id": star_id, "n_visits": len(visits)}
        row["orbit_status"] = f"the fit failed: {error}"
        return Orbit(star_id, _none(star_id), row)


def _none(star_id: Any) -> pl.DataFrame:
    return schema.empty("orbit-samples").with_columns(
        star_id=pl.Series([star_id]).clear()
    )


def _fitted(star_id: Any, visits: pl.DataFrame, options: OrbitOptions) -> Orbit:
    notes = []
    timed = visits.filter(pl.col("bjd").is_finite())
    if lost := len(visits) - len(timed):
        notes.append(f"{lost} visits without a time were left out.")
    if count_epochs(timed) >= LEAST_EPOCHS:
        double = fit_double_lined(timed, options)
        notes += double.notes
        if len(double.samples):
            return Orbit(star_id, double.samples, double.summary, tuple(notes))
        notes.append(f"No orbit of both stars: {double.summary['orbit_status']}.")
    single = timed.filter(~pl.col("double_lined"))
    if lost := len(timed) - len(single):
        notes.append(
            f"{lost} visits that show the lines of two stars were left out: an orbit of "
            f"both takes both velocities at {LEAST_EPOCHS} times."
        )
    row: dict[str, Any] = {"star_id": star_id, "n_visits": len(single)}
    if single["bjd"].n_unique() < options.min_visits:
        row["orbit_status"] = f"fewer than {options.min_visits} visits"
        return Orbit(star_id, _none(star_id), row, tuple(notes))
    star = _velocities(single, options)
    seed = crc32(str(star_id).encode())
    found = sample_orbit(star, options, seed)
    samples = samples_table(star_id, star, found)
    if (common := _common_err(single)) > 0:
        # What all visits share moves the star as a whole.
        rng = np.random.default_rng([options.seed, seed, 1])
        moved = pl.Series(rng.normal(0, common, len(samples)))
        samples = samples.with_columns(v0=pl.col("v0") + moved)
    row |= summary_row(samples, star, found)
    row["orbit_status"] = status_of(row, options, few=bool(found.notes))
    return Orbit(star_id, samples, row, (*notes, *found.notes))


def _common_err(visits: pl.DataFrame) -> float:
    """Return the error of the weighted mean that comes from what the visits share."""
    common, weight = (
        visits["rv_common_err"].to_numpy(),
        visits["rv_err"].to_numpy() ** -2,
    )
    return float(np.sqrt(weight @ common**2 / weight.sum()))


def _velocities(visits: pl.DataFrame, options: OrbitOptions) -> StarVelocities:
    """Prepare the visits: times from their middle, constants with their priors."""
    bjd, rv, err = (visits[n].to_numpy() for n in ("bjd", "rv", "rv_err"))
    weight = err**-2
    center = float(weight @ rv / weight.sum())
    if options.v0_mean is not None:
        center = options.v0_mean
    zero = visits["zero"].to_numpy()
    columns, variance, names = [], [], []
    for number in np.unique(zero):
        columns.append(zero == number)
        variance.append(options.v0_sigma**2)
        names.append("v0" if not names else f"v0_{number}")
    if absent := [n for n in options.offset_by if n not in visits.columns]:
        raise ValueError(
            f"offset_by names a column {absent[0]!r} that the table does not have."
        )
    if options.offset_by:
        groups = visits.select(pl.struct(options.offset_by).rank("dense")).to_series()
        # The first group's zero is that of the velocities: the others differ from it.
        for number in np.unique(groups.to_numpy())[1:]:
            columns.append((groups == number).to_numpy())
            variance.append(options.offset_sigma**2)
            names.append(f"offset_{number - 1}")
    epoch = float((bjd.min() + bjd.max()) / 2)
    return StarVelocities(
        bjd - epoch,
        rv - center,
        err,
        np.stack(columns, axis=1).astype(float),
        np.array(variance),
        tuple(names),
        epoch,
        center,
    )
