"""Which offsets the data determine, and against what.

Three things can keep an offset from being known.

1. Nobody moves. If every star stays within one group of a family (always the same
   fiber), the star's own velocity absorbs the offset.
2. Too few stars move. With one or two stars in an exposure, a star that varies cannot be
   told from an offset. The visits of those stars leave the solution.
3. Families overlap. If nights and exposures both have offsets, a night's can be shared
   out among its exposures without any change to a visit. Such a direction is given to
   the family that is named first; in the later one each set of groups that only such
   directions tie to others has weighted mean zero.

What remains of a family falls into *components*: sets of groups whose differences are
determined. Each component has its own gauge, a weighted mean of zero.
"""

__all__ = [
    "Determined",
    "active_design",
    "center",
    "component_means",
    "components",
    "determine",
]

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from steadystar.calibrate.solve import (
    Design,
    Factor,
    normal_matrix,
    solve_offsets,
)
from steadystar.calibrate.visitsums import Vector, distinct_stars, sums
from steadystar.data.status import Status

_TOLERANCE = 1e-6
"""Relative to the largest entry of a random vector of the null space."""


@dataclass(frozen=True)
class Determined:
    """What can be solved.

    ``rows``: visits (bool) that stay in the solution. ``active``: offsets (bool) that
    are solved for. ``status`` (offset,): why the others are not, 0 for the active.
    """

    rows: NDArray[np.bool_]
    active: NDArray[np.bool_]
    status: NDArray[np.int64]


def determine(design: Design, star: NDArray[np.intp], min_stars: int) -> Determined:
    """Find the offsets that enough stars tie to others.

    ``star`` (visit,) is the star of each visit. A star counts for a group if it has
    visits in it and in another group of the same family.
    """
    rows = np.ones(len(star), bool)
    refused = np.zeros(design.size, bool)
    movers = np.zeros(design.size, np.intp)
    changed = True
    while changed:
        changed = False
        for f, unknown in enumerate(design.unknown):
            at = np.flatnonzero(rows & (unknown >= 0))
            moving = at[_moves(design.zero[at], unknown[at], design.zeros)]
            count = distinct_stars(star[moving], unknown[moving], design.size)
            own = design.family == f
            movers[own] = count[own]
            few = (count > 0) & (count < min_stars)
            if few.any():
                refused |= few
                rows[moving[few[unknown[moving]]]] = False
                changed = True
    active = (movers >= min_stars) & ~refused
    status = np.where(active, 0, int(Status.UNCALIBRATED))
    stars = np.zeros(design.size, np.intp)
    for unknown in design.unknown:
        has = unknown >= 0
        stars += distinct_stars(star[has], unknown[has], design.size)
    few = ~active & (refused | (stars < min_stars))
    status = status | np.where(few, int(Status.TOO_FEW_STARS), 0)
    return Determined(rows, active, status.astype(np.int64))


def _moves(zero, unknown, zeros: int) -> NDArray[np.bool_]:
    """Return whether the star of each visit has visits in other groups too."""
    low = np.full(zeros, np.iinfo(np.intp).max)
    high = np.full(zeros, -1)
    np.minimum.at(low, zero, unknown)
    np.maximum.at(high, zero, unknown)
    return (low < high)[zero]


def components(design: Design) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Label the sets of offsets of one family whose differences are determined.

    Returns ``label`` (offset,), increasing with the first offset of each set and
    different in different families, and ``redundant`` (offset,): offsets of a later
    family that earlier families contain. Offsets without visits get a label of their
    own.
    """
    label = np.zeros(design.size, np.intp)
    redundant = np.zeros(design.size, bool)
    for f in range(len(design.unknown)):
        mine = design.family == f
        if f == 0:
            found = _graph_labels(design)
        else:
            part = design.families_up_to(f + 1)
            found = _null_labels(part, stars=True)
            alone = np.bincount(found, minlength=design.size)[found] == 1
            apart = _null_labels(part, stars=False)
            own = _first_index(np.where(mine, apart, -1))
            count = np.bincount(own[mine], minlength=design.size)
            several = np.unique(own[mine]).size > 1 or mine.sum() == 1
            redundant |= mine & alone & (count[own] == 1) & several
        label[mine] = found[mine] + f * design.size
    return _first_index(label), redundant


def _graph_labels(design: Design) -> NDArray[np.intp]:
    """Connected groups of the first family: groups are linked by shared stars."""
    unknown = design.unknown[0]
    has = unknown >= 0
    size = design.size + design.zeros
    edges = (unknown[has], design.size + design.zero[has])
    links = coo_matrix((np.ones(int(has.sum())), edges), (size, size))
    _, label = connected_components(links, directed=False)
    return _first_index(label[: design.size].astype(np.intp))


def _null_labels(design: Design, *, stars: bool) -> NDArray[np.intp]:
    """Group offsets of one family whose difference no null direction changes.

    Random vectors, projected on the null space, differ between two offsets unless
    every null direction moves both alike.
    """
    weight = np.ones(design.unknown.shape[1])
    factor = Factor(normal_matrix(design, weight, stars=stars))
    random = np.random.default_rng(0).standard_normal((design.size, 3))
    null = factor.null_part(random)
    label = design.family.copy()
    for column in null.T:
        step = _TOLERANCE * max(np.abs(column).max(), 1e-300)
        order = np.lexsort((column, label))
        new = (np.diff(label[order]) != 0) | (np.diff(column[order]) > step)
        label = np.empty_like(label)
        label[order] = np.concatenate([[0], np.cumsum(new)])
    return _first_index(label)


def _first_index(label: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rename labels by the first place where each occurs."""
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return first[inverse]


def center(
    design: Design,
    weight: Vector,
    y: Vector,
    label: NDArray[np.intp],
    gauge: Vector,
) -> tuple[Vector, NDArray[np.bool_]]:
    """Solve for the offsets, with weighted mean zero in every component.

    Arguments:
        design, weight, y: the problem; ``label``: components, as from `components`.
        gauge: weight of each offset in the mean of its component, ``(offset,)``.

    Returns:
        The offsets, and the families (bool) for which means of zero would change the
        residuals: their components are tied to each other in a way that no group owns,
        and they stay as the smallest solution has them.
    """
    offset = solve_offsets(design, weight, y)
    ambiguous = np.zeros(len(design.unknown), bool)
    best = _chi2(design, weight, y, offset)
    fixed = np.zeros_like(offset)
    for f in range(len(design.unknown) - 1, 0, -1):
        mine = design.family == f
        centered = np.where(mine, offset - component_means(offset, label, gauge), 0.0)
        trial = fixed + centered
        rest = y - design.total(trial)
        lower = solve_offsets(design.families_up_to(f), weight, rest)
        if _chi2(design, weight, rest, lower) <= best * (1 + 1e-6) + 1e-9:
            fixed, offset = trial, trial + lower
        else:
            ambiguous[f] = True
            fixed = fixed + np.where(mine, offset, 0.0)
    first = design.family == 0
    offset = offset - np.where(first, component_means(offset, label, gauge), 0.0)
    return offset, ambiguous


def component_means(offset: Vector, label, gauge: Vector) -> Vector:
    """Return the weighted mean of its component for every offset."""
    some = sums(label, gauge, len(offset)) > 0
    weight = np.where(some[label], gauge, 1.0)
    total = sums(label, weight, len(offset))
    mean = sums(label, weight * offset, len(offset))
    return np.divide(mean, total, out=mean, where=total > 0)[label]


def _chi2(design: Design, weight: Vector, y: Vector, offset: Vector) -> float:
    residual = y - design.total(offset)
    total = sums(design.zero, weight, design.zeros)
    mean = sums(design.zero, weight * residual, design.zeros)
    mean = np.divide(mean, total, out=mean, where=total > 0)
    return float(np.sum(weight * (residual - mean[design.zero]) ** 2))


def active_design(design: Design, active: NDArray[np.bool_]) -> Design:
    """Return the design without the offsets that are not solved for."""
    padded = np.append(active, False)
    return replace(design, unknown=np.where(padded[design.unknown], design.unknown, -1))
