"""The power at every frequency, of a star and of draws of noise at its times.

Noise is searched as the star is: the highest places of the grid are climbed to their tops,
for with few visits a sine can fit far better between two frequencies of the grid than at
either. The whole grid of all draws is a product of matrices in single precision; only
what is climbed is in double.
"""

__all__ = ["grid_power", "highest_of_draws", "local_peaks"]

import numpy as np
from nifty_ls import finufft
from numpy.typing import NDArray

from steadystar.infer.sines import Array, Sampling

_MEMORY = 20_000_000  # powers at once: 80 MB
_NEIGHBORS = 8  # of these frequencies the highest is a candidate
# The transform takes as long for 10 visits as for 1000, and the products of matrices as long
# as the transform for about a dozen (benchmarks/periods.py speed).
_FAST_FROM = 13


def grid_power(sampling: Sampling, z: Array, frequency: Array) -> Array:
    """Power ``(frequency,)`` of whitened velocities z, at evenly spaced frequencies."""
    if len(frequency) > 1 and len(z) >= _FAST_FROM and sampling.basis.shape[1] == 1:
        return _by_transform(sampling, z, frequency)
    return _by_columns(sampling, z, frequency)


def _by_columns(sampling: Sampling, z: Array, frequency: Array) -> Array:
    out = np.zeros(len(frequency))
    total = z @ z
    if total > 0:
        for where, u, v in sampling.columns(frequency):
            out[where] = ((u @ z) ** 2 + (v @ z) ** 2) / total
    return out


def _by_transform(sampling: Sampling, z: Array, frequency: Array) -> Array:
    """The same for one constant, by a non-uniform Fourier transform (nifty-ls)."""
    err = 1 / np.sqrt(sampling.weight)
    found = finufft.lombscargle(
        sampling.t,
        z * err,
        frequency[0],
        frequency[1] - frequency[0],
        len(frequency),
        dy=err,
        nthreads=1,
        finufft_kwargs={"eps": 1e-12, "upsampfac": 2.0},
    )
    return np.asarray(found, np.float64)


def highest_of_draws(sampling: Sampling, z: Array, frequency: Array) -> Array:
    """Highest power ``(draw,)`` of each row of z ``(draw, n)``, rows of unit length."""
    together = max(1, _MEMORY // len(frequency))
    parts = [z[i : i + together] for i in range(0, len(z), together)]
    return np.concatenate([_highest(sampling, part, frequency) for part in parts])


def _highest(sampling: Sampling, z: Array, frequency: Array) -> Array:
    draws, n = z.shape
    right = np.ascontiguousarray(z.T, np.float32)
    blocks = -(-len(frequency) // _NEIGHBORS)
    power = np.full((blocks * _NEIGHBORS, draws), -1, np.float32)
    for where, u, v in sampling.columns(frequency):
        power[where] = (u.astype(np.float32) @ right) ** 2
        power[where] += (v.astype(np.float32) @ right) ** 2
    tops = power.reshape(blocks, _NEIGHBORS, draws).max(1)
    several = min(candidates(n), blocks)
    lowest = np.ascontiguousarray(-tops.T)
    place = np.argpartition(lowest, several - 1, axis=1)[:, :several].ravel()
    draw = np.repeat(np.arange(draws), several)
    near = place[:, None] * _NEIGHBORS + np.arange(_NEIGHBORS)
    best = near[np.arange(len(near)), power[near, draw[:, None]].argmax(1)]
    step = frequency[1] - frequency[0] if len(frequency) > 1 else 0.0
    _, top = sampling.refine(frequency[best], z[draw], 0.5 * step)
    return top.reshape(draws, several).max(1)


def candidates(n: int) -> int:
    """How many places are climbed: with few visits many are nearly as high."""
    return max(3, 128 // n)


def local_peaks(
    sampling: Sampling, z: Array, frequency: Array, power: Array, several: int
) -> tuple[Array, Array]:
    """Frequencies and powers of the highest peaks, highest first.

    Peaks closer than one over the baseline to a higher one are its flanks.
    """
    if len(frequency) == 0:
        return np.empty(0), np.empty(0)
    padded = np.concatenate([[-1.0], power, [-1.0]])
    is_top = (power >= padded[:-2]) & (power > padded[2:])
    tops = np.flatnonzero(is_top)
    tops = tops[np.argsort(-power[tops], kind="stable")]
    tops = tops[: max(candidates(len(z)), 4 * several)]
    step = frequency[1] - frequency[0] if len(frequency) > 1 else 0.0
    # Parabolas reach half a step; a top on the grid can be further from its peak.
    found, height = sampling.refine(frequency[tops], z, 0.5 * step)
    order = np.argsort(-height, kind="stable")
    apart, kept = 1 / np.ptp(sampling.t), []
    for i in order:
        if all(abs(found[i] - found[j]) > apart for j in kept):
            kept.append(i)
        if len(kept) == several:
            break
    chosen: NDArray[np.intp] = np.array(kept, np.intp)
    return found[chosen], height[chosen]
