"""Zero points of exposures, spectrographs, fibers: any families of offsets at once.

`fit_zeropoints` takes a table of visits and returns `ZeroPoints`, whose ``apply``
corrects a table. An offset family is any set of columns: ``(spectrograph, arm,
exposure_id)`` is Xiong 2021, ``(telescope, fiber)`` Saydjari 2025, and both in the list
are solved together. What the data cannot determine is NaN, with a status and a note.
"""

__all__ = ["ZeroPointOptions", "ZeroPoints", "fit_zeropoints"]

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate import common_constant, joint, linear, xiong
from steadystar.calibrate.case import Case, Solution
from steadystar.calibrate.contrasts import WORTH_SAYING, difference_in_words
from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.covariance import OffsetCovariance, offset_covariance
from steadystar.calibrate.families import with_usual_families
from steadystar.calibrate.gauge import (
    Gauged,
    active_design,
    component_means,
    components,
    determine,
)
from steadystar.calibrate.lamps import find_lamp_outliers
from steadystar.calibrate.noise import largest_floor
from steadystar.calibrate.offsets import Result, offset_tables, prior_widths, sentences
from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.problem import Problem, families_of, pose
from steadystar.calibrate.solve import Design
from steadystar.calibrate.visits import (
    methods_of,
    of_leading_method,
    standard_visits,
)
from steadystar.calibrate.visitsums import Vector
from steadystar.data.status import Status

_METHODS: dict[str, Callable[[Case, ZeroPointOptions], Solution]] = {
    "joint": joint.solve,
    "linear": linear.solve,
    "xiong": xiong.solve,
    "common-constant": common_constant.solve,
}

_DEFAULT = ZeroPointOptions()
_TOLD = 6
"""Differences that are said in the notes: those of four telescopes."""


def fit_zeropoints(
    visits: pl.DataFrame,
    by: Sequence[str | Sequence[str]] | None = None,
    method: str | None = None,
    options: ZeroPointOptions = _DEFAULT,
) -> ZeroPoints:
    """Solve for the zero points of every family of offsets.

    Arguments:
        visits: one row a visit, with ``star_id``, ``rv_raw`` (or ``rv``),
            ``rv_raw_err`` (or ``rv_err``) and the columns of ``by``; km/s.
        by: families of offsets, each the names of its columns; instead of
            ``options.by``. Where families contain each other, the first has precedence.
            If neither names any, those usual for the ``survey`` of the visits.
        method: instead of ``options.method``.
        options: thresholds and the rest.

    Returns:
        The offsets with errors and status, in the input's column types.

    Raises:
        CalibrationError: a column is missing or unusable, or the method cannot do what
            was asked.
    """
    if by is not None:
        options = replace(options, by=families_of(by))
    if method is not None:
        options = replace(options, method=method)
    visits = standard_visits(visits)
    options, where_from = with_usual_families(visits, options)
    methods = methods_of(visits)
    problem = pose(
        of_leading_method(visits), options, need_errors=options.method != "xiong"
    )
    case, status = _select(problem, options)
    solution = _METHODS[options.method](case, options)
    result = _in_gauge(case, solution, status | solution.status, options)
    p_constant = solution.p_constant
    tables = offset_tables(problem, result, p_constant)
    widths = prior_widths(tables, options)
    zero = ZeroPoints(
        by=options.by,
        method=options.method,
        offsets=tables,
        stars=_stars(case, p_constant),
        prior_widths=widths,
        errors=_errors(case, solution, options),
        notes=[
            *where_from,
            *_of_methods(methods),
            *_of_one_star(problem),
            *problem.notes,
            *solution.notes,
            *_of_large_floor(case, solution),
            *result.notes,
            *sentences(problem, tables, widths),
        ],
        covariance=result.covariance,
    )
    return replace(zero, notes=[*zero.notes, *_compared(zero)])


def _compared(zero: ZeroPoints) -> list[str]:
    """Say how telescopes differ, where stars tie them."""
    asked = [c for c in WORTH_SAYING if any(c in columns for columns in zero.by)]
    notes = []
    for column in asked:
        found = zero.compare(column).filter(pl.col("difference_err") > 0)
        sigma = (pl.col("difference") / pl.col("difference_err")).abs()
        told = found
        if len(found) > _TOLD:
            told = found.sort(sigma, descending=True, maintain_order=True)[:_TOLD]
        notes += [
            difference_in_words(column, row) for row in told.iter_rows(named=True)
        ]
        if len(found) > _TOLD:
            notes.append(
                f"{len(found) - _TOLD} more pairs of {column} differ less clearly: "
                f"ZeroPoints.compare({column!r}) has them all."
            )
    return notes


def _of_methods(methods: list[str]) -> list[str]:
    if not methods:
        return []
    said = (
        f"The zero points are those of the velocities of method {methods[0]}; they are "
        f"taken off those of {', '.join(methods[1:])} too, which are of the same spectra."
    )
    return [said]


def _of_large_floor(case: Case, solution: Solution) -> list[str]:
    """Say when the errors had to grow so much that verdicts mean little."""
    if solution.noise is None or not len(case.rows):
        return []
    typical = float(np.median(case.err))
    floor = float(np.max(solution.noise.floor))
    if floor < 0.99 * largest_floor(typical):
        return []
    said = (
        f"The stars scatter by more than {floor:.2g} km/s, {floor / typical:.0f} times "
        "the errors that are given: either nearly all of them vary, or the errors are in "
        "another unit. They are taken to vary."
    )
    return [said]


def _of_one_star(problem: Problem) -> list[str]:
    stars = np.unique(problem.star[np.isfinite(problem.rv) & (problem.star >= 0)])
    if len(stars) != 1:
        return []
    said = (
        f"All velocities are of one star, {problem.star_ids[int(stars[0])]}: where it "
        "changes with the group, its own motion and an offset look the same, so that one "
        "star cannot fix zero points. It takes several that stay constant; or, for one "
        "star of known kind, a model of its motion fitted together with the offsets."
    )
    return [said]


def _select(problem: Problem, options: ZeroPointOptions) -> tuple[Case, NDArray]:
    """Return the visits and offsets that can be solved, and why others cannot."""
    rows = np.flatnonzero(problem.enters)
    size = int(problem.starts[-1])
    zeros = len(problem.star_of_zero)
    family = problem.family_of_unknown
    design = Design(problem.zero[rows], problem.unknown[:, rows], zeros, size, family)
    found = determine(design, problem.star[rows], options.min_stars)
    # The only visit of a star is its mean, whatever the offsets are.
    repeated = np.bincount(problem.zero[rows], minlength=zeros)[problem.zero[rows]] > 1
    found = replace(found, rows=found.rows & repeated)
    rows = rows[found.rows]
    design = Design(problem.zero[rows], problem.unknown[:, rows], zeros, size, family)
    design = active_design(design, found.active)
    widths = np.array([options.assumed_width(f.columns) for f in problem.families])
    extra = widths**2 @ found.unmodeled[:, found.rows]
    return Case(problem, rows, design, problem.groups(rows), extra), found.status


def _in_gauge(
    case: Case, solution: Solution, status: NDArray[np.int64], options: ZeroPointOptions
) -> Result:
    """Give every component its gauge, and offsets their errors."""
    bad = (status != 0) | ~np.isfinite(solution.offset)
    status = np.where(bad & (status == 0), int(Status.UNCALIBRATED), status)
    # A visit that needs an offset which the method refused says nothing on others.
    keep = np.all(~np.append(bad, False)[case.design.unknown], axis=0)
    design = _part(case.design, np.asarray(keep))
    weight, y = solution.weight[keep], case.y[keep]
    label, redundant = components(design)
    redundant &= ~bad
    design = active_design(design, ~redundant & ~bad)
    status = np.where(redundant, status | int(Status.REDUNDANT), status)
    gauge = _visits_of_offsets(case.problem)
    gauged = Gauged(design, weight, label)

    def centered(gauge: Vector) -> Vector:
        if solution.error is None:
            return gauged.center(y, gauge)
        raw = np.where(bad, 0.0, solution.offset)
        return raw - component_means(raw, label, np.where(bad, 0, gauge))

    offset = centered(gauge)
    known = np.where((status == 0), offset, np.nan)
    lamp, notes = _lamp_outliers(case.problem, known, label, options)
    if lamp.any():
        # The usual lamp defines the zero: a shifted exposure does not pull at it.
        gauge = np.where(lamp, 0.0, gauge)
        offset = centered(gauge)
        status = np.where(lamp, status | int(Status.LAMP_OUTLIER), status)
        known = np.where(np.isfinite(known), offset, np.nan)
    vague = gauged.ambiguous[design.family] & np.isfinite(known)
    status = np.where(vague, status | int(Status.AMBIGUOUS), status)
    if solution.error is None:
        covariance = offset_covariance(gauged, gauge)
    else:
        error = np.where(np.isfinite(known), solution.error, np.nan)
        covariance = OffsetCovariance.diagonal(error**2)
    return Result(known, covariance, label, status, tuple(notes))


def _part(design: Design, keep: NDArray[np.bool_]) -> Design:
    return replace(design, zero=design.zero[keep], unknown=design.unknown[:, keep])


def _visits_of_offsets(problem: Problem) -> Vector:
    """Count the visits with a velocity of every offset: its weight in the gauge."""
    seen = np.isfinite(problem.rv)
    size = int(problem.starts[-1])
    out = np.zeros(size)
    for unknown in problem.unknown:
        has = seen & (unknown >= 0)
        out += np.bincount(unknown[has], minlength=size)
    return out


def _lamp_outliers(problem: Problem, offset: Vector, label, options):
    out = np.zeros(len(offset), bool)
    notes: list[str] = []
    for family, start in zip(problem.families, problem.starts, strict=False):
        mine = slice(start, start + len(family.groups))
        found, said = find_lamp_outliers(
            family, offset[mine], label[mine], problem.visits, options
        )
        out[mine] = found
        notes += said
    return out, notes


def _stars(case: Case, p_constant: Vector) -> pl.DataFrame:
    """Return the stars that entered, with what the method says of them."""
    entered = np.bincount(case.groups.star, minlength=case.groups.n_stars)
    here = np.flatnonzero(entered > 0)
    return pl.DataFrame(
        {
            "star_id": case.problem.star_ids[here],
            "n_visits": pl.Series(entered[here], dtype=pl.Int64),
            "p_constant": p_constant[here],
            "constant": np.nan_to_num(p_constant[here]) > 0.5,
        }
    )


def _errors(case: Case, solution: Solution, options: ZeroPointOptions) -> pl.DataFrame:
    noise = solution.noise
    if noise is None:
        return pl.DataFrame({"scale": [], "floor": []}, schema_overrides=_ERRORS)
    table = pl.DataFrame({"scale": noise.scale, "floor": noise.floor})
    names = joint.error_group_names(case, options)
    return table if names is None else pl.concat([names, table], how="horizontal")


_ERRORS = {"scale": pl.Float64, "floor": pl.Float64}
