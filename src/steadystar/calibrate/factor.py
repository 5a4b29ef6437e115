"""Factorization of the sparse, symmetric, positive matrices of zero points.

Groups that share no star do not meet in the matrix, so it falls into blocks, each
factorized on its own. Within a block, families other than the largest form a border: a
field's exposures meet the exposures of other fields only through the fibers that they
share. Taking the border out leaves small blocks again, and what the border needs is its
Schur complement,

    S = N_bb - C^T A^-1 C,

a dense matrix of the size of the border alone; the rest stays sparse. Small or full
blocks are dense, by Cholesky; a large one without a border is left to SuperLU.
"""

__all__ = ["Solver", "factorize"]

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csc_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from steadystar.calibrate.visitsums import Vector

Solver = Callable[[Vector], Vector]
"""From right sides (offset,) or (offset, k) to solutions of the same shape."""

_SMALL, _LARGEST_DENSE, _FULL = 400, 4000, 0.2

_FEW, _MANY = 8, 256
"""Right sides that SuperLU is given at once; columns of a border held at once."""


def factorize(matrix: csr_matrix, family: NDArray[np.intp]) -> Solver:
    """Factorize ``matrix``, (offset, offset); ``family`` is that of each offset."""
    _, label = connected_components(matrix, directed=False)
    order = np.argsort(label, kind="stable")
    ends = np.cumsum(np.bincount(label))
    sorted_matrix = csr_matrix(matrix[order][:, order])
    diagonal = np.asarray(sorted_matrix.diagonal(), np.float64)
    parts: list[tuple[slice, Solver]] = []
    start = 0
    for end in ends:
        here = slice(start, end)
        if end - start > 1:
            block = csr_matrix(sorted_matrix[here, here])
            parts.append((here, _block(block, family[order[here]])))
        start = end

    def solve(right: Vector) -> Vector:
        sorted_right = right[order]
        out = sorted_right / (diagonal if right.ndim == 1 else diagonal[:, None])
        for here, part in parts:
            out[here] = part(sorted_right[here])
        result = np.empty_like(out)
        result[order] = out
        return result

    return solve


def _block(matrix: csr_matrix, family: NDArray[np.intp]) -> Solver:
    size = len(family)
    full = matrix.nnz > _FULL * size * size
    if size <= _SMALL or (full and size <= _LARGEST_DENSE):
        factor = cho_factor(matrix.toarray(), lower=True, check_finite=False)
        return lambda right: cho_solve(factor, right, check_finite=False)
    counts = np.bincount(family)
    if (counts > 0).sum() > 1:
        return _bordered(matrix, family, family != counts.argmax())
    lu = splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return lambda right: _few_at_once(lu.solve, right)


def _few_at_once(solve: Solver, right: Vector) -> Vector:
    """Solve for few right sides at a time: SuperLU slows down much with many."""
    if right.ndim == 1:
        return solve(right)
    out = np.empty_like(right)
    for first in range(0, right.shape[1], _FEW):
        some = slice(first, first + _FEW)
        out[:, some] = solve(np.asfortranarray(right[:, some]))
    return out


def _bordered(
    matrix: csr_matrix, family: NDArray[np.intp], border: NDArray[np.bool_]
) -> Solver:
    outer, inner = np.flatnonzero(border), np.flatnonzero(~border)
    rows = csr_matrix(matrix[inner])
    inner_solve = factorize(csr_matrix(rows[:, inner]), family[inner])
    coupling = csc_matrix(rows[:, outer])
    schur = csr_matrix(matrix[outer][:, outer]).toarray()
    # Tens of thousands of exposures by thousands of fibers are not held at once.
    for first in range(0, len(outer), _MANY):
        some = slice(first, first + _MANY)
        schur[:, some] -= coupling.T @ inner_solve(coupling[:, some].toarray())
    factor = cho_factor((schur + schur.T) / 2, lower=True, check_finite=False)

    def solve(right: Vector) -> Vector:
        out = np.empty_like(right)
        rest = right[outer] - coupling.T @ inner_solve(right[inner])
        out[outer] = cho_solve(factor, rest, check_finite=False)
        out[inner] = inner_solve(right[inner] - coupling @ out[outer])
        return out

    return solve
