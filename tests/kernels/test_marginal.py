"""The component separation against its definition with dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from steadystar.kernels.marginal import (
    Prior,
    covariance_root,
    independent_covariance,
    own_part,
    separate,
    stack,
)


def dense(x, ivar, priors):
    """The slow obvious twin: matrices between pixels, of all that have data.

    The residual of a pixel without data is what the other components leave of it, and so
    is its covariance. Returns means, covariances by pair, chi2 and log determinant.
    """
    good = ivar > 0
    mean = sum(np.array(p.mean) for p in priors)
    own = [
        np.diag(p.diagonal) + np.array(p.basis).T @ np.array(p.basis) for p in priors
    ]
    total = sum(own)[np.ix_(good, good)] + np.diag(1 / ivar[good])
    inverse = np.zeros((len(x), len(x)))
    inverse[np.ix_(good, good)] = np.linalg.inv(total)
    means = [
        np.array(p.mean) + c @ inverse @ (x - mean)
        for p, c in zip(priors, own, strict=True)
    ]
    pairs = {
        (k, l): (k == l) * own[k] - own[k] @ inverse @ own[l]
        for k in range(len(own))
        for l in range(len(own))
    }
    size = len(own)
    means.append(x - sum(means))
    for k in range(size):
        pairs[k, size] = -sum(pairs[k, l] for l in range(size))
        pairs[size, k] = pairs[k, size].T
    pairs[size, size] = -sum(pairs[k, size] for k in range(size))
    chi2 = (x - mean) @ inverse @ (x - mean)
    return means, pairs, chi2, np.linalg.slogdet(total)[1]


def draw_problem(seed, pixels, ranks, gap=0.0, width=2.0, noise=0.1):
    """Random priors, and a spectrum that is drawn from them."""
    rng = np.random.default_rng(seed)
    priors, x = [], np.zeros(pixels)
    for rank, has_diagonal in ranks:
        mean = rng.normal(size=pixels)
        basis = rng.normal(size=(rank, pixels)) * width
        diagonal = rng.uniform(0, 0.5, pixels) * has_diagonal
        priors.append(Prior(jnp.array(mean), jnp.array(basis), jnp.array(diagonal)))
        x += mean + rng.normal(size=rank) @ basis
        x += rng.normal(size=pixels) * np.sqrt(diagonal)
    ivar = rng.uniform(0.2, 2.0, pixels) / noise**2
    x = x + rng.normal(size=pixels) / np.sqrt(ivar)
    ivar[rng.uniform(size=pixels) < gap] = 0
    return jnp.array(x), jnp.array(ivar), tuple(priors)


# Every shape is compiled anew, so there are few; what fills them is free. Each pair is a
# component: its rank, and whether it has a diagonal.
shapes = st.sampled_from(
    [
        (9, ((0, False),)),
        (9, ((0, True), (0, True))),
        (3, ((5, True), (1, False))),
        (24, ((3, False), (3, False), (0, True), (2, True))),
    ]
)
taken_apart = jax.jit(separate)


@jax.jit
def every_covariance(ivar, priors, inverse_root):
    number = range(len(priors) + 1)
    patterns = stack(priors)
    roots = [
        covariance_root(patterns, inverse_root, *own_part(ivar, priors, k))
        for k in number
    ]
    return {
        (k, m): roots[k].T @ roots[m]
        + jnp.diag(independent_covariance(ivar, priors, k, m))
        for k in number
        for m in number
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), shapes, st.floats(0, 1), st.floats(0.01, 10))
def test_any_set_of_components_agrees_with_dense_matrices(seed, shape, gap, width):
    x, ivar, priors = draw_problem(seed, *shape, gap, width)
    found = taken_apart(x, ivar, priors)
    means, pairs, chi2, determinant = dense(np.array(x), np.array(ivar), priors)
    # The twin inverts a matrix of condition up to 1e6, and subtracts.
    scale = 10 * float(jnp.abs(x).max()) + 10
    assert_allclose(found.components, np.array(means), atol=1e-8 * scale)
    assert found.chi2 == pytest.approx(chi2, rel=1e-7, abs=1e-7)
    assert found.log_determinant == pytest.approx(determinant, rel=1e-9, abs=1e-7)
    assert int(found.n_good) == (ivar > 0).sum()
    covariances = every_covariance(ivar, priors, found.inverse_root)
    for pair, expected in pairs.items():
        assert_allclose(covariances[pair], expected, atol=1e-8 * (1 + width**2))


def test_likelihood_is_the_density_of_a_gaussian():
    from scipy.stats import multivariate_normal

    x, ivar, priors = draw_problem(1, 20, [(3, True), (2, False)])
    total = np.diag(1 / np.array(ivar)) + sum(
        np.diag(p.diagonal) + np.array(p.basis).T @ np.array(p.basis) for p in priors
    )
    expected = multivariate_normal(sum(np.array(p.mean) for p in priors), total)
    assert taken_apart(x, ivar, priors).log_likelihood == pytest.approx(
        expected.logpdf(np.array(x)), rel=1e-10
    )


def test_infinite_noise_is_the_limit_of_large_noise():
    x, ivar, priors = draw_problem(2, 20, [(3, True), (2, False)])
    none = taken_apart(x, ivar.at[5:9].set(0), priors)
    little = taken_apart(x, ivar.at[5:9].set(1e-9), priors)
    # What 1e-9 of the information moves.
    assert_allclose(none.components, little.components, atol=1e-6)
    assert none.chi2 == pytest.approx(float(little.chi2), abs=1e-6)


def test_no_data_leaves_the_priors():
    x, ivar, priors = draw_problem(3, 20, [(3, True), (2, False)])
    found = taken_apart(x, jnp.zeros_like(ivar), priors)
    assert found.chi2 == 0
    assert found.log_likelihood == 0
    assert_allclose(found.components[0], priors[0].mean)
    covariance = every_covariance(jnp.zeros_like(ivar), priors, found.inverse_root)
    expected = priors[0].basis.T @ priors[0].basis + jnp.diag(priors[0].diagonal)
    assert_allclose(covariance[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize(("dtype", "relative"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("width", [0.1, 30.0])
def test_components_sum_to_the_data(dtype, relative, width):
    x, ivar, priors = draw_problem(
        4, 3000, [(20, False), (20, False), (5, False), (0, True)], 0.1, width, 0.01
    )
    # Two stars with nearly the same patterns: their strengths nearly cancel.
    twin = Prior(priors[0].mean, priors[0].basis * 1.0001, priors[0].diagonal)
    x, ivar, priors = jax.tree.map(
        lambda a: a.astype(dtype), (x, ivar, (*priors, twin))
    )
    found = taken_apart(x, ivar, priors)
    assert found.components.dtype == dtype
    off = jnp.abs(found.components.sum(0) - x).max() / jnp.abs(x).max()
    assert off < relative


def test_float32_and_float64_agree():
    x, ivar, priors = draw_problem(5, 3000, [(20, False), (6, True)], 0.1, 1.0, 0.01)
    exact = taken_apart(x, ivar, priors)
    arrays = jax.tree.map(lambda a: a.astype("float32"), (x, ivar, priors))
    rough = taken_apart(*arrays)
    assert exact.components.dtype == jnp.float64
    # Rounding of patterns and flux (6e-8 of about 5) in units of the noise (0.01).
    assert_allclose(rough.components, exact.components, atol=0.02 * 0.01)
    assert rough.chi2 == pytest.approx(float(exact.chi2), rel=1e-3)


def test_residual_follows_its_formula_where_rounding_could_hide_it():
    x, ivar, priors = draw_problem(6, 20, [(3, True), (2, False)], 0.0, 1.0, 1e-5)
    found = taken_apart(x, ivar, priors)
    total = np.diag(1 / np.array(ivar)) + sum(
        np.diag(p.diagonal) + np.array(p.basis).T @ np.array(p.basis) for p in priors
    )
    centered = np.array(x) - sum(np.array(p.mean) for p in priors)
    by_formula = np.linalg.solve(total, centered) / np.array(ivar)
    # Residuals are 1e-9 (the diagonal takes the rest) in spectra of about 3.
    assert_allclose(found.components[-1], by_formula, atol=1e-14)
