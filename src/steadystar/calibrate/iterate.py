"""Offsets of several large families, by conjugate gradients.

`solve.Factor` is exact, but the families of a large table meet everywhere: thousands of
exposures by hundreds of fibers make a dense matrix, to be made and factorized anew whenever
the weights change. Conjugate gradients need only the product of the matrix with a vector,
which is two sums over the visits. Preconditioned by each family on its own they take a
handful of steps, since the families are nearly orthogonal: a fiber's stars are spread over
many exposures. While weights are still iterated, that is enough; the last word has the
exact solution, in `gauge`.
"""

__all__ = ["OffsetSolver"]

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.solve import (
    Design,
    Factor,
    normal_matrix,
    right_side,
)
from steadystar.calibrate.visitsums import Vector, sums

_LARGE = 2000
"""Offsets beyond which several families are solved iteratively."""

_PRECISION = 1e-3
"""Of the typical error of an offset, if weights are inverse variances."""

_STEPS, _MANY = 300, 10


class OffsetSolver:
    """Solves one design for changing weights, if need be each time from the last solution."""

    def __init__(self, design: Design) -> None:
        """Take the design; what is factorized is kept from one call to the next."""
        self.design = design
        self.iterates = len(design.unknown) > 1 and design.size > _LARGE
        self._blocks: list[Factor] = []
        self._last = np.zeros(design.size)
        self._pairs = [_Pairs.of(design, u) for u in design.unknown if self.iterates]

    def solve(self, weight: Vector, y: Vector) -> tuple[Vector, Vector]:
        """Return offsets as `solve.solve_offsets` does, and their rough errors.

        Both ``(offset,)``. Along directions that the data do not determine offsets are
        arbitrary. The errors are those if all other offsets were known; 0 where there is
        no information.
        """
        if not self.iterates:
            return self._direct(weight, y)
        if not self._blocks:
            self._blocks = self._factorized(weight)
        steps = self._descend(weight, y)
        if steps == _STEPS:
            return self._direct(weight, y)
        if steps > _MANY:
            # The weights have left those of the preconditioner behind.
            self._blocks = []
        total = sums(self.design.zero, weight, self.design.zeros)
        information = np.zeros(self.design.size)
        for pairs in self._pairs:
            information += pairs.information(weight, total, self.design.size)
        return self._last.copy(), _errors(information)

    def _direct(self, weight: Vector, y: Vector) -> tuple[Vector, Vector]:
        design = self.design
        normal = normal_matrix(design, weight)
        offset = Factor(normal, design.family).solve(right_side(design, weight, y))
        return offset, _errors(np.asarray(normal.diagonal(), np.float64))

    def _factorized(self, weight: Vector) -> list[Factor]:
        design = self.design
        parts = (
            replace(design, unknown=design.unknown[f : f + 1])
            for f in range(len(design.unknown))
        )
        return [Factor(normal_matrix(p, weight), design.family) for p in parts]

    def _descend(self, weight: Vector, y: Vector) -> int:
        """Improve the last solution until it is precise; return the number of steps."""
        design, x = self.design, self._last
        residual = right_side(design, weight, y - design.total(x))
        better = self._preconditioned(residual)
        direction, size = better, float(residual @ better)
        for step in range(_STEPS):
            # The square of the error, in units of those of the offsets, is about this.
            if not size > _PRECISION**2 * design.size:
                return step
            product = right_side(design, weight, design.total(direction))
            length = size / float(direction @ product)
            x += length * direction
            residual -= length * product
            better = self._preconditioned(residual)
            before, size = size, float(residual @ better)
            direction = better + size / before * direction
        return _STEPS

    def _preconditioned(self, residual: Vector) -> Vector:
        out = np.zeros_like(residual)
        for f, block in enumerate(self._blocks):
            mine = self.design.family == f
            out[mine] = block.solve(np.where(mine, residual, 0.0))[mine]
        return out


@dataclass(frozen=True)
class _Pairs:
    """Velocity zeros and the offsets of a family in which they have visits.

    ``has``: the visits with an offset of the family; ``place``: the pair of each of them;
    ``zero, offset``: of each pair.
    """

    has: NDArray[np.bool_]
    place: NDArray[np.intp]
    zero: NDArray[np.intp]
    offset: NDArray[np.intp]

    @classmethod
    def of(cls, design: Design, unknown: NDArray[np.intp]) -> "_Pairs":
        has = unknown >= 0
        keys = design.zero[has].astype(np.int64) * design.size + unknown[has]
        pair, place = np.unique(keys, return_inverse=True)
        zero, offset = np.divmod(pair, max(design.size, 1))
        return cls(has, place, zero, offset)

    def information(self, weight: Vector, total: Vector, size: int) -> Vector:
        """Return the diagonal of the normal matrix; ``total`` is the weight of each zero."""
        shared = sums(self.place, weight[self.has], len(self.zero))
        lost = shared**2 / np.maximum(total[self.zero], 1e-300)
        return sums(self.offset, shared - lost, size)


def _errors(information: Vector) -> Vector:
    some = information > 0
    return np.where(some, 1 / np.sqrt(np.where(some, information, 1.0)), 0.0)
