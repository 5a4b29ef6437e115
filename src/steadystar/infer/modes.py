"""Several sines in one star: each is looked for beside those that were found before it.

A pulsating star has many periods at once, and each hides in what the others do. The
highest peak is taken up if noise would not have it (`PeriodOptions.max_fap`), all sines are
fitted together with free frequencies, and the next one is looked for with these fitted
along at every frequency. While others are unknown, an alias of a period can be higher than
the period; therefore several sets of sines are carried along, and the one that fits best
in the end is returned. The power of a mode is the share that it explains of what the others
leave.
"""

__all__ = ["find_modes", "mode_rows"]

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.special import betainc, gammaln

from steadystar.infer.peaks import Search, peak_rows, search
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.sine_fit import SineFit, fit_sines
from steadystar.infer.sines import Array
from steadystar.infer.velocity_curve import Curve

_VISITS_A_SINE = 6
_WIDTH = 6
"""Sets of sines that are carried along: the best one may begin with an alias's rival."""


def find_modes(curve: Curve, options: PeriodOptions, first: Search) -> Array:
    """Return the frequencies of sines, each better than noise beside all others.

    ``first`` is the search without any. The most sines are returned of which each has a
    false-alarm probability of at most ``options.max_fap`` beside the others, if noise has
    so many that explain as much with no more than this chance.
    """
    sets, best = [np.empty(0)], []
    constants = len(np.unique(curve.zero))
    for n in range(1, options.n_modes + 1):
        if len(curve.t) - constants < _VISITS_A_SINE * n:
            break
        sets = _one_more(curve, options, sets, first.sampling.weight)
        best.append(sets[0])
    for modes in reversed(best):
        if len(modes) > 1 and _chance_of_all(curve, first, modes) > options.max_fap:
            continue
        chances = [
            found.alarms.probability(found.heights[0])
            for _, found in _beside_others(curve, options, modes)
        ]
        if max(chances) <= options.max_fap:
            return modes
    return np.empty(0)


def _chance_of_all(curve: Curve, first: Search, modes: Array) -> float:
    """Chance that noise has as many sines, anywhere, that explain as much together.

    At given frequencies the share p that k sines explain is a beta variable; free ones add
    half a degree of freedom each to either side, and are ``(W sqrt(nu/2))^k / k!`` choices:
    for k = 1 this is Baluev's bound for p near 1 without gamma, and for more the same count
    of peaks.
    """
    k, nu = len(modes), first.alarms.freedom
    if nu <= 3 * k:
        return 1.0
    beside = curve.sampling(first.scatter.total, modes)
    all_of, left = first.sampling.whiten(curve.rv), beside.whiten(curve.rv)
    unexplained = min(float(left @ left) / max(float(all_of @ all_of), 1e-300), 1.0)
    choices = k * np.log(first.alarms.width * np.sqrt(nu / 2)) - gammaln(k + 1)
    alone = betainc((nu - 3 * k) / 2, k, unexplained)
    return float(np.exp(min(choices + np.log(max(alone, 1e-300)), 0.0)))


def _beside_others(
    curve: Curve, options: PeriodOptions, modes: Array
) -> Iterator[tuple[int, Search]]:
    """The search around each sine with the others fitted along."""
    for i in range(len(modes)):
        found = search(curve, options, np.delete(modes, i))
        z = found.sampling.whiten(curve.rv)
        height = found.sampling.power(modes[i : i + 1], z)
        yield i, replace(found, peaks=modes[i : i + 1], heights=height)


def _one_more(
    curve: Curve, options: PeriodOptions, sets: list[Array], weight: Array
) -> list[Array]:
    """Return sets with another sine each, those that fit best, the best first."""
    quick = replace(options, draws=0, n_peaks=_WIDTH)
    grown: list[tuple[float, Array]] = []
    for modes in sets:
        for peak in search(curve, quick, modes).peaks:
            fit = _fit(curve, np.append(modes, peak), options)
            misfit = float(weight @ (curve.rv - fit.model) ** 2)
            grown.append((misfit, fit.frequency))
    grown.sort(key=lambda pair: pair[0])
    apart, kept = 0.5 / np.ptp(curve.t), []
    for _, modes in grown:
        if not any(
            np.abs(np.sort(modes) - np.sort(other)).max() < apart for other in kept
        ):
            kept.append(modes)
    return kept[:_WIDTH]


def mode_rows(curve: Curve, modes: Array, options: PeriodOptions) -> dict[str, list]:
    """Columns of table "periods", less the star's, of sines fitted together."""
    fit = _fit(curve, modes, options)
    rows: dict[str, list] = {}
    for _, found in _beside_others(curve, options, fit.frequency):
        for name, values in peak_rows(curve, found, options).items():
            rows.setdefault(name, []).extend(values)
    return rows | {
        "rank": list(range(1, len(modes) + 1)),
        "period": fit.period.tolist(),
        "period_err": fit.period_err.tolist(),
        "amplitude": fit.amplitude.tolist(),
        "amplitude_err": fit.amplitude_err.tolist(),
    }


def _fit(curve: Curve, frequency: Array, options: PeriodOptions) -> SineFit:
    return fit_sines(
        curve.t,
        curve.rv,
        curve.err,
        curve.zero,
        frequency,
        reach=0.5 / np.ptp(curve.t),
        noise_known=options.noise == "known",
    )
