"""Sines of given periods fitted to a star's velocities, with errors.

Frequencies are free: errors are from the curvature of chi squared in all parameters at
once, amplitudes and frequencies (so that of a frequency is right if the peak is). Scatter
that the sines leave is added to the errors such that chi squared is its degrees of freedom
(Paule and Mandel 1982), unless the errors are known to be all.
"""

__all__ = ["SineFit", "fit_sines"]

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
    m = len(frequency)
    constants = np.stack([zero == one for one in np.unique(zero)], 1).astype(float)
    current, scatter = frequency.astype(float).copy(), 0.0
    freedom = len(t) - constants.shape[1] - 3 * m
    for i in range(_ROUNDS):
        design, model, pair = _at(t, rv, np.hypot(err, scatter), constants, current)
        if freedom > 0 and not noise_known:
            scatter = _scatter_left(rv - model, err, freedom)
        step, *_ = np.linalg.lstsq(
            design, (rv - model) / np.hypot(err, scatter), rcond=1e-12
        )
        if i < _ROUNDS - 1:
            moved = current + np.clip(step[-m:], -0.3 * reach, 0.3 * reach)
            current = np.clip(moved, frequency - reach, frequency + reach)
            current = np.maximum(current, 1e-9)
    sigma = np.hypot(err, scatter)
    design, model, pair = _at(t, rv, sigma, constants, current)
    covariance = _inverse(design)
    amplitude = np.hypot(*pair)
    first = constants.shape[1]
    amplitude_err = np.empty(m)
    for j in range(m):
        slope = np.zeros(len(covariance))
        slope[[first + j, first + m + j]] = pair[:, j] / max(amplitude[j], 1e-300)
        amplitude_err[j] = np.sqrt(slope @ covariance @ slope)
    return SineFit(
        current,
        np.sqrt(np.diag(covariance)[-m:]),
        amplitude,
        amplitude_err,
        scatter,
        model,
    )


def _at(t: Array, rv: Array, sigma: Array, constants: Array, frequency: Array):
    """Whitened derivatives by all parameters, best velocities, and a and b of each sine."""
    phase = 2 * np.pi * frequency * t[:, None]
    cosine, sine = np.cos(phase), np.sin(phase)
    linear = np.concatenate([constants, cosine, sine], 1)
    best, *_ = np.linalg.lstsq(linear / sigma[:, None], rv / sigma, rcond=1e-12)
    pair = best[constants.shape[1] :].reshape(2, -1)
    by_frequency = 2 * np.pi * t[:, None] * (pair[1] * cosine - pair[0] * sine)
    design = np.concatenate([linear, by_frequency], 1) / sigma[:, None]
    return design, linear @ best, pair


def _scatter_left(residual: Array, err: Array, freedom: int) -> float:
    """Scatter that brings chi squared of the residuals down to the degrees of freedom."""
    square, variance, added = residual**2, err**2, 0.0
    for _ in range(60):
        # Convex and falling: Newton's steps come from below and never go too far.
        total = variance + added
        excess = (square / total).sum() - freedom
        if excess <= 1e-6 * freedom:
            break
        added += excess / (square / total**2).sum()
    return float(np.sqrt(added))


def _inverse(design: Array) -> Array:
    """Covariance of the parameters; NaN where visits are fewer than these."""
    scale = np.linalg.norm(design, axis=0)
    scale = np.where(scale > 0, scale, 1)
    scaled = design / scale
    if np.linalg.matrix_rank(scaled, 1e-8) < scaled.shape[1]:
        return np.full((scaled.shape[1],) * 2, np.nan)
    return np.linalg.inv(scaled.T @ scaled) / np.outer(scale, scale)
