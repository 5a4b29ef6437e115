"""Whom to look at more closely: all stars are judged, and some of them chosen.

Those that vary or show two stars are searched for periods, and may get orbits. That takes
milliseconds to seconds a star, so it is done in parts, wherever there is room: a part takes
along no more than the visits of its stars (`visits_of_stars`).
"""

__all__ = [
    "Candidates",
    "Tasks",
    "choose_stars",
    "visit_temperatures",
    "visits_of_stars",
]

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from steadystar.calibrate.label_rows import trusted
from steadystar.calibrate.visits import of_leading_method
from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data.status import Status
from steadystar.infer.moonlight import moonlit_visits
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.star_visits import usable_visits, without_visits
from steadystar.infer.variability import VariabilityOptions, find_variables


@dataclass(frozen=True)
class Tasks:
    """What is to be done, and how.

    ``periods``, ``orbits``: None if none are wanted. ``stars``: whose; those that vary or
    show two stars if None. ``most_orbits``: of how many at most, the surest first.
    ``mass``: table ``star_id, mass`` (solar masses).
    """

    variables: VariabilityOptions = field(default_factory=VariabilityOptions)
    periods: PeriodOptions | None = field(default_factory=PeriodOptions)
    orbits: OrbitOptions | None = None
    stars: Sequence[Any] | None = None
    most_orbits: int | None = None
    mass: pl.DataFrame | None = None


@dataclass(frozen=True)
class Candidates:
    """All stars judged (schema "variables"), and those that are looked at closely.

    ``stars``: whose, the surest first. ``visits``: theirs, those that count; nobody's if
    nothing is to be done with them. ``notes``: sentences.
    """

    variables: pl.DataFrame
    stars: list[Any]
    visits: pl.DataFrame
    notes: tuple[str, ...] = ()


def choose_stars(
    visits: pl.DataFrame,
    tasks: Tasks,
    *,
    zeropoints: ZeroPoints | None = None,
    labels: pl.DataFrame | None = None,
) -> Candidates:
    """Judge every star of ``visits``, and choose those for periods and orbits.

    Arguments:
        visits: calibrated velocities of any survey.
        tasks: what to do.
        zeropoints: by which they were calibrated, where that is known.
        labels: schema "labels", of the same spectra.

    Raises:
        ValueError: a column is missing.
    """
    temperatures = None if labels is None else visit_temperatures(visits, labels)
    judged = find_variables(
        visits, tasks.variables, zeropoints=zeropoints, labels=temperatures
    )
    if tasks.periods is None and tasks.orbits is None:
        return Candidates(judged, [], visits.clear())
    if not _timed(visits):
        said = (
            "The table has no times of the visits as numbers (bjd, days): no period or "
            "orbit was looked for."
        )
        return Candidates(judged, [], visits.clear(), (said,))
    stars = list(_changing(judged) if tasks.stars is None else tasks.stars)
    mine = visits_of_stars(visits, stars)
    mine, notes = _without_moonlight(mine, judged, stars, tasks.variables)
    return Candidates(judged, stars, mine, tuple(notes))


def visits_of_stars(visits: pl.DataFrame, stars: Sequence[Any]) -> pl.DataFrame:
    """Return the visits of some stars by the leading method of all of ``visits``.

    Which method leads depends on the whole table: what is left here are its rows, so that
    they mean the same alone. A star without any keeps one row, flagged as excluded.
    """
    named = pl.Series(stars, dtype=visits["star_id"].dtype).implode()
    chosen = pl.col("star_id").is_in(named)
    own = of_leading_method(visits).filter(chosen)
    rest = visits.filter(chosen).join(own.select("star_id").unique(), "star_id", "anti")
    if not len(rest):
        return own
    status = pl.lit(0, pl.Int64)
    if "status" in visits.columns:
        status = pl.col("status").cast(pl.Int64, strict=False).fill_null(0)
    rest = rest.unique("star_id", keep="first", maintain_order=True)
    rest = rest.with_columns(status=status | int(Status.USER_EXCLUDED))
    return pl.concat([own, rest], how="diagonal_relaxed")


def _timed(visits: pl.DataFrame) -> bool:
    return "bjd" in visits.columns and bool(
        visits["bjd"].cast(pl.Float64, strict=False).is_finite().any()
    )


def _changing(judged: pl.DataFrame) -> list[Any]:
    """The stars that vary or show two stars, the surest first.

    Double-lined ones come before the others, by the number of such visits: they may have
    no other visits to differ, and their masses are to be had.
    """
    flags = [pl.col(n).fill_null(value=False) for n in ("variable", "double_lined")]
    found = judged.filter(flags[0] | flags[1])
    order = -pl.col("rv_max_difference_snr").abs().fill_nan(0.0).fill_null(0.0)
    double = pl.when(flags[1]).then(-pl.col("n_double_lined").fill_null(0)).otherwise(1)
    return found.sort(double, order, "star_id")["star_id"].to_list()


def _without_moonlight(
    visits: pl.DataFrame,
    judged: pl.DataFrame,
    stars: list[Any],
    options: VariabilityOptions,
) -> tuple[pl.DataFrame, list[str]]:
    """Flag the moonlit visits of ``stars``, which say nothing of them, and count them."""
    lit = pl.col("star_id").is_in(
        pl.Series(stars, dtype=judged["star_id"].dtype).implode()
    )
    lit = judged.filter(lit & (pl.col("n_moonlight") > 0))["star_id"]
    if options.use_moonlit or not len(lit):
        return visits, []
    table = usable_visits(visits)
    table = table.filter(pl.col("star_id").is_in(lit.implode()))
    moonlit, _ = moonlit_visits(table, options.moonlight)
    out = table.filter(pl.Series(moonlit))
    said = f"Moonlit visits left out of periods and orbits: {len(out)}, of stars: {len(lit)}."
    return without_visits(visits, out), [said]


def visit_temperatures(visits: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return ``visit_id, teff, teff_err`` of the visits whose spectra were fitted.

    A fit to all arms of an exposure at once goes to one visit of the exposure, that of
    the smallest error: counted once, it keeps its weight.
    """
    labels = labels.filter(pl.Series(trusted(labels, ["teff"])["teff"]))
    labels = labels.select(
        "visit_id", "star_id", "exposure_id", "arm", "teff", "teff_err"
    )
    named = labels.filter(pl.col("visit_id").is_in(visits["visit_id"].implode()))
    rest = labels.join(named, on="visit_id", how="anti").drop("visit_id", "arm")
    columns = ["visit_id", "teff", "teff_err"]
    if not len(rest) or "exposure_id" not in visits.columns:
        return named.select(columns)
    keys = ["star_id", "exposure_id"]
    best = (
        usable_visits(visits)
        .select("visit_id", "rv_err", *(pl.col(k).cast(pl.String) for k in keys))
        .sort("rv_err", "visit_id")
        .unique(keys, keep="first", maintain_order=True)
    )
    rest = rest.with_columns(pl.col(k).cast(pl.String) for k in keys)
    whole = rest.unique(keys, keep="first", maintain_order=True)
    found = best.join(whole, on=keys, how="inner", maintain_order="left")
    return pl.concat([named.select(columns), found.select(columns)])
