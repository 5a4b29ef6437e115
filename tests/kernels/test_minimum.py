import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.data.status import Status
from steadystar.kernels.minimum import gaussian_peak, parabolic_minimum

parabolic_minimum = jax.jit(parabolic_minimum)
gaussian_peak = jax.jit(gaussian_peak)

parabolas = given(st.floats(1.0, 19.0), st.floats(0.3, 30.0), st.floats(-1e3, 1e3))


@settings(max_examples=60, deadline=None)
@parabolas
def test_parabola_is_located_exactly(position, sigma, floor):
    trial = jnp.arange(21.0)
    found = parabolic_minimum(floor + ((trial - position) / sigma) ** 2)
    assert found.status == Status.GOOD
    # Second differences of numbers near 1000 lose seven of sixteen digits.
    assert found.position == pytest.approx(position, abs=1e-5)
    assert found.sigma == pytest.approx(sigma, rel=1e-5)
    assert found.chi2 == pytest.approx(floor, abs=1e-5)


@settings(max_examples=60, deadline=None)
@parabolas
def test_gaussian_likelihood_is_fitted_exactly(position, sigma, floor):
    trial = jnp.arange(21.0)
    found = gaussian_peak(floor - ((trial - position) / sigma) ** 2 / 2)
    assert found.status == Status.GOOD
    assert found.position == pytest.approx(position, abs=1e-5)
    assert found.sigma == pytest.approx(sigma, rel=1e-5)
    assert found.chi2 == pytest.approx(-2 * floor, abs=1e-4)


@pytest.mark.parametrize("position", [-3.0, 25.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_edge_is_reported_not_extrapolated(position, sign):
    curve = (jnp.arange(21.0) - position) ** 2
    found = parabolic_minimum(curve) if sign > 0 else gaussian_peak(-curve)
    assert found.status & Status.GRID_EDGE
    assert jnp.isnan(found.position)


def test_flat_curve_has_no_minimum():
    assert parabolic_minimum(jnp.zeros(9)).status & Status.FLAT_CHI2


def test_batch_equals_loop():
    curves = jax.random.uniform(jax.random.key(0), (7, 21))
    batched = jax.jit(jax.vmap(parabolic_minimum))(curves)
    for i, curve in enumerate(curves):
        alone = parabolic_minimum(curve)
        assert jnp.allclose(batched.position[i], alone.position, equal_nan=True)
        assert batched.status[i] == alone.status
