"""What comes between a hot star's light and its recorded spectrum.

In order: H alpha (and weaker H beta) emission, sodium of interstellar gas, dust, the flux
calibration's own shape, what is left of telluric bands and sky lines, noise; and for a
few spectra a fault that makes them useless. Inverse variances are made of smooth light,
without lines: they tell nothing about where lines are.
"""

__all__ = [
    "FAULTS",
    "H_ALPHA",
    "WINDOW",
    "break_spectrum",
    "calibration_shape",
    "emission_profile",
    "emission_significance",
    "hydrogen",
    "noise_of",
    "sodium",
    "spoil_pixels",
    "telluric",
]

from functools import cache

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.simulate.hot_spectra import RESOLUTION, WAVE

H_ALPHA, _H_BETA = 6564.61, 4862.68  # vacuum Angstrom
WINDOW = 15.0
"""Emission is searched for within so many Angstrom of H alpha."""

FAULTS = ("step", "negative", "saturated", "garbage", "wavelengths")
"""What breaks spectra."""

_LINE_FWHM = C_KMS / RESOLUTION

# Where LAMOST's low-resolution spectra gather light: relative signal per flux and pixel,
# read off a few of its inverse variances; the arms meet at 5900 A.
_SENSITIVITY = np.array(
    [
        *((3690, 0.06), (3900, 0.16), (4200, 0.40), (4600, 0.68), (5000, 0.92)),
        *((5400, 1.00), (5700, 0.80), (5920, 0.42), (6050, 0.70), (6200, 0.92)),
        *((6600, 1.45), (7000, 1.90), (7500, 2.30), (8000, 2.35), (8500, 2.2)),
        *((9000, 1.70), (9110, 1.40)),
    ]
)
# Airglow in vacuum (Osterbrock et al. 1996): Angstrom, and noise there over the star's.
_SKY_LINES = (
    *((5578.9, 3.0), (6302.0, 1.5), (6365.5, 0.6), (7278.1, 0.6), (7342.9, 0.6)),
    *((7753.0, 0.6), (7796.4, 0.7), (7915.8, 0.8), (7966.6, 0.6), (8346.9, 0.8)),
    *((8401.8, 1.0), (8432.5, 0.9), (8467.6, 0.7), (8767.9, 0.8), (8780.0, 0.7)),
    *((8829.5, 0.8), (8888.3, 0.9), (8922.1, 0.8), (8960.6, 0.7)),
)
# Telluric bands: limits in Angstrom (vacuum), lines in each, deepest absorption.
_BANDS = (
    *(
        (6869.0, 6960.0, 14, 0.25),
        (7168.0, 7320.0, 25, 0.15),
        (7594.0, 7705.0, 16, 0.6),
    ),
    *((8130.0, 8350.0, 35, 0.15), (8930.0, 9105.0, 30, 0.35)),
)


def emission_profile(
    rv: NDArray, fwhm: NDArray, split: NDArray, line: float = H_ALPHA
) -> NDArray[np.float64]:
    """Return emission profiles of unit area (1/A), ``(star, pixel)``.

    ``rv``, ``fwhm`` and the distance of two equal peaks, ``split``, are in km/s.
    """
    width = np.hypot(fwhm, _LINE_FWHM) / FWHM_PER_SIGMA
    speed = C_KMS * np.log(WAVE / line)
    out = np.zeros((len(rv), len(WAVE)))
    for side in (-0.5, 0.5):
        x = (speed - (rv + side * split)[:, None]) / width[:, None]
        out += np.exp(-(x**2) / 2) / 2
    return out / (np.sqrt(2 * np.pi) * width / C_KMS * line)[:, None]


def emission_significance(light: NDArray, ivar: NDArray) -> NDArray[np.float64]:
    """Return added light summed within `WINDOW` over the noise of that sum, ``(star,)``."""
    near = np.abs(WAVE - H_ALPHA) < WINDOW
    noise = np.sqrt(np.sum(1 / ivar[:, near], axis=1))
    return np.sum(light[:, near], axis=1) / noise


def hydrogen(stars: dict[str, NDArray], continuum: NDArray) -> NDArray[np.float64]:
    """Return the light that emission adds to stars of a continuum, ``(star, pixel)``."""
    out = np.zeros_like(continuum)
    rows = np.flatnonzero(stars["emission_ew"] > 0)
    some = {name: values[rows] for name, values in stars.items()}
    for line, part in ((H_ALPHA, 1.0), (_H_BETA, some["emission_decrement"])):
        profile = emission_profile(
            some["rv"], some["emission_fwhm"], some["emission_split"], line
        )
        level = continuum[rows, np.searchsorted(WAVE, line)]
        out[rows] += (part * some["emission_ew"] * level)[:, None] * profile
    return out


def sodium(ebv: NDArray) -> NDArray[np.float64]:
    """Return what part of the light passes interstellar sodium, ``(star, pixel)``.

    The equivalent width of both lines together grows as the logarithm of E(B-V)
    (Poznanski et al. 2012, MNRAS 426, 1465, equation 9).
    """
    width = np.maximum(np.log10(np.maximum(ebv, 1e-4)) + 1.85, 0) / 1.17
    out = np.ones((len(ebv), len(WAVE)))
    for line, share in ((5891.58, 0.56), (5897.56, 0.44)):
        sigma = line / RESOLUTION / FWHM_PER_SIGMA
        shape = np.exp(-(((WAVE - line) / sigma) ** 2) / 2) / (
            np.sqrt(2 * np.pi) * sigma
        )
        out -= (share * width)[:, None] * shape
    return out


def calibration_shape(rng, size: int, scatter: float) -> NDArray[np.float64]:
    """Draw smooth errors of the flux calibration, factors ``(spectrum, pixel)``."""
    x = np.linspace(-1, 1, len(WAVE))
    curves = [np.polynomial.Legendre.basis(order)(x) for order in (1, 2, 3, 4, 5)]
    curves.append(np.tanh((WAVE - 5900) / 60) / 4)  # the arms' own scales
    amounts = rng.normal(size=(size, 6)) * [1.0, 0.7, 0.5, 0.4, 0.3, 0.5]
    return np.exp(scatter * amounts @ np.array(curves))


@cache
def _bands() -> NDArray[np.float64]:
    """Return the optical depth of telluric bands at the resolution of the spectra."""
    rng = np.random.default_rng(7)  # the atmosphere is always the same
    depth = np.zeros(len(WAVE))
    for low, high, lines, deepest in _BANDS:
        band = np.zeros(len(WAVE))
        for line in np.linspace(low, high, lines) + rng.uniform(-1, 1, lines):
            sigma = line / RESOLUTION / FWHM_PER_SIGMA
            band += rng.uniform(0.3, 1) * np.exp(-(((WAVE - line) / sigma) ** 2) / 2)
        depth += deepest * band / band.max()
    return depth


def telluric(rng, size: int, scatter: float) -> NDArray[np.float64]:
    """Draw what is left of telluric bands, factors ``(spectrum, pixel)``."""
    return np.exp(scatter * rng.normal(size=(size, 1)) * _bands())


def noise_of(smooth: NDArray, snr: NDArray) -> NDArray[np.float64]:
    """Return standard deviations of pixels of spectra with smooth light.

    ``snr`` is the median ratio in 4000 to 5500 A. Photons and a background of the sky
    share the variance; airglow adds at its wavelengths.
    """
    counts = smooth * np.interp(WAVE, *_SENSITIVITY.T)
    blue = (WAVE > 4000) & (WAVE < 5500)
    level = np.median(counts[:, blue], axis=1, keepdims=True)
    relative = counts / level
    sky = np.zeros(len(WAVE))
    for line, over in _SKY_LINES:
        sigma = line / RESOLUTION / FWHM_PER_SIGMA
        sky += over**2 * np.exp(-(((WAVE - line) / sigma) ** 2) / 2)
    variance = (0.8 * relative + 0.2) * (1 + sky)
    noise = np.sqrt(variance) / relative * smooth
    now = np.median((smooth / noise)[:, blue], axis=1)
    return noise * (now / snr)[:, None]


def spoil_pixels(rng, flux: NDArray, ivar: NDArray, mean: float) -> None:
    """Spoil some pixels of spectra, a Poisson number each, and give them no weight."""
    for row, number in enumerate(rng.poisson(mean, len(flux)).tolist()):
        where = rng.integers(0, flux.shape[1], number)
        flux[row, where] *= rng.uniform(0, 5, number)
        ivar[row, where] = 0


def break_spectrum(rng, flux: NDArray, fault: str) -> NDArray[np.float64]:
    """Return a spectrum with one of `FAULTS`, ``(pixel,)``."""
    x = np.linspace(0, 1, len(flux))
    level = np.median(flux)
    match fault:
        case "step":
            factor = rng.choice([rng.uniform(0.2, 0.7), rng.uniform(1.5, 4)])
            return flux * np.where(WAVE > 5900, factor, 1.0)
        case "negative":
            middle = rng.uniform(0.1, 0.9)
            hole = np.exp(-(((x - middle) / rng.uniform(0.03, 0.15)) ** 2) / 2)
            return flux - hole * flux.max() * rng.uniform(0.8, 1.5)
        case "saturated":
            return np.minimum(flux, np.quantile(flux, rng.uniform(0.2, 0.6)))
        case "garbage":
            waves = rng.normal(size=(12, 1)) * np.sin(
                np.pi * rng.uniform(1, 25, (12, 1)) * (x + rng.uniform(size=(12, 1)))
            )
            return flux * 0.3 + level * (1 + waves.sum(axis=0) / 4)
        case "wavelengths":
            stretch = rng.choice([-1, 1]) * rng.uniform(8, 40)
            moved = np.arange(len(flux)) + stretch * (1 + rng.uniform(-1, 1) * x)
            return np.interp(moved, np.arange(len(flux)), flux)
    raise ValueError(f"{fault!r} is no fault: choose from {', '.join(FAULTS)}.")
