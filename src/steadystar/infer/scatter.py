"""How much a star's visits scatter, from few of them, for all stars at once.

Deviations are taken from the mean of each velocity zero (`Groups`); a star with several
zeros pools them, and each costs a degree of freedom.
"""

__all__ = ["intrinsic_scatter", "jackknife_about", "jackknife_scatter"]

import numpy as np

from steadystar.calibrate.visitsums import Groups, Vector, sums

_ROUNDS = 60
_PRECISION = 1e-5  # of the variance or of its error, the larger


def jackknife_scatter(rv: Vector, groups: Groups) -> tuple[Vector, Vector]:
    """Return the bias-corrected standard deviation of each star, and its error.

    With ``theta`` the sample standard deviation of n visits and ``theta_k`` that
    without visit k: ``n theta - (n - 1) mean(theta_k)``, and variance
    ``(n - 1)/n sum (theta_k - mean)^2`` (Saydjari 2025, eq. 7-9). Shapes ``(star,)``;
    NaN for stars with fewer than three visits (two beyond the number of their zeros).
    """
    star, stars = groups.star, groups.n_stars
    n = np.bincount(star, minlength=stars).astype(float)
    size = groups.n_of_zero[groups.zero].astype(float)
    used = np.bincount(groups.star_of_zero, groups.n_of_zero > 0, stars)
    freedom = n - used
    mean = groups.zeros(rv) / np.maximum(groups.n_of_zero, 1)
    square = (rv - mean[groups.zero]) ** 2
    total = sums(star, square, stars)
    enough = freedom >= 2
    # Without visit k a zero of m visits loses m/(m-1) d^2; a zero of one visit loses
    # nothing, since its only visit lies on its mean.
    lone = size == 1
    left = total[star] - np.where(lone, 0.0, size / np.maximum(size - 1, 1) * square)
    left_freedom = np.maximum(freedom[star] - np.where(lone, 0.0, 1.0), 1.0)
    theta_k = np.sqrt(np.maximum(left, 0.0) / left_freedom)
    theta = np.sqrt(total / np.maximum(freedom, 1.0))
    return _jackknife(theta, theta_k, star, n, enough)


def jackknife_about(deviation: Vector, groups: Groups) -> tuple[Vector, Vector]:
    """Return the root mean square of deviations from known centers, and its error.

    The jackknife of `jackknife_scatter` for the second statistic of Saydjari 2025 (eq.
    11): uncalibrated velocities less the star's mean calibrated one, ``(visit,)``. It
    contains what the zero points of the instrument add to the scatter of a star whose
    mean is known. Shapes ``(star,)``; NaN for stars with fewer than three visits.
    """
    star, stars = groups.star, groups.n_stars
    n = np.bincount(star, minlength=stars).astype(float)
    square = deviation**2
    total = sums(star, square, stars)
    left = np.maximum(total[star] - square, 0.0) / np.maximum(n[star] - 1, 1.0)
    theta = np.sqrt(total / np.maximum(n, 1.0))
    return _jackknife(theta, np.sqrt(left), star, n, n >= 3)


def _jackknife(theta: Vector, theta_k: Vector, star, n: Vector, enough):
    """Return bias-corrected values and errors of statistics, ``(star,)``.

    ``theta`` (star,) is that of all ``n`` visits, ``theta_k`` (visit,) that without one.
    """
    count = np.maximum(n, 1.0)
    average = sums(star, theta_k, len(n)) / count
    spread = sums(star, (theta_k - average[star]) ** 2, len(n))
    value = n * theta - (n - 1) * average
    error = np.sqrt(np.maximum(n - 1, 0) / count * spread)
    return np.where(enough, value, np.nan), np.where(enough, error, np.nan)


def intrinsic_scatter(rv: Vector, err: Vector, groups: Groups) -> tuple[Vector, Vector]:
    """Return the scatter beyond the errors of each star, km/s, and its error.

    It maximizes the likelihood of the visits with the mean integrated out (restricted
    maximum likelihood, unbiased for few visits), by Fisher's scoring in the variance.
    With ``s`` the standard deviation of the variance, the error is ``s / (2 tau)``, and
    at most the root of ``s``: the scatter at which the variance is one ``s``.
    Shapes ``(star,)``; NaN for stars with no degree of freedom.
    """
    star, stars = groups.star, groups.n_stars
    count = np.bincount(star, minlength=stars)
    used = np.bincount(groups.star_of_zero, groups.n_of_zero > 0, stars)
    several = count - used >= 1
    tau2 = np.zeros(stars)
    information = np.ones(stars)
    open_ = several.copy()
    for _ in range(_ROUNDS):
        rows = open_[star]
        part = Groups(groups.zero[rows], groups.star_of_zero, stars)
        score, info = _score(rv[rows], err[rows], part, tau2)
        new = np.where(open_, np.maximum(tau2 + score / info, 0.0), tau2)
        information = np.where(open_, info, information)
        moved = np.abs(new - tau2) > _PRECISION * np.maximum(new, np.sqrt(2 / info))
        tau2, open_ = new, open_ & moved
        if not open_.any():
            break
    sigma = np.sqrt(2 / np.where(several, information, np.nan))
    tau = np.where(several, np.sqrt(tau2), np.nan)
    return tau, sigma / (2 * np.maximum(tau, np.sqrt(sigma) / 2))


def _score(rv: Vector, err: Vector, groups: Groups, tau2: Vector):
    """Return twice the derivative of ln L by tau^2, and twice its information."""
    star, stars = groups.star, groups.n_stars
    w = 1 / (err**2 + tau2[star])
    total = np.maximum(groups.zeros(w), 1e-300)
    mean = groups.zeros(w * rv) / total
    square = w * w
    w2, w3 = groups.zeros(square) / total, groups.zeros(square * w) / total
    fitted = sums(star, square * (rv - mean[groups.zero]) ** 2, stars)
    score = fitted - sums(star, w, stars) + groups.stars(w2)
    information = sums(star, square, stars) - 2 * groups.stars(w3) + groups.stars(w2**2)
    return score, np.maximum(information, 1e-300)
