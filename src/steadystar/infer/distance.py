"""Distances from parallax, absolute magnitude and extinction (Xiang et al. 2021, sec. 7).

    p(d) ~ prior(d) N(parallax; 1000 pc/d, parallax_error) N(mu_1; 5 log10(d/10 pc), sigma)

with mu_1 = Ks - A_Ks - M_Ks. Where a star may be a pair, the last factor is a sum over how
much brighter than its one star it may be (`steadystar.infer.pair_mixture`); the paper
takes over-luminous stars by their parallax alone. The prior is flat in distance, as
published.

Galactic coordinates are Cartesian, x from the Galactic center away from us where the Sun
is, at (-8.2, 0, 0) kpc (Bland-Hawthorn & Gerhard 2016: 8.2 +- 0.1 kpc); y in the direction
of rotation, z to the north. As in the paper, the Sun is in the plane.
"""

__all__ = ["Distances", "estimate_distances", "infer_distances"]

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from steadystar.infer.distance_components import batches, densities, single_density
from steadystar.infer.distance_grid import (
    Peak,
    log_parallax,
    modulus_of,
    parallax_only,
    summary,
)
from steadystar.infer.distance_inputs import Measured, measured, numbers
from steadystar.infer.distance_options import DistanceOptions
from steadystar.infer.overluminous import flag_of, learn_pairs, parallax_excess
from steadystar.infer.pair_mixture import FARTHEST_ZERO, Mixture, shares_of

Vector = NDArray[np.float64]

RESULTS = (
    *("dis", "dis_low", "dis_high", "logdis", "logdis_err"),
    *("snr_dparallax", "binary_flag", "p_binary", "x", "y", "z", "distance_status"),
)
"""Columns that are added to a table, in order."""

_POINTS = 256
_SHIFTED, _ODD, _MANY = 0.03, 0.1, 100
_LEANS = 0.01
"""A posterior with more beyond half of the largest distance depends on that limit."""
_ONLY = {
    "pair": "Over-luminous: distance from the parallax alone.",
    "far": "The parallax hardly limits the distance: it depends on max_distance.",
    "neither": "Magnitude and parallax agree neither for a single star nor for a pair.",
}


@dataclass(frozen=True, eq=False)
class Distances:
    """The table with its distances, how common pairs are, and sentences for people.

    ``data``: what the table said; ``sun_x``: where the Sun is, kpc.
    """

    table: pl.DataFrame
    mixture: Mixture
    data: Measured
    sun_x: float
    notes: tuple[str, ...]


def estimate_distances(
    table: pl.DataFrame, options: DistanceOptions | None = None
) -> pl.DataFrame:
    """Return ``table`` with distances and over-luminous pairs.

    Arguments:
        table: ``star_id``; ``m_ks, m_ks_err`` absolute magnitude and its total error,
            ``ks, ks_err``, ``ebv, ebv_err`` (mag); ``parallax, parallax_error`` (mas).
            Any may be missing in a row. Optional: ``parallax_offset`` (mas), which is
            subtracted; ``ra, dec`` (degrees).
        options: how; see `DistanceOptions`.

    Returns the rows of ``table`` in their order, with all its columns and

    - ``dis, dis_low, dis_high``: mode, 16th and 84th percentile of the posterior, pc;
    - ``logdis, logdis_err``: mean and standard deviation of log10(d/pc);
    - ``snr_dparallax, binary_flag, p_binary``: as `find_overluminous`; NaN, -1, NaN
      where there is no parallax or no magnitude;
    - ``x, y, z``: Galactic, kpc, of ``dis``; NaN without ``ra, dec``;
    - ``distance_status``: what is wrong or missing, in words; empty if nothing is.

    A column of the input that has one of these names is kept as ``NAME_original``.

    Raises:
        CatalogError: a column is missing, or holds no numbers.
    """
    return infer_distances(table, options).table


def infer_distances(
    table: pl.DataFrame, options: DistanceOptions | None = None
) -> Distances:
    """Do as `estimate_distances`, and return what was learned on the way."""
    options = options or DistanceOptions()
    data = measured(table, options)
    excess = parallax_excess(data)
    flag = flag_of(excess, options.flag_sigma)
    mixture = learn_pairs(data, table["star_id"], options)
    single = data.shifted(mixture.zero)
    made = {f.name: np.full(len(table), np.nan) for f in fields(Peak)}
    probability = np.full(len(table), np.nan)
    why = data.why_not.copy()
    alone = data.has_parallax & ~data.has_modulus
    if options.pairs == "published":
        alone |= flag == 1
        _say(why, flag == 1, _ONLY["pair"])
    for rows in batches(np.flatnonzero(data.has_modulus)):
        mu, log, likelihood = densities(single[rows], mixture, options.slope)
        shares = shares_of(likelihood, mixture)
        probability[rows] = shares[:, 1:-1].sum(axis=1)
        _say(why, rows[shares[:, -1] > 0.5], _ONLY["neither"])
        if options.pairs != "mixture":
            mu, log = single_density(data[rows], options.slope)
        _fill(made, rows, summary(mu, log))
    for rows in batches(np.flatnonzero(alone)):
        mu, log, leans = _by_parallax(data[rows], options)
        _fill(made, rows, summary(mu, log))
        _say(why, rows[leans], _ONLY["far"])
    probability[~np.isfinite(excess)] = np.nan
    place = _galactic(table, made["mode"], options.sun_x)
    values = [*made.values(), excess, flag, probability, *place]
    results = [pl.Series(n, v) for n, v in zip(RESULTS[:-1], values, strict=True)]
    results.append(pl.Series(RESULTS[-1], why.tolist(), dtype=pl.String))
    kept, renamed = _kept(table)
    notes = _notes(table, renamed, mixture, options)
    return Distances(kept.with_columns(results), mixture, data, options.sun_x, notes)


def _notes(
    table: pl.DataFrame,
    renamed: dict[str, str],
    mixture: Mixture,
    options: DistanceOptions,
) -> tuple[str, ...]:
    said = [
        f"Column {name} of the table is {other} here."
        for name, other in renamed.items()
    ]
    ids = table["star_id"].drop_nulls()
    if repeated := len(ids) - ids.n_unique():
        said.append(
            f"{repeated:,} rows repeat a star_id: each has its own distance, and the star "
            "counts once in the share of pairs."
        )
    if abs(mixture.zero) > _SHIFTED and mixture.n_stars >= _MANY:
        most = "at least " if abs(mixture.zero) > 0.95 * FARTHEST_ZERO else ""
        effect = " Distances allow for so much." if options.pairs == "mixture" else ""
        said.append(
            f"By the parallaxes, m_ks of single stars is too "
            f"{'faint' if mixture.zero > 0 else 'bright'} by {most}"
            f"{abs(mixture.zero):.3f} mag, or the parallaxes need a zero point.{effect}"
        )
    odd = float(mixture.weights[-1])
    if odd > _ODD and mixture.n_stars >= _MANY:
        said.append(
            f"{100 * odd:.0f}% of the stars are neither single nor pairs by their "
            "parallaxes: m_ks_err is too small, or m_ks is that of other kinds of stars."
        )
    return tuple(said)


def _by_parallax(data: Measured, options: DistanceOptions):
    """Return grid, ln of the posterior, and whether it leans on the largest distance."""
    ends = parallax_only(data.parallax, data.error, options.max_distance)
    mu = np.linspace(*ends, _POINTS, axis=1)
    log = log_parallax(mu, data.parallax, data.error) + options.slope * mu
    density = np.exp(log - log.max(axis=1, keepdims=True))
    half = modulus_of(np.array([2000 / options.max_distance]))[0]
    leans = (density * (mu > half)).sum(axis=1) > _LEANS * density.sum(axis=1)
    return mu, log, leans


def _fill(made: dict[str, Vector], rows: NDArray[np.int64], peak: Peak) -> None:
    for name, values in made.items():
        values[rows] = getattr(peak, name)


def _say(why: NDArray[np.object_], rows: NDArray, sentence: str) -> None:
    why[rows] = [f"{text} {sentence}".strip() for text in why[rows]]


def _galactic(
    table: pl.DataFrame, distance: Vector, sun_x: float
) -> tuple[Vector, Vector, Vector]:
    """Return x, y, z in kpc, NaN where position or distance are unknown."""
    nothing = np.full(len(table), np.nan)
    if not {"ra", "dec"} <= set(table.columns):
        return nothing, nothing, nothing
    ra, dec = numbers(table, "ra"), numbers(table, "dec")
    good = (np.abs(dec) <= 90) & (np.abs(ra) <= 360) & np.isfinite(distance)
    sky: Any = SkyCoord(ra[good], dec[good], unit="deg").galactic
    out = np.full((3, len(table)), np.nan)
    out[:, good] = sky.cartesian.xyz.value * distance[good] / 1000
    return out[0] + sun_x, out[1], out[2]


def _kept(table: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Put columns of the input aside whose names are those of results."""
    renamed = {}
    for name in table.columns:
        if name in RESULTS:
            renamed[name] = f"{name}_original"
            while renamed[name] in table.columns:
                renamed[name] += "_original"
    return table.rename(renamed), renamed
