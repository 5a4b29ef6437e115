"""Factorization of the sparse, symmetric, positive matrices of zero points.

Groups that share no star do not meet in the matrix, so it falls into blocks, each
factorized on its own. Within a block, families other than the largest form a border: a
field's exposures meet the exposures of other fields only through the fibers that they
share. Taking the border out leaves small blocks again, and what the border needs is its
Schur complement,

    S = N_bb - C^T A^-1 C,

a dense matrix of the size of the border alone. Small or full blocks are dense, by
Cholesky; a large one without a border is left to SuperLU.
"""

__all__ = ["Solver", "factorize"]

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from steadystar.calibrate.visitsums import Vector

Solver = Callable[[Vector], Vector]
"""From right sides (offset,) or (offset, k) to solutions of the same shape."""

_SMALL, _LARGEST_DENSE, _FULL = 400, 4000, 0.2


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
    return lu.solve


def _bordered(
    matrix: csr_matrix, family: NDArray[np.intp], border: NDArray[np.bool_]
) -> Solver:
    outer, inner = np.flatnonzero(border), np.flatnonzero(~border)
    rows = csr_matrix(matrix[inner])
    inner_solve = factorize(csr_matrix(rows[:, inner]), family[inner])
    # Seldom sparse: a fiber meets most exposures through one star or another.
    coupling = rows[:, outer].toarray()
    carried = inner_solve(coupling)
    schur = csr_matrix(matrix[outer][:, outer]).toarray() - coupling.T @ carried
    factor = cho_factor((schur + schur.T) / 2, lower=True, check_finite=False)

    def solve(right: Vector) -> Vector:
        out = np.empty_like(right)
        first = inner_solve(right[inner])
        rest = right[outer] - coupling.T @ first
        out[outer] = cho_solve(factor, rest, check_finite=False)
        out[inner] = first - carried @ out[outer]
        return out

    return solve
