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

from dataclasses import replace

import numpy as np

from steadystar.infer.peaks import Search, peak_rows, search
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.sine_fit import SineFit, fit_sines
from steadystar.infer.sines import Array
from steadystar.infer.velocity_curve import LEAST_FREEDOM, Curve

_WIDTH = 6
"""Sets of sines that are carried along: the best one may begin with an alias's rival."""


def find_modes(curve: Curve, options: PeriodOptions, first: Search) -> Array:
    """Return the frequencies of sines, each better than noise beside those before it.

    ``first`` is the search without any.
    """
    sets, found = [np.empty(0)], first
    while found.alarms.probability(found.heights[0]) <= options.max_fap:
        sets = _one_more(curve, options, sets, first.sampling.weight)
        left = len(curve.t) - len(np.unique(curve.zero)) - 2 * len(sets[0])
        if len(sets[0]) == options.n_modes or left < LEAST_FREEDOM:
            break
        found = search(curve, options, sets[0])
    return sets[0]


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
    for i, frequency in enumerate(fit.frequency):
        one = np.array([frequency])
        found = search(curve, options, np.delete(fit.frequency, i))
        z = found.sampling.whiten(curve.rv)
        height = found.sampling.power(one, z)
        found = replace(found, peaks=one, heights=height)
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
