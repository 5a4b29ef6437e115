"""What is ordinary among stars like this one: mean and scatter of a quantity nearby.

A reconstruction is not equally good for all kinds of stars: where the sample is thin, or a
line saturates, it is off by a little in the same way for all of a kind. `Neighbors` keeps
a sample of spectra, where they lie in their leading coefficients, and what was measured of
them; for a new one it says what is ordinary among the nearest. Those that stand out (the
emitters, which are looked for) are left out of it, round by round.
"""

__all__ = ["Neighbors"]

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

_DIMENSIONS = 4
_MOST = 8000
_NEAREST, _LEAST = 150, 40
_CLIP = 2.5
_KEPT = 0.9113
"""Variance of a normal distribution cut at 2.5 sigma, over that of the whole one."""
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Neighbors:
    """A sample: ``place (star, dimension)``, ``value, error (quantity, star)``."""

    place: NDArray[np.float32]
    value: NDArray[np.float32]
    error: NDArray[np.float32]

    @classmethod
    def of(cls, place, value, error) -> "Neighbors":
        """Keep the stars whose values are known, at most 8000, evenly spread."""
        known = np.isfinite(place).all(axis=1) & np.isfinite(value + error).all(axis=0)
        rows = np.flatnonzero(known)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST)).astype(int)]
        return cls(
            place[rows, :_DIMENSIONS].astype(np.float32),
            value[:, rows].astype(np.float32),
            error[:, rows].astype(np.float32),
        )

    def ordinary(self, place) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and scatter beyond the errors at places, ``(quantity, star)``.

        Both are zero where the sample is too small to say.
        """
        shape = (len(self.value), len(place))
        mean, extra = np.zeros(shape), np.zeros(shape)
        if len(self.place) < _LEAST:
            return mean, extra
        count = int(np.clip(len(self.place) // 15, _LEAST, _NEAREST))
        tree = KDTree(self.place)
        wanted = np.nan_to_num(place[:, :_DIMENSIONS])
        for begin in range(0, len(place), _CHUNK):
            rows = slice(begin, begin + _CHUNK)
            _, near = tree.query(wanted[rows], count)
            for q in range(len(self.value)):
                mean[q, rows], extra[q, rows] = _bulk(
                    self.value[q][near].astype(float), self.error[q][near].astype(float)
                )
        return mean, extra

    def to_arrays(self) -> dict[str, NDArray]:
        """Return its fields, as arrays by name."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "Neighbors":
        """Make it of what `to_arrays` returned."""
        return cls(**arrays)


def _bulk(value: NDArray[np.float64], error: NDArray[np.float64]):
    """Weighted mean, and scatter beyond the errors, of the bulk of each row."""
    mean = np.median(value, axis=1)
    extra = 1.4826 * np.median(abs(value - mean[:, None]), axis=1)
    for _ in range(6):
        spread = np.hypot(error, extra[:, None])
        kept = abs(value - mean[:, None]) < _CLIP * spread
        weight = np.where(kept, spread**-2, 0)
        total = np.maximum(weight.sum(axis=1), 1e-30)
        mean = (weight * value).sum(axis=1) / total
        off = (value - mean[:, None]) ** 2 / _KEPT - error**2
        extra = np.sqrt(np.maximum((weight * off).sum(axis=1) / total, 0))
    return mean, extra
