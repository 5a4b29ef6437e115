"""The photon limit: how well the velocity of a spectrum can be known at all.

For a noiseless spectrum ``A`` as the instrument sees it and pixels of inverse variance
``w``, no unbiased measurement does better than

    limit = c / sqrt(sum w (dA / d ln(wave))^2)

(Bouchy, Pepe and Queloz 2001; Saydjari et al. 2025, section 7). That holds if only the
velocity is unknown. A measurement that has to find the continuum and the star's type as
well has less to go by, and its own limit is what remains of the information when they are
profiled out: the arguments ``continuum`` and ``nuisance`` of `photon_limit`.

With photon noise alone the limit is ``c / (Q sqrt(pixels) SNR)``, where ``Q`` depends on
the spectrum only (`quality_factor`) and SNR is the root mean square over pixels.
"""

__all__ = ["limit_from_quality", "limit_of", "photon_limit", "quality_factor"]

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.component import Component
from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.kernels import information
from steadystar.kernels.matching import legendre_at
from steadystar.measure.noiseless import (
    LEAST_POINTS,
    Model,
    NoiselessPixels,
    at_own_pixels,
    looks_noisy,
    noiseless_at_pixels,
)

# What is left of the information after profiling, if it is rounding only.
_NOTHING = 1e-9


def photon_limit(
    wave: Numbers,
    flux: Numbers | None,
    ivar: Numbers,
    model: Model | None = None,
    *,
    rv: Numbers = 0.0,
    resolution: Numbers | None = None,
    level: int = 0,
    continuum: int | None = None,
    nuisance: Sequence[Component] = (),
) -> NDArray[np.float64]:
    """Return the smallest error that a velocity can have, in km/s, one per spectrum.

    Arguments:
        wave: vacuum wavelengths in Angstrom, increasing, ``(pixel,)`` or
            ``(spectrum, pixel)``.
        flux: without ``model``, the noiseless spectrum at the pixels as the instrument
            sees it, ``(spectrum, pixel)`` or ``(pixel,)``. With ``model``, what was
            recorded, noise and all: it only tells how bright the star is; None if the
            model is in the right unit already.
        ivar: inverse variances, same shape; pixels where it is zero, negative or not
            finite do not count.
        model: the noiseless spectrum on a grid finer than the pixels: a pair
            ``(wave, flux)`` with ``(point,)`` and ``(point,)`` or ``(spectrum, point)``,
            or `Templates` with one row, or one a spectrum.
        rv: velocity by which the model is moved to match, km/s; one or one a spectrum.
        resolution: resolving power of the instrument, if the model is sharper; the model
            is then put through a Gaussian line spread function and the pixels. None if
            it is as the instrument sees it. One or one a spectrum.
        level: degree of the polynomial in wavelength that scales the model to ``flux``.
        continuum: degree of a polynomial that multiplies the spectrum and is unknown;
            None if the continuum is known.
        nuisance: what else is unknown: the bases and diagonals of the star's and the
            sky's priors, in the unit of ``flux``. Means play no part.

    Returns:
        ``(spectrum,)``; infinite where the pixels say nothing about the velocity.

    Raises:
        ValueError: shapes disagree; ``flux`` is not finite, or has the noise that
            ``ivar`` promises; a model that does not cover the pixels.

    Source: Bouchy, Pepe and Queloz 2001, equation 12.
    """
    wave, weight = _pixels(wave, ivar)
    used = weight > 0
    if model is None:
        seen = at_own_pixels(wave, _noiseless(flux, weight))
    else:
        seen = noiseless_at_pixels(wave, used, model, rv, resolution)
        if flux is not None:
            seen = _scaled(seen, wave, _recorded(flux, used), weight, level)
    return limit_of(seen, wave, weight, continuum, nuisance)


def limit_of(
    seen: NoiselessPixels,
    wave: NDArray[np.float64],
    weight: NDArray[np.float64],
    continuum: int | None = None,
    nuisance: Sequence[Component] = (),
) -> NDArray[np.float64]:
    """Return the photon limit of spectra with known slopes; see `photon_limit`."""
    if continuum is None and not nuisance:
        with jax.enable_x64(True):
            found = _known(jnp.asarray(seen.slope), jnp.asarray(weight))
        return _limit(np.asarray(found))
    return _profiled(wave, seen, weight, continuum, nuisance)


def quality_factor(
    wave: Numbers, flux: Numbers, good: Numbers | None = None
) -> NDArray[np.float64]:
    """Return the quality factor ``Q`` of noiseless spectra, ``(spectrum,)``.

    Arguments:
        wave: vacuum wavelengths in Angstrom, increasing, ``(point,)`` or
            ``(spectrum, point)``; pixels, or a finer sampling of what they see.
        flux: proportional to the number of photons, as the instrument sees it,
            ``(spectrum, point)`` or ``(point,)``. Points without light do not count.
        good: points that count, same shape; None for all.

    Raises:
        ValueError: shapes disagree, or values are not finite.
    """
    flux = np.atleast_2d(np.asarray(flux, float))
    used = np.ones(flux.shape, bool) if good is None else np.atleast_2d(good)
    wave, counted = _pixels(wave, used)
    # Nothing is known of the noise, so there is none to look for.
    seen = at_own_pixels(wave, _noiseless(flux, np.zeros_like(counted)))
    lit = np.where(counted > 0, seen.flux, 0)
    with jax.enable_x64(True):
        squared = _quality(jnp.asarray(seen.slope), jnp.asarray(lit))
    return np.sqrt(np.asarray(squared))


def limit_from_quality(quality: Numbers, n_pixels: Numbers, snr: Numbers):
    """Return the photon limit ``c / (Q sqrt(n_pixels) snr)``, km/s.

    ``snr`` is the root mean square of the S/N over the ``n_pixels`` pixels; exact if the
    noise is that of the photons alone and the gain is uniform. Q = 1100, S/N 100 and
    8000 pixels make 0.030470741601352298 km/s.

    Source: Bouchy, Pepe and Queloz 2001; Saydjari et al. 2025, equation 18.
    """
    quality, n_pixels, snr = (np.asarray(a, float) for a in (quality, n_pixels, snr))
    if not (np.all(quality >= 0) and np.all(n_pixels > 0) and np.all(snr > 0)):
        raise ValueError(
            "The quality factor must not be negative, and the number of pixels and the "
            "S/N must be positive."
        )
    with np.errstate(divide="ignore"):
        return C_KMS / (quality * np.sqrt(n_pixels) * snr)


def _pixels(
    wave: Numbers, ivar: Numbers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wavelengths and weights ``(spectrum, pixel)``, checked."""
    points = np.asarray(wave, float)
    weight = np.atleast_2d(np.asarray(ivar, float))
    if weight.ndim != 2 or points.shape not in (weight.shape, weight.shape[1:]):
        raise ValueError(
            f"Wavelengths have shape {points.shape} but the spectra {weight.shape}: give "
            "(pixel,) or (spectrum, pixel), and (spectrum, pixel)."
        )
    if not (np.isfinite(points).all() and (points > 0).all()):
        raise ValueError("Some wavelengths are not finite and positive.")
    if not (np.diff(points, axis=-1) > 0).all():
        raise ValueError("The wavelengths are not increasing: sort the pixels.")
    return points, np.where(np.isfinite(weight) & (weight > 0), weight, 0)


def _noiseless(flux: Numbers | None, weight: NDArray) -> NDArray[np.float64]:
    """Return ``flux`` if it may pass for a noiseless spectrum."""
    if flux is None:
        raise ValueError(
            "There is neither flux nor model: give a noiseless spectrum as one of them."
        )
    values = np.atleast_2d(np.asarray(flux, float))
    if values.shape != weight.shape:
        raise ValueError(
            f"Flux has shape {values.shape} and ivar {weight.shape}: give one inverse "
            "variance for every flux."
        )
    if values.shape[1] < LEAST_POINTS:
        raise ValueError(
            f"A spectrum of {values.shape[1]} pixels has no slope to speak of: give at "
            f"least {LEAST_POINTS}."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "The flux has values that are not finite, so it is no noiseless spectrum: "
            "fit a model first, and pass that."
        )
    noisy = np.flatnonzero(looks_noisy(values, weight))
    if len(noisy):
        raise ValueError(
            f"Spectrum {noisy[0]} ({len(noisy)} in all) has the noise that its ivar "
            "promises. The slopes of noise would count as information, and the limit "
            "come out too small: fit a model and pass it as model=(wave, flux)."
        )
    return values


def _recorded(flux: Numbers, used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a recorded flux, zero where it does not count."""
    values = np.atleast_2d(np.asarray(flux, float))
    if values.shape != used.shape:
        raise ValueError(
            f"Flux has shape {values.shape} and ivar {used.shape}: give one inverse "
            "variance for every flux."
        )
    if not np.isfinite(values[used]).all():
        raise ValueError(
            "The flux is not finite in pixels that count: set their ivar to zero."
        )
    return np.where(used, values, 0)


def _across(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``ln(wave)`` from -1 to 1 along each spectrum."""
    x = np.log(wave)
    first, last = x[..., :1], x[..., -1:]
    return 2 * (x - first) / np.maximum(last - first, 1e-12) - 1


def _scaled(
    seen: NoiselessPixels, wave: NDArray, flux: NDArray, weight: NDArray, level: int
) -> NoiselessPixels:
    """Scale noiseless spectra to recorded ones by the polynomial that fits best.

    The slope is that of the star's part only: throughput does not move with the star.
    """
    if level < 0:
        raise ValueError(f"The degree of the level is {level}: give zero or more.")
    x = np.broadcast_to(_across(wave), flux.shape)
    scale = np.empty_like(flux)
    for i in range(len(flux)):
        basis = np.polynomial.legendre.legvander(x[i], level)
        design = basis * (seen.flux[i] * np.sqrt(weight[i]))[:, None]
        q, *_ = np.linalg.lstsq(design, flux[i] * np.sqrt(weight[i]), rcond=None)
        scale[i] = basis @ q
    return NoiselessPixels(seen.flux * scale, seen.slope * scale)


def _profiled(
    wave: NDArray,
    seen: NoiselessPixels,
    weight: NDArray,
    continuum: int | None,
    nuisance: Sequence[Component],
) -> NDArray[np.float64]:
    """Return the limit when a continuum and components are unknown."""
    number, pixels = weight.shape
    if continuum is not None and continuum < 0:
        raise ValueError(f"The continuum's degree is {continuum}: give zero or more.")
    for component in nuisance:
        component.require(number, pixels)
    spread = np.zeros((number, pixels))
    for component in nuisance:
        if component.diagonal is not None:
            spread = spread + component.diagonal
    bases = [component.basis for component in nuisance if component.basis is not None]
    x = np.broadcast_to(_across(wave), weight.shape)
    left, whole = np.empty(number), np.empty(number)
    with jax.enable_x64(True):
        for i in range(number):
            own = [basis if basis.ndim == 2 else basis[i] for basis in bases]
            arrays = (seen.slope[i], seen.flux[i], weight[i], x[i], spread[i])
            patterns = np.concatenate([np.zeros((0, pixels)), *own])
            both = _unknown(
                *map(jnp.asarray, arrays),
                jnp.asarray(patterns),
                0 if continuum is None else continuum + 1,
            )
            left[i], whole[i] = map(float, both)
    return _limit(np.where(left > _NOTHING * whole, left, 0))


@jax.jit
def _known(slope, ivar):
    return jax.vmap(information.velocity_information)(slope, ivar)


@jax.jit
def _quality(slope, flux):
    return jax.vmap(information.quality_squared)(slope, flux)


@partial(jax.jit, static_argnums=6)
def _unknown(slope, flux, ivar, x, spread, patterns, terms: int):
    free = legendre_at(x, max(terms, 2))[:terms] * flux[None, :]
    left = information.profiled_information(slope, ivar, free, patterns, spread)
    return left, information.velocity_information(slope, ivar)


def _limit(found: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return C_KMS / np.sqrt(found)
