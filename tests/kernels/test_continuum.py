import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.kernels.continuum import (
    _segment_median,
    polynomial_continuum,
    spline_continuum,
)

X = np.linspace(0, 1, 2000)
LEVEL = 1.0 + 0.3 * X - 0.4 * X**2


def spectrum(seed=0, lines=60, noise=0.01):
    rng = np.random.default_rng(seed)
    depth = np.zeros_like(X)
    for center in rng.uniform(0, 1, lines):
        depth += 0.4 * np.exp(-((X - center) ** 2) / (2 * 0.002**2))
    return LEVEL * np.exp(-depth) * (1 + noise * rng.normal(size=X.size))


def by_spline(flux, usable=None):
    usable = np.ones_like(X) if usable is None else usable
    return np.array(
        spline_continuum(jnp.array(4 * X), jnp.array(flux), jnp.array(usable), 4)
    )


def by_polynomial(flux):
    return np.array(
        polynomial_continuum(jnp.array(2 * X - 1), jnp.array(flux), jnp.ones_like(X))
    )


def test_smooth_level_without_lines_is_recovered():
    # The penalty on curvature pulls by half a percent at the ends, less within.
    assert_allclose(by_spline(LEVEL), LEVEL, rtol=6e-3)
    assert_allclose(by_spline(LEVEL)[200:-200], LEVEL[200:-200], rtol=2e-3)
    assert_allclose(by_polynomial(LEVEL), LEVEL, rtol=1e-6)


@pytest.mark.parametrize("recipe", [by_spline, by_polynomial])
def test_level_scales_with_the_flux(recipe):
    flux = spectrum()
    assert_allclose(recipe(7 * flux), 7 * recipe(flux), rtol=1e-6)


def test_polynomial_climbs_to_the_upper_envelope():
    flux = spectrum(lines=150)
    assert np.median(by_polynomial(flux) / LEVEL) > np.median(by_spline(flux) / LEVEL)
    # Most line pixels are gone: what is left is the level.
    assert_allclose(np.median(by_polynomial(flux) / LEVEL), 1, atol=0.03)


def test_cosmic_rays_do_not_lift_the_spline():
    flux = spectrum()
    hit = flux.copy()
    hit[[300, 301, 900, 1500]] *= 5
    assert_allclose(by_spline(hit), by_spline(flux), rtol=0.01)


def test_pixels_that_do_not_count_do_not_matter():
    flux, usable = spectrum(), np.ones_like(X)
    usable[500:600] = 0
    broken = flux.copy()
    broken[500:600] = -1e3
    # Medians are bisected from the range of all that counts: rounding only.
    assert_allclose(by_spline(broken, usable), by_spline(flux, usable), rtol=1e-6)


def test_medians_are_those_of_numpy():
    rng = np.random.default_rng(1)
    value, segment = rng.gamma(3.0, size=99_999), rng.integers(0, 3, 99_999)
    member = segment == np.arange(3)[:, None]
    found = _segment_median(jnp.array(value), jnp.array(member, float))
    expected = [np.median(value[m]) for m in member]
    # Halvings alone leave 0.013; a fit to LAMOST's 600 pixels knows its own to 0.07.
    assert_allclose(found, expected, atol=1e-3)
