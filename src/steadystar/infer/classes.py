"""What kind of variable a star is, and on what evidence.

One class a star, the first that fits:

    double-lined binary   lines of two stars in several visits that moonlight does not explain
    likely pulsator       the velocity varies, and the temperature goes with it
    single-lined binary   the velocity varies and has an orbit, or a period
    variable              the velocity varies; no orbit or period was found, or asked for
    constant              more probably constant than not, and not found to vary
    uncertain             the rest: too few visits, or errors too large to say

A temperature goes with the velocity if their correlation is significant (``pulsator_p``),
or if the temperature varies significantly and there is some correlation (p < 0.05). One
that merely scatters, because its errors are too small or a spectrum is bad, makes no
pulsator.

A star whose companion must be massive, and yet is not seen, may have a neutron star or a
black hole beside it (or a close pair of stars, or light that was overlooked): these are
marked as candidates.
"""

__all__ = ["CLASSES", "ClassOptions", "classify_stars"]

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data import schema
from steadystar.infer.orbit_masses import companion_mass
from steadystar.survey.columns import numbers

CLASSES = (
    "double-lined binary",
    "likely pulsator",
    "single-lined binary",
    "variable",
    "constant",
    "uncertain",
)
"""Every class, in the order in which they are asked for."""


@dataclass(frozen=True)
class ClassOptions:
    """What makes a star a binary, a pulsator, or a massive companion's host."""

    double_lined_visits: Annotated[
        int, "Visits with lines of two stars that make a double-lined binary."
    ] = 2
    pulsator_p: Annotated[
        float,
        "Chance of the temperature's correlation with velocity below which a variable star "
        "is a likely pulsator; where that of a constant temperature is below it, 0.05 do.",
    ] = 1e-3
    period_fap: Annotated[
        float, "False-alarm probability below which a period counts, without an orbit."
    ] = 1e-3
    massive: Annotated[
        float, "Mass of an unseen companion beyond which it is listed, solar masses."
    ] = 1.0

    def __post_init__(self) -> None:
        for name in ("pulsator_p", "period_fap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is no probability: give a number "
                    "between 0 and 1."
                )
        if self.double_lined_visits < 1 or not self.massive > 0:
            raise ValueError(
                f"double_lined_visits = {self.double_lined_visits} and massive = "
                f"{self.massive}: give at least one visit and a positive mass."
            )


_DEFAULT = ClassOptions()
_SOME_CORRELATION = 0.05
"""Chance of the correlation that is low enough if the temperature surely varies."""
_SAME_PERIOD, _ERRORS = 0.01, 3.0
"""How near a peak's period and an orbit's are to be one: a part of it, or errors."""


def classify_stars(
    variables: pl.DataFrame,
    periods: pl.DataFrame | None = None,
    orbits: pl.DataFrame | None = None,
    options: ClassOptions = _DEFAULT,
) -> pl.DataFrame:
    """Return ``variables`` with period, masses, class and evidence filled in.

    Arguments:
        variables: schema "variables", one row a star.
        periods: schema "periods"; the peak of rank 1 is taken.
        orbits: schema "orbits"; those whose ``orbit_status`` is "good" count. A column
            ``mass`` (solar masses, of the star that is seen) makes ``m2_min`` of the
            mass function where the orbit has none.
        options: what makes a class.

    Fills ``period, period_err, period_fap, mass_function, m2_min, class, evidence,
    massive_companion``. A good orbit gives ``period`` and its error, half of its 68%
    interval; ``period_fap`` stays if the highest peak is at that period (within 1% or
    three errors of both together), else it is NaN. A companion counts as massive if its least mass, or where no
    star's mass is given the mass function itself, which it exceeds, is beyond the
    limit at its lower error (16%), and beyond the star's own mass where that is known:
    it would be seen.
    """
    table = _with_orbits(_with_periods(variables, periods), orbits)
    flags = _flags(table, options)
    which = np.select([flags[name] for name in CLASSES[:-1]], range(5), 5)
    least = table["_least"].to_numpy()
    own = np.nan_to_num(table["_mass"].to_numpy(), nan=0.0)
    alone = (which == 1) | (which == 2)
    massive = alone & (np.nan_to_num(least) > np.maximum(options.massive, own))
    out = table.with_columns(
        pl.Series("class", [CLASSES[k] for k in which], dtype=pl.String),
        massive_companion=pl.Series(massive),
    )
    evidence = [_evidence(row, options) for row in out.iter_rows(named=True)]
    out = out.with_columns(evidence=pl.Series(evidence, dtype=pl.String))
    return schema.conform(
        out.drop("_orbit", "_mass", "_periodic", "_least"),
        "variables",
        keep_dtype=("star_id",),
    )


def _with_periods(table: pl.DataFrame, periods: pl.DataFrame | None) -> pl.DataFrame:
    if periods is None:
        return table
    first = periods.filter(pl.col("rank") == 1).unique("star_id", keep="first")
    first = first.select(
        "star_id", "period", "period_err", period_fap=pl.col("fap").cast(pl.Float64)
    )
    return _replaced(table, first)


def _with_orbits(table: pl.DataFrame, orbits: pl.DataFrame | None) -> pl.DataFrame:
    periodic = pl.col("period_fap")
    if orbits is None:
        return table.with_columns(
            _orbit=pl.lit(value=False),
            _mass=pl.lit(float("nan")),
            _least=pl.lit(float("nan")),
            _periodic=periodic,
        )
    good = _masses(orbits.filter(pl.col("orbit_status") == "good"))
    out = _replaced(table, good).with_columns(
        pl.col("_orbit").fill_null(value=False), pl.col("_mass").fill_null(float("nan"))
    )
    orbit, (peak, err) = pl.col("_orbit"), (pl.col("period"), pl.col("period_err"))
    error = (err.fill_nan(0.0) ** 2 + pl.col("_period_err").fill_nan(0.0) ** 2).sqrt()
    near = (pl.col("_period") - peak).abs() <= pl.max_horizontal(
        _SAME_PERIOD * pl.col("_period"), _ERRORS * error
    )
    period = pl.when(orbit).then("_period").otherwise(peak)
    period_err = pl.when(orbit).then("_period_err").otherwise(err)
    fap = pl.when(~orbit | near).then(periodic).otherwise(float("nan"))
    return out.with_columns(
        period=period, period_err=period_err, period_fap=fap, _periodic=periodic
    ).drop("_period", "_period_err")


def _masses(orbits: pl.DataFrame) -> pl.DataFrame:
    """Return period and masses of good orbits; ``_least``: at the lower limit."""
    orbits = orbits.unique("star_id", keep="first", maintain_order=True)
    function, low, given, given_low, mass = (
        numbers(orbits, name)
        for name in (
            "mass_function",
            "mass_function_low",
            "m2_min",
            "m2_min_low",
            "mass",
        )
    )
    low = np.where(np.isfinite(low), low, function)
    known = (mass > 0) & (function > 0)
    early, late = (numbers(orbits, f"period_{end}") for end in ("low", "high"))
    own, least = given.copy(), np.where(np.isfinite(given_low), given_low, given)
    own[known] = np.where(
        np.isfinite(given[known]),
        given[known],
        companion_mass(function[known], mass[known]),
    )
    least[known] = companion_mass(np.maximum(low[known], 0.0), mass[known])
    return orbits.select(
        "star_id",
        "mass_function",
        m2_min=pl.Series(own),
        _least=pl.Series(np.where(np.isfinite(least), least, low)),
        _period=pl.col("period"),
        _period_err=pl.Series((late - early) / 2),
        _mass=pl.Series(mass),
        _orbit=pl.lit(value=True),
    )


def _replaced(table: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """Return ``table`` with the columns of ``given``, by star, NaN where it has none."""
    names = [n for n in given.columns if n != "star_id"]
    out = table.drop(names, strict=False)
    given = given.with_columns(pl.col("star_id").cast(table["star_id"].dtype))
    out = out.join(given, on="star_id", how="left", maintain_order="left")
    return out.with_columns(
        pl.col(n).fill_null(float("nan")) for n in names if out[n].dtype.is_float()
    )


def _flags(table: pl.DataFrame, options: ClassOptions) -> dict[str, NDArray]:
    """Return by class whether each star fits it, were it not for the ones before."""
    variable = table["variable"].to_numpy()
    double = table["double_lined"].to_numpy()
    double = double & (
        table["n_double_lined"].to_numpy() >= options.double_lined_visits
    )
    together = table["p_teff_rv"].to_numpy()
    teff = table["p_teff_constant"].to_numpy() < options.pulsator_p
    teff = teff & (together < _SOME_CORRELATION)
    teff = teff | (together < options.pulsator_p)
    periodic = table["_periodic"].to_numpy() < options.period_fap
    return {
        "double-lined binary": double,
        "likely pulsator": variable & teff,
        "single-lined binary": variable & (table["_orbit"].to_numpy() | periodic),
        "variable": variable,
        "constant": table["constant"].to_numpy(),
        "uncertain": np.ones(len(table), bool),
    }


def _evidence(row: dict, options: ClassOptions) -> str:
    """Return why the star is in its class, and what else is known, in words."""
    n = row["n_visits"]
    parts = []
    if row["n_double_lined"]:
        few = row["n_double_lined"] < options.double_lined_visits
        also = "only " if few and row["class"] != "double-lined binary" else ""
        parts.append(f"lines of two stars in {also}{_visits(row['n_double_lined'])}")
    elif row["double_lined"]:
        parts.append("lines of two stars in a spectrum that cannot be used otherwise")
    if row["n_moonlight"]:
        parts.append(f"moonlight in {_visits(row['n_moonlight'])}")
    if n == 0:
        return (
            "; ".join([*parts, "no other visit can be used"])
            if parts
            else ("no visit can be used")
        )
    if not row["dof"]:
        return "; ".join([*parts, f"{_visits(n)}: nothing to compare"])
    parts.append(
        f"chi2 {row['chi2']:.1f} for {row['dof']} degrees of freedom (p "
        f"{_chance(row['p_value'])}, q {_chance(row['q_value'])})"
    )
    if row["variable"]:
        parts.append(
            f"scatter beyond the errors {row['rv_intrinsic']:.2g} km/s "
            f"({row['rv_intrinsic_low']:.2g} to {row['rv_intrinsic_high']:.2g})"
        )
    elif row["constant"]:
        parts.append(f"constant with probability {row['p_constant']:.2f}")
    if row["class"] == "likely pulsator":
        parts.append(
            f"temperature constant with p {row['p_teff_constant']:.2g}, correlation with "
            f"velocity {row['teff_rv_correlation']:.2f} (p {row['p_teff_rv']:.2g})"
        )
    if row["_orbit"]:
        parts.append(f"orbit of {row['period']:.4g} d")
    elif np.isfinite(row["period"]) and row["variable"]:
        parts.append(
            f"period {row['period']:.4g} d, false alarm {row['period_fap']:.2g}"
        )
    if row["massive_companion"]:
        parts.append(_companion(row))
    return "; ".join(parts)


def _companion(row: dict) -> str:
    if np.isfinite(row["m2_min"]):
        return f"unseen companion of at least {row['m2_min']:.2f} solar masses"
    return f"mass function {row['mass_function']:.2f} solar masses"


def _chance(p: float) -> str:
    return f"{p:.2g}" if p > 0 else "< 1e-300"


def _visits(count: int) -> str:
    return f"{count} visit" if count == 1 else f"{count} visits"
