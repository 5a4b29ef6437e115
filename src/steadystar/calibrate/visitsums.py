"""Sums over the visits of a star, for all stars at once."""

__all__ = ["Groups", "Vector", "distinct", "distinct_stars", "sums"]

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Groups:
    """Visits belong to velocity zeros, and velocity zeros to stars.

    A star whose velocities are relative has one zero an arm, since each arm was measured
    against a reference of its own. ``zero``: of each visit, shape ``(visit,)``, 0 to
    ``n_zeros - 1``; ``star_of_zero``: shape ``(zero,)``, 0 to ``n_stars - 1``.
    """

    zero: NDArray[np.intp]
    star_of_zero: NDArray[np.intp]
    n_stars: int

    @classmethod
    def of_stars(cls, star: NDArray[np.intp]) -> "Groups":
        """Return groups in which every star has one velocity zero."""
        count = int(star.max(initial=-1)) + 1
        return cls(star, np.arange(count), count)

    @property
    def n_zeros(self) -> int:
        """Number of velocity zeros."""
        return len(self.star_of_zero)

    @cached_property
    def star(self) -> NDArray[np.intp]:
        """Star of each visit, ``(visit,)``."""
        return self.star_of_zero[self.zero]

    @cached_property
    def n_of_zero(self) -> NDArray[np.intp]:
        """Visits of each velocity zero, ``(zero,)``."""
        return np.bincount(self.zero, minlength=self.n_zeros)

    @cached_property
    def n_of_star(self) -> NDArray[np.intp]:
        """Most visits that any velocity zero of the star has, ``(star,)``."""
        most = np.zeros(self.n_stars, np.intp)
        np.maximum.at(most, self.star_of_zero, self.n_of_zero)
        return most

    def zeros(self, values: Vector) -> Vector:
        """Sum ``values`` (visit,) over each velocity zero, ``(zero,)``."""
        return sums(self.zero, values, self.n_zeros)

    def stars(self, values: Vector) -> Vector:
        """Sum ``values`` (zero,) over each star, ``(star,)``."""
        return sums(self.star_of_zero, values, self.n_stars)

    def medians(self, values: Vector) -> Vector:
        """Return the median of ``values`` (visit,) in each zero; 0 where none."""
        order = np.lexsort((values, self.zero))
        ends = np.cumsum(self.n_of_zero)
        starts = ends - self.n_of_zero
        middle = np.zeros(self.n_zeros)
        some = self.n_of_zero > 0
        low = order[starts[some] + (self.n_of_zero[some] - 1) // 2]
        high = order[starts[some] + self.n_of_zero[some] // 2]
        middle[some] = (values[low] + values[high]) / 2
        return middle


def sums(index: NDArray[np.intp], values: Vector, size: int) -> Vector:
    """Sum ``values`` by ``index``, shape ``(size,)``; zeros where there is nothing."""
    return np.bincount(index, values, size).astype(np.float64, copy=False)


def distinct(keys: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the different ``keys`` in increasing order."""
    ordered = np.sort(keys.astype(np.int64))
    return ordered[np.diff(ordered, prepend=ordered[:1] - 1) > 0]


def distinct_stars(
    star: NDArray[np.intp], offset: NDArray[np.intp], size: int
) -> NDArray[np.intp]:
    """Count the different stars among the visits of every offset, ``(size,)``.

    ``star`` and ``offset`` are those of each visit, ``(visit,)``, none negative.
    """
    stars = int(star.max(initial=0)) + 1
    pairs = distinct(offset.astype(np.int64) * stars + star)
    return np.bincount(pairs // stars, minlength=size)
