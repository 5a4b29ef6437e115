"""Is a star constant? A probability, not a cut.

Each star is constant or belongs to one of several classes of variables, whose visits
scatter by an extra width. Given residuals (velocities less offsets) and their
variances, the probability of every class follows from the likelihood of the star's
visits with its mean velocity integrated out:

    ln L_k = -1/2 [ sum (r - V_k)^2 / u_k + sum ln u_k + ln sum 1/u_k ],
    u_k = variance + width_k^2.

In the constant class a visit may be wild (a blend, a wrong peak, a cosmic ray): it then
scatters by a great width and weighs next to nothing, and the star stays constant.

The widths begin at three floors of the error model. Were they to begin lower, the
classes of small widths would take stars from the constant class, the floor would shrink
for want of them, and the few stars with the smallest errors would rule the solution.
"""

__all__ = [
    "Classes",
    "Verdicts",
    "class_widths",
    "judge",
    "posterior",
    "settled_shares",
    "updated_shares",
]

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.visitsums import Groups, Vector

WIDEST = 30.0
"""km/s: the widest class reaches at least this far; its wings hold the rest."""

_STEP = 3.0
_PSEUDO_STARS = 2.0
_PSEUDO_WILD = (0.5, 500.0)
_SHARE_ROUNDS, _SHARE_PRECISION = 500, 1e-5
_TINY = 1e-300  # for velocity zeros without visits: they favor no class


@dataclass(frozen=True)
class Classes:
    """The mixture: ``width`` (class,) in km/s, the constant class first with 0.

    ``share`` (class,) sums to one; ``wild_share`` is the fraction of wild visits and
    ``wild_width`` their scatter in km/s.
    """

    width: Vector
    share: Vector
    wild_share: float = 1e-3
    wild_width: float = 30.0

    @classmethod
    def starting(cls, width: Vector, constant: float = 0.7) -> "Classes":
        """Return a mixture with a share ``constant`` of constant stars."""
        others = (1 - constant) / max(len(width) - 1, 1)
        return cls(width, np.r_[constant, np.full(len(width) - 1, others)])


@dataclass(frozen=True)
class Verdicts:
    """What the visits say: ``probability`` (star, class), ``wild`` (visit,) in [0, 1].

    ``weight`` (visit,) is the expected inverse variance of each visit over the classes;
    ``mean`` (zero,) the velocity of each star as a constant one; ``mean_var`` its
    variance; ``log_like`` (star, class) the likelihoods behind the probabilities.
    """

    probability: NDArray[np.float64]
    wild: Vector
    weight: Vector
    mean: Vector
    mean_var: Vector
    log_like: NDArray[np.float64]


def class_widths(floor: float, smallest: float) -> Vector:
    """Return the widths (class,): 0, then from three floors up in steps of three.

    ``smallest`` is the least floor that may come; it sets the number of classes, which
    then stays the same while the floor is fitted.
    """
    count = max(2, int(np.ceil(np.log(WIDEST / (3 * smallest)) / np.log(_STEP))) + 1)
    return np.r_[0.0, 3 * max(floor, smallest) * _STEP ** np.arange(count)]


def judge(
    residual: Vector,
    variance: Vector,
    groups: Groups,
    classes: Classes,
    mean: Vector | None = None,
) -> Verdicts:
    """Give every star its probabilities and every visit its weight.

    Arguments:
        residual: velocities less offsets, km/s, shape ``(visit,)``.
        variance: of each visit as one of a constant star, same shape.
        groups: which visits share a velocity zero and which zeros a star.
        classes: the mixture.
        mean: where to begin for the mean velocities, ``(zero,)``; medians if None.
    """
    if mean is None:
        mean = groups.medians(residual)
    wild, mean, log_like, mean_var = _constant_class(
        residual, variance, groups, classes, mean
    )
    star_log = np.empty((groups.n_stars, len(classes.width)))
    star_log[:, 0] = groups.stars(log_like)
    for k, width in enumerate(classes.width[1:], start=1):
        star_log[:, k] = _log_like(residual, variance + width**2, groups)
    probability = posterior(star_log, classes.share)
    star = groups.star
    weight = probability[star, 0] * (1 - wild) / variance
    for k, width in enumerate(classes.width[1:], start=1):
        weight += probability[star, k] / (variance + width**2)
    return Verdicts(probability, wild, weight, mean, mean_var, star_log)


def posterior(log_like: NDArray[np.float64], share: Vector) -> NDArray[np.float64]:
    """Return the probability of every class, (star, class), for given shares."""
    log = log_like + np.log(share)
    log -= log.max(axis=1, keepdims=True)
    probability = np.exp(log)
    return probability / probability.sum(axis=1, keepdims=True)


def _log_like(residual: Vector, variance: Vector, groups: Groups) -> Vector:
    """Return ln L of every star, its means integrated out, ``(star,)``."""
    inverse = 1 / variance
    total = np.maximum(groups.zeros(inverse), _TINY)
    average = groups.zeros(inverse * residual) / total
    spread = (residual - average[groups.zero]) ** 2 * inverse
    zero = groups.zeros(spread - np.log(inverse)) + np.log(total)
    return -0.5 * groups.stars(zero)


def _constant_class(residual, variance, groups: Groups, classes, mean):
    """Return wild probabilities, means, log likelihoods and variances of the means.

    Whether a visit is wild depends on the mean, and the mean on who is wild: three
    rounds from the previous mean are enough inside an outer iteration.
    """
    broad = variance + classes.wild_width**2
    log_tame = np.log1p(-classes.wild_share) - 0.5 * np.log(variance)
    log_wild = np.log(classes.wild_share) - 0.5 * np.log(broad)

    def around(mean: Vector) -> tuple[Vector, Vector, Vector, Vector]:
        square = (residual - mean[groups.zero]) ** 2
        tame = log_tame - square / (2 * variance)
        outlier = log_wild - square / (2 * broad)
        wild = 1 / (1 + np.exp(np.clip(tame - outlier, -500, 500)))
        inverse = (1 - wild) / variance + wild / broad
        total = np.maximum(groups.zeros(inverse), _TINY)
        return wild, groups.zeros(inverse * residual) / total, tame, total

    for _ in range(2):
        mean = around(mean)[1]
    wild, better, tame, total = around(mean)
    outlier = log_wild - (residual - mean[groups.zero]) ** 2 / (2 * broad)
    log_like = groups.zeros(np.logaddexp(tame, outlier)) - 0.5 * np.log(total)
    return wild, better, log_like, np.reciprocal(total)


def updated_shares(classes: Classes, verdicts: Verdicts, groups: Groups) -> Classes:
    """Return the mixture with its shares estimated anew from the verdicts.

    A few pseudo-stars, and wild visits rare beforehand, keep shares from vanishing.
    """
    several = groups.n_of_star >= 2
    share = _share(verdicts.probability[several], classes.width)
    constant = verdicts.probability[groups.star, 0]
    wild, tame = _PSEUDO_WILD
    wild += float(np.sum(constant * verdicts.wild))
    tame += float(np.sum(constant * (1 - verdicts.wild)))
    return replace(classes, share=share, wild_share=min(wild / (wild + tame), 0.05))


def settled_shares(classes: Classes, verdicts: Verdicts, groups: Groups) -> Classes:
    """Return the mixture whose shares agree with the likelihoods of ``verdicts``."""
    log_like = verdicts.log_like[groups.n_of_star >= 2]
    share = classes.share
    for _ in range(_SHARE_ROUNDS):
        better = _share(posterior(log_like, share), classes.width)
        done = np.abs(better - share).max() < _SHARE_PRECISION
        share = better
        if done:
            break
    return replace(updated_shares(classes, verdicts, groups), share=share)


def _share(probability: NDArray[np.float64], width: Vector) -> Vector:
    counts = probability.sum(axis=0) + Classes.starting(width).share * _PSEUDO_STARS
    return counts / counts.sum()
