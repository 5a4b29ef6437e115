"""The velocities of one star, with what tells them apart: zeros, exposures, nights."""

__all__ = ["LEAST_FREEDOM", "Codes", "Curve"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.sines import Array, Sampling, frequency_grid
from steadystar.infer.star_visits import night_runs

Codes = NDArray[np.intp]

LEAST_FREEDOM = 3
"""Visits less constants: through two there is always a sine."""
_SAME_TIME = 1e-4  # d: arms of one exposure


@dataclass(frozen=True)
class Curve:
    """The velocities of one star, checked; ``t`` is counted from the middle of its visits."""

    t: Array
    rv: Array
    err: Array
    zero: Codes
    visit: Codes
    night: Codes

    @classmethod
    def of(cls, t: Array, rv: Array, err: Array, zero: Codes | None) -> "Curve":
        """Make one.

        Raises:
            ValueError: lengths differ, or values are no numbers.
        """
        t, rv, err = (np.asarray(x, float) for x in (t, rv, err))
        zero = np.zeros(len(t), np.intp) if zero is None else np.asarray(zero)
        if not t.shape == rv.shape == err.shape == zero.shape or t.ndim != 1:
            raise ValueError(
                f"Times, velocities, errors and zeros have shapes {t.shape}, {rv.shape}, "
                f"{err.shape} and {zero.shape}: give one value of each for a visit."
            )
        good = np.isfinite(t) & np.isfinite(rv) & np.isfinite(err) & (err > 0)
        if not good.all():
            raise ValueError(
                f"Visit {np.flatnonzero(~good)[0]} has a time, velocity or error that is "
                "no number, or no error above zero: leave such visits out."
            )
        middle = 0.5 * (t.min() + t.max()) if len(t) else 0.0
        codes = np.unique(zero, return_inverse=True)[1].astype(np.intp)
        return cls(t - middle, rv, err, codes, _runs(t, _SAME_TIME), night_runs(t))

    def sampling(self, scatter: float, known: Array) -> Sampling:
        """Return the times with the weights that this scatter leaves."""
        return Sampling.of(self.t, np.hypot(self.err, scatter), self.zero, known)

    def part(self, keep: NDArray[np.bool_]) -> "Curve":
        """Return a part of the visits."""
        return Curve(
            *(
                getattr(self, name)[keep]
                for name in ("t", "rv", "err", "zero", "visit", "night")
            )
        )

    def refusal(self, options: PeriodOptions) -> str | None:
        """Say why no period can be looked for, or None."""
        n = len(self.t)
        constants = len(np.unique(self.zero))
        if n < options.min_visits or n - constants < LEAST_FREEDOM:
            need = max(options.min_visits, LEAST_FREEDOM + constants)
            return f"{n} visits with times, {need} are needed"
        grid = frequency_grid(
            np.ptp(self.t), options.min_period, options.max_period, options.oversampling
        )
        if len(grid) < 2:
            return (
                f"visits span {np.ptp(self.t):.3g} d, no period of {options.min_period:g} "
                "d or more fits in"
            )
        return None


def _runs(t: Array, gap: float) -> Codes:
    """Number the groups of times that no gap divides, from 0."""
    order = np.argsort(t, kind="stable")
    out = np.empty(len(t), np.intp)
    out[order] = np.cumsum(np.diff(t[order], prepend=t[order[:1]]) > gap)
    return out
