"""Samples of a posterior that has several modes: clouds that adapt to it, weighted.

Around each mode lies a cloud, a multivariate t distribution. It is drawn, the draws are
weighted by the posterior over its density, and it moves to their weighted mean and
covariance: first for a flattened posterior, so that no cloud collapses on the best of its
draws, then for itself. Draws of all clouds, weighted by the posterior over the *sum* of
their densities, are one sample of the posterior: modes get the shares that they deserve,
and clouds that overlap count nothing twice. A posterior that is not normal is sampled as
it is, as long as the clouds cover it: `Weighted.worth` says how far they do.

A point is a row of coordinates without edges, of which the fourth is a mean longitude
(radians): a turn makes no difference to it.

Source:
    Cappe et al. 2008, Stat. Comput. 18, 447 (adaptive importance sampling); Veach & Guibas
    1995 (the sum of densities).
"""

__all__ = [
    "Cloud",
    "LnPosterior",
    "Weighted",
    "adapted",
    "distinct",
    "remarks_on",
    "sampled",
    "weighted",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln

Array = NDArray[np.float64]
LnPosterior = Callable[[Array], Array]
"""From points ``(point, coordinate)`` to ln density, up to a constant, ``(point,)``."""

_LONGITUDE = 3
_TURN = 2 * np.pi
_FREEDOM = 5.0
_ENOUGH = 0.25
"""Share of equally weighted draws at which a cloud fits."""
_KEPT = 0.06
"""Share of equally weighted draws that a flattened posterior must leave."""
_INSIDE = 0.3
"""A cloud is inside another that has such a share of its peak density at its center."""
_HALVINGS = 20
_ROUNDS = 15
_WORTH = 200
"""Clouds whose draws are worth less adapt again, with more draws."""
_MORE = 4
_FEW = 100
_SMALL = 1e-3
"""Clouds of a smaller share do not matter then."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """A multivariate t distribution: ``center (coordinate,)`` and its scale.

    ``lower (coordinate, coordinate)``: lower triangular, its square the scale matrix.
    """

    center: Array
    lower: Array

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Return ``count`` points."""
        normal = rng.normal(size=(count, len(self.center))) @ self.lower.T
        wide = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, (count, 1)))
        return self.center + normal * wide

    def ln_density(self, x: Array) -> Array:
        """Return its logarithm at points ``x (point, coordinate)``."""
        size = len(self.center)
        away = self._away(x).T
        white = solve_triangular(self.lower, away, lower=True, check_finite=False)
        scale = gammaln((_FREEDOM + size) / 2) - gammaln(_FREEDOM / 2)
        scale -= size / 2 * np.log(_FREEDOM * np.pi)
        scale -= np.log(np.diag(self.lower)).sum()
        return scale - (_FREEDOM + size) / 2 * np.log1p((white**2).sum(0) / _FREEDOM)

    def moved(self, x: Array, weight: Array) -> "Cloud":
        """Return the cloud that has the mean and covariance of weighted points."""
        away = self._away(x)
        shift = weight @ away
        spread = away - shift
        matrix = (spread * weight[:, None]).T @ spread
        # A cloud never becomes flat: draws of a few would not span it.
        matrix += np.diag(1e-6 * np.diag(matrix) + 1e-24)
        lower = np.asarray(np.linalg.cholesky(matrix), np.float64)
        return Cloud(self.center + shift, lower)

    def _away(self, x: Array) -> Array:
        out = x - self.center
        out[:, _LONGITUDE] -= _TURN * np.round(out[:, _LONGITUDE] / _TURN)
        return out


class Weighted(NamedTuple):
    """Draws ``(draw, coordinate)``, cloud by cloud, and their weights, whose sum is 1.

    ``ln_evidence``: of the integral of the posterior; ``worth``: the number of independent
    samples that know as much (Kish's effective sample size). Where the posterior is zero at
    all draws, weights and worth are zero and the evidence is ``-inf``.
    """

    draws: Array
    weights: Array
    ln_evidence: float
    worth: float

    def resampled(self, rng: np.random.Generator, count: int) -> Array:
        """Return ``count`` points of equal weight, none where there is no evidence."""
        if not self.worth > 0:
            return self.draws[:0]
        points = (np.arange(count) + rng.random()) / count
        rows = np.searchsorted(np.cumsum(self.weights), points)
        return self.draws[rng.permutation(np.minimum(rows, len(self.draws) - 1))]


def adapted(
    cloud: Cloud,
    ln_posterior: LnPosterior,
    rng: np.random.Generator,
    rounds: int,
    draws: int,
) -> tuple[Cloud, float]:
    """Move a cloud to where the posterior is, and tell the best ln posterior met.

    At most ``rounds`` times ``draws`` points are drawn: fewer if the cloud fits before, or
    if the posterior is zero at all of them.
    """
    best = -np.inf
    for _ in range(rounds):
        x = cloud.draw(rng, draws)
        target = ln_posterior(x)
        known = target[np.isfinite(target)]
        if not len(known):
            break
        best = max(best, float(known.max()))
        power, weight = _flattened(target - cloud.ln_density(x))
        if power == 1 and 1 / (weight @ weight) > _ENOUGH * draws:
            break
        cloud = cloud.moved(x, weight)
    return cloud, best


def distinct(clouds: Sequence[Cloud]) -> list[Cloud]:
    """Leave out clouds whose center lies in one that comes before."""
    out: list[Cloud] = []
    for cloud in clouds:
        center = cloud.center[None]
        least = np.log(_INSIDE) + cloud.ln_density(center)
        if not any((other.ln_density(center) > least).all() for other in out):
            out.append(cloud)
    return out


def weighted(
    clouds: Sequence[Cloud],
    ln_posterior: LnPosterior,
    rng: np.random.Generator,
    count: int,
) -> Weighted:
    """Draw ``count`` points of each cloud, longitudes from 0 to 2 pi, and weight them."""
    draws = np.concatenate([cloud.draw(rng, count) for cloud in clouds])
    draws[:, _LONGITUDE] %= _TURN
    density = np.logaddexp.reduce([cloud.ln_density(draws) for cloud in clouds])
    value = ln_posterior(draws) - density
    value = np.where(np.isfinite(value), value, -np.inf)
    total = float(np.logaddexp.reduce(value))
    if not np.isfinite(total):
        return Weighted(draws, np.zeros(len(draws)), -np.inf, 0.0)
    weight = np.exp(value - total)
    # The density of a draw is the mean of the clouds', of which the sum was taken.
    ln_evidence = total - float(np.log(count))
    return Weighted(draws, weight, ln_evidence, float(1 / (weight @ weight)))


def sampled(
    clouds: Sequence[Cloud],
    ln_posterior: LnPosterior,
    rng: np.random.Generator,
    draws: int,
    total: int,
) -> Weighted:
    """Adapt clouds to the posterior and weight what they draw.

    Arguments:
        clouds: one around each mode, at least one.
        ln_posterior: what is sampled.
        rng: where chance comes from.
        draws: of a cloud in each round in which it adapts; where what comes of that is
            worth little, more are drawn for the modes that matter.
        total: draws of all clouds together that are weighted at last; at least ``draws``
            of each.
    """
    for each in (draws, _MORE * draws):
        clouds = [adapted(c, ln_posterior, rng, _ROUNDS, each)[0] for c in clouds]
        found = weighted(clouds, ln_posterior, rng, max(draws, total // len(clouds)))
        if not 0 < found.worth < _WORTH:
            break
        share = found.weights.reshape(len(clouds), -1).sum(axis=1)
        clouds = [c for c, s in zip(clouds, share, strict=True) if s > _SMALL]
    return found


def remarks_on(worth: float) -> list[str]:
    """Say so if samples are worth few independent ones."""
    if worth > _FEW:
        return []
    return [
        f"The samples are worth {worth:.0f} independent ones: limits are uncertain."
    ]


def _flattened(ln_ratio: Array) -> tuple[float, Array]:
    """Return the largest power of the ratio that leaves enough draws, and the weights."""
    known = np.isfinite(ln_ratio)
    value = np.where(known, ln_ratio - ln_ratio[known].max(), -np.inf)

    def weights(power: float) -> Array:
        weight = np.exp(power * value)
        return weight / weight.sum()

    def enough(weight: Array) -> bool:
        return bool((weight @ weight) * _KEPT * len(value) <= 1)

    low, high = 1e-12, 1.0
    if enough(weights(high)):
        return high, weights(high)
    for _ in range(_HALVINGS):
        # By the geometric mean, for the power can be tiny.
        middle = (low * high) ** 0.5
        low, high = (middle, high) if enough(weights(middle)) else (low, middle)
    return low, weights(low)
