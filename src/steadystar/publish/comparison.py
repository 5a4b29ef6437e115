"""Several methods on one table: what each leaves, finds and cannot do, in numbers.

All are judged by the same velocities: those of stars that the chosen method holds for
constant, in groups whose zero points all could determine. The scatter of their repeats
about the mean of their star is compared, as a robust width. (Xiong's method calls the half
of the stars constant that happens to scatter least: they would flatter every method.)

Where the chosen method is the joint one, whose zero points have the least variance,
another's error follows from what the two differ by: an error of its own that is
independent of that of the best, ``error^2 = best^2 + difference^2`` (Hausman 1978).
"""

__all__ = ["compare_methods", "differences", "same_velocities"]

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    double_lined_stars,
    duplicates,
    of_leading_method,
    standard_visits,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import sums
from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data.status import Status
from steadystar.publish.numbers import Array, median, robust_width

_FEWEST = 20
"""Velocities below which their scatter is not told."""


def compare_methods(
    visits: pl.DataFrame, chosen: ZeroPoints, others: Mapping[str, ZeroPoints]
) -> dict[str, dict[str, Any]]:
    """Return the numbers of every method, the chosen one first.

    ``offsets, undetermined, constant_stars`` (None where a method does not say),
    ``scatter_kms`` of the repeats of the same velocities and their number
    ``velocities``, ``error_kms`` (median error of an offset as the method has it),
    ``difference_kms`` (rms against the chosen one) and ``error_ratio`` (its error over
    that of the chosen one; only against the joint method). None where not known.
    """
    methods = {chosen.method: chosen, **others}
    widths = same_velocities(visits, methods)
    told = {}
    for name, zero in methods.items():
        told[name] = _inventory(zero) | widths[name]
        told[name] |= {"difference_kms": None, "error_ratio": None}
        if name != chosen.method:
            told[name] |= _against(chosen, zero)
    return told


def same_velocities(
    visits: pl.DataFrame, methods: Mapping[str, ZeroPoints]
) -> dict[str, dict[str, Any]]:
    """Scatter of the repeats of constant stars after each method, on the same visits.

    ``methods``: the chosen one first. Those that calibrate less than half of the visits
    that it does are not judged, lest the others be judged by what little is left.
    """
    visits = of_leading_method(standard_visits(visits))
    star, star_ids = codes(visits, ["star_id"])
    zeros = velocity_zeros(visits, star)[0]
    steady = _constant(next(iter(methods.values())), star_ids["star_id"])
    every = _good(visits, star) & np.append(steady, False)[star]
    after, known = {}, {}
    for name, zero in methods.items():
        calibrated = zero.apply(visits)
        lost = int(Status.UNCALIBRATED | Status.TOO_FEW_STARS)
        done = every & ((calibrated["status"].to_numpy() & lost) == 0)
        first = next(iter(known.values()), done)
        if 2 * done.sum() >= first.sum():
            after[name], known[name] = calibrated["rv"].to_numpy(), done
    good = np.all(list(known.values()), axis=0)
    number = int(good.sum())
    enough = number >= _FEWEST
    return {
        name: {
            "scatter_kms": _width(after[name][good], zeros[good])
            if enough and name in after
            else None,
            "velocities": number if name in after else 0,
        }
        for name in methods
    }


def differences(
    chosen: ZeroPoints, other: ZeroPoints
) -> tuple[list[str], Array, Array, Array]:
    """Names of the offsets that both determine, the chosen ones, the others', and errors.

    The others are moved to the gauge of the chosen ones, set by connected set.
    """
    names, mine, theirs, errors = [], [], [], []
    for family, table in chosen.offsets.items():
        beside = other.offsets.get(family)
        if beside is None or len(beside) != len(table):
            continue
        a, b = table["offset"].to_numpy(), beside["offset"].to_numpy()
        both = np.isfinite(a) & np.isfinite(b)
        label = table["component"].to_numpy()[both]
        label = np.unique(label, return_inverse=True)[1]
        count = np.bincount(label)
        shift = sums(label, (b - a)[both], len(count)) / np.maximum(count, 1)
        names += [f"{family}#{row}" for row in np.flatnonzero(both)]
        mine.append(a[both])
        theirs.append(b[both] - shift[label])
        errors.append(table["offset_err"].to_numpy()[both])
    none = np.empty(0)
    return (
        names,
        np.concatenate([none, *mine]),
        np.concatenate([none, *theirs]),
        np.concatenate([none, *errors]),
    )


def _against(chosen: ZeroPoints, other: ZeroPoints) -> dict[str, float | None]:
    _, mine, theirs, error = differences(chosen, other)
    if not mine.size:
        return {"difference_kms": None, "error_ratio": None}
    difference = float(np.sqrt(np.mean((theirs - mine) ** 2)))
    best = float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else 0.0
    ratio = None
    if chosen.method == "joint" and best > 0:
        ratio = float(np.hypot(1.0, difference / best))
    return {"difference_kms": difference, "error_ratio": ratio}


def _inventory(zero: ZeroPoints) -> dict[str, Any]:
    offset = np.concatenate([t["offset"].to_numpy() for t in zero.offsets.values()])
    status = np.concatenate([t["status"].to_numpy() for t in zero.offsets.values()])
    error = median(pl.concat([t["offset_err"] for t in zero.offsets.values()]))
    judged = zero.stars["p_constant"].is_finite().any()
    redundant = (status & int(Status.REDUNDANT)) != 0
    return {
        "offsets": len(offset),
        "undetermined": int((~np.isfinite(offset) & ~redundant).sum()),
        "constant_stars": int(zero.stars["constant"].sum()) if judged else None,
        "error_kms": error if np.isfinite(error) else None,
    }


def _good(visits: pl.DataFrame, star: NDArray[np.intp]) -> NDArray[np.bool_]:
    good = np.isfinite(visits["rv_raw"].to_numpy()) & (star >= 0)
    good &= (visits["status"].to_numpy() & int(STAYS_OUT)) == 0
    return good & ~duplicates(visits) & ~double_lined_stars(visits, star)


def _constant(zero: ZeroPoints, star_ids: pl.Series) -> NDArray[np.bool_]:
    """Which stars the method holds for constant; all, where it does not judge."""
    if not zero.stars["p_constant"].is_finite().any():
        return np.ones(len(star_ids), bool)
    steady = zero.stars.filter("constant")["star_id"]
    return star_ids.is_in(steady.implode()).to_numpy()


def _width(rv: Array, zero: NDArray[np.intp]) -> float | None:
    """Robust width of deviations from the star's mean, freed of the mean's own noise."""
    group = np.unique(zero, return_inverse=True)[1]
    count = np.bincount(group).astype(float)
    mean = sums(group, rv, len(count)) / np.maximum(count, 1)
    n = count[group]
    several = n > 1
    lifted = (rv - mean[group])[several] * np.sqrt(n[several] / (n[several] - 1))
    width = robust_width(lifted)
    return float(width) if np.isfinite(width) else None
