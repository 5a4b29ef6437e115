"""The photon limit as a table: what each kind of star allows, in each arm.

Model spectra go through an arm's line spread function and pixels, and get the noise of
their own photons. The limit is then the ``c / (Q sqrt(pixels) SNR)`` of the text books,
and beside it stands the honest one, with a continuum and the star's own temperature,
gravity and metallicity unknown too.
"""

__all__ = ["Arm", "limit_table", "survey_arms"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.component import Component
from steadystar.data.numbers import Numbers
from steadystar.measure.information import limit_of, quality_factor
from steadystar.measure.noiseless import noiseless_at_pixels, through_instrument
from steadystar.models.library import LABELS, ModelSpectra, bundled

# Steps to the neighbors in K, log g and [Fe/H] between which a spectrum is linear.
_STEPS = (50.0, 0.1, 0.1)


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm of a spectrograph: its pixels' wavelengths (Angstrom), its sharpness.

    ``models``: a source of model spectra that covers it, with room for the line spread
    function. ``resolution``: ``lambda / FWHM``.
    """

    name: str
    models: ModelSpectra
    wave: NDArray[np.float64]
    resolution: float


def survey_arms() -> tuple[Arm, ...]:
    """Return the arms of LAMOST's medium-resolution survey and of APOGEE.

    LAMOST: 4950 to 5350 and 6300 to 6800 A, R 7500, pixels of 0.12 and 0.14 A, the
    median of public files. APOGEE: its own logarithmic grid, ``log10`` step 6e-6, where
    the three detectors are (15145 to 15810, 15860 to 16430, 16480 to 16950 A), R 22500.
    """
    grid = np.power(10.0, 4.179 + 6e-6 * np.arange(8575))
    detectors = ((15145.0, 15810.0), (15860.0, 16430.0), (16480.0, 16950.0))
    seen = np.any([(grid >= low) & (grid <= high) for low, high in detectors], axis=0)
    return (
        Arm("blue", bundled("lamost-mrs-blue"), np.arange(4950, 5350, 0.12), 7500.0),
        Arm("red", bundled("lamost-mrs-red"), np.arange(6300, 6800, 0.14), 7500.0),
        Arm("apogee", bundled("h-band"), grid[seen], 22500.0),
    )


def limit_table(
    labels: Numbers,
    snr: Numbers = 100.0,
    arms: Sequence[Arm] | None = None,
    *,
    continuum: int = 3,
) -> pl.DataFrame:
    """Return the photon limit against stellar type, S/N and arm.

    Arguments:
        labels: effective temperature (K), log g, [Fe/H], ``(star, 3)`` or ``(3,)``.
        snr: root mean square of the S/N per pixel; one or several.
        arms: `survey_arms` if None.
        continuum: degree of the polynomial that is unknown in ``limit_profiled``.

    Returns:
        One row an arm, star and S/N: ``arm, teff, logg, feh, snr, n_pixels, quality``,
        ``limit`` (only the velocity unknown), ``limit_continuum`` (and a polynomial that
        multiplies the spectrum), ``limit_profiled`` (and the three labels), km/s. The
        models are normalized: a continuum that varies along the arm weighs the lines
        differently. No rotation, no sky.

    Raises:
        ValueError: labels outside an arm's models, or an S/N that is not positive.
    """
    stars = np.atleast_2d(np.asarray(labels, float))
    ratios = np.atleast_1d(np.asarray(snr, float))
    if stars.shape[1:] != (len(LABELS),):
        raise ValueError(
            f"Labels have shape {stars.shape}: give {', '.join(LABELS)} for each star."
        )
    if not (np.isfinite(ratios).all() and (ratios > 0).all()):
        raise ValueError("The S/N must be positive numbers.")
    rows = []
    for arm in survey_arms() if arms is None else arms:
        for star in stars:
            unit = _at_unit_snr(arm, star, continuum)
            for ratio in ratios:
                # Everything that is profiled out is free, so all scales with the S/N.
                rows.append(
                    {"arm": arm.name, **dict(zip(LABELS, star.tolist(), strict=True))}
                    | {"snr": float(ratio), "n_pixels": len(arm.wave)}
                    | {
                        name: value / ratio if name.startswith("limit") else value
                        for name, value in unit.items()
                    }
                )
    return pl.DataFrame(rows)


def _at_unit_snr(
    arm: Arm, star: NDArray[np.float64], continuum: int
) -> dict[str, float]:
    """Return the quality factor and the limits of one star at S/N 1."""
    neighbors = _neighbors(arm.models, star)
    spectra = arm.models(
        np.concatenate([[star], *(pair for pair, _ in neighbors)])
    ).flux
    seen = noiseless_at_pixels(
        arm.wave,
        np.ones((1, len(arm.wave)), bool),
        (arm.models.wave, spectra[0]),
        resolution=arm.resolution,
    )
    beside = through_instrument(arm.models.wave, spectra[1:], arm.wave, arm.resolution)
    by_label = (beside[::2] - beside[1::2]) / [[step] for _, step in neighbors]
    # Photons alone: the variance follows the flux, and the mean of (S/N)^2 is one.
    flux = seen.flux[0]
    ivar = 1 / np.maximum(flux, 1e-6) / flux.mean()
    # A free strength: a prior a million times wider than what S/N 1 would show.
    scale = np.sqrt((by_label**2 * ivar).sum(axis=1, keepdims=True))
    labels = Component("labels", basis=1e6 * by_label / np.where(scale > 0, scale, 1))
    given = (seen, arm.wave, ivar[None, :])
    return {
        "quality": float(quality_factor(arm.wave, flux)[0]),
        "limit": float(limit_of(*given)[0]),
        "limit_continuum": float(limit_of(*given, continuum)[0]),
        "limit_profiled": float(limit_of(*given, continuum, [labels])[0]),
    }


def _neighbors(
    models: ModelSpectra, star: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """Return for each label two stars, above and below, and how far apart they are."""
    found = []
    for k, step in enumerate(_STEPS):
        pair = []
        for sign in (1, -1):
            moved = star.copy()
            moved[k] += sign * step
            try:
                models(moved)
            except ValueError:
                # At the border of the models: one side only.
                moved = star.copy()
            pair.append(moved)
        found.append((np.array(pair), max(float(pair[0][k] - pair[1][k]), step)))
    return found
