"""The periodogram of one star: power, jackknife band, window, peaks and their chances.

    found = periodogram(bjd, rv, rv_err)
    found.peaks  # period, error, amplitude, false-alarm probability, aliases
    found.level(0.01)  # power that noise exceeds once in a hundred stars

The band is that of Saydjari (2025, figure 11): the standard error of the power by leaving
out one visit after the other, or one night after the other where visits share nights.
"""

__all__ = ["Periodogram", "periodogram"]

from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.data.variable_columns import PERIODS
from steadystar.infer.false_alarms import FalseAlarms
from steadystar.infer.peaks import jackknife_band, peak_rows, search
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.sines import Array, window_power
from steadystar.infer.velocity_curve import Codes, Curve

_DEFAULT = PeriodOptions()


@dataclass(frozen=True)
class Periodogram:
    """Power of sines at all frequencies, ``(frequency,)`` each.

    ``frequency`` in cycles a day; ``power`` the share of chi squared explained, ``low``
    and ``high`` its jackknife limits; ``window`` the power of the sampling. ``peaks`` has
    the columns of table "periods" less the star's. ``scatter`` (km/s) was added to the
    errors, and ``alarms`` is the law of noise.
    """

    frequency: Array
    power: Array
    low: Array
    high: Array
    window: Array
    peaks: pl.DataFrame
    scatter: float
    alarms: FalseAlarms

    def at(self, period: float) -> float:
        """Return the power at a period in days, between its neighbors on the grid."""
        return float(np.interp(1 / period, self.frequency, self.power))

    def level(self, probability: float) -> float:
        """Power that noise exceeds somewhere with this probability; NaN if it always does."""
        return self.alarms.level(probability)


def periodogram(
    t: Array,
    rv: Array,
    err: Array,
    options: PeriodOptions = _DEFAULT,
    zero: Codes | None = None,
    known_periods: tuple[float, ...] = (),
) -> Periodogram:
    """Return the generalized Lomb-Scargle periodogram of one star.

    Arguments:
        t, rv, err: times in days, velocities and their errors in km/s, ``(visit,)``.
        options: the range of periods, what noise is, how chances are found.
        zero: number of the velocity zero of each visit; each has a free constant.
        known_periods: days; sines at these are fitted along at every frequency, so that
            the power is that of what they leave.

    Raises:
        ValueError: a value is no number, or visits are too few for any period.
    """
    curve = Curve.of(t, rv, err, zero)
    refusal = curve.refusal(options)
    if refusal is not None:
        raise ValueError(f"No period can be looked for: {refusal}.")
    known = 1 / np.asarray(known_periods, float)
    found = search(curve, options, known)
    band = jackknife_band(curve, found, options, found.frequency, grid=True)
    return Periodogram(
        found.frequency,
        found.power,
        *band,
        window_power(curve.t, found.sampling.weight, found.frequency),
        pl.DataFrame(
            peak_rows(curve, found, options),
            schema={c.name: c.dtype for c in PERIODS if c.name != "star_id"},
        ),
        found.scatter.total,
        found.alarms,
    )
