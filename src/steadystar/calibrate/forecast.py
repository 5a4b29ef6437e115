"""How well a survey will be calibrated, before it is observed.

The errors of zero points follow from who is observed where and how well, not from the
velocities: the matrices of `fit_zeropoints`, with planned visits and predicted errors,
give them beforehand (Saydjari et al. 2025, section 5.1). Beyond the errors a plan wants to
know where it is weak:

- the *weak links*, the sets of groups that are badly tied to the rest: the directions in
  which the covariance is largest, each read as "these groups against all others";
- *new ties*, the pairs of groups in which one more star would help most. A star seen in
  groups a and b with errors s measures ``c_a - c_b``, so that the covariance ``C`` shrinks
  by ``C d d^T C / (2 s^2 + d^T C d)``, ``d = e_a - e_b``.

All stars are taken as constant, except for a share that is said to vary: they are as if
they were not there.
"""

__all__ = ["Forecast", "ForecastOptions", "forecast_zeropoints"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.covariance import DENSE_LIMIT
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.problem import Family, Problem, families_of, pose
from steadystar.calibrate.visits import standard_visits
from steadystar.calibrate.visitsums import Vector, distinct
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status

_NAMED = 4
_NOT_FORECAST = ("offset", "n_constant")


@dataclass(frozen=True)
class ForecastOptions:
    """What is assumed of stars and visits that are not observed yet."""

    variable_share: Annotated[
        float,
        "Share of stars that will prove variable and not help (0.12 in the survey of "
        "Saydjari et al. 2025); 0 gives the best that can be reached.",
    ] = 0.0
    floor: Annotated[
        float, "Floor of the errors, km/s, added in quadrature to those predicted."
    ] = 0.0
    weak_links: Annotated[int, "Weak links that are named, in each family."] = 5
    new_ties: Annotated[
        int, "Pairs of groups for one more star each that are named."
    ] = 5

    def __post_init__(self) -> None:
        if not 0 <= self.variable_share < 1:
            raise CalibrationError(
                f"variable_share = {self.variable_share} is no share of stars: give a "
                "number from 0 to below 1."
            )
        if not 0 <= self.floor < np.inf:
            raise CalibrationError(
                f"floor = {self.floor} is no error: give km/s, zero or more."
            )


_DEFAULT = ForecastOptions()


@dataclass(frozen=True, eq=False)
class Forecast:
    """Errors of zero points to come.

    ``offsets``: by family, its columns, ``offset_err`` (km/s; NaN for those that the plan
    does not determine), ``n_visits, n_stars, component, status``. ``weak_links``:
    ``family, component, groups`` (in words), ``n_groups, n_rest, n_stars`` (which tie the
    two), ``difference_err`` (km/s, between the mean of these groups and that of the rest).
    ``new_ties``: ``family, first, second`` (in words), ``purpose``, and the error that one
    star in both would change, ``before`` and ``after`` (km/s): where it is to strengthen,
    the root mean square of the family's errors; where it is to connect two components, that
    of the difference between them, NaN before. ``zeropoints``: all offsets zero, with
    their covariance. ``notes``: sentences for people.
    """

    by: tuple[tuple[str, ...], ...]
    offsets: dict[str, pl.DataFrame]
    weak_links: pl.DataFrame
    new_ties: pl.DataFrame
    zeropoints: ZeroPoints
    options: ForecastOptions
    notes: list[str]

    def apply(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Return visits with the ``correction_err`` and ``rv_err`` that they will have."""
        each = replace(self.options, variable_share=0.0)
        out = self.zeropoints.apply(_planned(visits, each))
        return visits.with_columns(out["correction_err"], out["rv_err"], out["status"])


def forecast_zeropoints(
    visits: pl.DataFrame,
    by: Sequence[str | Sequence[str]] | None = None,
    options: ForecastOptions = _DEFAULT,
    zeropoints: ZeroPointOptions | None = None,
) -> Forecast:
    """Forecast the errors of the zero points that planned visits would give.

    Arguments:
        visits: one row a planned visit, with ``star_id``, the error expected of its
            velocity (``rv_raw_err`` or ``rv_err``, km/s) and the columns of ``by``.
            Velocities are not looked at.
        by: families of offsets, as in `fit_zeropoints`.
        options: what is assumed.
        zeropoints: when an offset counts as determined, as in `fit_zeropoints`.

    Raises:
        CalibrationError: a column is missing or unusable.
    """
    chosen = replace(zeropoints or ZeroPointOptions(), method="linear")
    if by is not None:
        chosen = replace(chosen, by=families_of(by))
    plan = _planned(visits, options)
    zero = fit_zeropoints(plan, options=chosen)
    chosen = replace(chosen, by=zero.by)
    widths = {"+".join(c): chosen.assumed_width(c) for c in zero.by}
    zero = replace(zero, prior_widths=widths, notes=[])
    problem = pose(plan, chosen)
    error = (
        float(np.median(problem.err[problem.enters])) if problem.enters.any() else 0.0
    )
    links, ties = [], []
    notes = list(problem.notes)
    for family in problem.families:
        table = zero.offsets[family.name]
        notes += _lacking(family, table, chosen.min_stars)
        known = np.isfinite(table["offset"].to_numpy())
        component = table["component"].to_numpy()
        for one in np.unique(component[known]):
            rows = np.flatnonzero(known & (component == one))
            if len(rows) > DENSE_LIMIT:
                notes.append(_too_many(family, len(rows)))
            elif len(rows) > 1:
                part = _Part(problem, family, int(one), rows)
                matrix = zero.covariance_of(family.name, rows)
                links += _weak_links(part, matrix, options.weak_links)
                ties += _new_ties(part, matrix, error, options.new_ties)
        ties += _connections(family, table, error)
    return Forecast(
        by=zero.by,
        offsets={n: t.drop(_NOT_FORECAST) for n, t in zero.offsets.items()},
        weak_links=pl.DataFrame(links, schema=_LINKS),
        new_ties=pl.DataFrame(ties, schema=_TIES),
        zeropoints=zero,
        options=options,
        notes=notes,
    )


def _planned(visits: pl.DataFrame, options: ForecastOptions) -> pl.DataFrame:
    """Return visits as if they had been measured at zero velocity."""
    name = next((n for n in ("rv_raw_err", "rv_err") if n in visits.columns), None)
    if name is None:
        raise CalibrationError(
            "The plan has no errors: give the error that is expected of each velocity "
            "in a column rv_err, km/s."
        )
    plan = visits.drop("rv", "rv_raw", "status", "rv_2", "method", strict=False)
    plan = standard_visits(plan.with_columns(rv_raw=pl.lit(0.0)))
    error = (pl.col("rv_raw_err") ** 2 + options.floor**2).sqrt()
    good = pl.col("rv_raw_err") > 0
    share = 1 - options.variable_share
    return plan.with_columns(
        rv_raw_err=pl.when(good).then(error / np.sqrt(share)).otherwise(float("nan"))
    )


_LINKS = {
    "family": pl.String,
    "component": pl.Int64,
    "groups": pl.String,
    "n_groups": pl.Int64,
    "n_rest": pl.Int64,
    "n_stars": pl.Int64,
    "difference_err": pl.Float64,
}
_TIES = {
    "family": pl.String,
    "first": pl.String,
    "second": pl.String,
    "purpose": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
}


@dataclass(frozen=True)
class _Part:
    """One component of a family: ``rows`` are its groups."""

    problem: Problem
    family: Family
    component: int
    rows: NDArray[np.intp]

    def stars_in(self, members: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the stars with a visit in one of the groups ``members``."""
        chosen = np.zeros(len(self.family.groups) + 1, bool)
        chosen[members] = True
        here = self.problem.enters & chosen[self.family.index]
        return distinct(self.problem.star[here])

    def words(self, members: NDArray[np.intp]) -> str:
        """Name groups: as a range where they follow each other, the first few of many."""
        table = self.family.groups[members]
        *others, last = self.family.columns
        run = table[last]
        if (
            len(run) > 2
            and run.dtype.is_integer()
            and table.select(others).n_unique() < 2
        ):
            ends = run.min(), run.max()
            if run.is_sorted() and ends == (run[0], run[0] + len(run) - 1):
                return f"{self.family.describe(int(members[0]))} to {ends[1]}"
        named = "; ".join(self.family.describe(int(i)) for i in members[:_NAMED])
        more = len(members) - _NAMED
        return f"{named}; and {more} more" if more > 0 else named


def _weak_links(part: _Part, matrix: NDArray[np.float64], number: int) -> list[dict]:
    """Read the widest directions of the covariance as sets against the rest."""
    n = len(part.rows)
    _, vector = np.linalg.eigh(matrix)
    out: list[dict] = []
    seen: set[tuple[int, ...]] = set()
    for direction in vector.T[::-1][: 2 * number]:
        chosen = _split(direction)
        key = tuple(np.flatnonzero(chosen).tolist())
        if key in seen or len(out) == number:
            continue
        seen.add(key)
        step = chosen / chosen.sum() - ~chosen / (n - chosen.sum())
        inside, outside = part.rows[chosen], part.rows[~chosen]
        both = np.intersect1d(part.stars_in(inside), part.stars_in(outside))
        found = (
            part.family.name,
            part.component,
            part.words(inside),
            len(inside),
            len(outside),
            len(both),
            float(np.sqrt(step @ matrix @ step)),
        )
        out.append(dict(zip(_LINKS, found, strict=True)))
    return sorted(out, key=lambda link: -link["difference_err"])


def _split(direction: Vector) -> NDArray[np.bool_]:
    """Return the smaller of the two sets between which a direction has its widest gap."""
    order = np.argsort(direction)
    cut = int(np.argmax(np.diff(direction[order]))) + 1
    chosen = np.zeros(len(direction), bool)
    chosen[order[:cut] if 2 * cut <= len(order) else order[cut:]] = True
    return chosen


def _new_ties(
    part: _Part, matrix: NDArray[np.float64], error: float, number: int
) -> list[dict]:
    """Add one star at a time, each in the pair of groups where it helps most."""
    out = []
    for _ in range(number if len(part.rows) > 2 else 1):
        apart = _spread(matrix)
        gain = _spread(matrix @ matrix) / (2 * error**2 + apart)
        a, b = np.unravel_index(int(np.argmax(gain)), gain.shape)
        step = matrix[a] - matrix[b]
        better = matrix - np.outer(step, step) / (2 * error**2 + apart[a, b])
        found = (
            part.family.name,
            part.family.describe(int(part.rows[min(a, b)])),
            part.family.describe(int(part.rows[max(a, b)])),
            "strengthen",
            float(np.sqrt(np.mean(np.diag(matrix)))),
            float(np.sqrt(np.mean(np.diag(better)))),
        )
        out.append(dict(zip(_TIES, found, strict=True)))
        matrix = better
    return out


def _spread(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``d^T M d`` for every two groups, ``d = e_a - e_b``."""
    diagonal = np.diag(matrix)
    return diagonal[:, None] + diagonal - 2 * matrix


def _connections(family: Family, table: pl.DataFrame, error: float) -> list[dict]:
    """Say which groups would best tie each component to the largest one."""
    known = table.with_row_index("_row").filter(pl.col("offset").is_finite())
    best = known.sort("offset_err", "_row").group_by("component").first()
    sizes = known.group_by("component").len()
    best = best.join(sizes, on="component", maintain_order="left").sort(
        "len", "_row", descending=[True, False]
    )
    rows = best.select("_row", "offset_err").rows()
    out = []
    for row, its_error in rows[1:]:
        after = float(np.sqrt(2 * error**2 + its_error**2 + rows[0][1] ** 2))
        names = family.describe(rows[0][0]), family.describe(row)
        found = (family.name, *names, "connect", float("nan"), after)
        out.append(dict(zip(_TIES, found, strict=True)))
    return out


def _lacking(family: Family, table: pl.DataFrame, min_stars: int) -> list[str]:
    status = table["status"].to_numpy()
    lost = np.flatnonzero((status & int(Status.UNCALIBRATED)) != 0)
    out = []
    if len(lost):
        named = "; ".join(
            f"{family.describe(int(i))} ({_stars(table['n_stars'][int(i)])})"
            for i in lost[:_NAMED]
        )
        more = f"; and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        out.append(
            f"{len(lost)} of the {len(table)} offsets of {family.name} would not be "
            f"determined: {named}{more}. Each needs {min_stars} stars that are also seen "
            "in another."
        )
    sets = table.filter(pl.col("offset").is_finite())["component"].n_unique()
    if sets > 1:
        out.append(
            f"The offsets of {family.name} would fall into {sets} sets that no star ties "
            "to each other."
        )
    return out


def _stars(number: int) -> str:
    return "1 star" if number == 1 else f"{number} stars"


def _too_many(family: Family, number: int) -> str:
    return (
        f"{family.name} has {number} offsets in one set: their errors are from samples, "
        f"and weak links are not looked for beyond {DENSE_LIMIT}."
    )
