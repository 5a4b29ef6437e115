import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline

from steadystar.kernels import spline

SIZE, SLOTS = 60, 4

place = jax.jit(spline.place, static_argnums=2)


def pixels_of(position, value, weight, size=SIZE):
    index = np.floor(position).astype(np.int32)
    number = np.arange(len(position), dtype=float)
    inverse = np.interp(np.arange(size), position, number, left=0, right=len(position))
    arrays = (position - index, inverse, value, weight)
    return spline.Pixels(jnp.array(index), *(jnp.array(a) for a in arrays))


def smooth_spectrum(rng, size=SIZE, number=110):
    """Pixels whose spacing drifts, as in a spectrograph, and random values."""
    t = np.linspace(0, 1, number)
    position = 2 + (size - 8) * (t + 0.1 * t**2) / 1.1
    return position, rng.normal(size=number), rng.uniform(0.2, 2, number)


def dense_basis(position, size=SIZE):
    """The obvious way: one scipy B-spline for every coefficient."""
    center = np.arange(size)
    element = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    return np.nan_to_num(element(position[:, None] - center))


@pytest.mark.parametrize("shift", [0.0, 0.3, -1.75, 2.0])
def test_normal_equations_are_those_of_the_dense_least_squares_problem(shift):
    position, value, weight = smooth_spectrum(np.random.default_rng(1))
    placed = place(pixels_of(position, value, weight), jnp.array(shift), SLOTS)
    found = spline.normal_equations(placed)
    interval = np.floor(position - shift)
    used = np.where((interval >= 1) & (interval <= SIZE - 3), weight, 0)
    basis = dense_basis(position - shift)
    dense = basis.T @ (used[:, None] * basis)
    # Pixels are sorted by a linear interpolation of their smooth positions: a pixel
    # within 1e-4 of a border may be taken by the neighbor, where the spline's pieces
    # differ by the cube of that.
    for k in range(4):
        assert_allclose(found.bands[k, : SIZE - k], np.diag(dense, k), atol=1e-9)
    assert_allclose(found.rhs, basis.T @ (used * value), atol=1e-9)


@given(shift=st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_every_pixel_is_placed_once(shift):
    position, _, weight = smooth_spectrum(np.random.default_rng(2))
    pixels = pixels_of(position, weight, np.ones_like(weight))
    placed = place(pixels, jnp.array(shift), SLOTS)
    interval = np.floor(position - shift)
    inside = (interval >= 1) & (interval <= SIZE - 3)
    near_border = np.abs((position - shift) - np.round(position - shift)) < 1e-3
    assert (
        abs(float(placed.weight.sum()) - inside.sum())
        <= (near_border & ~inside).sum() + 1
    )
    assert_allclose(placed.value.sum(), weight[inside].sum(), atol=4.1)
    assert placed.u.min() > -1e-3
    assert placed.u.max() < 1 + 1e-3


def test_solution_minimizes_the_dense_problem():
    rng = np.random.default_rng(3)
    position, value, weight = smooth_spectrum(rng)
    placed = place(pixels_of(position, value, weight), jnp.array(0.0), SLOTS)
    equations = spline.normal_equations(placed)
    bands = equations.bands + spline.line_forest_precision(SIZE, 1.4)
    found = spline.solve(bands, equations.rhs)
    dense = np.diag(bands[0])
    for k in range(1, 4):
        dense += np.diag(bands[k, :-k], k) + np.diag(bands[k, :-k], -k)
    assert_allclose(found, np.linalg.solve(dense, equations.rhs), rtol=1e-9, atol=1e-12)
    assert_allclose(spline.matvec(bands, found), equations.rhs, atol=1e-10)


def test_spline_slope_and_curvature_are_derivatives():
    coefficients = jnp.array(np.random.default_rng(4).normal(size=SIZE))
    u = jnp.full((1, SIZE), 0.37)

    def at(u):
        return spline.evaluate(coefficients, u)[0].sum()

    slope = spline.evaluate(coefficients, u)[1]
    assert_allclose(jax.grad(at)(u), slope, rtol=1e-12)
    by_slope = jax.grad(lambda u: spline.evaluate(coefficients, u)[1].sum())(u)
    assert_allclose(by_slope, spline.curvature(coefficients, u), rtol=1e-12)


@pytest.mark.parametrize("lag", [-6, -1, 0, 3, 6])
def test_chi2_at_a_lag_is_that_of_the_moved_template(lag):
    rng = np.random.default_rng(5)
    position, value, weight = smooth_spectrum(rng)
    equations = spline.normal_equations(
        place(pixels_of(position, value, weight), jnp.array(0.0), SLOTS)
    )
    template = np.zeros(SIZE)
    template[20:40] = rng.normal(size=20)
    curve = spline.chi2_at_lags(equations, jnp.array(template), 6)
    model = dense_basis(position) @ np.roll(template, lag)
    interval = np.floor(position)
    used = np.where((interval >= 1) & (interval <= SIZE - 3), weight, 0)
    expected = (used * ((value - model) ** 2 - value**2)).sum()
    assert_allclose(curve[lag + 6], expected, atol=1e-8)


def test_prior_is_a_forest_of_lines_seen_through_the_line_spread_function():
    size, width = 400, 1.5
    bands = spline.line_forest_precision(size, width)
    matrix = np.diag(bands[0])
    for k in range(1, 4):
        matrix += np.diag(bands[k, :-k], k) + np.diag(bands[k, :-k], -k)
    covariance = np.linalg.inv(matrix)[200]
    lag = np.arange(size) - 200
    # The autocorrelation of a Gaussian line of sigma `width` is a Gaussian of sigma
    # sqrt(2) width. The expansion stops at omega^6 and so leaves 10% more variance.
    assert_allclose(covariance, np.exp(-(lag**2) / (4 * width**2)), atol=0.11)
    assert covariance[200] > 1


def test_differences_of_every_order():
    for order in range(4):
        bands = spline.difference_bands(12, order)
        difference = np.diff(np.eye(12), n=order, axis=0)
        dense = difference.T @ difference
        for k in range(4):
            assert_allclose(bands[k, : 12 - k], np.diag(dense, k))


def test_batch_equals_loop_in_float32_too():
    rng = np.random.default_rng(6)
    spectra = [pixels_of(*smooth_spectrum(rng)) for _ in range(3)]
    spectra = [jax.tree.map(_narrow, s) for s in spectra]
    shifts = jnp.array([0.1, -2.3, 4.0], jnp.float32)

    def accumulate(pixels, shift):
        return spline.normal_equations(place(pixels, shift, SLOTS)).rhs

    batch = jax.tree.map(lambda *a: jnp.stack(a), *spectra)
    together = jax.vmap(accumulate)(batch, shifts)
    for i in range(3):
        alone = accumulate(spectra[i], shifts[i])
        assert alone.dtype == jnp.float32
        assert_allclose(together[i], alone, rtol=1e-5, atol=1e-5)


def _narrow(array):
    return array.astype(jnp.float32) if array.dtype == jnp.float64 else array
