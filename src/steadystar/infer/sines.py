"""Sines through a star's velocities: which share of chi squared they explain.

At each frequency ``a cos(2 pi f t) + b sin(2 pi f t)`` is fitted together with the
constants of the star (one for each velocity zero) and sines at periods that are known.
The power is the share of chi squared that the pair takes away, 0 to 1: with one constant
it is the generalized Lomb-Scargle periodogram of Zechmeister and Kuerster (2009).

All is done on whitened values, ``y / sigma``. What belongs to the constants is taken out
with an orthonormal basis Q of their columns, and the two columns of a frequency are made
orthonormal (u, v), so that the power of any velocities z, less their part in Q and of unit
length, is ``(u z)^2 + (v z)^2``: for many z at once a product of matrices.
"""

__all__ = ["Sampling", "frequency_grid", "window_power"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CHUNK = 4096  # frequencies at once: their columns stay in the cache
_TABLE = 64  # phases of so many neighbors are tabulated
# A column that the constants describe to this share (of its square) is none: rounding
# would be its power. It happens where all visits have the same phase.
_DEGENERATE = 1e-9


@dataclass(frozen=True)
class Sampling:
    """When a star was observed, how well, and what is fitted at every frequency.

    ``t`` (n,) in days from the middle; ``weight`` (n,) is 1 over the square of the
    errors; ``basis`` (n, k) holds orthonormal whitened columns of the constants.
    """

    t: Array
    weight: Array
    basis: Array

    @classmethod
    def of(cls, t: Array, err: Array, zero: NDArray[np.intp], known: Array):
        """Make one: errors, number of the velocity zero, and known frequencies."""
        root = 1 / err
        columns = [(zero == one) * root for one in np.unique(zero)]
        for f in known:
            phase = 2 * np.pi * f * t
            columns += [root * np.cos(phase), root * np.sin(phase)]
        left, size, _ = np.linalg.svd(np.stack(columns, 1), full_matrices=False)
        return cls(t, root**2, left[:, size > 1e-10 * size[0]])

    @property
    def freedom(self) -> int:
        """Visits less constants."""
        return len(self.t) - self.basis.shape[1]

    def whiten(self, rv: Array) -> Array:
        """Return ``rv (..., n)`` over its errors, less what the constants describe."""
        z = rv * np.sqrt(self.weight)
        return z - (z @ self.basis) @ self.basis.T

    def columns(self, frequency: Array) -> Iterator[tuple[slice, Array, Array]]:
        """Orthonormal columns u, v ``(chunk, n)`` of evenly spaced frequencies."""
        if len(frequency) == 0:
            return
        step = frequency[1] - frequency[0] if len(frequency) > 1 else 0.0
        root = np.sqrt(self.weight)
        near = np.exp(2j * np.pi * step * np.arange(_TABLE)[:, None] * self.t)
        for first in range(0, len(frequency), _CHUNK):
            part = frequency[first : first + _CHUNK]
            far = root * np.exp(2j * np.pi * part[::_TABLE, None] * self.t)
            both = (far[:, None] * near).reshape(-1, len(self.t))[: len(part)]
            where = slice(first, first + len(part))
            yield where, *self._orthonormal(np.real(both).copy(), np.imag(both).copy())

    def _orthonormal(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Gram and Schmidt: whitened cosines and sines less Q, and of each other."""
        least = _DEGENERATE * self.weight.sum()
        q = self.basis
        for column, before in ((u, None), (v, u)):
            column -= (column @ q) @ q.T
            if before is not None:
                column -= np.einsum("ij,ij->i", column, before)[:, None] * before
            square = np.einsum("ij,ij->i", column, column)
            inverse = np.where(
                square > least, 1 / np.sqrt(np.maximum(square, least)), 0
            )
            column *= inverse[:, None]
        return u, v

    def power(self, frequency: Array, z: Array) -> Array:
        """Power ``(m,)`` of whitened z at m frequencies; z is ``(n,)``, or ``(m, n)``."""
        phase = 2 * np.pi * frequency[:, None] * self.t
        return self._power(np.cos(phase), np.sin(phase), z)

    def _power(self, c: Array, s: Array, z: Array) -> Array:
        """The same from cosines and sines of the phases, ``(m, n)``, by their products.

        Of u and v only lengths, and products with z, are needed: what Gram and Schmidt
        would leave of the sums over the visits, as z has no part in Q.
        """
        total = self.weight.sum()
        least = _DEGENERATE * total
        root = np.sqrt(self.weight)
        in_q = root[:, None] * self.basis
        c_q, s_q = c @ in_q, s @ in_q
        cc, cs = (c * c) @ self.weight, (c * s) @ self.weight
        ss = total - cc - np.einsum("ij,ij->i", s_q, s_q)
        cc = cc - np.einsum("ij,ij->i", c_q, c_q)
        cs = cs - np.einsum("ij,ij->i", c_q, s_q)
        y = root * z
        if y.ndim == 1:
            cz, sz, size = c @ y, s @ y, z @ z
        else:
            cz, sz = (np.einsum("ij,ij->i", x, y) for x in (c, s))
            size = np.einsum("ij,ij->i", z, z)
        inverse = np.where(cc > least, 1 / np.maximum(cc, least), 0)
        along = cs * inverse
        left = ss - cs * along
        explained = cz**2 * inverse
        explained += np.where(
            left > least, (sz - along * cz) ** 2 / np.maximum(left, least), 0
        )
        return explained / np.where(size > 0, size, 1)

    def refine(self, frequency: Array, z: Array, reach: float) -> tuple[Array, Array]:
        """Climb from each frequency to the top of its peak: ``(frequency, power)``.

        Parabolas through three points, each four times narrower than the one before; the
        first has the half width ``reach``. The last leaves errors of frequency of about
        1e-3 of ``reach``.
        """
        best, center = frequency.copy(), frequency.copy()
        top = np.full(len(frequency), -1.0)
        for half in reach * 0.25 ** np.arange(3):
            left, middle, right = self._three(center, half, z)
            bend = left - 2 * middle + right
            falls = bend < 0
            vertex = 0.5 * half * (left - right) / np.where(falls, bend, 1)
            uphill = np.sign(right - left) * half
            move = np.where(falls, np.clip(vertex, -half, half), uphill)
            for shift, value in ((-half, left), (0.0, middle), (half, right)):
                better = value > top
                best = np.where(better, center + shift, best)
                top = np.where(better, value, top)
            center = center + move
        last = self.power(center, z)
        return np.where(last > top, center, best), np.maximum(last, top)

    def _three(self, center: Array, half: float, z: Array) -> Iterator[Array]:
        """Power at frequencies, and ``half`` below (first) and above (last) each.

        Sines of sums are products of sines: the phases of ``half`` are the same for all.
        """
        phase = 2 * np.pi * center[:, None] * self.t
        c, s = np.cos(phase), np.sin(phase)
        turn = 2 * np.pi * half * self.t
        c_c, c_s, s_c, s_s = (
            x * y for x in (c, s) for y in (np.cos(turn), np.sin(turn))
        )
        yield self._power(c_c + s_s, s_c - c_s, z)
        yield self._power(c, s, z)
        yield self._power(c_c - s_s, s_c + c_s, z)


def frequency_grid(
    baseline: float, min_period: float, max_period: float | None, oversampling: int
) -> Array:
    """Frequencies in cycles a day, evenly spaced; empty if the range is."""
    longest = 2 * baseline if max_period is None else max_period
    if not longest > min_period or not baseline > 0:
        return np.empty(0)
    step = 1 / (oversampling * baseline)
    count = int(np.ceil((1 / min_period - 1 / longest) / step)) + 1
    return np.asarray(1 / longest + step * np.arange(count), np.float64)


def window_power(t: Array, weight: Array, frequency: Array) -> Array:
    """Power of the sampling, 0 to 1: ``|sum w exp(2 pi i f t)|^2 / (sum w)^2``."""
    out = np.empty(len(frequency))
    for first in range(0, len(frequency), _CHUNK):
        part = slice(first, first + _CHUNK)
        wave = np.exp(2j * np.pi * frequency[part, None] * t)
        out[part] = np.abs(wave @ weight) ** 2
    return np.asarray(out / weight.sum() ** 2, np.float64)
