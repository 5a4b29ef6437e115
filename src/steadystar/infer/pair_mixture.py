"""How common pairs are, learned from the stars of a table.

A star of modulus ``mu_1`` (if single) and width s is, before its parallax is looked at,

    single                with probability 1 - f - o:   mu ~ N(mu_1, s)
    a pair, brighter by delta, with f w(delta):         mu ~ N(mu_1 + delta, s)
    neither               with o:                       mu ~ N(mu_1, sqrt(s^2 + 1 mag^2))

and the parallax decides. w follows from mass ratios q that are equally frequent and
luminosities that grow as mass^a in Ks: delta = 2.5 log10(1 + q^a), 0 to 0.753 mag. The
posterior of f, o and a given all stars is taken on a grid, and its mean used. The prior of
f is Beta(1, 9), that of ten stars of which one is a pair; small tables keep to it.

Companions that add 0.05 mag look like magnitudes that are all wrong by a few hundredths.
So that these are not taken for pairs, moduli may have a zero of their own, 0 +- 0.05 mag
before the parallaxes are looked at; it is integrated over.
"""

__all__ = [
    "BRIGHTEST",
    "FARTHEST_ZERO",
    "SHIFTS",
    "SMEAR",
    "VARIANCES",
    "Mixture",
    "fit_pairs",
    "flat_mass_ratios",
    "shares_of",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Cube = NDArray[np.float64]

BRIGHTEST = 2.5 * float(np.log10(2))
"""mag, by which two equal stars outshine one."""
_NODES = 12
_STEP = BRIGHTEST / _NODES
DELTA = _STEP * (np.arange(_NODES) + 0.5)
"""Brightening of a pair, mag, in twelve steps."""
SMEAR = _STEP / 2
"""Width of each step, mag: Gaussians of half a step add up to what they stand for."""
OUTLIER = 1.0
"""Width of what is neither single nor a pair, mag."""

SHIFTS = np.concatenate([[0.0], DELTA, [0.0]])
"""Brightening of each component, mag: single, pairs, neither."""
VARIANCES = np.concatenate([[0.0], np.full(_NODES, SMEAR**2), [OUTLIER**2]])
"""What is added to the square of a modulus' error, by component, mag^2."""

_EXPONENTS = np.array([0.03, 0.15, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
_USUAL = np.exp(-0.5 * (np.log(_EXPONENTS / 2.2) / 0.3) ** 2)
_PRIOR_EXPONENT = 0.95 * _USUAL / _USUAL.sum() + 0.05 / len(_EXPONENTS)
"""Of a: dwarfs of Pecaut & Mamajek (2013) have 1.8 in Ks from B0 to A0 (17.7 to 2.33 solar
masses, 3.89 mag), 2.2 from A0 to F5 (2.33 to 1.32, 1.34 mag); bolometric luminosities have
3.5. Mass ratios as frequent as q^g turn a into a / (1 + g): values below 1 are for pairs
of nearly equal masses, to which the prior gives one chance in fifty."""
_FRACTIONS = np.concatenate([np.linspace(0, 0.2, 21), np.linspace(0.225, 0.9, 28)])
_OUTLIERS = np.array([0.0, 0.001, 0.003, 0.01, 0.05, 0.2, 0.4])
_LEAST = 1e-9
"""Nothing is impossible: a star that is neither must have something to be."""
_PRIOR_ZERO = 0.05
"""mag. How far magnitudes may be from the scale of the parallaxes, all of them."""
FARTHEST_ZERO = 2 * _PRIOR_ZERO
"""mag. Magnitudes that are further off are not put right, but said to be."""
_PRIOR_PAIRS = 9.0
_PRIOR_OUTLIERS = 0.003
"""Scale of the prior of the share of outliers, (1 + o / scale)^-3: few, or many."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """How a table divides into single stars, pairs and what is neither.

    ``weights`` ``(14,)``: single, pairs by `DELTA`, neither; they sum to one.
    ``fraction, fraction_err``: share of pairs, mean and deviation of its posterior.
    ``zero``: by how much the moduli of single stars are larger than their magnitudes say,
    mag, as their parallaxes have it; ``n_stars``: how many stars with parallax and magnitude told it (0: the prior did).
    """

    weights: Vector
    fraction: float
    fraction_err: float
    zero: float
    n_stars: int


def flat_mass_ratios(exponent: float) -> Vector:
    """Return the share of pairs in each step of delta, for mass ratios of 0 to 1."""
    edges = np.linspace(0, BRIGHTEST, _NODES + 1)
    ratio = (10 ** (0.4 * edges) - 1) ** (1 / exponent)
    return np.diff(ratio) / ratio[-1]


def fit_pairs(
    likelihood: Cube, step: float, weight: Vector, fraction: float | None = None
) -> Mixture:
    """Learn how common pairs are.

    Arguments:
        likelihood: ``(3, star, 14)``: of each star's parallax, for a star of each kind,
            where all moduli are ``step`` (mag) smaller, as they are, and larger; each
            star up to a factor of its own.
        weight: ``(star,)``: how much each counts; 1/n for the rows of a star in n rows.
        fraction: share of pairs, if that is known.
    """
    shapes = np.array([flat_mass_ratios(a) for a in _EXPONENTS])
    shares = _FRACTIONS if fraction is None else np.array([fraction])
    log = np.array([_log_likelihood(one, weight, shapes, shares) for one in likelihood])
    # Between the three shifts ln L is a parabola, which is integrated over.
    slope = (log[2] - log[0]) / (2 * step)
    bend = (2 * log[1] - log[0] - log[2]) / step**2 + _PRIOR_ZERO**-2
    bend = np.maximum(bend, _PRIOR_ZERO**-2)
    zero = np.clip(slope / bend, -FARTHEST_ZERO, FARTHEST_ZERO)
    log = log[1] + slope * zero - bend * zero**2 / 2 - np.log(bend) / 2
    log += np.log(_PRIOR_EXPONENT)
    rare = np.gradient(_OUTLIERS) * (1 + _OUTLIERS / _PRIOR_OUTLIERS) ** -3
    log += np.log(rare)[:, None]
    if fraction is None:
        # Each point of the grid stands for its surroundings, there as here.
        prior = np.gradient(shares) * (1 - shares) ** (_PRIOR_PAIRS - 1)
        log += np.log(prior)[:, None, None]
    posterior = np.exp(log - log.max())
    posterior /= posterior.sum()
    odd = max(float(np.sum(posterior * _OUTLIERS[:, None])), _LEAST)
    whole = shares[:, None, None] * (1 - _OUTLIERS)[:, None]
    mean = float(np.sum(posterior * whole))
    variance = float(np.sum(posterior * (whole - mean) ** 2))
    pairs = np.sum(posterior * whole, axis=(0, 1)) @ shapes
    weights = np.concatenate([[max(1 - mean - odd, 0.0)], pairs, [odd]])
    return Mixture(
        *(weights / weights.sum(), mean, float(np.sqrt(variance))),
        *(float(np.sum(posterior * zero)), likelihood.shape[1]),
    )


def _log_likelihood(
    likelihood: Matrix, weight: Vector, shapes: Matrix, shares: Vector
) -> Cube:
    """Return ln L of all stars, ``(share of pairs, share of outliers, a)``."""
    single, outlier = likelihood[:, [0]], likelihood[:, [-1]]
    pairs = likelihood[:, 1:-1] @ shapes.T
    out = np.empty((len(shares), len(_OUTLIERS), len(shapes)))
    for i, share in enumerate(shares):
        one = (1 - share) * single + share * pairs
        for j, odd in enumerate(_OUTLIERS):
            mixed = (1 - odd) * one + odd * outlier
            out[i, j] = weight @ np.log(np.maximum(mixed, 1e-300))
    return out


def shares_of(likelihood: Matrix, mixture: Mixture) -> Matrix:
    """Return the probability of each component, ``(star, 14)``."""
    joint = likelihood * mixture.weights
    return joint / joint.sum(axis=1, keepdims=True)
