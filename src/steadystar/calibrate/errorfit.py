"""Scale and floor of the errors, by expectation and maximization.

Which stars are constant and what the errors are decide each other: verdicts on the stars
(`constancy`) and the noise of the probably constant ones (`noise`) are found in turn,
until neither moves.
"""

__all__ = ["Sample", "fit_noise", "sample_of"]

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.constancy import Classes, class_widths, judge, updated_shares
from steadystar.calibrate.noise import Noise, largest_floor
from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    double_lined_stars,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.data.status import Status

_PARTLY = Status.TOO_FEW_STARS
"""On a visit: one of its offsets is missing, whose noise is not that of the spectrum."""


@dataclass(frozen=True)
class Sample:
    """The visits on which errors are fitted; arrays ``(visit,)``.

    ``followed`` is the variance of each correction, without what the star's visits share;
    negative where the corrections have not followed the noise of these visits.
    """

    rv: Vector
    err: Vector
    followed: Vector
    groups: Groups
    group: NDArray[np.intp]
    names: pl.DataFrame


def sample_of(table: pl.DataFrame, by: list[str], *, followed: bool) -> Sample:
    """Return the visits of ``table`` that can be trusted, in groups ``by`` columns.

    ``followed``: the corrections were solved from these visits, and took their noise;
    otherwise they have added their own.
    """
    star, star_ids = codes(table, ["star_id"])
    zero, star_of_zero, _ = velocity_zeros(table, star)
    group, names = np.zeros(len(table), np.intp), pl.DataFrame()
    if by:
        group, names = codes(table, by)
    rv, err = table["rv"].to_numpy(), table["rv_raw_err"].to_numpy()
    flags = int(STAYS_OUT | Status.DUPLICATE | Status.UNCALIBRATED | _PARTLY)
    good = np.isfinite(rv) & np.isfinite(err) & (err > 0) & (star >= 0) & (group >= 0)
    good &= (table["status"].to_numpy() & flags) == 0
    good &= ~double_lined_stars(table, star)
    total, common = (
        table[name].to_numpy() for name in ("correction_err", "correction_common_err")
    )
    moved = np.maximum(total**2 - common**2, 0.0) * (1 if followed else -1)
    groups = Groups(zero[good], star_of_zero, len(star_ids))
    return Sample(rv[good], err[good], moved[good], groups, group[good], names)


def fit_noise(sample: Sample, max_rounds: int, narrowest: float | None = None):
    """Return noise, inverse information, how far each visit counts, and if it settled.

    ``narrowest``: the least extra scatter of variables, km/s; three floors if None.
    """
    groups, err, group = sample.groups, sample.err, sample.group
    n = max(len(sample.names), 1)
    typical = float(np.median(err))
    rv = sample.rv - groups.medians(sample.rv)[groups.zero]
    repeated = groups.n_of_zero[groups.zero] > 1
    scatter = 1.4826 * float(np.median(np.abs(rv[repeated])))
    excess = max(scatter**2 - typical**2, (0.3 * scatter) ** 2, 1e-12)
    most = largest_floor(typical)
    noise = Noise.starting(n, min(float(np.sqrt(excess)), most))
    fixed = narrowest is not None
    least = narrowest / 3 if fixed else max(0.1 * typical, 1e-6)
    floor = least if fixed else float(np.median(noise.floor))
    classes = Classes.starting(class_widths(floor, least))
    mean: Vector | None = None
    covariance, counts = np.full((n, 2), np.nan), np.zeros(len(rv))
    for _ in range(max_rounds):
        if not fixed:
            floor = float(np.median(noise.floor[group]))
        classes = replace(classes, width=class_widths(floor, least))
        variance = noise.variance(err, group) + np.maximum(-sample.followed, 0.0)
        verdicts = judge(rv, variance, groups, classes, mean)
        mean = verdicts.mean
        classes = updated_shares(classes, verdicts, groups)
        counts = verdicts.probability[groups.star, 0] * (1 - verdicts.wild)
        counts = np.where(repeated, counts, 0.0)
        square = (rv - mean[groups.zero]) ** 2 + verdicts.mean_var[groups.zero]
        square = square + sample.followed
        was = noise
        for _ in range(2):
            noise, covariance = noise.improved(err, group, square, counts, most)
        moved = np.abs(noise.floor - was.floor) / typical
        if max(moved.max(), np.abs(noise.scale - was.scale).max()) < 1e-3:
            return noise, covariance, counts, True
    return noise, covariance, counts, False
