"""Noiseless spectra at the pixels of an instrument, and their slopes.

The photon limit rests on the derivative of a spectrum by ``ln(wavelength)``. Differences
of neighboring pixels would be wrong by 9 to 36% of the limit for lines of 4 to 2 pixels
FWHM. Here it is the derivative of the spline of degree 7 through the points: at pixels it
is right to 0.15% for lines of 2.5 pixels FWHM and to 0.02% for 3; on a finer model it is
exact for all purposes. Where a model is still to be put through the line spread function,
it is moved by small velocities before, and the difference of what arrives is taken.

Noise has slopes too, larger than those of most stars, and they would pass for
information. `looks_noisy` tells the two apart by their power: lines that went through a
line spread function have next to nothing near the Nyquist frequency, noise has as much
there as anywhere.
"""

__all__ = [
    "LEAST_POINTS",
    "FineModel",
    "Model",
    "NoiselessPixels",
    "at_own_pixels",
    "looks_noisy",
    "noiseless_at_pixels",
    "through_instrument",
]

from collections.abc import Sequence
from itertools import pairwise
from math import comb
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.models.broadening import broaden

_DEGREE = 7
LEAST_POINTS = _DEGREE + 1
"""Points that the spline of a spectrum needs."""

_STEP_KMS = 0.5
_GAP = 3.0
_ORDER = 6


@runtime_checkable
class FineModel(Protocol):
    """Anything with wavelengths ``(point,)`` and flux ``(model, point)``: `Templates`.

    An attribute ``resolution`` that is a number says how sharp it is; without one, or
    if it is None, it is as the instrument sees it.
    """

    @property
    def wave(self) -> NDArray:
        """Vacuum wavelengths in Angstrom, increasing."""
        ...

    @property
    def flux(self) -> NDArray:
        """Flux of each model."""
        ...


Model = FineModel | Sequence


class NoiselessPixels(NamedTuple):
    """Flux and its derivative by ``ln(wavelength)``, both ``(spectrum, pixel)``."""

    flux: NDArray[np.float64]
    slope: NDArray[np.float64]


def noiseless_at_pixels(
    wave: NDArray[np.float64],
    used: NDArray[np.bool_],
    model: Model,
    rv: Numbers = 0.0,
    resolution: Numbers | None = None,
) -> NoiselessPixels:
    """Return a fine model as the pixels see it.

    Arguments:
        wave: of the pixels, ``(pixel,)`` or ``(spectrum, pixel)``.
        used: pixels that count, ``(spectrum, pixel)``; only they need be covered.
        model: a pair of wavelengths ``(point,)`` and flux ``(point,)`` or
            ``(spectrum, point)``, or a `FineModel` of one or as many rows.
        rv: by which it is moved, km/s, one for all or one a spectrum.
        resolution: of the instrument, likewise; None if the model has passed through it.

    Raises:
        ValueError: a model with the wrong shape or values that are not finite, that
            does not cover the pixels, or is less sharp than the instrument.
    """
    points, flux, own = _as_model(model, len(used))
    speed = np.broadcast_to(np.asarray(rv, float), len(used))
    sharp = np.broadcast_to(
        np.asarray(np.nan if resolution is None else resolution, float), len(used)
    )
    known: dict[tuple, tuple[NDArray, NDArray]] = {}
    seen = NoiselessPixels(np.zeros(used.shape), np.zeros(used.shape))
    for i in range(len(used)):
        part = _extent(used[i])
        row = i if len(flux) > 1 else 0
        pixels = (wave if wave.ndim == 1 else wave[i])[part]
        key = (row, speed[i], sharp[i], part.start, part.stop)
        if wave.ndim > 1 or key not in known:
            known[key] = _seen(points, flux[row], pixels, speed[i], sharp[i], own)
        seen.flux[i, part], seen.slope[i, part] = known[key]
    return seen


def at_own_pixels(
    wave: NDArray[np.float64], flux: NDArray[np.float64]
) -> NoiselessPixels:
    """Return noiseless spectra that were given at the pixels, with their slopes."""
    if wave.ndim == 1:
        return NoiselessPixels(flux, _slope(np.log(wave), flux.T).T)
    slopes = [_slope(np.log(w), row) for w, row in zip(wave, flux, strict=True)]
    return NoiselessPixels(flux, np.reshape(slopes, flux.shape))


def looks_noisy(
    flux: NDArray[np.float64], ivar: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say of each spectrum whether it has the noise that ``ivar`` promises.

    Sixth differences see what varies from pixel to pixel. In white noise neighboring
    ones are correlated by -6/7; behind a line spread function of two pixels FWHM or more
    by -0.5 at the least. A spectrum is called noisy if the correlation is below -0.7
    and their size is what the errors say, to a factor of 10 in variance. Noise that does
    not matter for the limit, or that resampling has smoothed, is not seen; neither is
    that of fewer than 100 good pixels.
    """
    stencil = np.array([(-1.0) ** k * comb(_ORDER, k) for k in range(_ORDER + 1)])
    noisy = np.zeros(len(flux), bool)
    for i, (row, weight) in enumerate(zip(flux, ivar, strict=True)):
        good = weight > 0
        variance = np.divide(1, weight, out=np.zeros_like(weight), where=good)
        whole = np.convolve(good, np.ones(_ORDER + 1), "valid") > _ORDER + 0.5
        if whole.sum() < 100:
            continue
        scatter = np.sqrt(np.convolve(variance, stencil**2, "valid"))
        z = np.convolve(row, stencil, "valid") / np.where(whole, scatter, 1)
        level = np.median(np.abs(z[whole])) ** 2 / 0.6745**2
        if not 0.1 < level < 10:
            continue
        pair = whole[1:] & whole[:-1]
        # Of two Gaussians with correlation r: var(sum) / var(difference) is this.
        ratio = (
            np.median(np.abs(z[1:] + z[:-1])[pair])
            / np.median(np.abs(z[1:] - z[:-1])[pair])
        ) ** 2
        noisy[i] = (ratio - 1) / (ratio + 1) < -0.7
    return noisy


def _as_model(
    model: Model, number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return points, flux ``(1 or spectrum, point)`` and resolution (NaN: as seen)."""
    if isinstance(model, FineModel):
        wave, flux, own = model.wave, model.flux, getattr(model, "resolution", None)
        own = float(own) if isinstance(own, int | float) else np.nan
    elif len(model) == 2:
        (wave, flux), own = model, np.nan
    else:
        raise ValueError(
            f"The model has {len(model)} parts: give a pair (wave, flux), or Templates."
        )
    wave, flux = np.asarray(wave, float), np.atleast_2d(np.asarray(flux, float))
    if wave.ndim != 1 or flux.shape not in ((1, len(wave)), (number, len(wave))):
        raise ValueError(
            f"The model has wavelengths of shape {wave.shape} and flux of shape "
            f"{flux.shape} for {number} spectra: give (point,) and (point,), or one row "
            "a spectrum."
        )
    if len(wave) < LEAST_POINTS or not (np.diff(wave) > 0).all() or not wave[0] > 0:
        raise ValueError(
            f"The model's {len(wave)} wavelengths are not increasing, positive and at "
            f"least {LEAST_POINTS}: give a finely sampled model in vacuum Angstrom."
        )
    if not np.isfinite(flux).all():
        raise ValueError(
            "The model has values that are not finite: cut those wavelengths off."
        )
    return wave, flux, own


def _extent(used: NDArray[np.bool_]) -> slice:
    """Return the pixels from the first that counts to the last."""
    where = np.flatnonzero(used)
    return slice(where[0], where[-1] + 1) if len(where) else slice(0, 0)


def _seen(
    points: NDArray, flux: NDArray, pixels: NDArray, rv: float, sharp: float, own: float
) -> tuple[NDArray, NDArray]:
    """Return one model's flux and slope at ``pixels``."""
    if not len(pixels):
        return np.zeros(0), np.zeros(0)
    if sharp <= 0 or rv <= -C_KMS or np.isnan(rv):
        raise ValueError(
            f"Resolution {sharp:g} and velocity {rv:g} km/s: give lambda / FWHM > 0 and "
            "the star's velocity."
        )
    points = points * (1 + rv / C_KMS)
    if pixels[0] < points[0] or pixels[-1] > points[-1]:
        raise ValueError(
            f"The pixels span {pixels[0]:.2f} to {pixels[-1]:.2f} A, but the model only "
            f"{points[0]:.2f} to {points[-1]:.2f} A: use a wider model, or set ivar to "
            "zero where it ends."
        )
    if np.isnan(sharp) or np.isclose(sharp, own, rtol=1e-6):
        spline = make_interp_spline(np.log(points), flux, k=_DEGREE)
        at = np.log(pixels)
        return spline(at), spline.derivative()(at)
    if own <= sharp:
        raise ValueError(
            f"The model's resolution, {own:g}, is less than the instrument's, "
            f"{sharp:g}: use a sharper model."
        )
    rest = sharp if np.isnan(own) else (sharp**-2 - own**-2) ** -0.5

    def moved(steps: int) -> NDArray:
        shift = np.exp(steps * _STEP_KMS / C_KMS)
        return through_instrument(points * shift, flux, pixels, rest)

    # Moving the model to the red is going to the blue on it.
    near, far = moved(-1) - moved(1), moved(-2) - moved(2)
    return moved(0), (8 * near - far) / (12 * _STEP_KMS / C_KMS)


def through_instrument(
    points: NDArray, flux: NDArray, pixels: NDArray, resolution: float
) -> NDArray[np.float64]:
    """Return ``flux`` ``(..., point)`` as `broaden` does, each side of a gap alone.

    The pixel beside a gap between detectors is no wider than the others.
    """
    parts = _parts(np.log(pixels))
    seen = [broaden(points, flux, pixels[p], resolution=resolution) for p in parts]
    return np.concatenate(seen, axis=-1)


def _slope(log_wave: NDArray, flux: NDArray) -> NDArray:
    """Return the derivative along the first axis of ``flux``, at its own points.

    A spline would swing on either side of a gap between detectors: each side has its
    own. At its ends it would swing too, so a spectrum goes on there, turned around its
    last point. A change from point to point of 1e-13 of the flux is rounding.
    """
    slope = np.zeros(flux.shape)
    for part in _parts(log_wave):
        x, y = _turned(log_wave[part]), _turned(flux[part])
        spline = make_interp_spline(x, y, k=min(_DEGREE, len(x) - 1))
        slope[part] = spline.derivative()(log_wave[part])
    step = np.gradient(log_wave).reshape(-1, *[1] * (flux.ndim - 1))
    return np.where(np.abs(slope * step) > 1e-13 * np.abs(flux).max(0), slope, 0)


def _turned(values: NDArray, number: int = 16) -> NDArray:
    """Continue values beyond both ends by what they are before, turned half around."""
    number = min(number, len(values) - 1)
    before = 2 * values[:1] - values[number:0:-1]
    after = 2 * values[-1:] - values[-2 : -2 - number : -1]
    return np.concatenate([before, values, after])


def _parts(log_wave: NDArray) -> list[slice]:
    """Cut pixels where three or more are missing; a part has two at least."""
    step = np.diff(log_wave)
    borders = np.flatnonzero(step > _GAP * np.median(step)) + 1
    borders = borders[(borders > 1) & (borders < len(log_wave) - 1)]
    borders = borders[np.diff(borders, prepend=0) > 1]
    ends = [0, *borders.tolist(), len(log_wave)]
    return [slice(a, b) for a, b in pairwise(ends)]
