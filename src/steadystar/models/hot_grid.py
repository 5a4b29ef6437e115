"""Hot-star models for low resolution: 3686 to 9132 A, small enough to come along.

The polynomial models of `steadystar.models.doppler` have a point every 0.1 A, far more
than a spectrum at R 1800 can show. Smoothing is linear, so a smoothed polynomial model
is a polynomial model still: `make_hot_grid` smooths every coefficient once, by a Gaussian
of resolving power `HOT_RESOLUTION`, and keeps six points to each pixel of LAMOST's
low-resolution grid (``log10(wave) = 3.5682 + 1e-4 i``). What a spectrograph of resolving
power R still has to add is less than all of it, `remaining_resolution`.

The file has two parts. `bundled_hot` are the hot dwarfs: 8000 to 40 000 K, log g 2.5 to 5,
[Fe/H] -2.5 to 0.5. `bundled_companions` are cool dwarfs at log g 4.3 exactly, 3500 to
8000 K, for the faint stars beside hot ones; leaving out one label leaves ten terms.
Continua reach from 3680 A to 1.8 micron, in units common to both.

These models are no choice of `steadystar.models.library.bundled`: nothing that picks
among its windows by wavelength will meet them.
"""

__all__ = [
    "HOT_RESOLUTION",
    "bundled_companions",
    "bundled_hot",
    "make_hot_grid",
    "remaining_resolution",
]

import io
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.models.library import CUBIC, Domain, PolynomialModels

HOT_RESOLUTION = 5000.0
"""Resolving power, ``lambda / FWHM``, to which the bundled hot models were smoothed."""

_FIRST, _STEP, _SIZE = 3.5666, 1e-4 / 6, 23_646
"""First log10(wave), step and number of points: 16 pixels beyond LAMOST's on each side."""
_COMPANION_LOGG = 4.3
_FINE_CONTINUUM = 4600.0
"""Below this wavelength (A), with the Balmer jump, all points of the continuum are kept."""


def bundled_hot() -> PolynomialModels:
    """Return the hot models that come with steadystar, at `HOT_RESOLUTION`."""
    return _unpack("hot", f"thedoppler hotdwarfs at R {HOT_RESOLUTION:.0f}")


def bundled_companions() -> PolynomialModels:
    """Return the cool dwarfs on the wavelengths of `bundled_hot`; log g must be 4.3."""
    return _unpack("cool", f"thedoppler coolstars at R {HOT_RESOLUTION:.0f}, log g 4.3")


def remaining_resolution(resolution: float) -> float:
    """Return the resolving power by which the bundled models must still be broadened.

    Widths add in quadrature: ``1 / R^2 = 1 / resolution^2 - 1 / HOT_RESOLUTION^2``.

    Raises:
        ValueError: the models are not sharp enough for ``resolution``.
    """
    if not 0 < resolution < HOT_RESOLUTION:
        raise ValueError(
            f"The bundled hot models have resolving power {HOT_RESOLUTION:.0f} and cannot "
            f"serve one of {resolution}: give a lower one, or take the models of "
            "doppler_wheel()."
        )
    return float((resolution**-2 - HOT_RESOLUTION**-2) ** -0.5)


def make_hot_grid(
    hot: PolynomialModels, cool: PolynomialModels, path: Path | str
) -> None:
    """Smooth, sample and write the models that come with steadystar.

    The file was made from the parts of ``doppler_wheel()``, 3000 to 18000 A, of
    thedoppler 1.1.32. Coefficients are rounded to 16 bits of the largest of each term.
    """
    arrays: dict[str, NDArray] = {}
    for grid, part, theta, continuum, kept in (
        ("hot", hot, hot.theta, hot.continuum_theta, slice(None)),
        ("cool", cool, *_at_fixed_gravity(cool), _WITHOUT_GRAVITY),
    ):
        smooth = _smoothed(part.wave, theta[kept])
        step = np.abs(smooth).max(axis=1) / 32767
        wave = part.continuum_wave
        rows = (wave > 3676) & (
            (wave < _FINE_CONTINUUM) | (np.arange(len(wave)) % 4 == 0)
        )
        low, high = part.domain.limits
        if grid == "cool":
            low[1] = high[1] = _COMPANION_LOGG
        arrays |= {
            f"{grid}_theta": np.round(smooth / step[:, None]).astype(np.int16),
            f"{grid}_step": step,
            f"{grid}_continuum_wave": wave[rows],
            f"{grid}_continuum_theta": continuum[kept][:, rows].astype(np.float32),
            f"{grid}_domain": np.array([low, high]),
            f"{grid}_scaling": np.array([part.center, part.scale]),
        }
    np.savez_compressed(path, allow_pickle=False, **arrays)


_WITHOUT_GRAVITY = [index for index, powers in enumerate(CUBIC) if powers[1] == 0]


def _at_fixed_gravity(part: PolynomialModels) -> tuple[NDArray, NDArray]:
    """Fold the terms in log g, at that of companions, into those without."""
    gravity = (_COMPANION_LOGG - part.center[1]) / part.scale[1]
    out = []
    for theta in (part.theta, part.continuum_theta):
        folded = np.zeros_like(theta)
        for index, (a, b, c) in enumerate(CUBIC):
            folded[CUBIC.index((a, 0, c))] += theta[index] * gravity**b
        out.append(folded)
    return out[0], out[1]


def _wave() -> NDArray[np.float64]:
    return np.power(10.0, _FIRST + _STEP * np.arange(_SIZE))


def _smoothed(wave: NDArray, theta: NDArray) -> NDArray[np.float64]:
    """Broaden each row by a Gaussian in ln(wave) and sample it on the grid."""
    step = 1.0  # km/s, while the models' own points are 3 to 8 km/s apart
    grid = np.arange(np.log(3650.0), np.log(9180.0), step / C_KMS)
    sigma = C_KMS / HOT_RESOLUTION / FWHM_PER_SIGMA / step
    at = np.log(_wave())
    rows = (np.interp(grid, np.log(wave), row) for row in theta)
    fine = (gaussian_filter1d(row, sigma, truncate=6.0) for row in rows)
    return np.array([np.interp(at, grid, row) for row in fine])


@cache
def _unpack(grid: str, name: str) -> PolynomialModels:
    folder = resources.files("steadystar.models") / "grids" / "hot"
    packed = (folder / "lamost-lrs.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return _assembled(arrays, grid, name)


def _assembled(arrays: Mapping[str, NDArray], grid: str, name: str) -> PolynomialModels:
    kept = slice(None) if grid == "hot" else _WITHOUT_GRAVITY
    theta = np.zeros((len(CUBIC), _SIZE))
    theta[kept] = arrays[f"{grid}_theta"] * arrays[f"{grid}_step"][:, None]
    packed = arrays[f"{grid}_continuum_theta"]
    continuum = np.zeros((len(CUBIC), packed.shape[1]))
    continuum[kept] = packed
    center, scale = arrays[f"{grid}_scaling"]
    return PolynomialModels(
        name=name,
        wave=_wave(),
        domain=Domain.between(*arrays[f"{grid}_domain"]),
        theta=theta,
        continuum_wave=arrays[f"{grid}_continuum_wave"],
        continuum_theta=continuum,
        center=center,
        scale=scale,
    )
