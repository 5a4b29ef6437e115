"""Who varies, how, and on which orbit: the steps that runs and commands share.

Every star is judged; those that vary or show two stars are searched for periods, and
fitted with orbits where that is asked for; then every star gets its class, by all that
was found.
"""

__all__ = [
    "Judged",
    "Tasks",
    "describe_variables",
    "judge_stars",
    "variable_facts",
    "visit_temperatures",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from steadystar.calibrate.label_rows import trusted
from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data import schema
from steadystar.infer.classes import CLASSES, classify_stars
from steadystar.infer.moonlight import moonlit_visits
from steadystar.infer.orbit import fit_orbits
from steadystar.infer.orbit_masses import companion_mass, mass_function
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.periods import find_periods
from steadystar.infer.star_visits import usable_visits, without_visits
from steadystar.infer.variability import VariabilityOptions, find_variables

_NOTES = 20


@dataclass(frozen=True)
class Tasks:
    """What is to be done, and how.

    ``periods``, ``orbits``: None if none are wanted. ``stars``: whose; those that vary or
    show two stars if None. ``most_orbits``: of how many at most, the surest first.
    ``mass``: table ``star_id, mass`` (solar masses).
    """

    variables: VariabilityOptions = field(default_factory=VariabilityOptions)
    periods: PeriodOptions | None = field(default_factory=PeriodOptions)
    orbits: OrbitOptions | None = None
    stars: Sequence[Any] | None = None
    most_orbits: int | None = None
    mass: pl.DataFrame | None = None


@dataclass(frozen=True)
class Judged:
    """The tables of variables, periods, orbits and their samples, and sentences."""

    variables: pl.DataFrame
    periods: pl.DataFrame
    orbits: pl.DataFrame
    samples: pl.DataFrame
    notes: tuple[str, ...] = ()


def judge_stars(
    visits: pl.DataFrame,
    tasks: Tasks,
    *,
    zeropoints: ZeroPoints | None = None,
    labels: pl.DataFrame | None = None,
) -> Judged:
    """Judge every star of ``visits``, and look for periods and orbits of some.

    Arguments:
        visits: calibrated velocities of any survey.
        tasks: what to do.
        zeropoints: by which they were calibrated, where that is known.
        labels: schema "labels", of the same spectra.

    Raises:
        ValueError: a column is missing, or a star that was asked for has no visit.
    """
    temperatures = None if labels is None else visit_temperatures(visits, labels)
    judged = find_variables(
        visits, tasks.variables, zeropoints=zeropoints, labels=temperatures
    )
    periods, orbits, samples = (
        schema.empty(n) for n in ("periods", "orbits", "orbit-samples")
    )
    stars = list(_changing(judged) if tasks.stars is None else tasks.stars)
    notes = []
    wanted = tasks.periods is not None or tasks.orbits is not None
    if wanted and not _timed(visits):
        notes.append(
            "The table has no times of the visits as numbers (bjd, days): no period or orbit was "
            "looked for."
        )
    elif wanted and stars:
        visits, said = _without_moonlight(visits, judged, stars, tasks.variables)
        notes += said
        if tasks.periods is not None:
            periods = find_periods(visits, stars, tasks.periods)
        if tasks.orbits is not None:
            most = tasks.most_orbits
            if most is not None and len(stars) > most:
                notes.append(
                    f"Orbits were fitted for the {most} surest of {len(stars)} stars: "
                    "`steadystar orbits` fits all."
                )
            orbits, samples, said = _orbits(visits, stars[:most], tasks)
            notes += said
    judged = classify_stars(judged, periods, orbits, tasks.variables.classes)
    return Judged(judged, periods, orbits, samples, tuple(notes))


def _timed(visits: pl.DataFrame) -> bool:
    return "bjd" in visits.columns and bool(
        visits["bjd"].cast(pl.Float64, strict=False).is_finite().any()
    )


def _changing(judged: pl.DataFrame) -> list[Any]:
    """The stars that vary or show two stars, the surest first.

    Double-lined ones come before the others, by the number of such visits: they may have
    no other visits to differ, and their masses are to be had.
    """
    flags = [pl.col(n).fill_null(value=False) for n in ("variable", "double_lined")]
    found = judged.filter(flags[0] | flags[1])
    order = -pl.col("rv_max_difference_snr").abs().fill_nan(0.0).fill_null(0.0)
    double = pl.when(flags[1]).then(-pl.col("n_double_lined").fill_null(0)).otherwise(1)
    return found.sort(double, order, "star_id")["star_id"].to_list()


def _without_moonlight(
    visits: pl.DataFrame,
    judged: pl.DataFrame,
    stars: list[Any],
    options: VariabilityOptions,
) -> tuple[pl.DataFrame, list[str]]:
    """Flag the moonlit visits of ``stars``, which say nothing of them, and count them."""
    lit = pl.col("star_id").is_in(
        pl.Series(stars, dtype=judged["star_id"].dtype).implode()
    )
    lit = judged.filter(lit & (pl.col("n_moonlight") > 0))["star_id"]
    if options.use_moonlit or not len(lit):
        return visits, []
    table = usable_visits(visits)
    table = table.filter(pl.col("star_id").is_in(lit.implode()))
    moonlit, _ = moonlit_visits(table, options.moonlight)
    out = table.filter(pl.Series(moonlit))
    said = f"Moonlit visits left out of periods and orbits: {len(out)}, of stars: {len(lit)}."
    return without_visits(visits, out), [said]


def _orbits(
    visits: pl.DataFrame, stars: list[Any], tasks: Tasks
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    options = tasks.orbits or OrbitOptions()
    found = fit_orbits(visits, stars, options)
    notes = list(found.notes[:_NOTES])
    if more := len(found.notes) - len(notes):
        notes.append(f"There are {more} more notes on orbits.")
    orbits = _with_masses(found.orbits, found.samples, tasks.mass)
    return orbits, found.samples, notes


def _with_masses(
    orbits: pl.DataFrame, samples: pl.DataFrame, mass: pl.DataFrame | None
) -> pl.DataFrame:
    """Add the star's ``mass``, and the least mass of its companion with limits."""
    if mass is None:
        return orbits
    mass = mass.select(pl.col("star_id").cast(orbits["star_id"].dtype), "mass")
    orbits = orbits.drop("mass", strict=False).join(
        mass, "star_id", "left", maintain_order="left"
    )
    # The row of a star is that of the largest mode.
    largest = samples.filter(pl.col("mode") == 0)
    known = largest.join(mass, "star_id", "inner", maintain_order="left")
    known = known.filter(pl.col("mass") > 0)
    if not len(known):
        return orbits
    numbers = (known[n].to_numpy() for n in ("period", "k", "e"))
    least = companion_mass(mass_function(*numbers), known["mass"].to_numpy())
    limits = (
        known.select("star_id", m2=pl.Series(least))
        .group_by("star_id", maintain_order=True)
        .agg(
            pl.col("m2").median().alias("m2_min"),
            pl.col("m2").quantile(0.16, "linear").alias("m2_min_low"),
            pl.col("m2").quantile(0.84, "linear").alias("m2_min_high"),
        )
    )
    return orbits.update(limits, on="star_id", how="left")


def visit_temperatures(visits: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return ``visit_id, teff, teff_err`` of the visits whose spectra were fitted.

    A fit to all arms of an exposure at once goes to one visit of the exposure, that of
    the smallest error: counted once, it keeps its weight.
    """
    labels = labels.filter(pl.Series(trusted(labels, ["teff"])["teff"]))
    labels = labels.select(
        "visit_id", "star_id", "exposure_id", "arm", "teff", "teff_err"
    )
    named = labels.filter(pl.col("visit_id").is_in(visits["visit_id"].implode()))
    rest = labels.join(named, on="visit_id", how="anti").drop("visit_id", "arm")
    columns = ["visit_id", "teff", "teff_err"]
    if not len(rest) or "exposure_id" not in visits.columns:
        return named.select(columns)
    keys = ["star_id", "exposure_id"]
    best = (
        usable_visits(visits)
        .select("visit_id", "rv_err", *(pl.col(k).cast(pl.String) for k in keys))
        .sort("rv_err", "visit_id")
        .unique(keys, keep="first", maintain_order=True)
    )
    rest = rest.with_columns(pl.col(k).cast(pl.String) for k in keys)
    whole = rest.unique(keys, keep="first", maintain_order=True)
    found = best.join(whole, on=keys, how="inner", maintain_order="left")
    return pl.concat([named.select(columns), found.select(columns)])


def variable_facts(judged: Judged) -> dict[str, Any]:
    """Return what a person or a program wants to know first, for ``summary.json``."""
    table, orbits = judged.variables, judged.orbits
    counts = dict(table["class"].value_counts().iter_rows())
    known = orbits.filter(pl.col("n_samples") > 0)
    statuses = orbits["orbit_status"].value_counts(name="n")
    statuses = statuses.sort("n", "orbit_status", descending=[True, False])
    return {
        "judged_stars": int((table["dof"].fill_null(0) > 0).sum()),
        "classes": {name: counts[name] for name in CLASSES if name in counts},
        "moonlit_stars": int((table["n_moonlight"].fill_null(0) > 0).sum()),
        "stars_searched_for_periods": judged.periods["star_id"].n_unique(),
        "sure_periods": int(
            (judged.periods.filter(pl.col("rank") == 1)["fap"] < 0.001).sum()
        ),
        "orbits": len(known),
        "orbits_of_one_mode": int((known["n_modes"] == 1).sum()),
        "orbit_statuses": dict(statuses.iter_rows()),
        "massive_companions": table.filter("massive_companion")["star_id"]
        .cast(pl.String)
        .to_list(),
    }


def describe_variables(facts: Mapping[str, Any]) -> list[str]:
    """Say what was found, a line each, from what `variable_facts` returned."""
    if not facts:
        return []
    classes = ", ".join(f"{n:,} {name}" for name, n in facts["classes"].items())
    lines = [f"Classes     {classes}"]
    if facts["moonlit_stars"]:
        lines.append(
            f"{'':<12}{facts['moonlit_stars']:,} stars have moonlight in a spectrum"
        )
    if facts["stars_searched_for_periods"]:
        lines.append(
            f"Periods     {facts['stars_searched_for_periods']:,} stars searched, "
            f"{facts['sure_periods']:,} have a period of false-alarm probability < 0.001"
        )
    if facts["orbit_statuses"]:
        lines.append(
            f"Orbits      {facts['orbits']:,}, {facts['orbits_of_one_mode']:,} of them of "
            "one period only"
        )
        for status, number in facts["orbit_statuses"].items():
            lines.append(f"{'':<12}{number:,} x {status}")
    if massive := facts["massive_companions"]:
        more = f" and {len(massive) - 5} more" if len(massive) > 5 else ""
        lines.append(f"Massive     unseen companions: {', '.join(massive[:5])}{more}")
    return lines
