"""What goes wrong on a detector and in the sky: rays, bad pixels, sky, nebulae.

Rates and sizes follow public single exposures of LAMOST's medium-resolution survey: one
or two cosmic rays in 1200 s of up to a few pixels and thousands of counts, a trap of
four flagged pixels here and there, junk at the ends of the spectrum that nothing flags,
airglow residuals, and in some fibers flagged pixels with values of millions.
"""

__all__ = ["add_bad_pixels", "add_cosmic_rays", "emission", "nebular_lines"]

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA

# Vacuum wavelengths (Angstrom) of [N II], H alpha, [N II], and strength over H alpha.
_NEBULAR = ((6549.86, 0.12), (6564.61, 1.0), (6585.27, 0.35))


def add_cosmic_rays(
    rng: np.random.Generator, flux: NDArray, level: NDArray, mean_number: float
) -> int:
    """Add cosmic rays to ``flux`` in place and return their number.

    ``level`` is the continuum in counts: no ray is higher than five times it, or than
    2000 counts in a faint spectrum.
    """
    number = int(rng.poisson(mean_number))
    pixels = rng.integers(4, len(flux) - 4, number)
    heights = 10 ** rng.uniform(2.4, 4.3, number)
    lengths = rng.integers(1, 5, number)
    for pixel, height, length in zip(pixels, heights, lengths, strict=True):
        height = min(height, 5 * max(float(level[pixel]), 400.0))
        track = height * rng.uniform(0.2, 1.0, length)
        track[rng.integers(length)] = height
        flux[pixel : pixel + length] += track
    return number


def add_bad_pixels(
    fixed: np.random.Generator,
    rng: np.random.Generator,
    flux: NDArray,
    level: NDArray,
    mask: NDArray,
) -> None:
    """Spoil pixels of ``flux`` and flag some of them in ``mask``, both in place.

    ``fixed`` decides which, the same for all exposures of a fiber; ``rng`` decides how
    they read in this one.
    """
    size = len(flux)
    if fixed.uniform() < 0.6:
        trap = int(fixed.integers(40, size - 40))
        flux[trap : trap + 4] *= rng.uniform(0.3, 0.9, 4)
        mask[trap : trap + 4] = 1
    hot = fixed.integers(20, size - 20, fixed.poisson(2.0))
    flux[hot] += level[hot] * rng.normal(0, 1.0, len(hot))
    mask[hot] = 1
    unflagged = fixed.integers(20, size - 20, fixed.poisson(0.7))
    flux[unflagged] *= fixed.uniform(0.6, 0.9, len(unflagged))
    # The extraction runs off the detector at both ends, without a flag.
    flux[[0, -1]] *= rng.uniform(0.3, 1.8, 2)
    if fixed.uniform() < 0.1:
        first = int(fixed.integers(4, 13))
        absurd = rng.choice([-1.0, 1.0], first) * 10 ** rng.uniform(3.0, 7.0, first)
        flux[:first] = absurd
        mask[:first] = 4


def emission(
    log_wave: NDArray, line: float, velocity: float, resolution: float
) -> NDArray[np.float64]:
    """Return an unresolved emission line of unit height at ``velocity`` (km/s)."""
    sigma = 1 / resolution / FWHM_PER_SIGMA
    distance = (log_wave - np.log(line) - np.log1p(velocity / C_KMS)) / sigma
    return np.exp(-0.5 * distance**2)


def nebular_lines(
    log_wave: NDArray, velocity: float, resolution: float
) -> NDArray[np.float64]:
    """Return H alpha (height 1) and the [N II] lines of a nebula."""
    lines = [
        strength * emission(log_wave, line, velocity, resolution)
        for line, strength in _NEBULAR
    ]
    return np.sum(lines, axis=0)
