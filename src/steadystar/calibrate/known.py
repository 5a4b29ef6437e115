"""Zero points from spectra whose velocity is known: twilight, the Moon, standards.

A fiber that points at the twilight sky, or at a standard, tells its own zero point and
that of the night, whichever stars it sees afterwards. `zeropoints_from_known` turns such
spectra into `ZeroPoints`, the same value that `fit_zeropoints` gives, whose ``apply``
corrects every spectrum of that fiber and night.

**What is compared.** A velocity of the table, ``rv_raw`` unless told otherwise, with the
known one, in the same frame. For standards both are barycentric. Sunlight is another
matter: where a survey adds the barycentric correction of the place in the sky at which
the fiber pointed, ``rv_raw`` means nothing. Use ``velocity="rv_obs"``, the velocity in
the observatory's frame, and the Sun's own velocity relative to the observatory, which
`sunlight` computes for the sky and for the Moon.

That velocity is one of motion. Sunlight is redshifted by 633 m/s besides as it leaves the
Sun (G M / R c, with the nominal values of IAU 2015 resolution B3) and shifted to the blue
by some 0.3 km/s by its convection, differently from line to line: what is left of these
against the templates in use is the zero of the scale. Lists of standards whose zero was
set by sunlight (Chubak et al. 2012) contain it likewise.
"""

__all__ = ["sunlight", "zeropoints_from_known"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from astropy import units
from astropy.coordinates import EarthLocation, get_body_barycentric_posvel
from astropy.time import Time
from astropy.utils import iers
from numpy.typing import NDArray

from steadystar.calibrate.constancy import Classes, judge, updated_shares
from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.noise import Noise
from steadystar.calibrate.offsets import prior_widths
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.problem import families_of
from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    duplicates,
    of_leading_method,
    standard_visits,
)
from steadystar.calibrate.visitsums import Groups, Vector, distinct_stars, sums
from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.status import Status
from steadystar.survey.observatory import SITES, Site

_ROUNDS, _PRECISION = 100, 1e-3
_GM_SUN = 1.327_124_4e11  # km^3/s^2, nominal: IAU 2015 resolution B3


@dataclass(frozen=True)
class _Sample:
    """Spectra of known velocity; arrays ``(spectrum,)``."""

    residual: Vector
    error: Vector
    group: NDArray[np.intp]
    star: NDArray[np.intp]
    star_ids: pl.DataFrame


def zeropoints_from_known(
    visits: pl.DataFrame,
    known: pl.DataFrame,
    by: Sequence[str | Sequence[str]] = (("fiber", "night"),),
    velocity: Literal["rv_raw", "rv_obs"] = "rv_raw",
    min_visits: int = 2,
) -> ZeroPoints:
    """Take the zero point of every group from its spectra of known velocity.

    Arguments:
        visits: all visits, those of known velocity among them: ``star_id``, the columns
            of ``by``, ``rv_raw`` (or ``rv_obs``) and ``rv_raw_err``; km/s.
        known: ``star_id, rv`` and, if it is not zero, ``rv_err``; with a column
            ``visit_id`` the velocities are those of single visits, as sunlight's are.
        by: one family of offsets, the names of its columns.
        velocity: which velocity is compared with the known one.
        min_visits: groups with fewer spectra of known velocity stay UNCALIBRATED.

    Returns:
        Zero points of method "known", absolute: there is no gauge. The offset of a group
        is the mean of ``velocity - known``, weighted by the errors and by how probably
        the spectrum is no wild one; scale and floor of the errors are those that the
        scatter within all groups asks for (``errors``).

    Raises:
        CalibrationError: a column is missing, or no visit has a known velocity.
    """
    families = families_of(by)
    if len(families) > 1:
        raise CalibrationError(
            "Known velocities give one family of offsets at a time: join the columns, as "
            f"in by=[{tuple(dict.fromkeys(c for f in families for c in f))}]."
        )
    columns, table = next(iter(families)), _with_velocity(visits, velocity)
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise CalibrationError(
            f"The table has no column {', '.join(absent)}, by which zero points were "
            f"asked for: choose among {', '.join(sorted(table.columns)[:40])}."
        )
    group, groups = codes(table, columns)
    sample = _sample(table, known, group)
    noise, offset, variance, counts = _solve(sample, len(groups))
    number = np.bincount(sample.group, minlength=len(groups))
    few = number < max(min_visits, 1)
    offset = np.where(few, np.nan, offset)
    variance = np.where(few, np.nan, variance)
    lost = int(Status.UNCALIBRATED | Status.TOO_FEW_VISITS)
    seen = distinct_stars(sample.star, sample.group, len(groups))
    frame = groups.with_columns(
        offset=pl.Series(offset),
        offset_err=pl.Series(np.sqrt(variance)),
        n_visits=_whole(number),
        n_stars=_whole(seen),
        n_constant=_whole(seen),
        component=_whole(np.zeros(len(groups))),
        status=_whole(np.where(few, lost, 0)),
    )
    options = ZeroPointOptions(by=(columns,))
    name = "+".join(columns)
    widths = prior_widths({name: frame}, options)
    return ZeroPoints(
        by=(columns,),
        method="known",
        offsets={name: frame},
        stars=_stars(sample, counts),
        prior_widths=widths,
        errors=pl.DataFrame({"scale": noise.scale, "floor": noise.floor}),
        notes=_notes(name, sample, counts, few, min_visits, widths[name]),
        covariance=OffsetCovariance.diagonal(variance),
    )


def _with_velocity(visits: pl.DataFrame, velocity: str) -> pl.DataFrame:
    if velocity == "rv_obs":
        if "rv_obs" not in visits.columns:
            raise CalibrationError(
                "The table has no column rv_obs, the velocity in the observatory's "
                "frame: add it, or compare rv_raw."
            )
        visits = visits.with_columns(rv_raw=pl.col("rv_obs"))
    elif velocity != "rv_raw":
        raise CalibrationError(
            f"Known velocities are compared with rv_raw or rv_obs, not {velocity!r}."
        )
    return standard_visits(visits)


def _sample(table: pl.DataFrame, known: pl.DataFrame, group) -> _Sample:
    """Return the spectra whose velocity is known and whose group is."""
    keys = ["visit_id"] if "visit_id" in known.columns else ["star_id"]
    absent = [name for name in (*keys, "rv") if name not in known.columns]
    absent += [name for name in keys if name not in table.columns]
    if absent:
        raise CalibrationError(
            f"Known velocities need the columns star_id and rv (or visit_id and rv, in "
            f"both tables): {', '.join(absent)} is missing."
        )
    given = known.select(
        *(pl.col(name).cast(pl.String) for name in keys),
        pl.col("rv").cast(pl.Float64).alias("_rv"),
        (pl.col("rv_err") if "rv_err" in known.columns else pl.lit(0.0))
        .cast(pl.Float64)
        .fill_null(0.0)
        .fill_nan(0.0)
        .alias("_err"),
    )
    twice = given.filter(given.select(keys).is_duplicated())
    if len(twice):
        raise CalibrationError(
            f"The velocity of {twice[keys[0]][0]} is given {len(twice)} times among the "
            "known ones: give each once."
        )
    found = table.select(pl.col(name).cast(pl.String) for name in keys).join(
        given, on=keys, how="left", maintain_order="left"
    )
    leading = table.with_row_index("_row")
    led = np.zeros(len(table), bool)
    led[of_leading_method(leading)["_row"].to_numpy()] = True
    theirs = found["_rv"].fill_null(np.nan).to_numpy()
    rv, err = table["rv_raw"].to_numpy(), table["rv_raw_err"].to_numpy()
    flags = int(STAYS_OUT | Status.DUPLICATE)
    good = np.isfinite(rv) & np.isfinite(theirs) & np.isfinite(err) & (err > 0)
    good &= (group >= 0) & led & ((table["status"].to_numpy() & flags) == 0)
    good &= ~duplicates(table)
    star, star_ids = codes(table, ["star_id"])
    good &= star >= 0
    if not good.any():
        raise CalibrationError(
            f"None of the {len(table)} visits has a usable velocity, an error and a known "
            f"velocity: check that {keys[0]} is spelled in the same way in both tables."
        )
    error = np.hypot(err, found["_err"].fill_null(0.0).to_numpy())
    return _Sample((rv - theirs)[good], error[good], group[good], star[good], star_ids)


def _solve(sample: _Sample, size: int):
    """Return noise, offsets, their variances, and how far each spectrum counts.

    As in `errorfit`, but that the velocities which a group shares are its offset, and no
    group varies.
    """
    groups = Groups.of_stars(np.append(sample.group, size - 1))
    groups = Groups(sample.group, groups.star_of_zero, size)
    rv, err = sample.residual, sample.error
    free = groups.n_of_zero[groups.zero] > 1
    rest = np.abs(rv - groups.medians(rv)[groups.zero])[free]
    typical = float(np.median(err))
    scatter = 1.4826 * float(np.median(rest)) if free.any() else 0.0
    noise = Noise.starting(1, float(np.sqrt(max(scatter**2 - typical**2, 1e-6))))
    classes = Classes(np.zeros(1), np.ones(1), wild_width=max(30.0, 30 * scatter))
    one = np.zeros(len(rv), np.intp)
    mean: Vector | None = None
    counts = np.ones(len(rv))
    for _ in range(_ROUNDS):
        verdicts = judge(rv, noise.variance(err, one), groups, classes, mean)
        mean = verdicts.mean
        classes = updated_shares(classes, verdicts, groups)
        counts = 1 - verdicts.wild
        if free.sum() < 3:
            break
        square = (rv - mean[groups.zero]) ** 2 + verdicts.mean_var[groups.zero]
        was = noise
        noise, _ = noise.improved(err, one, square, np.where(free, counts, 0.0), np.inf)
        moved = abs(noise.floor[0] - was.floor[0]) / typical
        if max(moved, abs(noise.scale[0] - was.scale[0])) < _PRECISION:
            break
    weight = counts / noise.variance(err, one)
    total = np.maximum(sums(sample.group, weight, size), 1e-300)
    return noise, sums(sample.group, weight * rv, size) / total, 1 / total, counts


def _whole(values: NDArray) -> pl.Series:
    return pl.Series(values.astype(np.int64), dtype=pl.Int64)


def _stars(sample: _Sample, counts: Vector) -> pl.DataFrame:
    here, n = np.unique(sample.star, return_counts=True)
    nan = np.full(len(here), np.nan)
    ids = sample.star_ids["star_id"][here]
    return pl.DataFrame(
        {"star_id": ids, "n_visits": _whole(n), "p_constant": nan}
    ).with_columns(constant=pl.lit(value=True))


def _notes(name: str, sample: _Sample, counts, few, least: int, width: float):
    sources, count = len(np.unique(sample.star)), len(sample.residual)
    notes = [f"{count} spectra of {sources} known sources give {name} its zero points."]
    wild = int(np.sum(counts < 0.5))
    if wild:
        notes.append(
            f"{wild} of them are far from the others of their group, and weigh nothing."
        )
    if few.any():
        notes.append(
            f"{int(few.sum())} of {len(few)} offsets of {name} have fewer than {least} "
            f"spectra of known velocity: their visits are UNCALIBRATED, with {width:.2f} "
            "km/s in correction_err."
        )
    return notes


def sunlight(
    mjd_utc: Numbers, site: Site | str, via: Literal["sky", "moon"] = "sky"
) -> NDArray[np.float64]:
    """Return the velocity of reflected sunlight relative to an observatory, km/s, ``(n,)``.

    Positive when its path grows longer: that from the Sun to the observatory for the
    bright sky (twilight, day), that from the Sun to the Moon and on to the observatory for
    moonlight. From astropy's built-in ephemerides, without a network: the velocity is
    right to 2 m/s (terms of order v^2/c are left out), the Moon's, of its center, to
    5 m/s of its rotation besides.

    Arguments:
        mjd_utc: middle of the exposure, modified Julian date UTC (not at the barycenter).
        site: an observatory, or the name of one in `survey.observatory.SITES`.
        via: what sends the light.

    Raises:
        CalibrationError: an unknown site or way.
    """
    if isinstance(site, str):
        if site not in SITES:
            raise CalibrationError(
                f"There is no site {site!r}: choose among {', '.join(SITES)}, or give a "
                "Site with longitude, latitude and height."
            )
        site = SITES[site]
    if via not in ("sky", "moon"):
        raise CalibrationError(f"Sunlight comes via 'sky' or 'moon', not {via!r}.")
    mjd = np.atleast_1d(np.asarray(mjd_utc, np.float64))
    good = np.isfinite(mjd)
    with (
        iers.conf.set_temp("auto_download", value=False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        time = Time(np.where(good, mjd, 51_544.5), format="mjd", scale="utc")
        place = EarthLocation.from_geodetic(
            site.longitude * units.deg, site.latitude * units.deg, site.height * units.m
        )
        observer = _plus(_body("earth", time), _numbers(place.get_gcrs_posvel(time)))
    sun = _body("sun", time)
    speed2 = np.sum((observer[1] - sun[1]) ** 2, axis=0)
    potential = _GM_SUN / np.linalg.norm(observer[0] - sun[0], axis=0)
    clock = (potential + speed2 / 2) / C_KMS
    if via == "sky":
        rate = _growth(sun, observer)
    else:
        moon = _body("moon", time)
        rate = _growth(sun, moon) + _growth(moon, observer)
    return np.where(good, rate - clock, np.nan)


def _body(name: str, time: Time):
    return _numbers(get_body_barycentric_posvel(name, time, ephemeris="builtin"))


def _numbers(posvel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return position (km) and velocity (km/s), both ``(3, n)``."""
    position, velocity = posvel
    return (
        position.xyz.to_value(units.km),
        velocity.xyz.to_value(units.km / units.s),
    )


def _plus(one, other):
    return one[0] + other[0], one[1] + other[1]


def _growth(source, target) -> NDArray[np.float64]:
    """Rate at which the distance of two bodies grows, km/s."""
    away, motion = target[0] - source[0], target[1] - source[1]
    return np.sum(away * motion, axis=0) / np.linalg.norm(away, axis=0)
