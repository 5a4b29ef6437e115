"""The equivalent width of a line, summed over its pixels.

``W = sum_i (1 - F_i / C_i) d_i`` over the pixels within ``half_width`` of the line in the
star's frame, in Angstrom of that frame; absorption is positive. The continuum ``C`` is a
straight line through both sides, fitted to what is left there when absorption lines are
taken out: what lies below by 3 times the noise, or 1.5 times the scatter if that is more. With ``p`` the two
numbers of that line and ``V`` their covariance,

``var(W) = sum_i (d_i / C_i)^2 / ivar_i + g V g,  g = sum_i d_i F_i / C_i^2 dC_i/dp``,

so that the error has the noise of the line and what the continuum is not known by. What
lies in the side windows beside noise moves every spectrum of a star alike: widths of one
star compare better than those of two.
"""

__all__ = ["H_ALPHA", "EquivalentWidths", "equivalent_widths"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import Spectra

Vector = NDArray[np.float64]

H_ALPHA = 6564.61
"""Vacuum Angstrom."""
_SIDE = 2.5
"""The side windows end at so many half widths from the line."""
_FEWEST = 10
_WIDEST_GAP = 0.1
"""A gap wider than this share of the half width leaves no width."""


@dataclass(frozen=True)
class EquivalentWidths:
    """Widths and their errors in Angstrom, shape ``(spectrum,)``; NaN where none is."""

    width: Vector
    error: Vector


def equivalent_widths(
    spectra: Spectra,
    rv: Numbers = 0.0,
    *,
    line: float = H_ALPHA,
    half_width: float = 10.0,
) -> EquivalentWidths:
    """Measure the equivalent width of a line in each spectrum.

    Arguments:
        spectra: any continuum, in any unit.
        rv: velocity of the star in the frame of each spectrum, km/s, ``(spectrum,)``.
        line: its wavelength in vacuum, Angstrom.
        half_width: half of the window, Angstrom; the continuum is that between one
            and 2.5 half widths, on both sides.

    NaN where the line or a side is not covered, has a gap of more than a tenth of
    ``half_width`` in the line, or a continuum that is not positive.

    Raises:
        ValueError: the window is not positive.
    """
    if not (half_width > 0 and line > _SIDE * half_width):
        raise ValueError(
            f"A window of half width {half_width} A about {line} A is none: give a "
            "positive half width well below the wavelength."
        )
    velocity = np.broadcast_to(np.asarray(rv, float), spectra.flux.shape[:1])
    wave = spectra.wave_2d / (1 + velocity[:, None] / C_KMS) - line
    made = [
        _one(x, flux.astype(float), ivar.astype(float), half_width)
        for x, flux, ivar in zip(wave, spectra.flux, spectra.ivar, strict=True)
    ]
    both = np.array(made, float).reshape(-1, 2)
    return EquivalentWidths(both[:, 0], both[:, 1])


def _one(x: Vector, flux: Vector, ivar: Vector, half: float) -> tuple[float, float]:
    """Return width and error of one spectrum; ``x`` counts from the line, Angstrom."""
    nothing = float("nan"), float("nan")
    good = (ivar > 0) & (np.abs(x) <= _SIDE * half)
    x, flux, ivar = x[good], flux[good], ivar[good]
    inside = np.abs(x) <= half
    left, right = x < -half, x > half
    if min(left.sum(), right.sum(), inside.sum()) < _FEWEST:
        return nothing
    around = np.concatenate([[-half], x[inside], [half]])
    if np.diff(around).max() > _WIDEST_GAP * half:
        return nothing
    terms = np.stack([np.ones_like(x), x / half], axis=1)
    level, covariance = _straight_line(
        terms[~inside], flux[~inside], ivar[~inside], right[~inside]
    )
    if level is None:
        return nothing
    continuum = (terms @ level)[inside]
    if not (continuum > 0).all():
        return nothing
    step, flux, ivar = _cells(x[inside], half), flux[inside], ivar[inside]
    width = np.sum((1 - flux / continuum) * step)
    slope = (step * flux / continuum**2) @ terms[inside]
    variance = np.sum((step / continuum) ** 2 / ivar) + slope @ covariance @ slope
    return float(width), float(np.sqrt(variance))


def _straight_line(
    terms: Vector, flux: Vector, ivar: Vector, right: NDArray[np.bool_]
) -> tuple[Vector | None, Vector]:
    """Fit the continuum and return it with its covariance; None if too little is left."""
    keep = np.ones(len(flux), bool)
    level, covariance = None, np.zeros((2, 2))
    error = ivar**-0.5
    for _ in range(6):
        if min((keep & right).sum(), (keep & ~right).sum()) < _FEWEST // 2:
            return None, covariance
        weighted = terms[keep] * ivar[keep, None]
        covariance = np.asarray(np.linalg.inv(weighted.T @ terms[keep]), float)
        level = covariance @ (weighted.T @ flux[keep])
        residual = (flux - terms @ level) / error
        spread = max(float(np.std(residual[keep])), 1.0)
        # Lopsided where lines are more than noise; noise alone must not lift the level.
        keep = (residual >= -max(3.0, 1.5 * spread)) & (residual <= 3 * spread)
    return level, covariance


def _cells(x: Vector, half: float) -> Vector:
    """Widths of the cells about the pixels, which together fill the window."""
    middle = (x[1:] + x[:-1]) / 2
    return np.asarray(np.diff(np.concatenate([[-half], middle, [half]])))
