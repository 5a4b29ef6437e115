import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from steadystar.calibrate import factor
from steadystar.calibrate.factor import factorize


def system(seed: int, fields: int, exposures: int, fibers: int):
    """Blocks of one family, tied by a border of another; positive definite."""
    rng = np.random.default_rng(seed)
    size = fields * exposures + fibers
    matrix = np.zeros((size, size))
    for f in range(fields):
        at = np.r_[f * exposures : (f + 1) * exposures, fields * exposures : size]
        rows = rng.normal(0, 1, (3 * len(at), len(at))) * (rng.random(len(at)) < 0.8)
        matrix[np.ix_(at, at)] += rows.T @ rows
    family = np.repeat([0, 1], [fields * exposures, fibers])
    shuffle = rng.permutation(size)
    matrix += np.eye(size)
    return matrix[np.ix_(shuffle, shuffle)], family[shuffle]


@pytest.mark.parametrize("small", [0, 6, 400])
@pytest.mark.parametrize("full", [0.0, 2.0])
@pytest.mark.parametrize("fibers", [0, 4])
def test_every_way_of_factorizing_solves_the_same_system(
    monkeypatch, small, full, fibers
):
    monkeypatch.setattr(factor, "_SMALL", small)
    monkeypatch.setattr(factor, "_FULL", full)
    monkeypatch.setattr(factor, "_FEW", 2)
    monkeypatch.setattr(factor, "_MANY", 3)
    matrix, family = system(1, 5, 6, fibers)
    solver = factorize(csr_matrix(matrix), family)
    right = np.random.default_rng(0).normal(0, 1, (len(matrix), 3))
    want = np.linalg.solve(matrix, right)
    assert_allclose(solver(right), want, rtol=1e-9, atol=1e-12)
    assert_allclose(solver(right[:, 0]), want[:, 0], rtol=1e-9, atol=1e-12)


def test_offsets_that_meet_nothing_are_divided():
    matrix = csr_matrix(np.diag([2.0, 4.0, 5.0]))
    solver = factorize(matrix, np.zeros(3, np.intp))
    assert solver(np.ones(3)).tolist() == [0.5, 0.25, 0.2]


def test_an_empty_system_has_an_empty_solution():
    solver = factorize(csr_matrix((0, 0)), np.zeros(0, np.intp))
    assert solver(np.zeros(0)).shape == (0,)
