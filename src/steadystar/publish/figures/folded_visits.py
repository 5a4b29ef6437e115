"""The visits of a star as an orbit sees them: phases, assigned velocities, what is left.

An orbit of one star was fitted without the visits that show two, and one of a pair
without those that have one velocity; they are told by ``fitted``. Stars of a pair that
are nearly alike change places from visit to visit: each visit's two velocities go to the
stars for which the best sample has the smaller chi2.
"""

__all__ = ["FoldedVisits", "above_center", "modes_seen", "sine_seen"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from steadystar.infer.orbit_summary import orbit_modes, velocities_of
from steadystar.publish.numbers import Array
from steadystar.publish.variable_facts import Evidence

_DRAWN = 40


@dataclass(frozen=True)
class FoldedVisits:
    """One mode of the posterior: its best sample, others to be drawn, and the visits.

    ``share``: of the samples. All others are ``(visit,)``: ``phase`` from periastron;
    ``rv, rv_err, rv_2, rv_2_err`` (km/s) as they are assigned to the stars, zeros of arms
    brought together; ``residual, residual_2`` from the best sample, NaN where not
    ``fitted``; ``exchanged`` says whose two velocities change places. ``center`` (km/s)
    is where the best sample's curve is drawn.
    """

    best: dict[str, Any]
    samples: pl.DataFrame
    share: float
    center: float
    phase: Array
    rv: Array
    rv_err: Array
    rv_2: Array
    rv_2_err: Array
    residual: Array
    residual_2: Array
    fitted: np.ndarray
    exchanged: np.ndarray

    @property
    def weight(self) -> Array:
        """Inverse variances of the first star's velocities, zero where not fitted."""
        return np.where(self.fitted, self.rv_err**-2, 0.0)

    @property
    def of_pair(self) -> bool:
        """Whether the orbit is that of both stars."""
        return _of_pair(self.best)


def above_center(samples: pl.DataFrame, bjd: Array, second: bool = False) -> Array:
    """Velocity on each orbit less that of its center, ``(sample, time)``, km/s."""
    return velocities_of(samples.with_columns(v0=pl.lit(0.0)), bjd, second)


def modes_seen(evidence: Evidence, most: int) -> list[FoldedVisits]:
    """Return the visits as the largest modes of the posterior see them, at most ``most``."""
    table = orbit_modes(evidence.samples)
    out = []
    for number, share in table.select("mode", "share").head(most).iter_rows():
        samples = evidence.samples.filter(pl.col("mode") == number)
        best = samples.row(samples["ln_likelihood"].arg_max() or 0, named=True)
        step = -(-len(samples) // _DRAWN)
        fitted = _fitted(evidence.visits, best)
        out.append(_seen(evidence.visits, fitted, best, samples[::step], share))
    return out


def sine_seen(evidence: Evidence) -> FoldedVisits:
    """Take the best sine at the star's period for an orbit: what a periodogram fits."""
    visits, period = evidence.visits, evidence.period
    time, rv = visits["bjd"].to_numpy(), visits["rv"].to_numpy()
    angle = 2 * np.pi * (time - time.mean()) / period
    zeros = np.eye(int(visits["zero"].max()) + 1)[visits["zero"].to_numpy()]  # pyright: ignore[reportArgumentType]
    terms = np.column_stack([np.cos(angle), np.sin(angle), zeros])
    weight = visits["rv_err"].to_numpy() ** -1
    found = np.linalg.lstsq(terms * weight[:, None], rv * weight, rcond=None)[0]
    best = {
        "period": period,
        "e": 0.0,
        "omega": 0.0,
        "k": float(np.hypot(found[0], found[1])),
        "k_2": float("nan"),
        "t_peri": time.mean() + period * np.arctan2(found[1], found[0]) / (2 * np.pi),
        "ln_likelihood": 0.0,
    }
    everyone = np.ones(len(visits), bool)
    return _seen(visits, everyone, best, pl.DataFrame([best]), 1.0)


def _of_pair(best: dict[str, Any]) -> bool:
    k_2 = best.get("k_2")
    return k_2 is not None and bool(np.isfinite(k_2))


def _fitted(visits: pl.DataFrame, best: dict[str, Any]) -> np.ndarray:
    """Which visits such an orbit was fitted to; all where that would be none."""
    if _of_pair(best):
        fitted = (
            visits["rv_2"].is_finite() & visits["rv_2_err"].is_finite()
        ).to_numpy()
    else:
        fitted = ~visits["double_lined"].to_numpy()
    return fitted if fitted.any() else np.ones(len(visits), bool)


def _seen(
    visits: pl.DataFrame,
    fitted: np.ndarray,
    best: dict[str, Any],
    samples: pl.DataFrame,
    share: float,
) -> FoldedVisits:
    """Assign the velocities, and bring zeros together where the best sample has them."""
    names = ("bjd", "rv", "rv_err", "rv_2", "rv_2_err")
    time, rv, err, rv_2, err_2 = (visits[n].to_numpy() for n in names)
    zero = visits["zero"].to_numpy()
    sample = pl.DataFrame([best])
    first = above_center(sample, time)[0]
    exchanged = np.zeros(len(time), bool)
    if _of_pair(best):
        second = above_center(sample, time, second=True)[0]
        # The mean of both velocities is the same whichever is which.
        middle = (rv + rv_2 - first - second) / 2
        level = _levels(zero, middle, (err**2 + err_2**2) ** -1, fitted)[zero]
        jitter = np.nan_to_num(float(best.get("jitter") or 0.0))

        def chi2(one: Array, s: Array, two: Array, s_2: Array) -> Array:
            left, left_2 = one - first - level, two - second - level
            return left**2 / (s**2 + jitter**2) + left_2**2 / (s_2**2 + jitter**2)

        exchanged = fitted & (chi2(rv_2, err_2, rv, err) < chi2(rv, err, rv_2, err_2))
        rv, rv_2 = np.where(exchanged, (rv_2, rv), (rv, rv_2))
        err, err_2 = np.where(exchanged, (err_2, err), (err, err_2))
    else:
        second = np.full(len(time), np.nan)
    levels = _levels(zero, rv - first, err**-2, fitted)
    # Several zeros are drawn about that of the orbit.
    center, shift = (levels[0], 0.0) if len(levels) == 1 else (0.0, levels[zero])
    rv, rv_2 = rv - shift, rv_2 - shift
    return FoldedVisits(
        best,
        samples,
        share,
        float(center),
        ((time - best["t_peri"]) / best["period"]) % 1,
        rv,
        err,
        rv_2,
        err_2,
        np.where(fitted, rv - first - center, np.nan),
        np.where(fitted, rv_2 - second - center, np.nan),
        fitted,
        exchanged,
    )


def _levels(zero: np.ndarray, left: Array, weight: Array, fitted: np.ndarray) -> Array:
    """Mean of what is left at each zero, of fitted visits where the zero has any."""
    alone = np.bincount(zero, fitted) == 0
    used = (fitted | alone[zero]) & np.isfinite(left) & np.isfinite(weight)
    weight = np.where(used, weight, 0.0)
    total = np.bincount(zero, weight * np.where(used, left, 0.0))
    return total / np.maximum(np.bincount(zero, weight), 1e-300)
