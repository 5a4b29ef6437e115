"""What the errors of a star's corrections have in common.

The error of a correction has a part that all visits of a star share: it never changed its
fiber, or only among fibers that are tied to each other better than to the rest. That part
moves the star as a whole and makes nothing seem to vary. It is the mean covariance of a
correction with those of the star's other visits, weighted as they are in its mean velocity,

    c_i^2 = sum_k w_k C_ik / sum_k w_k,    k other than i.
"""

__all__ = ["common_variance"]

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.visitsums import Vector, sums

_CELLS = 4_000_000
"""Of the products of star and offset that are held at once (32 MB)."""

_ALONE = 1e-9
"""A visit whose others have less than this of the weight is the star's only one."""


def common_variance(
    covariance: OffsetCovariance,
    unknown: NDArray[np.intp],
    undetermined: Iterable[tuple[NDArray[np.intp], Vector]],
    zero: NDArray[np.intp],
    weight: Vector,
    total: Vector,
) -> Vector:
    """Return the variance of each correction that the visits of its star share.

    Arguments:
        covariance: of the offsets.
        unknown: the determined offset of each visit, ``(family, visit)``; -1 if none.
        undetermined: for each family, the group of each visit and the variance of an
            offset there that is not determined, both ``(visit,)``; the variance is 0
            where it is. Visits of group -1 share nothing with others.
        zero: velocity zero of each visit; -1 if it has none.
        weight: of each visit in the mean of its zero; 0 if it has no velocity.
        total: variance of each correction.

    Between 0 and ``total``; nothing for visits of no star, all of it for a star's only
    visit.
    """
    zeros = int(zero.max(initial=-1)) + 1
    known = zero >= 0
    all_weight = sums(zero[known], weight[known], zeros)
    share = np.zeros(len(zero))
    share[known] = weight[known] / np.maximum(all_weight, 1e-300)[zero[known]]
    out = _Means(zero, share)
    out.add_blocks(covariance, unknown)
    for group, variance in undetermined:
        at = np.flatnonzero(known & (variance > 0))
        # A group that nobody knows is one of its own.
        own = np.where(
            group >= 0, group, group.max(initial=0) + 1 + np.arange(len(group))
        )
        out.add_independent(at, own[at], variance[at])
    others = 1 - share
    mean = (out.cross - share * total) / np.maximum(others, _ALONE)
    common = np.clip(np.where(others > _ALONE, mean, total), 0.0, total)
    return np.where(known, common, 0.0)


class _Means:
    """Covariances of corrections with the mean correction of their star, ``(visit,)``."""

    def __init__(self, zero: NDArray[np.intp], share: Vector) -> None:
        self.zero, self.share = zero, share
        self.cross = np.zeros(len(zero))

    def add_independent(
        self, visit: NDArray[np.intp], source: NDArray[np.intp], variance: Vector
    ) -> None:
        """Add noise that visits of one ``source`` share, and no others."""
        key = (
            self.zero[visit].astype(np.int64) * (int(source.max(initial=0)) + 1)
            + source
        )
        pair, place = np.unique(key, return_inverse=True)
        shared = sums(place, self.share[visit], len(pair))
        np.add.at(self.cross, visit, variance * shared[place])

    def add_blocks(
        self, covariance: OffsetCovariance, unknown: NDArray[np.intp]
    ) -> None:
        """Add the errors of determined offsets, block by block."""
        block = np.full(covariance.size + 1, -1)
        place = np.zeros(covariance.size + 1, np.intp)
        for i, member in enumerate(covariance.members):
            block[member], place[member] = i, np.arange(len(member))
        family, visit = np.nonzero((unknown >= 0) & (self.zero >= 0))
        offset = unknown[family, visit]
        single = np.array([len(m) == 1 for m in covariance.members] + [False])
        alone = single[block[offset]]
        variance = np.append(covariance.variances(), 0.0)[offset[alone]]
        self.add_independent(visit[alone], offset[alone], variance)
        rest = np.flatnonzero(~alone & (block[offset] >= 0))
        order = rest[np.lexsort((self.zero[visit[rest]], block[offset[rest]]))]
        for part in np.split(order, np.flatnonzero(np.diff(block[offset[order]])) + 1):
            if len(part):
                one = int(block[offset[part[0]]])
                self._add_block(
                    covariance.matrices[one],
                    covariance.sampled[one],
                    visit[part],
                    place[offset[part]],
                )

    def _add_block(
        self, matrix: Vector, sampled: bool, visit: NDArray[np.intp], place
    ) -> None:
        """Add one block; ``visit`` is sorted by zero, ``place`` is the row of each."""
        if sampled:
            matrix = matrix - matrix.mean(axis=1, keepdims=True)
        size, width = matrix.shape
        first = np.flatnonzero(np.diff(self.zero[visit], prepend=-1))
        # Whole stars at a time, as many as there is room for.
        cuts = first[:: max(1, _CELLS // width)]
        for low, high in zip(cuts, np.append(cuts[1:], len(visit)), strict=True):
            at, here = visit[low:high], place[low:high]
            zero, local = np.unique(self.zero[at], return_inverse=True)
            shape = (len(zero), size)
            average = csr_array((self.share[at], (local, here)), shape)
            moved = average @ matrix
            if sampled:
                both = np.einsum("ij,ij->i", matrix[here], moved[local]) / width
            else:
                both = moved[local, here]
            np.add.at(self.cross, at, both)
