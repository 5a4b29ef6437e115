"""Emulated spectra against those that are computed in real space, point by point."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import quad

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA, LIMB_DARKENING
from steadystar.kernels import spline
from steadystar.kernels.emulation import (
    ROTATION_UNIT,
    Parameters,
    emulate,
    lines_of,
    rotation,
)
from steadystar.models.broadening import broaden
from steadystar.models.emulator import emulators
from steadystar.models.library import bundled

COOL, HOT = 0, 1
# Of each resolution: models, window in Angstrom, pixel in Angstrom.
SETUPS = {
    1800.0: ("lamost-mrs-blue", 4960.0, 5340.0, 0.6),
    7500.0: ("lamost-mrs-blue", 5100.0, 5200.0, 0.12),
    22500.0: ("h-band", 15200.0, 15400.0, 0.2),
}
see, only_lines = jax.jit(emulate), jax.jit(lines_of)


@cache
def pieces(resolution):
    window, low, high, _ = SETUPS[resolution]
    room = 0.995 if resolution < 5000 else 0.997
    return emulators(bundled(window), low * room, high / room, resolution)


def star(resolution, piece, labels, vsini, rv, pixel=0.0, dtype=np.float32):
    """Parameters of a star; ``pixel`` in km/s belongs to the line spread."""
    part = bundled(SETUPS[resolution][0]).parts[piece]
    values = (
        (np.array(labels) - part.center) / part.scale,
        (vsini / ROTATION_UNIT) ** 2,
        (C_KMS / resolution / FWHM_PER_SIGMA) ** 2 + pixel**2 / 12,
        0.0,
        C_KMS * np.log1p(rv / C_KMS),
    )
    return Parameters(*(jnp.asarray(value, dtype) for value in values))


def at_pixels(grid, coefficients, wave):
    position = grid.position(wave)
    index = np.floor(position).astype(np.int32)
    u = jnp.asarray(position - index, coefficients.dtype)
    return 1 + np.asarray(spline.evaluate_at(coefficients, jnp.asarray(index), u)[0])


@pytest.mark.parametrize("resolution", SETUPS)
@pytest.mark.parametrize(
    ("piece", "labels"),
    [(COOL, (4300.0, 1.7, 0.1)), (COOL, (6400.0, 4.2, -0.7)), (HOT, (12e3, 3.9, -0.2))],
)
@pytest.mark.parametrize(("vsini", "rv"), [(0.0, 0.0), (70.0, -260.0), (25.0, 290.0)])
def test_an_emulated_star_is_the_one_computed_in_real_space(
    resolution, piece, labels, vsini, rv
):
    window, low, high, step = SETUPS[resolution]
    models, made = bundled(window), pieces(resolution)
    wave = np.arange(low, high, step)
    pixel = C_KMS * step / np.median(wave)
    truth = broaden(
        models.wave * (1 + rv / C_KMS),
        models.parts[piece](labels).flux,
        wave,
        resolution=resolution,
        vsini=vsini,
    )
    given = star(resolution, piece, labels, vsini, rv, pixel)
    found = see(made.emulators[piece], given).lines
    off = at_pixels(made.grid, found, wave) - truth
    # Measured: 2e-4 rms for the sharpest lines, 1e-5 for hot stars. The deepest lines
    # are 0.6 deep; at S/N 100 the noise is 1e-2.
    assert np.sqrt(np.mean(off**2)) < 3e-4
    assert np.abs(off).max() < 2e-3
    assert np.ptp(truth) > 100 * np.abs(off).mean()
    alone = only_lines(made.emulators[piece], given)
    np.testing.assert_allclose(alone, found, atol=3e-7)


def test_derivatives_are_those_of_finite_differences():
    made = pieces(7500.0)
    exact = jax.tree.map(
        lambda a: a.astype(np.float64) if a.dtype == np.float32 else a,
        made.emulators[COOL],
    )
    here = star(7500.0, COOL, (5100.0, 3.1, -0.4), 31.0, 44.0, dtype=np.float64)
    flat, build = ravel_pytree(here)
    slopes = see(exact, here).slopes
    # Scaled labels, rotation, excess and velocity; the expected spread is no parameter.
    columns = [0, 1, 2, 3, 5, 6]
    steps = [1e-6, 1e-6, 1e-6, 0.3, 1e-5, 1e-4]
    assert len(slopes) == len(columns)
    for found, column, step in zip(slopes, columns, steps, strict=True):
        above, below = (
            only_lines(exact, build(flat.at[column].add(sign * step)))
            for sign in (1, -1)
        )
        wanted = (above - below) / (2 * step)
        # The transform of the rotation comes from a table: its slope is that of the
        # function, not that of the straight lines in between.
        tolerance = 5e-3 if column == 3 else 1e-5
        size = np.abs(wanted).max()
        assert size > 1e-5
        np.testing.assert_allclose(found, wanted, atol=tolerance * size)


def test_flux_is_clipped_before_it_is_broadened():
    # Hot, evolved and metal-poor: the polynomial goes up to 1.4 between the lines.
    part, made = bundled("lamost-mrs-blue").parts[HOT], pieces(7500.0)
    labels = np.array([39_000.0, 2.8, -2.4])
    seen = see(made.emulators[HOT], star(7500.0, HOT, labels, 0.0, 0.0)).lines
    wave = np.arange(5105.0, 5195.0, 0.05)
    flux = at_pixels(made.grid, seen, wave)
    truth = broaden(part.wave, part(labels).flux, wave, resolution=7500.0)
    broad = broaden(part.wave, part.unclipped(labels), wave, resolution=7500.0)
    late = np.clip(broad, 0, 1)
    assert np.std(flux - truth) < 3e-4
    assert np.std(late - truth) > 3e-3


def profile(u):
    """The rotation profile (Gray 2008, equation 18.14) of unit speed."""
    disk = 2 * (1 - LIMB_DARKENING) * np.sqrt(1 - u**2)
    dark = np.pi * LIMB_DARKENING / 2 * (1 - u**2)
    return (disk + dark) / (np.pi * (1 - LIMB_DARKENING / 3))


def test_the_transform_of_rotation_is_the_numerical_one_and_its_slope_too():
    x = np.array([0.0, 0.03, 0.17, 0.4, 1.0, 2.7, 6.1, 13.0, 30.0, 81.0])
    value, slope = rotation(jnp.asarray(x))
    for at, found, change in zip(x, value, slope, strict=True):
        wanted = quad(lambda u, at=at: profile(u) * np.cos(at * u), -1, 1, limit=400)[0]
        # d/dx^2 of the cosine, also where x is zero.
        by_square = quad(
            lambda u, at=at: -profile(u) * u**2 / 2 * np.sinc(at * u / np.pi),
            *(-1, 1),
            limit=400,
        )[0]
        # Straight lines between points 0.05 apart: 0.05^2 / 8 times the curvature.
        assert found == pytest.approx(wanted, abs=1e-4)
        assert change == pytest.approx(by_square, abs=1e-4)


def test_beyond_the_table_fast_rotation_stays_finite():
    value, slope = rotation(jnp.array([1e3, 1e6]))
    assert (np.abs(value) < 1e-3).all()
    assert np.isfinite(slope).all()
