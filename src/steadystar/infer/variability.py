"""Constant or variable: what the visits of every star say, with errors they share.

A star is tested against being constant in two ways, and measured in one:

- ``chi2`` about its mean, with the covariance of the corrections
  (`steadystar.infer.variability_covariance`); from its p-value ``q_value``, the least
  false-discovery rate at which the star is called variable (Benjamini and Hochberg 1995),
  and ``variable`` at the rate asked for;
- the largest difference of two visits, in units of its error, with the chance that any of
  all pairs does as much (`steadystar.infer.variability_pairs`): it finds the one visit in
  many that chi2 dilutes;
- ``rv_intrinsic``, the most likely scatter beyond the errors with its 68% limits
  (`steadystar.infer.variability_likelihood`).

Spectra with the lines of two stars, and those that moonlight has got into, are counted
and do not enter: their velocity is not that of one star. Where the visits share no
errors, chi2 and the verdict are those of `summarize_stars`.
"""

__all__ = ["VariabilityOptions", "find_variables"]

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import chdtrc, stdtr

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Groups, Vector, sums
from steadystar.data import schema
from steadystar.infer.classes import ClassOptions, classify_stars
from steadystar.infer.moonlight import MoonlightOptions, moonlit_visits
from steadystar.infer.star_visits import (
    count_nights,
    groups_of,
    usable_visits,
    without_visits,
)
from steadystar.infer.summary import SummaryOptions, discoveries, summarize_stars
from steadystar.infer.variability_covariance import (
    exact_covariance,
    in_parts,
    rows_by_count,
    shared_errors,
)
from steadystar.infer.variability_likelihood import (
    Contrasts,
    Likelihood,
    SharedLikelihood,
    contrasts_of,
    most_likely,
)
from steadystar.infer.variability_pairs import Pairs, largest_of_stars

_FROM_SUMMARY = (
    "ra",
    "dec",
    "rv_mean",
    "rv_mean_err",
    "p_constant",
    "constant",
    "double_lined",
)


@dataclass(frozen=True)
class VariabilityOptions:
    """How variable stars are told from constant ones."""

    false_discovery_rate: Annotated[
        float, "Expected share of constant stars among those called variable."
    ] = 0.01
    by: Annotated[
        tuple[str, ...],
        "Families of offsets, as calibrated, each as columns joined by +: visits of one "
        "star that agree in all of them share the error of the correction.",
    ] = ()
    use_double_lined: Annotated[
        bool,
        "Whether velocities of double-lined spectra count; rv is then taken as is.",
    ] = False
    use_moonlit: Annotated[
        bool, "Whether velocities of spectra with moonlight in them count."
    ] = False
    moonlight: MoonlightOptions = field(default_factory=MoonlightOptions)
    classes: ClassOptions = field(default_factory=ClassOptions)

    def __post_init__(self) -> None:
        if not 0 < self.false_discovery_rate < 1:
            raise ValueError(
                f"false_discovery_rate = {self.false_discovery_rate} is no rate: give a "
                "number between 0 and 1."
            )

    def families(self) -> list[list[str]]:
        """Return the columns of each family in ``by``."""
        return [one.replace(",", "+").split("+") for one in self.by]


_DEFAULT = VariabilityOptions()


def find_variables(
    visits: pl.DataFrame,
    options: VariabilityOptions = _DEFAULT,
    *,
    zeropoints: ZeroPoints | None = None,
    periods: pl.DataFrame | None = None,
    orbits: pl.DataFrame | None = None,
    labels: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return one row for every star of ``visits`` (schema "variables"), by star_id.

    Arguments:
        visits: with ``star_id`` and calibrated ``rv, rv_err`` (km/s), else ``rv_raw,
            rv_raw_err``; all else is used where it is there.
        options: the false-discovery rate, which errors are shared, what is left out.
        zeropoints: by which the visits were calibrated: the covariance is then exact.
        periods, orbits: tables of `find_periods` and `fit_orbits`, for the classes.
        labels: ``visit_id, teff, teff_err`` of visits; without it, the columns of
            ``visits``.

    A star without a usable visit keeps its row, with NaN; its booleans are false.

    Raises:
        ValueError: a column is missing or holds text where numbers should be.
    """
    if {"rv_common_err", "zero"} <= set(visits.columns):
        raise ValueError(
            "These are usable visits already, whose shared errors are gone: give the "
            "table of velocities as it was calibrated."
        )
    table = usable_visits(visits)
    moonlit, explained = moonlit_visits(table, options.moonlight)
    double = table["double_lined"].to_numpy()
    out = double & (not options.use_double_lined)
    out = out | (moonlit & (not options.use_moonlit))
    stars = summarize_stars(
        without_visits(visits, table.filter(out)),
        SummaryOptions(options.false_discovery_rate),
    )
    n_stars = len(stars)
    judged = _with_temperatures(table.filter(~out), labels)
    columns = {name: stars[name].to_numpy() for name in _FROM_SUMMARY}
    star = table["star"].to_numpy()
    only_moon = np.zeros(n_stars, bool)
    only_moon[: len(explained)] = explained
    columns["double_lined"] = columns["double_lined"] & ~only_moon
    in_two = double & ~only_moon[star]
    columns |= {
        "n_double_lined": np.bincount(star[in_two], minlength=n_stars),
        "n_moonlight": np.bincount(star[moonlit], minlength=n_stars),
    }
    columns |= _times(judged, n_stars)
    columns |= _verdicts(judged, n_stars, options, zeropoints)
    columns |= _temperatures(judged, n_stars)
    found = stars.select("star_id").with_columns(
        **{name: pl.Series(values) for name, values in columns.items()}
    )
    found = schema.conform(found, "variables", keep_dtype=("star_id",))
    return classify_stars(found, periods, orbits, options.classes)


def _times(table: pl.DataFrame, stars: int) -> dict[str, NDArray]:
    """Count visits and nights, and say how long a star was watched."""
    star, bjd = table["star"].to_numpy(), table["bjd"].to_numpy()
    first, last = np.full(stars, np.inf), np.full(stars, -np.inf)
    np.fmin.at(first, star, bjd)
    np.fmax.at(last, star, bjd)
    baseline = np.where(last >= first, last - first, np.nan)
    return {
        "n_visits": np.bincount(star, minlength=stars),
        "n_nights": count_nights(table, stars),
        "baseline": baseline,
    }


def _verdicts(
    table: pl.DataFrame,
    stars: int,
    options: VariabilityOptions,
    zeropoints: ZeroPoints | None,
) -> dict[str, NDArray]:
    """Return chi2, the largest difference and the scatter of every star."""
    groups = groups_of(table, stars)
    if zeropoints is None:
        likelihood, pairs = _by_groups(table, groups, options)
    else:
        likelihood, pairs = _by_matrices(table, groups, zeropoints)
    freedom = likelihood.freedom
    several = freedom > 0
    chi2 = np.where(several, likelihood.at(np.zeros(stars))[0], np.nan)
    p_value = np.where(
        several, chdtrc(np.maximum(freedom, 1), np.nan_to_num(chi2)), np.nan
    )
    scatter = most_likely(likelihood, several)
    return {
        "chi2": chi2,
        "dof": freedom,
        "p_value": p_value,
        "q_value": q_values(p_value),
        "variable": discoveries(p_value, options.false_discovery_rate),
        "rv_max_difference": pairs.difference,
        "rv_max_difference_err": pairs.error,
        "rv_max_difference_snr": pairs.ratio,
        "p_max_difference": pairs.chance,
        "rv_intrinsic": scatter.value,
        "rv_intrinsic_low": scatter.low,
        "rv_intrinsic_high": scatter.high,
    }


def _by_groups(
    table, groups: Groups, options: VariabilityOptions
) -> tuple[Likelihood, Pairs]:
    """Judge with what the table says of shared errors."""
    shared = shared_errors(table, groups, options.families())
    rv = table["rv"].to_numpy()

    def covariances():
        for rows in rows_by_count(groups.zero):
            tied = (shared.block[rows] >= 0).any(axis=1)
            yield rows[~tied], shared.total[rows[~tied]]
            for part in in_parts(rows[tied]):
                yield part, shared.covariance(part)

    pairs = largest_of_stars(rv, groups, covariances)
    return SharedLikelihood.about_zeros(rv, shared, groups), pairs


def _by_matrices(
    table, groups: Groups, zeropoints: ZeroPoints
) -> tuple[Likelihood, Pairs]:
    """Judge with the full covariance of the corrections, some stars after the other."""
    rv, star = table["rv"].to_numpy(), groups.star
    value, variance, whose = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, np.intp)]
    largest = np.full((4, groups.n_stars), np.nan)
    for rows, covariance in exact_covariance(table, star, zeropoints):
        zero = groups.zero[rows]
        one, its, good = contrasts_of(rv[rows], covariance, zero)
        value.append(one[good])
        variance.append(its[good])
        whose.append(np.broadcast_to(star[rows], good.shape)[good])
        found = _largest(rv[rows], zero, covariance)
        parts = (found.difference, found.error, found.ratio, found.chance)
        largest[:, star[rows[:, 0]]] = parts
    likelihood = Contrasts(
        np.concatenate(value),
        np.concatenate(variance),
        np.concatenate(whose),
        groups.n_stars,
    )
    return likelihood, Pairs(*largest)


def _largest(rv: Vector, zero: NDArray[np.intp], covariance: NDArray) -> Pairs:
    """Return the largest differences of some stars; rv and zero (star, n)."""
    _, first, zero = np.unique(zero, return_index=True, return_inverse=True)
    own = Groups(zero.ravel(), first // rv.shape[1], len(rv))
    rows = np.arange(rv.size).reshape(rv.shape)
    return largest_of_stars(
        rv.ravel(), own, lambda: _of_zeros([(rows, covariance)], own)
    )


def _of_zeros(parts, groups: Groups):
    """Yield the visits of each velocity zero, and their covariance, from those of stars.

    Stars whose zeros have equal numbers of visits are taken together.
    """
    for rows, covariance in parts:
        zero = groups.zero[rows]
        order = np.argsort(zero, axis=1, kind="stable")
        ends = np.diff(np.take_along_axis(zero, order, axis=1), axis=1) != 0
        kinds, kind = np.unique(ends, axis=0, return_inverse=True)
        for number, one in enumerate(kinds):
            stars = np.flatnonzero(kind.ravel() == number)
            if not one.any():
                yield rows[stars], covariance[stars]
                continue
            cuts = [0, *(np.flatnonzero(one) + 1), rows.shape[1]]
            for first, last in pairwise(cuts):
                at = order[stars, first:last]
                which = stars[:, None, None]
                yield (
                    rows[stars[:, None], at],
                    covariance[which, at[:, :, None], at[:, None, :]],
                )


def q_values(p_value: Vector) -> Vector:
    """Return the least false-discovery rate at which each p-value is a discovery.

    With m p-values, of which the k-th smallest is p_k: the least ``m p_j / j`` of all j
    from k on (Benjamini and Hochberg 1995). NaN stays NaN and does not count.
    """
    tested = np.flatnonzero(np.isfinite(p_value))
    order = tested[np.argsort(p_value[tested], kind="stable")]
    rate = p_value[order] * len(order) / np.arange(1, len(order) + 1)
    out = np.full(len(p_value), np.nan)
    out[order] = np.minimum(np.minimum.accumulate(rate[::-1])[::-1], 1.0)
    return out


def _with_temperatures(table: pl.DataFrame, labels: pl.DataFrame | None):
    """Return the visits with ``teff`` and ``teff_err``, from ``labels`` if given."""
    wanted = ("teff", "teff_err")
    if labels is not None:
        missing = [n for n in ("visit_id", *wanted) if n not in labels.columns]
        if missing:
            raise ValueError(
                f"The table of labels has no column {missing[0]}: it must say visit_id, "
                "teff and teff_err."
            )
        own = labels.select("visit_id", *wanted).drop_nulls("visit_id")
        own = own.unique("visit_id", keep="first", maintain_order=True)
        table = table.drop(wanted, strict=False).join(
            own, on="visit_id", how="left", maintain_order="left"
        )
    return table.with_columns(
        pl.lit(float("nan")).alias(n) for n in wanted if n not in table.columns
    ).with_columns(
        pl.col(n).cast(pl.Float64, strict=False).fill_null(float("nan")) for n in wanted
    )


def _temperatures(table: pl.DataFrame, stars: int) -> dict[str, NDArray]:
    """Say whether the temperature varies, and whether it goes with the velocity.

    Both are taken about their means of an arm and velocity zero, weighted by the errors
    of the temperatures: arms that disagree on the temperature make nothing vary. Each
    mean costs a degree of freedom, of the correlation's Student t as well.
    """
    teff, err = table["teff"].to_numpy(), table["teff_err"].to_numpy()
    good = np.isfinite(teff) & np.isfinite(err) & (err > 0)
    star, rv = table["star"].to_numpy()[good], table["rv"].to_numpy()[good]
    teff, weight = teff[good], err[good] ** -2
    keys = table.filter(pl.Series(good)).select(
        "star", "zero", pl.col("arm").cast(pl.String).fill_null("")
    )
    group, _ = codes(keys, ["star", "zero", "arm"])
    groups = int(group.max(initial=-1)) + 1
    total = sums(group, weight, groups)
    a, b = (x - (sums(group, weight * x, groups) / total)[group] for x in (teff, rv))
    aa, ab, bb = (sums(star, weight * x, stars) for x in (a * a, a * b, b * b))
    count = np.bincount(star, minlength=stars)
    means = keys.with_columns(group=pl.Series(group)).unique("group")["star"].to_numpy()
    freedom = count - np.bincount(means, minlength=stars)
    p_value = np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), aa), np.nan)
    spread = np.sqrt(aa * bb)
    enough = (freedom > 1) & (spread > 0)
    r = np.where(enough, ab / np.where(enough, spread, 1), np.nan)
    left = np.maximum(freedom - 1, 1)
    t = np.abs(r) * np.sqrt(left / np.maximum(1 - r**2, 1e-12))
    return {
        "n_teff": count,
        "teff_rv_correlation": r,
        "p_teff_rv": 2 * stdtr(left, -t),
        "p_teff_constant": p_value,
    }
