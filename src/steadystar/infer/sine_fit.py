"""Sines of given periods fitted to a star's velocities, with errors.

Frequencies are free: errors are from the curvature of chi squared in all parameters at
once, amplitudes and frequencies (so that of a frequency is right if the peak is). Scatter
that the sines leave is added to the errors such that chi squared is its degrees of freedom
(Paule and Mandel 1982), unless the errors are known to be all.
"""

__all__ = ["SineFit", "fit_sines", "fit_sines_at"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.sines import Array

_ROUNDS = 10


@dataclass(frozen=True)
class SineFit:
    """One value for each sine, ``(m,)``; errors are NaN where nothing is left to know."""

    frequency: Array
    frequency_err: Array
    amplitude: Array
    amplitude_err: Array
    scatter: float
    model: Array
    """Velocities of the sines and constants at the visits, km/s."""

    @property
    def period(self) -> Array:
        """In days."""
        return 1 / self.frequency

    @property
    def period_err(self) -> Array:
        """In days."""
        return self.frequency_err / self.frequency**2


def fit_sines(
    t: Array,
    rv: Array,
    err: Array,
    zero: NDArray[np.intp],
    frequency: Array,
    *,
    reach: float,
    noise_known: bool = False,
) -> SineFit:
    """Fit a constant for each zero and sines near ``frequency`` ``(m,)``, cycles a day.

    Frequencies stay within ``reach`` of where they began. Gauss and Newton's steps.
    """
    return fit_sines_at(
        *(t, rv, err, zero, frequency[None]), reach=reach, noise_known=noise_known
    )[0]


def fit_sines_at(
    t: Array,
    rv: Array,
    err: Array,
    zero: NDArray[np.intp],
    frequency: Array,
    *,
    reach: float,
    noise_known: bool = False,
) -> list[SineFit]:
    """Do the same from each row of ``frequency`` ``(k, m)``: k fits side by side."""
    m = frequency.shape[1]
    constants = np.stack([zero == one for one in np.unique(zero)], 1).astype(float)
    current, scatter = frequency.astype(float).copy(), np.zeros(len(frequency))
    freedom = len(t) - constants.shape[1] - 3 * m
    for i in range(_ROUNDS):
        sigma = np.hypot(err, scatter[:, None])
        design, model, pair = _at(t, rv, sigma, constants, current)
        if freedom > 0 and not noise_known:
            scatter = _scatter_left(rv - model, err, freedom)
        if i < _ROUNDS - 1:
            sigma = np.hypot(err, scatter[:, None])
            step = _least_squares(design, (rv - model) / sigma)[:, -m:]
            moved = current + np.clip(step, -0.3 * reach, 0.3 * reach)
            current = np.clip(moved, frequency - reach, frequency + reach)
            current = np.maximum(current, 1e-9)
    sigma = np.hypot(err, scatter[:, None])
    design, model, pair = _at(t, rv, sigma, constants, current)
    return [
        _described(
            current[j],
            pair[j],
            _inverse(design[j]),
            constants.shape[1],
            float(scatter[j]),
            model[j],
        )
        for j in range(len(frequency))
    ]


def _described(
    frequency: Array,
    pair: Array,
    covariance: Array,
    first: int,
    scatter: float,
    model: Array,
) -> SineFit:
    """Return a fit with its errors; ``first``: the place of the sines' parameters."""
    m = len(frequency)
    amplitude = np.hypot(*pair)
    amplitude_err = np.empty(m)
    for j in range(m):
        slope = np.zeros(len(covariance))
        slope[[first + j, first + m + j]] = pair[:, j] / max(amplitude[j], 1e-300)
        amplitude_err[j] = np.sqrt(slope @ covariance @ slope)
    frequency_err = np.sqrt(np.diag(covariance)[-m:])
    return SineFit(frequency, frequency_err, amplitude, amplitude_err, scatter, model)


def _at(t: Array, rv: Array, sigma: Array, constants: Array, frequency: Array):
    """Whitened derivatives by all parameters, best velocities, and a and b of each sine.

    ``sigma`` (k, n), ``frequency`` (k, m); returns (k, n, parameter), (k, n), (k, 2, m).
    """
    phase = 2 * np.pi * frequency[:, None, :] * t[:, None]
    cosine, sine = np.cos(phase), np.sin(phase)
    shape = (len(frequency), *constants.shape)
    linear = np.concatenate([np.broadcast_to(constants, shape), cosine, sine], 2)
    best = _least_squares(linear / sigma[:, :, None], rv / sigma)
    pair = best[:, constants.shape[1] :].reshape(len(frequency), 2, -1)
    a, b = pair[:, :1], pair[:, 1:]
    by_frequency = 2 * np.pi * t[:, None] * (b * cosine - a * sine)
    design = np.concatenate([linear, by_frequency], 2) / sigma[:, :, None]
    return design, (linear @ best[:, :, None])[:, :, 0], pair


def _least_squares(design: Array, values: Array) -> Array:
    """Return the smallest solutions ``(k, p)`` of designs ``(k, n, p)`` for ``(k, n)``."""
    left, size, right = np.linalg.svd(design, full_matrices=False)
    good = size > 1e-12 * size[:, :1]
    part = (values[:, None, :] @ left)[:, 0, :]
    part = np.where(good, part / np.where(good, size, 1), 0)
    return (part[:, None, :] @ right)[:, 0, :]


def _scatter_left(residual: Array, err: Array, freedom: int) -> Array:
    """Scatter that brings chi squared of residuals (k, n) to the degrees of freedom."""
    square, variance = residual**2, err**2
    added = np.zeros(len(residual))
    for _ in range(60):
        # Convex and falling: Newton's steps come from below and never go too far.
        total = variance + added[:, None]
        excess = (square / total).sum(1) - freedom
        further = excess > 1e-6 * freedom
        if not further.any():
            break
        slope = (square / total**2).sum(1)
        added += np.where(further, excess / np.where(further, slope, 1), 0)
    return np.sqrt(added)


def _inverse(design: Array) -> Array:
    """Covariance of the parameters; NaN where the visits do not determine them."""
    scale = np.linalg.norm(design, axis=0)
    scale = np.where(scale > 0, scale, 1)
    scaled = design / scale
    _, size, right = np.linalg.svd(scaled, full_matrices=False)
    if len(size) < scaled.shape[1] or not size[-1] > 1e-8:
        return np.full((scaled.shape[1],) * 2, np.nan)
    # Not by the normal matrix, which squares how near to singular the design is.
    half = right / size[:, None]
    return half.T @ half / np.outer(scale, scale)
