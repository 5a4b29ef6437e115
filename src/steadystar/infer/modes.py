"""Several sines in one star: each is looked for beside those that were found before it.

A pulsating star has many periods at once, and each hides in what the others do. The
highest peak is taken up if noise would not have it (`PeriodOptions.max_fap`), all sines are
fitted together with free frequencies, and the next one is looked for with these fitted
along at every frequency. The power of a mode is the share that it explains of what the
others leave.
"""

__all__ = ["find_modes", "mode_rows"]

from dataclasses import replace

import numpy as np

from steadystar.infer.peaks import Search, peak_rows, search
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.sine_fit import SineFit, fit_sines
from steadystar.infer.sines import Array
from steadystar.infer.velocity_curve import LEAST_FREEDOM, Curve


def find_modes(curve: Curve, options: PeriodOptions, first: Search) -> Array:
    """Return the frequencies of sines, each better than noise beside those before it.

    ``first`` is the search without any.
    """
    modes, found = np.empty(0), first
    while len(modes) < options.n_modes and len(found.peaks):
        if found.alarms.probability(found.heights[0]) > options.max_fap:
            break
        modes = _fit(curve, np.append(modes, found.peaks[0]), options).frequency
        left = len(curve.t) - len(np.unique(curve.zero)) - 2 * len(modes)
        if len(modes) == options.n_modes or left < LEAST_FREEDOM:
            break
        found = search(curve, options, modes)
    return modes


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
