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
`sunlight.sunlight` computes for the sky and for the Moon.

A standard's own error is common to all its spectra. Within a group they are weighed so
(generalized least squares), and groups that saw the same standard err together, which the
covariance says.
"""

__all__ = ["zeropoints_from_known"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from steadystar.calibrate.constancy import Classes, judge, updated_shares
from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.covariance import DENSE_LIMIT, OffsetCovariance
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
from steadystar.data.status import Status

_ROUNDS, _PRECISION = 100, 1e-3


@dataclass(frozen=True)
class _Sample:
    """Spectra of known velocity; arrays ``(spectrum,)``.

    ``known_error`` is that of the known velocity; spectra of one ``source`` share it.
    """

    residual: Vector
    error: Vector
    known_error: Vector
    source: NDArray[np.intp]
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
    columns, table = _family(by), _with_velocity(visits, velocity)
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise CalibrationError(
            f"The table has no column {', '.join(absent)}, by which zero points were "
            f"asked for: choose among {', '.join(sorted(table.columns)[:40])}."
        )
    group, groups = codes(table, columns)
    sample = _sample(table, known, group)
    found = _solve(sample, len(groups))
    number = np.bincount(sample.group, minlength=len(groups))
    few = number < max(min_visits, 1)
    covariance = _covariance(sample, found, few)
    lost = int(Status.UNCALIBRATED | Status.TOO_FEW_VISITS)
    seen = distinct_stars(sample.star, sample.group, len(groups))
    frame = groups.with_columns(
        offset=pl.Series(np.where(few, np.nan, found.offset)),
        offset_err=pl.Series(np.sqrt(covariance.variances())),
        n_visits=_whole(number),
        n_stars=_whole(seen),
        n_constant=_whole(seen),
        component=_whole(np.zeros(len(groups))),
        status=_whole(np.where(few, lost, 0)),
    )
    name = "+".join(columns)
    widths = prior_widths({name: frame}, ZeroPointOptions(by=(columns,)))
    noise = found.noise
    return ZeroPoints(
        by=(columns,),
        method="known",
        offsets={name: frame},
        stars=_stars(sample),
        prior_widths=widths,
        errors=pl.DataFrame({"scale": noise.scale, "floor": noise.floor}),
        notes=_notes(name, sample, found.counts, few, min_visits, widths[name]),
        covariance=covariance,
    )


def _family(by: Sequence[str | Sequence[str]]) -> tuple[str, ...]:
    families = families_of(by)
    if len(families) > 1:
        raise CalibrationError(
            "Known velocities give one family of offsets at a time: join the columns, as "
            f"in by=[{tuple(dict.fromkeys(c for f in families for c in f))}]."
        )
    return next(iter(families))


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
    source = np.arange(len(table)) if keys == ["visit_id"] else star
    return _Sample(
        residual=(rv - theirs)[good],
        error=err[good],
        known_error=found["_err"].fill_null(0.0).to_numpy()[good],
        source=np.unique(source[good], return_inverse=True)[1],
        group=group[good],
        star=star[good],
        star_ids=star_ids,
    )


@dataclass(frozen=True)
class _Solved:
    """``offset, variance`` (group,); ``share`` (spectrum,) of each in its offset.

    ``counts`` (spectrum,): how far each is no wild one.
    """

    noise: Noise
    offset: Vector
    variance: Vector
    share: Vector
    counts: Vector


def _solve(sample: _Sample, size: int) -> _Solved:
    """Return offsets, the noise, and how far each spectrum counts.

    As in `errorfit`, but that the velocities which a group shares are its offset, and no
    group varies.
    """
    groups = Groups(sample.group, np.arange(size), size)
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
        variance = noise.variance(err, one)
        verdicts = judge(rv, variance + sample.known_error**2, groups, classes, mean)
        mean = verdicts.mean
        classes = updated_shares(classes, verdicts, groups)
        counts = 1 - verdicts.wild
        if free.sum() < 3:
            break
        square = _squares(sample, variance, counts, size)
        was = noise
        noise, _ = noise.improved(err, one, square, np.where(free, counts, 0.0), np.inf)
        moved = abs(noise.floor[0] - was.floor[0]) / typical
        if max(moved, abs(noise.scale[0] - was.scale[0])) < _PRECISION:
            break
    share, variance = _shares(sample, noise.variance(err, one), counts, size)
    offset = sums(sample.group, share * rv, size)
    return _Solved(noise, offset, variance, share, counts)


def _shares(sample: _Sample, variance: Vector, counts: Vector, size: int):
    """Return the share of each spectrum in its group's offset, and the offset's variance.

    The spectra of one source, of precision ``P`` together, tell the offset to ``1/P`` plus
    the variance of the known velocity, however many they are.
    """
    weight = counts / variance
    pair, place = _pairs(sample)
    together = sums(place, weight, len(pair))[place]
    weight = weight / (1 + sample.known_error**2 * together)
    total = np.maximum(sums(sample.group, weight, size), 1e-300)
    return weight / total[sample.group], 1 / total


def _pairs(sample: _Sample):
    """Number the pairs of a group and a source; return their keys, and each spectrum's."""
    key = sample.group * (int(sample.source.max()) + 1) + sample.source
    return np.unique(key, return_inverse=True)


def _squares(sample: _Sample, variance: Vector, counts: Vector, size: int) -> Vector:
    """Return squares of residuals whose expectation is the noise, ``(spectrum,)``.

    What the offset took of the noise is given back, and what the errors of the known
    velocities add is taken off.
    """
    group = sample.group
    share, _ = _shares(sample, variance, counts, size)
    rest = sample.residual - sums(group, share * sample.residual, size)[group]
    pair, place = _pairs(sample)
    own = sums(place, share, len(pair))[place]
    given = sample.known_error**2
    # The source's own error, less what the offset follows of it, plus that of others.
    followed = sums(group, share**2 * variance + share * own * given, size)[group]
    return rest**2 + 2 * (share * variance + own * given) - given - followed


def _covariance(
    sample: _Sample, found: _Solved, few: NDArray[np.bool_]
) -> OffsetCovariance:
    """Return the covariance of the offsets: groups that saw one standard err together.

    Sets of such groups that are too many for a dense matrix are taken as independent.
    """
    size = len(few)
    variance = np.where(few, np.nan, found.variance)
    doubtful = sample.known_error > 0
    scaled = (found.share * sample.known_error)[doubtful]
    group, source = sample.group[doubtful], sample.source[doubtful]
    n_sources = int(sample.source.max()) + 1
    by_source = csr_array((scaled, (group, source)), shape=(size, n_sources))
    links = coo_array(
        (np.ones(len(group)), (group, size + source)), shape=(size + n_sources,) * 2
    )
    label = connected_components(links, directed=False)[1][:size]
    out = OffsetCovariance(size)
    known = np.flatnonzero(~few)
    if not len(known):
        return out
    order = known[np.argsort(label[known], kind="stable")]
    for block in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        dense = len(block) <= DENSE_LIMIT
        for member in [block] if dense else np.split(block, len(block)):
            rows = by_source[member]
            matrix = (rows @ rows.T).toarray()
            np.fill_diagonal(matrix, variance[member])
            out.members.append(member)
            out.matrices.append(matrix)
            out.sampled.append(False)
    return out


def _whole(values: NDArray) -> pl.Series:
    return pl.Series(values.astype(np.int64), dtype=pl.Int64)


def _stars(sample: _Sample) -> pl.DataFrame:
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
