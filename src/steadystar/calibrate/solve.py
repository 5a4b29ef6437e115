"""Weighted least squares of offsets, with the stars' own velocities eliminated.

A visit is ``y = V + sum_f c_f + noise``: the velocity ``V`` of its star plus one offset
of every family. For given offsets the best ``V`` is a weighted mean, so it drops out
(Saydjari 2025, eq. 13-15) and what remains is a small symmetric system in the offsets,

    N = B^T W B - A^T Z^-1 A,    A = S^T W B,    Z = S^T W S,

with ``B`` the incidence of offsets, ``S`` that of stars and ``W`` the weights. ``N`` is
sparse where groups share few stars, and singular along every direction that the
velocities of the stars can absorb. Those directions are left to `gauge`; here a
vanishing penalty keeps the factorization regular and the solution small along them.
"""

__all__ = [
    "Design",
    "Factor",
    "bounded",
    "normal_matrix",
    "right_side",
    "solve_offsets",
    "star_means",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags_array

from steadystar.calibrate.factor import factorize
from steadystar.calibrate.visitsums import Vector, sums

PENALTY = 1e-9
"""Of a unit diagonal: far below the weakest tie, far above the rounding of a sum."""


@dataclass(frozen=True)
class Design:
    """Which unknowns each visit touches.

    ``zero``: index of the unknown velocity zero (star, and arm if velocities are
    relative) of each visit, shape ``(visit,)``. ``unknown``: index of the offset in
    each family, shape ``(family, visit)``, -1 where the visit has none. ``size`` and
    ``zeros`` count offsets and velocity zeros; ``family`` is the family of every offset.
    """

    zero: NDArray[np.intp]
    unknown: NDArray[np.intp]
    zeros: int
    size: int
    family: NDArray[np.intp]

    def incidence(self, weight: Vector) -> tuple[csr_matrix, csr_matrix]:
        """Return ``B^T W B`` (offset, offset) and ``A = S^T W B`` (zero, offset)."""
        size, zeros = self.size, self.zeros
        square = csr_matrix((size, size))
        cross = csr_matrix((zeros, size))
        for f, a in enumerate(self.unknown):
            has = a >= 0
            w, i = weight[has], a[has]
            cross += coo_matrix((w, (self.zero[has], i)), (zeros, size)).tocsr()
            square += diags_array(sums(i, w, size)).tocsr()
            for b in self.unknown[f + 1 :]:
                both = has & (b >= 0)
                index = (a[both], b[both])
                block = coo_matrix((weight[both], index), (size, size)).tocsr()
                square += block + block.T
        return csr_matrix(square), csr_matrix(cross)

    def total(self, offset: Vector) -> Vector:
        """Return the sum of the offsets of every visit, ``(visit,)``."""
        padded = np.append(offset, 0.0)
        return padded[self.unknown].sum(axis=0)

    def families_up_to(self, count: int) -> "Design":
        """Return the design with only the first ``count`` families."""
        return Design(
            self.zero, self.unknown[:count], self.zeros, self.size, self.family
        )


def normal_matrix(design: Design, weight: Vector, *, stars: bool = True) -> csr_matrix:
    """Return ``N``, shape (offset, offset); without ``stars``, only ``B^T W B``."""
    square, cross = design.incidence(weight)
    if not stars:
        return square
    total = sums(design.zero, weight, design.zeros)
    inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return csr_matrix(square - cross.T @ diags_array(inverse) @ cross)


def right_side(design: Design, weight: Vector, y: Vector) -> Vector:
    """Return ``B^T W (y - weighted mean of the star)``, shape (offset,)."""
    moved = weight * (y - star_means(design, weight, y)[design.zero])
    out = np.zeros(design.size)
    for index in design.unknown:
        has = index >= 0
        out += sums(index[has], moved[has], design.size)
    return out


def bounded(weight: Vector) -> Vector:
    """Return weights none of which exceeds a million times the median.

    That is an error of a thousandth of the typical one: no visit is that good, and
    beyond it the sums lose the other visits to rounding.
    """
    some = weight[weight > 0]
    return np.minimum(weight, 1e6 * np.median(some)) if len(some) else weight


def star_means(design: Design, weight: Vector, y: Vector) -> Vector:
    """Return the weighted mean of ``y`` of every velocity zero; 0 where none."""
    total = sums(design.zero, weight, design.zeros)
    mean = sums(design.zero, weight * y, design.zeros)
    return np.divide(mean, total, out=mean, where=total > 0)


class Factor:
    """``N`` with a vanishing penalty, factorized: ``solve`` as often as needed."""

    def __init__(self, normal: csr_matrix, family: NDArray[np.intp]) -> None:
        diagonal = normal.diagonal()
        self.scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5
        scaled = diags_array(self.scale) @ normal @ diags_array(self.scale)
        self.matrix = csr_matrix(scaled)
        regular = csr_matrix(scaled + diags_array(np.full(len(diagonal), PENALTY)))
        self._solve = factorize(regular, family)

    def solve(self, right: Vector) -> Vector:
        """Return ``x`` with ``N x = right``; shapes ``(offset,)`` or ``(offset, k)``."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        target = scale * right
        x = self._solve(target)
        # The penalty biases weak directions by PENALTY / eigenvalue; once more squares
        # that, and removes the rounding of the factorization too.
        x = x + self._solve(target - self.matrix @ x)
        return scale * x

    def null_part(self, random: Vector, rounds: int = 4) -> Vector:
        """Return what of ``random`` (offset, k) lies in the null space of ``N``."""
        x = random
        for _ in range(rounds):
            x = PENALTY * self._solve(x)
        return self.scale[:, None] * x


def solve_offsets(design: Design, weight: Vector, y: Vector) -> Vector:
    """Return offsets that minimize the weighted residuals, shape (offset,).

    Along directions that the data do not determine they are small, not meaningful.
    """
    if design.size == 0:
        return np.zeros(0)
    factor = Factor(normal_matrix(design, weight), design.family)
    return factor.solve(right_side(design, weight, y))
