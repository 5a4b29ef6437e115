"""Kepler's equation, velocity curves, and the likelihood with the orbit integrated out."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from steadystar.kernels.orbit import (
    ln_likelihood_ratio,
    orbit_shape,
    shape_of_phase,
    solve_kepler,
)
from steadystar.simulate.orbits import orbital_velocity


def bisected(mean, e):
    """The eccentric anomaly by halving intervals: slow, and sure to converge."""
    low, high = np.full_like(mean, -np.pi), np.full_like(mean, np.pi)
    for _ in range(60):
        middle = (low + high) / 2
        above = middle - e * np.sin(middle) > mean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


@pytest.fixture(scope="module")
def anomalies():
    rng = np.random.default_rng(1)
    return rng.uniform(-np.pi, np.pi, 4000), rng.uniform(0, 0.95, 4000)


def test_keplers_equation_is_solved_to_rounding(anomalies):
    mean, e = anomalies
    sine, cosine = solve_kepler(jnp.asarray(mean), jnp.asarray(e))
    truth = bisected(mean, e)
    assert np.abs(sine - np.sin(truth)).max() < 5e-15
    assert np.abs(cosine - np.cos(truth)).max() < 5e-15


@pytest.mark.parametrize("mean", [0.0, np.pi, -np.pi, 1e-12])
@pytest.mark.parametrize("e", [0.0, 0.5, 0.999])
def test_keplers_equation_has_no_bad_place(mean, e):
    sine, cosine = solve_kepler(jnp.asarray([mean]), jnp.asarray([e]))
    truth = bisected(np.array([mean]), np.array([e]))
    np.testing.assert_allclose(sine, np.sin(truth), atol=1e-9)
    np.testing.assert_allclose(cosine, np.cos(truth), atol=1e-9)


def test_single_precision_is_good_to_some_of_its_digits(anomalies):
    mean, e = (values.astype(np.float32) for values in anomalies)
    sine, cosine = solve_kepler(jnp.asarray(mean), jnp.asarray(e))
    assert sine.dtype == np.float32
    sine, cosine = np.asarray(sine, float), np.asarray(cosine, float)
    truth = bisected(mean.astype(float), e.astype(float))
    # Near periastron of an eccentric orbit rounding of M grows by 1 / (1 - e).
    allowed = 4e-6 / (1 - e * np.cos(truth))
    assert (np.abs(sine - np.sin(truth)) < allowed).all()
    assert (np.abs(cosine - np.cos(truth)) < allowed).all()


@pytest.mark.parametrize(("e", "omega"), [(0.0, 0.3), (0.4, 2.0), (0.9, 5.0)])
def test_a_velocity_curve_is_that_of_the_simulator(e, omega):
    time = np.linspace(-40, 90, 60)
    period, t_peri = 11.3, 4.2
    expected = orbital_velocity(
        time,
        period=period,
        eccentricity=e,
        periastron=t_peri,
        semi_amplitude=1.0,
        omega=omega,
    )
    turns = (time - t_peri) / period
    full = np.full_like(time, e), np.full_like(time, omega)
    shape = orbit_shape(jnp.asarray(2 * np.pi * turns), *map(jnp.asarray, full))
    np.testing.assert_allclose(shape, expected, atol=1e-9)
    angles = (np.cos(full[1]), np.sin(full[1]))
    by_phase = shape_of_phase(*map(jnp.asarray, (turns, full[0], *angles)))
    np.testing.assert_allclose(by_phase, expected, atol=1e-9)


def test_the_likelihood_ratio_is_that_of_two_normal_distributions():
    rng = np.random.default_rng(2)
    rv, shape = rng.normal(0, 5, 6), rng.normal(0, 1, (6, 3))
    weight = rng.uniform(0.2, 3.0, 6)
    constants = rng.normal(0, 1, (6, 2))
    covariance = np.diag(1 / weight) + constants @ constants.T
    inverse = np.linalg.inv(covariance)
    value, vector = np.linalg.eigh(np.diag(weight) - inverse)
    known = (vector * np.sqrt(np.maximum(value, 0))).T
    variance = np.array([0.5, 20.0, 300.0])
    ratio = ln_likelihood_ratio(
        *map(jnp.asarray, (shape, weight, known, inverse @ rv, variance))
    )
    without = multivariate_normal(np.zeros(6), covariance).logpdf(rv)
    for one in range(3):
        wider = covariance + variance[one] * np.outer(shape[:, one], shape[:, one])
        expected = multivariate_normal(np.zeros(6), wider).logpdf(rv) - without
        assert float(ratio[one]) == pytest.approx(expected, abs=1e-9)
