"""One row a star: mean, scatter, and whether it is constant or variable.

Every quantity compares a star's visits with each other, so errors that all its visits
share (``correction_common_err``) are left out, and come back only in the error of the
mean. Relative velocities of different arms or references have zeros of their own: their
deviations are taken from the mean of each, every zero costs one degree of freedom, and
``rv_mean`` is then a mean of velocities with arbitrary zeros. Where the same spectra have
absolute velocities too, ``rv_mean`` is the mean of those, with an error that is widened
where the arms disagree; all else is that of the relative ones, for the noise of a spectrum
counts once.

- ``chi2`` about the weighted mean, and from its p-value ``variable``, at a false-discovery
  rate over all stars (Benjamini and Hochberg 1995);
- ``rv_scatter``: standard deviation with the bias of few visits taken out by jackknife
  (Saydjari 2025, eq. 7-10); ``rv_raw_scatter``: that of the uncalibrated velocities about
  the mean calibrated one (eq. 11), which zero points widen;
- ``rv_intrinsic``: scatter with the errors taken out, by maximum (restricted) likelihood;
- ``p_constant``: probability from a mixture of constant stars and variables of several
  widths whose shares are those of this table.
"""

__all__ = ["SummaryOptions", "summarize_stars"]

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import chdtrc

from steadystar.calibrate.constancy import (
    Classes,
    class_widths,
    judge,
    posterior,
    settled_shares,
)
from steadystar.calibrate.visits import (
    codes,
    double_lined_stars,
    methods_of,
    of_leading_method,
)
from steadystar.calibrate.visitsums import Groups, Vector, sums
from steadystar.data import schema
from steadystar.data.status import Status
from steadystar.infer.scatter import (
    intrinsic_scatter,
    jackknife_about,
    jackknife_scatter,
)
from steadystar.infer.star_visits import groups_of, standard_velocities, usable_rows


@dataclass(frozen=True)
class SummaryOptions:
    """How stars are judged."""

    false_discovery_rate: Annotated[
        float, "Expected share of constant stars among those called variable."
    ] = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.false_discovery_rate < 1:
            raise ValueError(
                f"false_discovery_rate = {self.false_discovery_rate} is no rate: give a "
                "number between 0 and 1."
            )


_DEFAULT = SummaryOptions()
_NEVER = 1e-300


@dataclass(frozen=True)
class _Used:
    """The visits that count: velocities, errors within a star, and their groups."""

    rv: Vector
    raw: Vector
    err: Vector
    common: Vector
    groups: Groups


def summarize_stars(
    visits: pl.DataFrame, options: SummaryOptions = _DEFAULT
) -> pl.DataFrame:
    """Return one row for every star of ``visits`` (schema "stars"), sorted by star_id.

    Arguments:
        visits: with ``star_id`` and calibrated ``rv, rv_err`` (km/s); a table that has
            only ``rv_raw, rv_raw_err`` is summarized uncalibrated.
        options: the false-discovery rate.

    A star without a usable visit keeps its row, with NaN; its booleans are false, as
    are those of stars with one visit: neither constant nor variable is uncertain.
    Visits without a star are in no row.

    Raises:
        ValueError: a column is missing or holds text where numbers should be.
    """
    table = standard_velocities(visits)
    star, star_ids = codes(table, ["star_id"])
    table = table.with_columns(star=pl.Series(star))
    used = _used(of_leading_method(table), len(star_ids))
    columns = _statistics(used, options) | _absolute_means(table, len(star_ids))
    double = np.zeros(len(star_ids), bool)
    double[star[double_lined_stars(table, star) & (star >= 0)]] = True
    ra, dec = _positions(table, star, len(star_ids))
    stars = star_ids.with_columns(
        ra=pl.Series(ra),
        dec=pl.Series(dec),
        **{name: pl.Series(values) for name, values in columns.items()},
        double_lined=pl.Series(double),
    )
    return schema.conform(stars, "stars", keep_dtype=("star_id",))


def _used(table: pl.DataFrame, stars: int, allowed: Status = Status.GOOD) -> _Used:
    """Return the visits that count, with the flags of ``allowed`` too."""
    good = usable_rows(table, allowed)
    return _Used(
        good["rv"].to_numpy(),
        good["_raw"].to_numpy(),
        good["rv_err"].to_numpy(),
        good["rv_common_err"].to_numpy(),
        groups_of(good, stars),
    )


def _statistics(used: _Used, options: SummaryOptions) -> dict[str, NDArray]:
    groups, weight = used.groups, used.err**-2
    star, stars = groups.star, groups.n_stars
    count = np.bincount(star, minlength=stars)
    zeros = np.bincount(
        groups.star_of_zero, groups.n_of_zero > 0, minlength=stars
    ).astype(np.intp)
    mean, mean_err = _means(used)
    center = groups.zeros(weight * used.rv) / np.maximum(groups.zeros(weight), 1e-300)
    chi2 = sums(star, weight * (used.rv - center[groups.zero]) ** 2, stars)
    freedom = count - zeros
    several = freedom > 0
    chi2 = np.where(several, chi2, np.nan)
    p_value = np.where(
        several, chdtrc(np.maximum(freedom, 1), np.nan_to_num(chi2)), np.nan
    )
    scatter, scatter_err = jackknife_scatter(used.rv, groups)
    raw_scatter, raw_err = jackknife_about(used.raw - center[groups.zero], groups)
    intrinsic, intrinsic_err = intrinsic_scatter(used.rv, used.err, groups)
    p_constant = np.where(several, _p_constant(used), np.nan)
    return {
        "n_visits": count.astype(np.int64),
        "rv_mean": mean,
        "rv_mean_err": mean_err,
        "rv_scatter": scatter,
        "rv_scatter_err": scatter_err,
        "rv_raw_scatter": raw_scatter,
        "rv_raw_scatter_err": raw_err,
        "rv_intrinsic": intrinsic,
        "rv_intrinsic_err": intrinsic_err,
        "chi2": chi2,
        "p_constant": p_constant,
        "constant": np.nan_to_num(p_constant) > 0.5,
        "variable": discoveries(p_value, options.false_discovery_rate),
    }


def discoveries(p_value: Vector, rate: float) -> NDArray[np.bool_]:
    """Return which p-values are discoveries at a false-discovery ``rate``.

    The k-th smallest of m is one if it, or a larger one after it, is at most
    ``rate * k / m`` (Benjamini and Hochberg 1995). NaN never is.
    """
    tested = np.flatnonzero(np.isfinite(p_value))
    order = tested[np.argsort(p_value[tested], kind="stable")]
    limit = rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    passing = np.flatnonzero(p_value[order] <= limit)
    out = np.zeros(len(p_value), bool)
    if len(passing):
        out[order[: passing[-1] + 1]] = True
    return out


def _p_constant(used: _Used) -> Vector:
    """Return the probability of being constant, shares estimated from all stars."""
    groups = used.groups
    if not (groups.n_of_zero > 1).any():
        return np.full(groups.n_stars, np.nan)
    # Calibrated errors hold the floor: no error is much smaller.
    width = class_widths(*[float(np.quantile(used.err, 0.1))] * 2)
    rv = used.rv - groups.medians(used.rv)[groups.zero]
    # One wild visit keeps a star in a solution, but does not make it a constant star.
    classes = replace(Classes.starting(width), wild_share=_NEVER)
    verdicts = judge(rv, used.err**2, groups, classes)
    share = settled_shares(classes, verdicts, groups).share
    return posterior(verdicts.log_like, share)[:, 0]


def _absolute_means(table: pl.DataFrame, stars: int) -> dict[str, NDArray]:
    """Means of the absolute velocities, if there are some beside the relative ones."""
    methods = methods_of(table)
    if not methods or "reference_visit_id" not in table.columns:
        return {}
    others = (
        pl.col("method").is_in(methods[1:]) & pl.col("reference_visit_id").is_null()
    )
    absolute = table.filter(others)
    if not len(absolute):
        return {}
    mean, error = _means(_used(absolute, stars))
    # A sum of exposures adds nothing to them, but where it is all there is, it counts.
    lonely = np.isnan(mean)
    sums_too = _means(_used(absolute, stars, Status.COADD))
    mean, error = np.where(lonely, sums_too, (mean, error))
    if "arm" not in absolute.columns:
        return {"rv_mean": mean, "rv_mean_err": error}
    # Arms have zeros of their own: where they disagree, the error of the mean says so.
    chi2, arms = np.zeros(stars), np.zeros(stars)
    for _, one in absolute.group_by("arm", maintain_order=True):
        of_arm = _means(_used(one, stars))
        here = np.isfinite(of_arm[0])
        chi2[here] += ((of_arm[0] - mean) / of_arm[1])[here] ** 2
        arms += here
    widened = np.sqrt(np.maximum(chi2 / np.maximum(arms - 1, 1), 1))
    return {"rv_mean": mean, "rv_mean_err": error * widened}


def _means(used: _Used) -> tuple[Vector, Vector]:
    """Weighted mean of each star's velocities, and its error; NaN if it has none."""
    star, stars, weight = used.groups.star, used.groups.n_stars, used.err**-2
    total = sums(star, weight, stars)
    total = np.where(total > 0, total, np.nan)
    shared = sums(star, weight * used.common**2, stars) / total
    return sums(star, weight * used.rv, stars) / total, np.sqrt(1 / total + shared)


def _positions(
    table: pl.DataFrame, star: NDArray[np.intp], stars: int
) -> tuple[Vector, Vector]:
    """Return the mean direction of each star's visits, degrees; NaN where unknown."""
    if not {"ra", "dec"} <= set(table.columns):
        return np.full(stars, np.nan), np.full(stars, np.nan)
    ra, dec = (
        np.radians(
            table[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        )
        for name in ("ra", "dec")
    )
    good = np.isfinite(ra) & np.isfinite(dec) & (star >= 0)
    ra, dec, star = ra[good], dec[good], star[good]
    x = sums(star, np.cos(dec) * np.cos(ra), stars)
    y = sums(star, np.cos(dec) * np.sin(ra), stars)
    z = sums(star, np.sin(dec), stars)
    known = np.bincount(star, minlength=stars) > 0
    mean_ra = np.degrees(np.arctan2(y, x)) % 360
    mean_dec = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return np.where(known, mean_ra, np.nan), np.where(known, mean_dec, np.nan)
