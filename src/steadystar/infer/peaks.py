"""The search of one star: power on the grid, its peaks, and how far they can be trusted."""

__all__ = ["Search", "jackknife_band", "peak_rows", "search"]

from dataclasses import dataclass

import numpy as np

from steadystar.infer.aliases import name_aliases
from steadystar.infer.false_alarms import (
    FalseAlarms,
    Scatter,
    baluev_width,
    draw_noise,
    find_scatter,
    fit_law,
)
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.sine_fit import fit_sines, fit_sines_at
from steadystar.infer.sine_search import grid_power, highest_of_draws, local_peaks
from steadystar.infer.sines import Array, Sampling, frequency_grid, window_power
from steadystar.infer.velocity_curve import LEAST_FREEDOM, Curve

_ENOUGH_NIGHTS = 6


@dataclass(frozen=True)
class Search:
    """Power on the grid and its highest peaks, with what is known of noise."""

    frequency: Array
    power: Array
    peaks: Array
    heights: Array
    sampling: Sampling
    scatter: Scatter
    alarms: FalseAlarms
    known: Array


def search(curve: Curve, options: PeriodOptions, known: Array) -> Search:
    """Find the power at all frequencies, the highest peaks, and the law of noise."""
    scatter = _scatter(curve, options, known)
    sampling = curve.sampling(scatter.total, known)
    frequency = frequency_grid(
        np.ptp(curve.t), options.min_period, options.max_period, options.oversampling
    )
    z = sampling.whiten(curve.rv)
    power = grid_power(sampling, z, frequency)
    peaks, heights = local_peaks(sampling, z, frequency, power, options.n_peaks)
    alarms = _alarms(curve, options, sampling, scatter, frequency, float(z @ z))
    return Search(frequency, power, peaks, heights, sampling, scatter, alarms, known)


def _scatter(curve: Curve, options: PeriodOptions, known: Array) -> Scatter:
    if options.noise != "added":
        return Scatter(0.0, 0.0, 0.0)
    rv = curve.rv
    if len(known):
        fit = fit_sines(curve.t, rv, curve.err, curve.zero, known, reach=0.0)
        rv = rv - fit.model
    return find_scatter(rv, curve.err, curve.zero, curve.visit, curve.night)


def _alarms(
    curve: Curve,
    options: PeriodOptions,
    sampling: Sampling,
    scatter: Scatter,
    frequency: Array,
    chi2: float,
) -> FalseAlarms:
    size = (chi2, sampling.freedom) if options.noise == "known" else (None, 0)
    width = float(baluev_width(sampling, frequency[-1] - frequency[0]))
    if options.draws == 0:
        return FalseAlarms(float(sampling.freedom), width, width, 1.0, *size)
    rng = np.random.default_rng(options.seed)
    noise, nu = draw_noise(
        sampling, curve.err, scatter, curve.visit, curve.night, options.draws, rng
    )
    highest = highest_of_draws(sampling, noise, frequency)
    return FalseAlarms(nu, width, *fit_law(highest, nu), *size)


def jackknife_band(
    curve: Curve, found: Search, options: PeriodOptions, frequency: Array, *, grid: bool
) -> tuple[Array, Array]:
    """Jackknife limits of the power at frequencies, on an even grid or anywhere."""
    left_out = curve.night if _by_night(curve, options) else curve.visit
    powers = []
    for one in np.unique(left_out):
        part = curve.part(left_out != one)
        sampling = part.sampling(found.scatter.total, found.known)
        if sampling.freedom < LEAST_FREEDOM:
            continue
        z = sampling.whiten(part.rv)
        powers.append(
            grid_power(sampling, z, frequency) if grid else sampling.power(frequency, z)
        )
    full = found.power if grid else found.heights
    if len(powers) < 2:
        return np.full(len(full), np.nan), np.full(len(full), np.nan)
    error = np.sqrt((len(powers) - 1) * np.var(powers, axis=0))
    return np.maximum(full - error, 0), np.minimum(full + error, 1)


def _by_night(curve: Curve, options: PeriodOptions) -> bool:
    if options.jackknife != "auto":
        return options.jackknife == "night"
    nights = len(np.unique(curve.night))
    return _ENOUGH_NIGHTS <= nights < len(np.unique(curve.visit))


def peak_rows(curve: Curve, found: Search, options: PeriodOptions) -> dict[str, list]:
    """Columns of table "periods", less the star's, for the peaks of a search."""
    low, high = jackknife_band(curve, found, options, found.peaks, grid=False)
    weight = found.sampling.weight
    alias_of, alias = name_aliases(curve.t, weight, found.peaks)
    reach = 0.5 / np.ptp(curve.t)
    known = np.broadcast_to(found.known, (len(found.peaks), len(found.known)))
    fits = fit_sines_at(
        curve.t,
        curve.rv,
        curve.err,
        curve.zero,
        np.concatenate([found.peaks[:, None], known], 1),
        reach=reach,
        noise_known=options.noise == "known",
    )
    return {
        "rank": list(range(1, len(fits) + 1)),
        "period": [float(fit.period[0]) for fit in fits],
        "period_err": [float(fit.period_err[0]) for fit in fits],
        "power": found.heights.tolist(),
        "power_low": low.tolist(),
        "power_high": high.tolist(),
        "fap": found.alarms.probability(found.heights).tolist(),
        "amplitude": [float(fit.amplitude[0]) for fit in fits],
        "amplitude_err": [float(fit.amplitude_err[0]) for fit in fits],
        "window": window_power(curve.t, weight, found.peaks).tolist(),
        "alias_of": alias_of,
        "alias": alias,
        "period_status": ["good"] * len(fits),
    }
