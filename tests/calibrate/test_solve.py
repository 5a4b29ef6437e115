import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from steadystar.calibrate.covariance import OffsetCovariance, offset_covariance
from steadystar.calibrate.gauge import Gauged, components
from steadystar.calibrate.solve import Design, normal_matrix, solve_offsets


def random_design(seed: int, families: tuple[int, ...], stars=12, visits=150):
    rng = np.random.default_rng(seed)
    zero = rng.integers(0, stars, visits)
    starts = np.cumsum([0, *families])
    unknown = np.stack(
        [rng.integers(0, n, visits) + s for n, s in zip(families, starts, strict=False)]
    )
    family = np.repeat(np.arange(len(families)), families)
    design = Design(zero, unknown, stars, int(starts[-1]), family)
    return design, rng.uniform(0.2, 5, visits), rng.normal(0, 3, visits)


def explicit(design: Design) -> np.ndarray:
    """The slow obvious twin's matrix: one column a star, then one an offset."""
    n = len(design.zero)
    matrix = np.zeros((n, design.zeros + design.size))
    matrix[np.arange(n), design.zero] = 1
    for index in design.unknown:
        has = index >= 0
        matrix[np.flatnonzero(has), design.zeros + index[has]] += 1
    return matrix


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(6,), (6, 4), (5, 4, 3)]))
def test_eliminating_the_stars_gives_the_same_fit_as_solving_for_them(seed, families):
    design, weight, y = random_design(seed, families)
    matrix, root = explicit(design), np.sqrt(weight)
    full = np.linalg.lstsq(matrix * root[:, None], y * root, rcond=None)[0]
    offset = solve_offsets(design, weight, y)
    # The gauge is free, the fitted velocities are not: compare residuals.
    want = y - matrix @ full
    residual = y - design.total(offset)
    mean = np.bincount(design.zero, weight * residual, design.zeros)
    mean /= np.maximum(np.bincount(design.zero, weight, design.zeros), 1e-300)
    # 1e-7 of km/s: the penalty leaves a millionth of a millionth of the offsets.
    assert_allclose(residual - mean[design.zero], want, atol=1e-7)


@pytest.mark.parametrize("families", [(6,), (6, 4), (5, 4, 3)])
def test_covariance_is_the_inverse_curvature_in_the_gauge(families):
    design, weight, _ = random_design(3, families)
    label, redundant = components(design)
    assert not redundant.any()
    gauge = np.random.default_rng(1).uniform(1, 4, design.size)
    found = offset_covariance(Gauged(design, weight, label), gauge)
    matrix = explicit(design)
    inverse = np.linalg.pinv(matrix.T @ (weight[:, None] * matrix))
    inverse = inverse[design.zeros :, design.zeros :]
    project = np.eye(design.size)
    for f in range(len(families)):
        mine = design.family == f
        share = np.where(mine, gauge, 0) / gauge[mine].sum()
        project[mine] -= share
    want = project @ inverse @ project.T
    got = found.matrix(np.arange(design.size))
    # The gauge is a penalty a million times the curvature.
    assert_allclose(got, want, atol=3e-6 * np.diag(want).max())
    sums = found.of_sums(design.unknown)
    choose = np.zeros((len(design.zero), design.size))
    for index in design.unknown:
        choose[np.arange(len(index)), index] += 1
    assert_allclose(sums, np.einsum("vi,ij,vj->v", choose, got, choose), rtol=1e-8)


def test_sampled_covariance_agrees_with_the_exact_one(monkeypatch):
    design, weight, _ = random_design(5, (20, 4), stars=40, visits=900)
    label, _ = components(design)
    gauge = np.ones(design.size)
    exact = offset_covariance(Gauged(design, weight, label), gauge)
    monkeypatch.setattr("steadystar.calibrate.covariance.DENSE_LIMIT", 3)
    sampled = offset_covariance(Gauged(design, weight, label), gauge)
    assert sampled.sampled == [True]
    # 200 samples: a variance is known to 10%, the worst of 24 to about 30%.
    assert_allclose(sampled.variances(), exact.variances(), rtol=0.35)
    assert_allclose(
        sampled.of_sums(design.unknown), exact.of_sums(design.unknown), rtol=0.5
    )


def test_covariance_survives_its_arrays():
    design, weight, _ = random_design(5, (7, 4))
    label, _ = components(design)
    found = offset_covariance(Gauged(design, weight, label), np.ones(design.size))
    again = OffsetCovariance.from_arrays(found.size, found.to_arrays())
    everything = np.arange(design.size)
    assert np.array_equal(found.matrix(everything), again.matrix(everything))
    empty = OffsetCovariance(3)
    assert np.isnan(
        OffsetCovariance.from_arrays(3, empty.to_arrays()).variances()
    ).all()


def test_errors_of_offsets_cover_the_truth():
    rng = np.random.default_rng(2)
    design, weight, _ = random_design(8, (15, 5), stars=60, visits=1200)
    label, _ = components(design)
    gauge = np.ones(design.size)
    truth = rng.normal(0, 1, design.size)
    for f in range(2):
        truth[design.family == f] -= truth[design.family == f].mean()
    gauged = Gauged(design, weight, label)
    error = np.sqrt(offset_covariance(gauged, gauge).variances())
    star = rng.normal(0, 30, design.zeros)[design.zero]
    pulls = []
    for _ in range(60):
        noise = rng.standard_normal(len(weight)) / np.sqrt(weight)
        y = star + design.total(truth) + noise
        pulls.append((gauged.center(y, gauge) - truth) / error)
    # 1200 correlated pulls: the width is known to about 3%.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)
    assert np.std(np.array(pulls) * 1.5) > 1.3  # a control that must fail


def test_a_sparse_matrix_is_never_made_dense():
    fields, exposures, stars = 400, 10, 12
    rng = np.random.default_rng(0)
    field, star, exposure = (
        a.ravel()
        for a in np.meshgrid(
            np.arange(fields), np.arange(stars), np.arange(exposures), indexing="ij"
        )
    )
    size = fields * exposures
    design = Design(
        field * stars + star,
        (field * exposures + exposure)[None],
        fields * stars,
        size,
        np.zeros(size, np.intp),
    )
    weight = rng.uniform(0.5, 2, len(star))
    assert normal_matrix(design, weight).nnz == fields * exposures**2
    truth = rng.normal(0, 1, size)
    label, _ = components(design)
    assert len(np.unique(label)) == fields
    gauged = Gauged(design, weight, label)
    offset = gauged.center(truth[design.unknown[0]], np.ones(size))
    want = truth - truth.reshape(fields, -1).mean(axis=1).repeat(exposures)
    assert_allclose(offset, want, atol=1e-9)
