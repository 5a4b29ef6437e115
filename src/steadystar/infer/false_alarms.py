"""How often noise has a peak as high as this one, somewhere in the range searched.

At one frequency the share of chi squared that a sine takes from noise is distributed as
``P(> p) = (1 - p)^((nu - 2)/2)``, with nu degrees of freedom before the fit. The highest
peak of many frequencies exceeds p with a chance of at most (Baluev 2008, eq. 6, table 1)

    1 - exp(-W g(p)),   g = gamma (1 - p)^((nu - 3)/2) sqrt(nu p / 2),
    gamma = sqrt(2 / nu) Gamma(nu / 2) / Gamma((nu - 1) / 2),

where W is the range of frequencies times ``sqrt(4 pi var t)``. That is far above the truth
where visits at similar hours bring every peak back once a day; but the higher the peak, the
less do its echoes reach up to it. So the law used here is ``1 - exp(-A g^b)``, b at most 1,
and never more than Baluev's bound. A and b are fitted to the highest peaks of noise that is
drawn at the star's own times and searched as the star was (the highest two thirds of them:
extreme values of draws, as Suveges 2014 proposed, with the tail of Baluev).

Three kinds of noise: see `PeriodOptions.noise`. Where visits of one night agree with each
other within the errors but nights differ, scatter is drawn by night: ten nights of three
visits each are then ten chances to disagree with a sine, not thirty. nu is that of
Satterthwaite (1946), ``(trace S)^2 / trace S^2`` of the whitened noise's covariance S.
"""

__all__ = [
    "FalseAlarms",
    "Scatter",
    "baluev_width",
    "draw_noise",
    "find_scatter",
    "fit_law",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, gammaln

from steadystar.infer.sines import Array, Sampling

_FEWEST = 3.5
"""Fewer degrees of freedom than this: noise always has a sine that fits it."""


@dataclass(frozen=True)
class FalseAlarms:
    """The law of the highest peak of noise.

    ``freedom`` is nu, ``scale`` A, ``slope`` b and ``width`` W of the module's text;
    ``chi2``, with ``dof`` degrees of freedom, is that of the velocities before the fit if
    the errors are known to be all the noise, else None.
    """

    freedom: float
    width: float
    scale: float
    slope: float
    chi2: float | None = None
    dof: int = 0

    def probability(self, power: float | Array) -> Array:
        """Chance that noise has a peak of this power or a higher one, anywhere."""
        shape = np.shape(power)
        share = np.clip(np.atleast_1d(np.asarray(power, float)), 0, 1)
        if self.chi2 is None:
            return self._share(share).reshape(shape)
        # Of known noise the size is known: it is chi squared with dof degrees of freedom,
        # independent of the share p. P(size * share > x), over what size exceeds x.
        explained = share * self.chi2
        exceeds = chdtrc(self.dof, explained)
        middle = (np.arange(200) + 0.5) / 200
        size = chdtri(self.dof, exceeds[..., None] * middle)
        inside = explained[..., None] / np.maximum(size, 1e-300)
        out = exceeds * self._share(np.minimum(inside, 1)).mean(-1)
        return np.where(exceeds > 0, out, 0.0).reshape(shape)

    def level(self, probability: float) -> float:
        """The power whose false-alarm probability this is; NaN if no power has it."""
        low, high = 0.0, 1.0
        if self.probability(high) > probability:
            return float("nan")
        for _ in range(60):
            middle = 0.5 * (low + high)
            if self.probability(middle) > probability:
                low = middle
            else:
                high = middle
        return high

    def _share(self, power: Array) -> Array:
        if self.freedom < _FEWEST:
            return np.ones_like(power)
        rate = _rate(power, self.freedom)
        many = np.minimum(self.scale * rate**self.slope, self.width * rate)
        return np.maximum(-np.expm1(-many), (1 - power) ** (0.5 * (self.freedom - 2)))


def _rate(power: Array, nu: float) -> Array:
    """Return g of the module's text."""
    gamma = np.sqrt(2 / nu) * np.exp(gammaln(nu / 2) - gammaln((nu - 1) / 2))
    left = np.maximum(1 - power, 1e-300)
    return gamma * left ** (0.5 * (nu - 3)) * np.sqrt(0.5 * nu * power)


def baluev_width(sampling: Sampling, span: float) -> float:
    """W of Baluev (2008, eq. 5) for a range of frequencies ``span``, cycles a day."""
    share = sampling.weight / sampling.weight.sum()
    mean = share @ sampling.t
    return span * np.sqrt(4 * np.pi * (share @ (sampling.t - mean) ** 2))


def fit_law(highest: Array, nu: float) -> tuple[float, float]:
    """A and b that make the higher two thirds of the highest peaks of noise most likely.

    ``A g^b`` of the highest peak is exponential with mean 1, so that g follows a Weibull
    law; of its sample only the smallest two thirds are used.
    """
    g = np.sort(_rate(highest, nu))
    k = 2 * len(g) // 3
    last = max(g[k - 1], 1e-300)
    part = np.maximum(np.minimum(g / last, 1), 1e-300)
    logs = np.log(part)

    def slope(b: float) -> float:
        weight = part**b
        return (weight @ logs) / weight.sum() - 1 / b - logs[:k].mean()

    low, high = 0.1, 1.0
    if slope(high) > 0:
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(k / (part**high).sum() / last**high), high


@dataclass(frozen=True)
class Scatter:
    """Scatter beyond the errors, km/s: all of it, and its parts by visit and night."""

    total: float
    visit: float
    night: float


def find_scatter(
    rv: Array,
    err: Array,
    zero: NDArray[np.intp],
    visit: NDArray[np.intp],
    night: NDArray[np.intp],
) -> Scatter:
    """Scatter about the constants that makes chi squared its degrees of freedom.

    (Paule and Mandel 1982.) ``visit`` numbers exposures (arms at one time share one) and
    ``night`` nights. Scatter by visit is what visits of one night show among each other;
    what nights differ beyond it is scatter by night.
    """
    total = _paule_mandel(rv, err, zero)
    if total == 0 or len(np.unique(night)) == len(np.unique(visit)):
        return Scatter(total, total, 0.0)
    rv = rv - _means(rv, err**2 + total**2, zero)[0][zero]
    mean, variance = _means(rv, err**2, visit)
    first = np.unique(visit, return_index=True)[1]
    of_visit = night[first]
    by_visit = _paule_mandel(mean, np.sqrt(variance), of_visit)
    mean, variance = _means(
        mean, variance + by_visit**2, np.unique(of_visit, return_inverse=True)[1]
    )
    constant = np.zeros(len(mean), np.intp)
    return Scatter(total, by_visit, _paule_mandel(mean, np.sqrt(variance), constant))


def _means(rv: Array, variance: Array, group: NDArray[np.intp]) -> tuple[Array, Array]:
    """Weighted mean of each group, and its variance; groups are numbered from 0."""
    total = np.bincount(group, 1 / variance)
    safe = np.where(total > 0, total, 1)
    return np.bincount(group, rv / variance) / safe, 1 / safe


def _paule_mandel(rv: Array, err: Array, group: NDArray[np.intp]) -> float:
    group = np.unique(group, return_inverse=True)[1]
    freedom = len(rv) - (group.max() + 1)

    def excess(square: float) -> float:
        variance = err**2 + square
        mean, _ = _means(rv, variance, group)
        return float(((rv - mean[group]) ** 2 / variance).sum() - freedom)

    if freedom < 1 or excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, float(np.ptp(rv)) ** 2
    while excess(high) > 0:
        high *= 2
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return float(np.sqrt(high))


def draw_noise(
    sampling: Sampling,
    err: Array,
    scatter: Scatter,
    visit: NDArray[np.intp],
    night: NDArray[np.intp],
    draws: int,
    rng: np.random.Generator,
) -> tuple[Array, float]:
    """Velocities of noise ``(draws, n)``, whitened, of unit length, and their nu."""
    parts = [np.diag(err)]
    for size, block in ((scatter.visit, visit), (scatter.night, night)):
        if size > 0:
            parts.append(size * (block[:, None] == np.unique(block)))
    root = sampling.whiten(np.concatenate(parts, 1).T)
    covariance = root.T @ root
    nu = np.trace(covariance) ** 2 / np.square(covariance).sum()
    z = rng.standard_normal((draws, len(root))) @ root
    length = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.where(length > 0, length, 1), float(nu)
