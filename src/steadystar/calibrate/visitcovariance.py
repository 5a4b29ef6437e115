"""Covariances between the corrections of a few visits, for every star of a large table.

A star's visits have at most some dozens of offsets among the thousands of a survey. So the
covariance is looked up, pair by pair, in the block of offsets to which the two belong: all
stars at once, and nothing between visits of different stars.
"""

__all__ = ["VisitCovariances"]

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.visitsums import Vector

_CELLS = 4_000_000
"""Samples of offsets that are held at once (32 MB)."""


@dataclass(frozen=True)
class VisitCovariances:
    """Who shares which offsets: lists have one entry a family, with one number a visit.

    ``covariance``: of the offsets. ``unknown`` (family, visit): the determined offset of
    each visit, -1 if none. ``rows``: its group, -1 if none, and ``prior`` the variance of
    an offset that is not determined, 0 where it is.
    """

    covariance: OffsetCovariance
    unknown: NDArray[np.intp]
    rows: list[NDArray[np.intp]]
    prior: list[Vector]

    def of(self, visits: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the covariances of groups of visits, ``(group, n, n)``, km^2/s^2.

        ``visits`` (group, n): numbers of n visits. NaN with visits whose offset is known
        and its error is not.
        """
        n = visits.shape[1]
        out = np.zeros((len(visits), n, n))
        for a in self.unknown:
            for b in self.unknown:
                self._add(out, a[visits], b[visits])
        own = np.arange(n)
        for row, prior in zip(self.rows, self.prior, strict=True):
            width = np.sqrt(prior[visits])
            if not width.any():
                continue
            group = row[visits]
            same = (group[:, :, None] == group[:, None, :]) & (group[:, :, None] >= 0)
            same[:, own, own] = True
            out += same * width[:, :, None] * width[:, None, :]
        return out

    @cached_property
    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Vector]:
        """Block of each offset, its place there, and its variance if it is alone there.

        Each has one entry more, of no offset. Blocks: -1 of none, -2 if alone in it.
        """
        size, members = self.covariance.size, self.covariance.members
        block = np.full(size + 1, -1)
        place = np.zeros(size + 1, np.intp)
        alone = np.zeros(size + 1)
        alone[:-1] = np.nan
        for i, member in enumerate(members):
            several = len(member) > 1 or self.covariance.sampled[i]
            block[member] = i if several else -2
            place[member] = np.arange(len(member))
            alone[member] = 0.0 if several else self.covariance.matrices[i][0, 0]
        return block, place, alone

    @cached_property
    def _matrices(self) -> list[NDArray[np.float64]]:
        """The matrix of each block; if it is sampled, the samples about their means."""
        pairs = zip(self.covariance.matrices, self.covariance.sampled, strict=True)
        return [
            matrix - matrix.mean(axis=1, keepdims=True) if sampled else matrix
            for matrix, sampled in pairs
        ]

    def _add(self, out: NDArray, left: NDArray[np.intp], right: NDArray[np.intp]):
        """Add the covariances of offsets ``left`` with ``right``, (group, n) each."""
        block, place, alone = self._places
        # An offset that is alone knows only itself, and one without an error nothing.
        itself = left[:, :, None] == right[:, None, :]
        out += np.where(itself, alone[left][:, :, None], 0.0)
        for lost in (alone[left][:, :, None], alone[right][:, None, :]):
            out += np.where(np.isnan(lost), np.nan, 0.0)
        for one, groups in _by_block(block[left]):
            matrix, sampled = self._matrices[one], self.covariance.sampled[one]
            step = max(1, _CELLS // (left.shape[1] * matrix.shape[1]))
            for start in range(0, len(groups), step if sampled else len(groups)):
                part = groups[start : start + step] if sampled else groups
                here = [block[x[part]] == one for x in (left, right)]
                a, b = (
                    np.where(h, place[x[part]], 0)
                    for h, x in zip(here, (left, right), strict=True)
                )
                if sampled:
                    found = matrix[a] @ np.swapaxes(matrix[b], 1, 2) / matrix.shape[1]
                else:
                    found = matrix[a[:, :, None], b[:, None, :]]
                out[part] += found * (here[0][:, :, None] & here[1][:, None, :])


def _by_block(block: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each block that occurs in ``block`` (group, n), and the groups that have it."""
    group = np.broadcast_to(np.arange(len(block))[:, None], block.shape)[block >= 0]
    key = np.unique(block[block >= 0] * len(block) + group)
    which, group = np.divmod(key, max(len(block), 1))
    for part in np.split(np.arange(len(key)), np.flatnonzero(np.diff(which)) + 1):
        if len(part):
            yield int(which[part[0]]), group[part]
