"""Model spectra on a grid: what goes in comes out, and nothing else is asked for."""

import jax.numpy as jnp
import numpy as np
import pytest

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.kernels.emulation import Parameters, lines_of, terms
from steadystar.models.emulator import emulators, grid_of_emulators
from steadystar.models.library import CUBIC, bundled

WINDOW = "lamost-mrs-blue"


@pytest.mark.parametrize("resolution", [1500.0, 7500.0, 40_000.0])
def test_grids_resolve_the_line_spread_and_the_models(resolution):
    grid, fine, step = grid_of_emulators(5000.0, 5300.0, resolution, 12.0)
    sigma = C_KMS / resolution / FWHM_PER_SIGMA
    span = C_KMS * np.log(5300 / 5000)
    assert grid.step * C_KMS <= 0.7 * sigma
    assert step <= min(sigma / 3.4, 12.0)
    # Both have the same period, and one point in so many is in both.
    assert grid.size * grid.step * C_KMS == pytest.approx(span)
    assert fine * step == pytest.approx(span)
    assert fine % grid.size == 0


def test_terms_are_the_polynomials_of_the_models():
    part = bundled(WINDOW).parts[0]
    labels = np.array([[5777.0, 4.44, 0.0], part.center, [3500.0, 0.0, -2.5]])
    powers = jnp.asarray(CUBIC, np.float64)
    for one in labels:
        scaled = (one - part.center) / part.scale
        found = terms(powers, jnp.asarray(scaled))
        np.testing.assert_allclose(found, part.terms(one), rtol=1e-12, atol=1e-15)


def test_every_piece_is_an_emulator_and_windows_share_shapes():
    models = bundled(WINDOW)
    made = emulators(models, 5100.0, 5150.0, 7500.0)
    assert len(made.emulators) == len(models.parts)
    # Arms and windows of nearly the same width share what is compiled.
    other = emulators(models, 5200.0, 5249.0, 7500.0)
    shapes = [
        [value.shape for value in vars(one).values() if hasattr(value, "shape")]
        for one in (made.emulators[0], other.emulators[0])
    ]
    assert shapes[0] == shapes[1]


def test_one_source_is_a_stack_of_one():
    models = bundled(WINDOW)
    alone = emulators(models.parts[1], 5100.0, 5150.0, 7500.0)
    (one,), stacked = alone.emulators, emulators(models, 5100.0, 5150.0, 7500.0)
    np.testing.assert_array_equal(one.theta, stacked.emulators[1].theta)


def test_the_mean_of_a_spectrum_survives():
    # Broadening moves light, and takes none away: on the periodic grid the mean depth of
    # the lines is that of the models, whatever the rotation.
    models = bundled(WINDOW)
    made = emulators(models, 5100.0, 5150.0, 7500.0)
    part, labels = models.parts[0], np.array([4800.0, 2.8, 0.0])
    scaled = jnp.asarray((labels - part.center) / part.scale, np.float32)
    zero = jnp.zeros((), np.float32)
    spread = jnp.float32((C_KMS / 7500.0 / FWHM_PER_SIGMA) ** 2)
    means = [
        lines_of(
            made.emulators[0],
            Parameters(scaled, jnp.float32(rotation), spread, zero, zero),
        ).mean()
        for rotation in (0.0, 4.0, 100.0)
    ]
    wave = np.exp(np.linspace(np.log(5100), np.log(5150), 20_001))
    wanted = np.interp(wave, part.wave, part(labels).flux).mean() - 1
    assert wanted < -0.1
    np.testing.assert_allclose(means, means[0], atol=1e-6)
    # The stretch ends at another depth than it began: one point in a thousand is both.
    np.testing.assert_allclose(means, wanted, atol=1e-3)


def test_models_that_do_not_reach_so_far_are_named():
    with pytest.raises(ValueError, match=r"thedoppler.*4862.* but 4800\.0.*narrower"):
        emulators(bundled(WINDOW), 4800.0, 5100.0, 7500.0)
