"""Light of hot stars as a low-resolution spectrograph sees it, on an absolute scale.

A star's light at rest, continuum times normalized flux, lies on the grid of the bundled
models: six points to a pixel of LAMOST's low-resolution grid, uniform in ln(wave). There
rotation, the line spread that the models lack, a velocity and the average over a pixel
are one product of Fourier transforms, so a spectrum costs one transform there and a
shorter one back. Only the lowest sixth of the frequencies pass the line spread.

The absolute scale: the model's continuum at 1.8 micron is carried to the Ks band by a
Planck function of the effective temperature, and the whole is scaled so that the star at
10 pc has its absolute Ks magnitude. Zero magnitude is 4.283e-11 erg/s/cm^2/A at 2.159
micron (Cohen et al. 2003, AJ 126, 1090).
"""

__all__ = [
    "RESOLUTION",
    "WAVE",
    "absolute_light",
    "hot_flux",
    "passed_by_dust",
    "smooth_light",
]

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.interpolate import CubicSpline

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers
from steadystar.models.hot_grid import (
    bundled_companions,
    bundled_hot,
    remaining_resolution,
)
from steadystar.models.library import PolynomialModels
from steadystar.simulate.instrument import gaussian_transform, rotation_transform

WAVE: NDArray[np.float64] = np.power(10.0, 3.5682 + 1e-4 * np.arange(3909))
"""Pixels of LAMOST's low-resolution spectra, vacuum Angstrom, ``(pixel,)``."""
RESOLUTION = 1800.0

_PER_PIXEL = 6
_STEP = C_KMS * 1e-4 / _PER_PIXEL * np.log(10)  # km/s
_MARGIN = 16  # pixels before the first
_PIXELS = 4096  # with room to close the period
_BLOCK = 32

_KS_WAVE, _KS_ZERO = 21_590.0, 4.283e-11
_HC_K = 1.438776877e8  # Angstrom Kelvin (CODATA 2018)

# Fitzpatrick (1999, PASP 111, 63), table 3: 1/micron and A/E(B-V) for R_V = 3.1.
_DUST_X = (0.0, 0.377, 0.820, 1.667, 1.828, 2.141, 2.433, 3.704, 3.846)
_DUST_A = (0.0, 0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591)


def passed_by_dust(wave: Numbers, ebv: Numbers) -> NDArray[np.float64]:
    """Return what part of the light passes dust of E(B-V), ``(star, pixel)``.

    The law is the spline of Fitzpatrick (1999) for R_V = 3.1, from 2700 A.
    """
    law = CubicSpline(_DUST_X, _DUST_A)(1e4 / np.asarray(wave, float))
    return np.asarray(10 ** (-0.4 * np.asarray(ebv, float)[..., None] * law))


def hot_flux(
    labels: Numbers, m_ks: Numbers, *, vsini: Numbers = 0.0, rv: Numbers = 0.0
) -> NDArray[np.float64]:
    """Return noiseless spectra of stars at 10 pc without dust, on `WAVE`.

    Arguments:
        labels: teff (K), logg, feh of each star, ``(star, 3)`` or ``(3,)``.
        m_ks: absolute Ks magnitudes, ``(star,)``.
        vsini, rv: rotation and velocity, km/s, numbers or ``(star,)``.

    Returns erg/s/cm^2/A, ``(star, 3909)`` or ``(3909,)``, at resolving power 1800: the sum
    of two is the spectrum of a pair. Stars below 8000 K are dwarfs of log g 4.3.

    Raises:
        ValueError: labels outside the models, that is beyond 3500 to 40 000 K, log g 2.5
            to 5, [Fe/H] -2.5 to 0.5.
    """
    one = np.ndim(labels) == 1
    rows = np.atleast_2d(np.asarray(labels, float))
    magnitudes, speed, velocity = (
        np.broadcast_to(np.asarray(value, float), len(rows))
        for value in (m_ks, vsini, rv)
    )
    flux = absolute_light(rows, magnitudes, speed, velocity)
    return flux[0] if one else flux


def absolute_light(
    labels: NDArray[np.float64],
    m_ks: NDArray[np.float64],
    vsini: NDArray[np.float64],
    rv: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return spectra at 10 pc as `hot_flux` does, all arguments one a star."""
    out = np.empty((len(labels), len(WAVE)))
    # The same memory again and again: asking the system for it takes longer than to fill it.
    room = np.empty((_BLOCK, _PIXELS * _PER_PIXEL), np.float32)
    more = np.empty((_BLOCK, len(bundled_hot().wave)), np.float32)
    for models, rows in _sorted_by_models(labels):
        size = len(models.wave)
        for first in range(0, len(rows), _BLOCK):
            some = rows[first : first + _BLOCK]
            terms = models.terms(labels[some]).astype(np.float32)
            light, continuum = room[: len(some)], more[: len(some)]
            np.matmul(terms, _fine(models)[0], out=continuum)
            np.clip(continuum, 0, 1, out=light[:, :size])
            np.matmul(terms, _fine(models)[1], out=continuum)
            light[:, :size] *= np.exp(continuum, out=continuum)
            _close(light, size)
            out[some] = _recorded(light, vsini[some], rv[some])
            out[some] *= _scale(models, labels[some], m_ks[some])[:, None]
    return out


def smooth_light(
    labels: NDArray[np.float64], m_ks: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the continua of `absolute_light`, without lines and at rest."""
    out = np.empty((len(labels), len(WAVE)))
    for models, rows in _sorted_by_models(labels):
        pixels = slice(_MARGIN * _PER_PIXEL, None, _PER_PIXEL)
        theta = _fine(models)[1][:, pixels][:, : len(WAVE)]
        terms = models.terms(labels[rows]).astype(np.float32)
        out[rows] = np.exp(terms @ theta)
        out[rows] *= _scale(models, labels[rows], m_ks[rows])[:, None]
    return out


def _sorted_by_models(labels: NDArray):
    """Yield the hot models and the rows of their stars, then those of cool companions."""
    hot = labels[:, 0] >= bundled_hot().domain.teff[0]
    for models, rows in ((bundled_hot(), hot), (bundled_companions(), ~hot)):
        if not models.domain.contains(labels[rows]).all():
            outside = labels[rows][~models.domain.contains(labels[rows])][0]
            raise ValueError(
                f"A star of teff, logg, feh {outside.tolist()} lies outside the models "
                f"{models.name} ({models.domain}): choose labels inside."
            )
        if rows.any():
            yield models, np.flatnonzero(rows)


@cache
def _fine(models: PolynomialModels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return coefficients of flux and of ln(continuum) on the models' wavelengths."""
    continuum = [
        np.interp(models.wave, models.continuum_wave, row) * np.log(10)
        for row in models.continuum_theta
    ]
    return models.theta.astype(np.float32), np.array(continuum, np.float32)


def _scale(models: PolynomialModels, labels: NDArray, m_ks: NDArray) -> NDArray:
    """Return the factor from the models' units to flux at 10 pc."""
    last = models.continuum_wave[-1]
    surface = 10 ** (models.terms(labels) @ models.continuum_theta[:, -1])
    teff = labels[:, 0]
    surface *= (last / _KS_WAVE) ** 5
    surface *= np.expm1(_HC_K / last / teff) / np.expm1(_HC_K / _KS_WAVE / teff)
    return _KS_ZERO * 10 ** (-0.4 * m_ks) / surface


def _close(light: NDArray, size: int) -> None:
    """Lead ``light`` beyond its ``size`` points straight back to the first."""
    bridge = np.linspace(0, 1, light.shape[1] - size + 2, dtype=np.float32)[1:-1]
    light[:, size:] = light[:, size - 1 : size] * (1 - bridge) + light[:, :1] * bridge


def _recorded(light: NDArray, vsini: NDArray, rv: NDArray) -> NDArray[np.float32]:
    """Broaden, shift and average fine light ``(star, point)``, a period, into pixels."""
    transform = np.asarray(rfft(light, axis=1))
    frequency = np.arange(_PIXELS + 1) / (light.shape[1] * _STEP)  # cycles per km/s
    passed = _instrument(frequency)
    turning = np.interp(
        vsini[:, None] * frequency, _rotation()[0], _rotation()[1]
    ).astype(np.float32)
    shift = np.exp(-2j * np.pi * frequency * (C_KMS * np.log1p(rv / C_KMS))[:, None])
    product = transform[:, : _PIXELS + 1] * passed * turning
    product *= shift.astype(np.complex64)
    # Twice as many points as pixels hold all that passes; every second is a pixel.
    double = np.asarray(irfft(product, 2 * _PIXELS, axis=1)) / (_PER_PIXEL / 2)
    return double[:, ::2][:, _MARGIN : _MARGIN + len(WAVE)].astype(
        np.float32, copy=False
    )


def _instrument(frequency: NDArray) -> NDArray[np.float32]:
    sigma = C_KMS / remaining_resolution(RESOLUTION) / FWHM_PER_SIGMA
    pixel = np.sinc(frequency * _STEP * _PER_PIXEL)
    return (gaussian_transform(frequency, sigma) * pixel).astype(np.float32)


@cache
def _rotation() -> tuple[NDArray, NDArray]:
    """Return the transform of rotation at frequencies times vsini, finely."""
    product = np.linspace(0, 12, 24_001)
    return product, rotation_transform(product, 1.0)
