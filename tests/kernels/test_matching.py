import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.kernels import spline
from steadystar.kernels.matching import match_template, without_continuum

from .test_spline import SIZE, SLOTS, dense_basis, pixels_of

ORDERS = 3


@pytest.fixture
def template():
    coefficients = np.zeros(SIZE)
    coefficients[8:50] = np.random.default_rng(0).normal(size=42) * 0.1
    return coefficients


def observed(template, shift, noise=0.0, seed=0, snr=50.0, level=(0.0, 0.0, 0.0)):
    position = np.linspace(3, SIZE - 6, 104)
    x = (position - shift) * 2 / SIZE - 1
    continuum = 1 + level[0] + level[1] * x + level[2] * (1.5 * x**2 - 0.5)
    value = continuum * (1 + dense_basis(position - shift) @ template) - 1
    value = value + noise * np.random.default_rng(seed).normal(size=104)
    return pixels_of(position, value, np.full(104, snr**2))


def match(template, pixels, shift, continuum=None):
    placed = spline.place(pixels, jnp.array(shift), SLOTS)
    q = jnp.zeros(ORDERS) if continuum is None else continuum
    return match_template(jnp.array(template), placed, q, 5.0)


@pytest.mark.parametrize("truth", [0.0, 0.37, -2.6])
def test_steps_lead_to_the_exact_shift_and_continuum(template, truth):
    pixels = observed(template, truth, level=(0.02, -0.03, 0.01))
    shift, q = truth + 0.2, jnp.zeros(ORDERS)
    for _ in range(8):
        found = match(template, pixels, shift, q)
        shift, q = shift + float(found.step), found.continuum
    # The prior on the continuum (0.1) pulls it, by a part in (snr^2 pixels 0.1^2).
    assert shift == pytest.approx(truth, abs=2e-4)
    assert_allclose(q, [0.02, -0.03, 0.01], atol=2e-4)


def test_information_is_the_curvature_of_the_profiled_chi2(template):
    pixels = observed(template, 0.0)

    def profiled(shift):
        q = jnp.zeros(ORDERS)
        for _ in range(4):
            q = match(template, pixels, shift, q).continuum
        # The step's own continuum moves with its shift: undo that by fitting at rest.
        placed = spline.place(pixels, jnp.array(shift), SLOTS)
        return float(_chi2(template, placed))

    h = 0.02
    curvature = (profiled(h) - 2 * profiled(0.0) + profiled(-h)) / (2 * h**2)
    assert match(template, pixels, 0.0).information == pytest.approx(
        curvature, rel=0.01
    )


def _chi2(template, placed):
    """Chi squared with the continuum fitted by a dense least-squares solution."""
    u, w, y = (np.array(a).ravel() for a in (placed.u, placed.weight, placed.value))
    knot = np.tile(np.arange(SIZE), SLOTS)
    x = (knot + u) * 2 / SIZE - 1
    lines = 1 + np.array(spline.evaluate(jnp.array(template), placed.u)[0]).ravel()
    design = np.stack([np.ones_like(x), x, 1.5 * x**2 - 0.5], 1) * lines[:, None]
    normal = design.T @ (w[:, None] * design) + np.eye(3) / 0.1**2
    q = np.linalg.solve(normal, design.T @ (w * (1 + y - lines)))
    return (w * (1 + y - lines - design @ q) ** 2).sum() + (q**2).sum() / 0.1**2


def test_a_cosmic_ray_moves_nothing(template):
    clean = match(template, observed(template, 0.3, noise=0.02), 0.3)
    pixels = observed(template, 0.3, noise=0.02)
    hit = spline.Pixels(
        pixels.index,
        pixels.fraction,
        pixels.inverse,
        pixels.value.at[50].add(4.0),
        pixels.weight,
    )
    found = match(template, hit, 0.3)
    assert found.n_good == clean.n_good - 1
    # One pixel less: the step moves by a part of its own error.
    sigma = 1 / np.sqrt(clean.information)
    assert abs(found.step - clean.step) < 0.5 * sigma


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_scale_says_how_wrong_the_stated_errors_are(template, factor):
    scales = [
        match(template, observed(template, 0.0, noise=factor / 50, seed=s), 0.0).scale
        for s in range(40)
    ]
    # 40 x 104 pixels: 1.1%; clipping at three sigma takes 1.4%, four parameters 2%.
    assert np.mean(scales) == pytest.approx(factor, rel=0.05)


def test_division_by_the_continuum_leaves_the_lines(template):
    level = (0.05, 0.02, -0.01)
    placed = spline.place(observed(template, 0.0, level=level), jnp.array(0.0), SLOTS)
    lines = without_continuum(placed, jnp.array(level))
    expected = spline.evaluate(jnp.array(template), placed.u)[0]
    held = np.array(placed.weight) > 0
    assert_allclose(np.array(lines.value)[held], np.array(expected)[held], atol=1e-10)
