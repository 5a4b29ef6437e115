"""Which offsets the data determine, and against what.

Three things can keep an offset from being known.

1. Nobody moves. If every star stays within one group of a family (always the same
   fiber), the star's own velocity absorbs the offset.
2. Too few stars move. With one or two stars in an exposure, a star that varies cannot be
   told from an offset. The visits of those stars leave the solution, or, where they
   bear on offsets of other families, stay with so much more noise.
3. Families overlap. If nights and exposures both have offsets, a night's can be shared
   out among its exposures without any change to a visit. Such a direction is given to
   the family that is named first; in the later one each set of groups that only such
   directions tie to others has weighted mean zero.

What remains of a family falls into *components*: sets of groups whose differences are
determined. Each component has its own gauge, a weighted mean of zero.
"""

__all__ = [
    "Determined",
    "Gauged",
    "active_design",
    "component_means",
    "components",
    "determine",
]

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags_array
from scipy.sparse.csgraph import connected_components

from steadystar.calibrate.solve import (
    Design,
    Factor,
    normal_matrix,
    right_side,
    star_means,
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
    ``unmodeled`` (family, visit): visits whose offset is not solved for although the
    star has others: for the solution it is noise of the width of the family's offsets.
    """

    rows: NDArray[np.bool_]
    active: NDArray[np.bool_]
    status: NDArray[np.int64]
    unmodeled: NDArray[np.bool_]


def determine(design: Design, star: NDArray[np.intp], min_stars: int) -> Determined:
    """Find the offsets that enough stars tie to others.

    ``star`` (visit,) is the star of each visit. A star counts for a group if it has
    visits in it and in another group of the same family.
    """
    refused = np.zeros(design.size + 1, bool)
    movers = np.zeros(design.size, np.intp)
    for f, unknown in enumerate(design.unknown):
        few = np.ones(1, bool)
        while few.any():
            at = np.flatnonzero((unknown >= 0) & ~refused[unknown])
            moving = at[_moves(design.zero[at], unknown[at], design.zeros)]
            count = distinct_stars(star[moving], unknown[moving], design.size)
            own = design.family == f
            movers[own] = count[own]
            few = (count > 0) & (count < min_stars)
            refused[:-1] |= few
    active = (movers >= min_stars) & ~refused[:-1]
    stars = np.zeros(design.size, np.intp)
    unmodeled = np.zeros(design.unknown.shape, bool)
    for f, unknown in enumerate(design.unknown):
        has = np.flatnonzero(unknown >= 0)
        stars += distinct_stars(star[has], unknown[has], design.size)
        moving = has[_moves(design.zero[has], unknown[has], design.zeros)]
        unmodeled[f, moving] = refused[unknown[moving]]
    status = np.where(active, 0, int(Status.UNCALIBRATED))
    few = ~active & (refused[:-1] | (stars < min_stars))
    status |= np.where(few, int(Status.TOO_FEW_STARS), 0)
    useful = np.any(np.append(active, False)[design.unknown], axis=0)
    rows = np.asarray(useful | ~np.any(unmodeled, axis=0))
    return Determined(rows, active, status.astype(np.int64), unmodeled)


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
    factor = Factor(normal_matrix(design, weight, stars=stars), design.family)
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


class Gauged:
    """Offsets with weighted mean zero in every component, from right-hand sides.

    Once made, it solves for any number of right sides (see `solve.right_side`).
    ``ambiguous`` (family,) are families for which means of zero would change the
    residuals: their components are tied to each other in a way that no group owns, and
    they stay as the smallest solution has them.
    """

    def __init__(self, design: Design, weight: Vector, label: NDArray[np.intp]) -> None:
        """Take a problem, and its components as from `components`."""
        self.design, self.weight, self.label = design, weight, label
        self.ambiguous = np.zeros(len(design.unknown), bool)

    @cached_property
    def normal(self) -> csr_matrix:
        """The normal matrix of all families, (offset, offset)."""
        return normal_matrix(self.design, self.weight)

    @cached_property
    def _factors(self) -> list[Factor]:
        """Factors of all families, of all but the last, and so on to the first alone."""
        family = self.design.family
        factors = [Factor(self.normal, family)]
        for f in range(len(self.ambiguous) - 1, 0, -1):
            lower = diags_array((family < f).astype(float))
            factors.append(Factor(csr_matrix(lower @ self.normal @ lower), family))
        return factors

    def center(self, y: Vector, gauge: Vector) -> Vector:
        """Return the offsets of velocities ``y`` (visit,); find ambiguous families.

        ``gauge`` (offset,) is the weight of each offset in the mean of its component.
        """
        design, weight = self.design, self.weight
        residual = y - star_means(design, weight, y)[design.zero]
        chi2 = float(np.sum(weight * residual**2))
        right = right_side(design, weight, y)
        return self.solve(right[:, None], gauge, chi2)[:, 0]

    def solve(self, right: Vector, gauge: Vector, chi2: float | None = None) -> Vector:
        """Return offsets (offset, k) for right sides (offset, k).

        With ``chi2``, that of all offsets zero, families are tested for being
        ``ambiguous``; without, what the last test found is taken.
        """
        offset = self._factors[0].solve(right)
        best = self._chi2(offset, right)
        fixed = np.zeros_like(offset)
        for f, factor in zip(
            range(len(self.ambiguous) - 1, 0, -1), self._factors[1:], strict=True
        ):
            mine = (self.design.family == f)[:, None]
            means = component_means(offset, self.label, gauge)
            trial = fixed + np.where(mine, offset - means, 0.0)
            lower = (self.design.family < f)[:, None]
            rest = np.where(lower, right - self.normal @ trial, 0.0)
            moved = trial + np.where(lower, factor.solve(rest), 0.0)
            if chi2 is not None:
                worse = float((self._chi2(moved, right) - best).max(initial=0.0))
                self.ambiguous[f] = worse > 1e-6 * (chi2 + float(best.min(initial=0.0)))
            if self.ambiguous[f]:
                fixed = fixed + np.where(mine, offset, 0.0)
            else:
                fixed, offset = trial, moved
        first = (self.design.family == 0)[:, None]
        means = component_means(offset, self.label, gauge)
        return offset - np.where(first, means, 0.0)

    def _chi2(self, offset: Vector, right: Vector) -> Vector:
        """Return chi squared, less that of no offsets, of every column, ``(k,)``."""
        return np.sum(offset * (self.normal @ offset - 2 * right), axis=0)


def component_means(offset: Vector, label: NDArray[np.intp], gauge: Vector) -> Vector:
    """Return the weighted mean of its component for every offset, (offset, k)."""
    n = len(offset)
    some = sums(label, gauge, n) > 0
    weight = np.where(some[label], gauge, 1.0)
    share = weight / np.maximum(sums(label, weight, n), 1e-300)[label]
    collect = csr_matrix((share, (label, np.arange(n))), (n, n))
    return (collect @ offset)[label]


def active_design(design: Design, active: NDArray[np.bool_]) -> Design:
    """Return the design without the offsets that are not solved for."""
    padded = np.append(active, False)
    return replace(design, unknown=np.where(padded[design.unknown], design.unknown, -1))
