"""Spectra of faint stars that moonlight has got into: the Sun at the Moon's velocity.

Moonlight that the sky subtraction left behind is a solar spectrum. In the observatory's
frame it moves as the path from the Sun over the Moon to the observatory grows, within
some 1.5 km/s of zero; in a barycentric velocity, ``rv_obs`` composed with ``bary_corr``,
it stands near ``bary_corr``, which changes through the year by up to 60 km/s while the
star stays. So a component at the Moon's velocity in one night may be a star, and one that
follows it through several nights is not.

A visit is moonlit if the Moon shines and

- its velocity is the Moon's, and not that of the star's other visits, or
- its spectrum is double-lined, and one of the two velocities is the Moon's.

Approximations: BJD stands for UTC (at most 10 minutes off: 20 m/s by the Earth's
rotation); an unknown observatory is put on the pole, where nothing rotates (0.46 km/s at
most); whether the Moon was above the horizon is not asked, only how much of it was lit;
its velocity is that of its center; what convection and gravity do to sunlight against the
templates (some 0.3 km/s) is not taken off. Relative velocities have zeros of their own
and cannot be judged.
"""

__all__ = ["MoonlightOptions", "moonlight_velocity", "moonlit_visits"]

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from astropy import units
from astropy.coordinates import get_body_barycentric_posvel
from astropy.time import Time
from numpy.typing import NDArray

from steadystar.calibrate.sunlight import sunlight
from steadystar.calibrate.visitsums import Vector
from steadystar.data.constants import C_KMS
from steadystar.infer.star_visits import count_nights, groups_of
from steadystar.survey.observatory import SITES, Site, barycentric

_MJD0 = 2_400_000.5
_POLE = Site(0.0, 90.0, 0.0)
_FEWEST = 3
"""Visits among which one can stand apart from the others."""


@dataclass(frozen=True)
class MoonlightOptions:
    """When a spectrum counts as moonlit."""

    within: Annotated[
        float, "How near the Moon's velocity, km/s, besides three errors."
    ] = 1.5
    apart: Annotated[
        float,
        "How far from the star's other visits, in units of errors and scatter together.",
    ] = 6.0
    lit: Annotated[float, "The least part of the Moon's disk that is lit, 0 to 1."] = (
        0.3
    )

    def __post_init__(self) -> None:
        if not (self.within >= 0 and self.apart > 0 and 0 <= self.lit <= 1):
            raise ValueError(
                f"Moonlight within {self.within} km/s, {self.apart} errors apart and "
                f"with {self.lit} of the Moon lit is never found: give no negative "
                "numbers, and a part between 0 and 1."
            )


def moonlight_velocity(table: pl.DataFrame) -> tuple[Vector, Vector]:
    """Return the barycentric velocity of moonlight (km/s) and how much of the Moon is lit.

    Arguments:
        table: visits with ``bjd`` and ``bary_corr``, or, without it, ``ra, dec`` and a
            ``telescope`` whose place is known.

    Returns:
        Two arrays ``(visit,)``; NaN where the time or the correction is not known.
    """
    bjd = _numbers(table, "bjd")
    mjd = np.where(np.isfinite(bjd), bjd - _MJD0, np.nan)
    # Beyond these years there is no ephemeris.
    mjd = np.where((mjd > 36_934) & (mjd < 88_068), mjd, np.nan)
    telescope = (
        table["telescope"].cast(pl.String).fill_null("").to_numpy()
        if "telescope" in table.columns
        else np.full(len(table), "")
    )
    correction = _numbers(table, "bary_corr")
    rate, lit = np.full((2, len(table)), np.nan)
    for name in np.unique(telescope):
        site = next((s for key, s in SITES.items() if name.startswith(key)), None)
        here = np.flatnonzero((telescope == name) & np.isfinite(mjd))
        if not len(here):
            continue
        times, which = np.unique(mjd[here], return_inverse=True)
        rate[here] = sunlight(times, site or _POLE, "moon")[which]
        lit[here] = _lit(times)[which]
        unknown = here[np.isnan(correction[here])]
        if site is not None and len(unknown):
            ra, dec = (_numbers(table, n)[unknown] for n in ("ra", "dec"))
            correction[unknown] = barycentric(mjd[unknown], ra, dec, site)[1]
    both = (1 + rate / C_KMS) * (1 + correction / C_KMS) - 1
    return C_KMS * both, lit


def moonlit_visits(
    table: pl.DataFrame, options: MoonlightOptions
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which visits are moonlit, and which stars for that reason look double.

    Arguments:
        table: of `usable_visits`.
        options: how near, how far apart.

    Returns:
        ``(visit,)`` and ``(star,)``, the latter by the number in ``star``: stars with
        double-lined spectra in two nights or more, all of which show the Moon.
    """
    rv, err, rv_2, err_2 = (
        table[n].to_numpy() for n in ("rv", "rv_err", "rv_2", "rv_2_err")
    )
    err = np.hypot(err, table["rv_common_err"].to_numpy())
    err_2 = np.where(np.isfinite(err_2), err_2, err)
    double = table["double_lined"].to_numpy()
    star = table["star"].to_numpy()
    stars = int(star.max(initial=-1)) + 1
    absolute = np.ones(len(table), bool)
    if "reference_visit_id" in table.columns:
        absolute = table["reference_visit_id"].is_null().to_numpy()
    asked = np.flatnonzero(absolute & (double | _apart(table, options.apart)))
    lit_by = np.zeros(len(table), bool)
    if len(asked):
        velocity, lit = moonlight_velocity(table[asked])
        near = np.abs(rv[asked] - velocity) < options.within + 3 * err[asked]
        near_2 = np.abs(rv_2[asked] - velocity) < options.within + 3 * err_2[asked]
        lit_by[asked] = (near | (double[asked] & near_2)) & (lit >= options.lit)
    seen = np.bincount(star[double], minlength=stars)
    explained = np.bincount(star[double & lit_by], minlength=stars)
    several = count_nights(table.filter(pl.Series(double)), stars) > 1
    return lit_by, (seen > 0) & (seen == explained) & several


def _apart(table: pl.DataFrame, sigmas: float) -> NDArray[np.bool_]:
    """Return which visits stand apart from the star's others, ``(visit,)``."""
    star = table["star"].to_numpy()
    groups = groups_of(table, int(star.max(initial=-1)) + 1)
    away = np.abs(
        table["rv"].to_numpy() - groups.medians(table["rv"].to_numpy())[groups.zero]
    )
    width = 1.4826 * groups.medians(away)[groups.zero]
    many = groups.n_of_zero[groups.zero] >= _FEWEST
    return many & (away > sigmas * np.hypot(width, table["rv_err"].to_numpy()))


def _lit(mjd: Vector) -> Vector:
    """Return the lit part of the Moon's disk, ``(n,)``."""
    time = Time(mjd, format="mjd", scale="tdb")
    earth, moon, sun = (
        _kilometers(get_body_barycentric_posvel(name, time, ephemeris="builtin")[0])
        for name in ("earth", "moon", "sun")
    )
    to_moon, to_sun = moon - earth, sun - earth
    cosine = np.sum(to_moon * to_sun, axis=0) / (
        np.linalg.norm(to_moon, axis=0) * np.linalg.norm(to_sun, axis=0)
    )
    return (1 - cosine) / 2


def _kilometers(position):
    """Return a barycentric position, ``(3, n)``."""
    return position.xyz.to_value(units.km)


def _numbers(table: pl.DataFrame, name: str) -> Vector:
    if name not in table.columns:
        return np.full(len(table), np.nan)
    column = table[name].cast(pl.Float64, strict=False)
    return column.fill_null(float("nan")).to_numpy().copy()
