"""Zero points, constancy and the scale of the errors, solved together.

    velocity = star + one offset of every family + noise

Which stars are constant is not decided beforehand. Each star has a probability of being
constant and of varying by one of several widths (`constancy`); visits are weighted by
what is expected of them; offsets follow by least squares with the stars' velocities
eliminated (`solve`); the residuals of the probably constant stars give a scale and a
floor for the errors (`noise`); and round again, until nothing moves by more than a
hundredth of its error. This is expectation and maximization.

It begins from a solution by least absolute deviations, in which no star can pull hard,
and with a floor as high as the scatter of that solution, so that the classes sharpen as
the solution does.
"""

__all__ = ["error_group_names", "solve"]

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.case import Case, Solution
from steadystar.calibrate.constancy import (
    Classes,
    Verdicts,
    class_widths,
    judge,
    updated_shares,
)
from steadystar.calibrate.iterate import OffsetSolver
from steadystar.calibrate.noise import Noise, largest_floor
from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.solve import Design, bounded, star_means
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Vector, distinct_stars
from steadystar.data.status import Status

_SETTLED = 0.01
_ROBUST_ROUNDS = 10
_LEAST_FLOOR = 0.1
"""Of the median error: the classes of variables begin at three times this, or more."""


@dataclass(frozen=True)
class _State:
    """Where the iteration stands: offsets, mean velocities, noise and mixture."""

    offset: Vector
    mean: Vector
    noise: Noise
    classes: Classes


@dataclass(frozen=True)
class _Frame:
    """What stays the same: centered velocities, groups of the noise, its scale, a solver."""

    y: Vector
    group: NDArray[np.intp]
    typical: float
    solver: OffsetSolver

    @property
    def least_floor(self) -> float:
        """Below this floor the classes of variables do not follow."""
        return max(_LEAST_FLOOR * self.typical, 1e-6)


def solve(case: Case, options: ZeroPointOptions) -> Solution:
    """Return offsets, with the stars' constancy and the noise inferred beside them."""
    groups = case.groups
    if not (groups.n_of_zero > 1).any():
        return _nothing(case)
    y = case.y - star_means(case.design, np.ones(len(case.y)), case.y)[groups.zero]
    solver = OffsetSolver(case.design)
    group = _error_groups(case, options)
    frame = _Frame(y, group, float(np.median(case.err)), solver)
    state, verdicts, motion = _round(case, frame, _start(case, frame))
    rounds = 1
    while motion > _SETTLED and rounds < options.max_rounds:
        state, verdicts, motion = _round(case, frame, state)
        rounds += 1
    notes = _noise_notes(state.noise, frame)
    if motion > _SETTLED:
        notes.insert(0, f"The solution had not settled after {rounds} rounds.")
    return Solution(
        offset=state.offset,
        weight=bounded(verdicts.weight),
        p_constant=np.where(groups.n_of_star >= 2, verdicts.probability[:, 0], np.nan),
        status=_too_few_constant(case, verdicts, options.min_constant),
        notes=tuple(notes),
        noise=state.noise,
    )


def _start(case: Case, frame: _Frame) -> _State:
    offset, mean, scatter = _least_absolute(case, frame)
    excess = max(scatter**2 - frame.typical**2, (0.3 * scatter) ** 2, 1e-12)
    floor = min(float(np.sqrt(excess)), largest_floor(frame.typical))
    noise = Noise.starting(int(frame.group.max()) + 1, floor)
    width = class_widths(_floor(noise, frame.group), frame.least_floor)
    return _State(offset, mean, noise, Classes.starting(width))


def _round(case: Case, frame: _Frame, state: _State) -> tuple[_State, Verdicts, float]:
    """Judge the stars, solve for the offsets, refit the noise; say how far all moved."""
    design, groups, group = case.design, case.groups, frame.group
    width = class_widths(_floor(state.noise, group), frame.least_floor)
    residual = frame.y - design.total(state.offset)
    variance = state.noise.variance(case.err, group)
    classes = replace(state.classes, width=width)
    verdicts = judge(residual, variance, groups, classes, state.mean)
    weight = bounded(verdicts.weight)
    offset, error = frame.solver.solve(weight, frame.y)
    noise = _refit(case, frame, offset, error, verdicts, state.noise)
    moved = _motion(design, offset - state.offset, error)
    grown = float(np.abs(noise.floor - state.noise.floor).max()) / frame.typical
    classes = updated_shares(classes, verdicts, groups)
    return _State(offset, verdicts.mean, noise, classes), verdicts, max(moved, grown)


def _nothing(case: Case) -> Solution:
    size = case.design.size
    return Solution(
        offset=np.zeros(size),
        weight=case.err**-2.0,
        p_constant=np.full(case.groups.n_stars, np.nan),
        status=np.zeros(size, np.int64),
    )


def _least_absolute(case: Case, frame: _Frame) -> tuple[Vector, Vector, float]:
    """Return offsets and mean velocities by least absolute deviations.

    The third value is the typical deviation, km/s. Weights of 1/|deviation| turn least
    squares into least absolute deviations, once they agree with the solution.
    """
    design, groups, y = case.design, case.groups, frame.y
    repeated = groups.n_of_zero[groups.zero] > 1

    def weighted(weight: Vector) -> tuple[Vector, Vector, Vector, float]:
        offset, _ = frame.solver.solve(weight, y)
        residual = y - design.total(offset)
        mean = star_means(design, weight, residual)
        deviation = np.abs(residual - mean[groups.zero])
        return offset, mean, deviation, 1.4826 * float(np.median(deviation[repeated]))

    offset, mean, deviation, scatter = weighted(np.ones(len(y)))
    for _ in range(_ROBUST_ROUNDS):
        soft = max(scatter, 1e-9)
        steep = np.hypot(deviation, soft / 2) * np.hypot(case.err, 0.3 * soft)
        offset, mean, deviation, scatter = weighted(1 / steep)
    return offset, mean, scatter


def _error_groups(case: Case, options: ZeroPointOptions) -> NDArray[np.intp]:
    if not options.error_by:
        return np.zeros(len(case.rows), np.intp)
    group, _ = codes(case.problem.visits[case.rows], options.error_by)
    # Visits with an empty column share a group of their own, the last.
    return np.where(group < 0, group.max(initial=-1) + 1, group)


def error_group_names(case: Case, options: ZeroPointOptions) -> pl.DataFrame | None:
    """Return the columns of ``error_by`` for each group of the noise, None if none."""
    if not options.error_by:
        return None
    group, names = codes(case.problem.visits[case.rows], options.error_by)
    if (group < 0).any():
        empty = pl.DataFrame({n: [None] for n in names.columns}, schema=names.schema)
        names = pl.concat([names, empty])
    return names


def _floor(noise: Noise, group: NDArray[np.intp]) -> float:
    """Return the floor of the typical visit."""
    return float(np.median(noise.floor[group]))


def _motion(design: Design, change: Vector, error: Vector) -> float:
    """Return the largest change of an offset beyond the common one, in its errors."""
    most = 0.0
    for f in range(len(design.unknown)):
        mine = (design.family == f) & (error > 0)
        if mine.any():
            moved = change[mine] - np.average(change[mine], weights=error[mine] ** -2)
            most = max(most, float(np.max(np.abs(moved) / error[mine])))
    return most


def _refit(case: Case, frame, offset, error, verdicts: Verdicts, noise) -> Noise:
    """Improve the noise from the residuals of the visits of constant stars.

    A residual is smaller than the noise: the star's mean and the offset have followed
    it. What they took, on average their variances, is given back.
    """
    groups, design = case.groups, case.design
    residual = frame.y - design.total(offset)
    square = (residual - verdicts.mean[groups.zero]) ** 2
    square = square + verdicts.mean_var[groups.zero] + design.total(error**2)
    counts = verdicts.probability[groups.star, 0] * (1 - verdicts.wild)
    counts = np.where(groups.n_of_zero[groups.zero] > 1, counts, 0.0)
    most = largest_floor(frame.typical)
    for _ in range(2):
        noise, _ = noise.improved(case.err, frame.group, square, counts, most)
    return noise


def _too_few_constant(case: Case, verdicts: Verdicts, least: int) -> NDArray[np.int64]:
    """Flag offsets on which fewer than ``least`` constant stars bear."""
    constant = verdicts.probability[:, 0] > 0.5
    useful = constant[case.groups.star] & (case.groups.n_of_zero[case.groups.zero] > 1)
    count = np.zeros(case.design.size, np.intp)
    for unknown in case.design.unknown:
        at = useful & (unknown >= 0)
        count += distinct_stars(case.groups.star[at], unknown[at], case.design.size)
    flag = int(Status.TOO_FEW_STARS | Status.UNCALIBRATED)
    return np.where(count < least, flag, 0).astype(np.int64)


def _noise_notes(noise: Noise, frame: _Frame) -> list[str]:
    most = 0.99 * largest_floor(frame.typical)
    return [
        f"Constant stars scatter as {scale:.2f} times the given errors with a floor of "
        f"{1000 * floor:.0f} m/s."
        for scale, floor in zip(noise.scale, noise.floor, strict=True)
        if floor < most  # else nothing is constant: there is another sentence for that
    ]
