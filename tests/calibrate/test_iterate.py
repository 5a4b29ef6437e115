"""Conjugate gradients find the offsets that the factorized matrix gives."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.calibrate import iterate
from steadystar.calibrate.iterate import OffsetSolver
from steadystar.calibrate.solve import Design, solve_offsets
from steadystar.calibrate.zeropoint import fit_zeropoints


def _design(seed: int, stars=60, exposures=40, fibers=30, visits=2500) -> Design:
    rng = np.random.default_rng(seed)
    unknown = np.stack(
        [
            rng.integers(0, exposures, visits),
            exposures + rng.integers(0, fibers, visits),
        ]
    )
    unknown[1, :20] = -1
    family = np.repeat([0, 1], [exposures, fibers])
    return Design(
        rng.integers(0, stars, visits), unknown, stars, exposures + fibers, family
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_the_exact_solution_as_weights_change(monkeypatch, seed):
    monkeypatch.setattr(iterate, "_LARGE", 10)
    design = _design(seed)
    rng = np.random.default_rng(seed)
    solver = OffsetSolver(design)
    assert solver.iterates
    y = rng.normal(0, 3, 2500)
    weight = rng.uniform(1, 30, 2500)
    for _ in range(4):
        # Weights that change by a factor of three: the preconditioner is an old one.
        weight = weight * np.exp(rng.normal(0, 1, 2500))
        offset, error = solver.solve(weight, y)
        exact = solve_offsets(design, weight, y)
        change = offset - exact
        for f in (0, 1):
            mine = design.family == f
            change[mine] -= change[mine].mean()
            # A thousandth of an error, typically; ten times that for the worst.
            assert np.abs(change[mine] / error[mine]).max() < 0.01
        _, rough = OffsetSolver(design)._direct(weight, y)
        assert_allclose(error, rough)


def test_a_large_table_of_two_families_is_solved_as_a_small_one(monkeypatch, mocks):
    visits, _ = mocks.two_sites(4, stars=150)
    by = ["telescope,exposure_id", "telescope,fiber"]
    exact = fit_zeropoints(visits, by)
    monkeypatch.setattr(iterate, "_LARGE", 10)
    found = fit_zeropoints(visits, by)
    for name, table in exact.offsets.items():
        change = (found.offsets[name]["offset"] - table["offset"]).to_numpy()
        # Both stop when nothing moves by a hundredth of its error.
        assert np.abs(change / table["offset_err"].to_numpy()).max() < 0.03
        assert_allclose(
            found.offsets[name]["offset_err"], table["offset_err"], rtol=0.01
        )


def test_families_that_hold_each_other_fall_back_on_the_exact_solution(monkeypatch):
    monkeypatch.setattr(iterate, "_LARGE", 10)
    monkeypatch.setattr(iterate, "_STEPS", 2)
    design = _design(9)
    y = np.random.default_rng(0).normal(0, 3, 2500)
    offset, _ = OffsetSolver(design).solve(np.ones(2500), y)
    assert_allclose(offset, solve_offsets(design, np.ones(2500), y))
