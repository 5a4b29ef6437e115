"""Who varies, how, and on which orbit: the steps that runs and commands share.

Every star is judged; those that vary or show two stars are searched for periods, and
fitted with orbits where that is asked for; then every star gets its class, by all that
was found.
"""

__all__ = [
    "Judged",
    "describe_variables",
    "explain_lost",
    "judge_closely",
    "judge_stars",
    "search_stars",
    "variable_facts",
]

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data import schema
from steadystar.infer.classes import CLASSES, classify_stars
from steadystar.infer.orbit import fit_orbits
from steadystar.infer.orbit_masses import companion_mass, mass_function
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.periods import failed_search, find_periods
from steadystar.pipeline.candidates import (
    Candidates,
    Tasks,
    choose_stars,
)
from steadystar.pipeline.faults import out_of_memory, refused
from steadystar.pipeline.units import first_line

_NOTES = 20


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
    chosen = choose_stars(visits, tasks, zeropoints=zeropoints, labels=labels)
    periods = schema.empty("periods")
    if tasks.periods is not None and chosen.stars:
        periods, lost = search_stars(chosen.visits, chosen.stars, tasks.periods)
        notes = tuple(note.split("\n")[0] for note in explain_lost(lost))
        chosen = replace(chosen, notes=chosen.notes + notes)
    return judge_closely(chosen, periods, tasks)


def search_stars(
    visits: pl.DataFrame, stars: list[Any], options: PeriodOptions
) -> tuple[pl.DataFrame, dict[Any, str]]:
    """Search stars for periods; an unexpected error costs the star that it is about.

    That star has a row that says so (`failed_search`), and an entry in the second result:
    the error, and where in the program it was.

    Raises:
        ValueError: a column is missing.
    """
    find_periods(visits, [], options)  # what the table lacks is no star's fault
    return _search(visits, stars, options)


def _search(
    visits: pl.DataFrame, stars: list[Any], options: PeriodOptions
) -> tuple[pl.DataFrame, dict[Any, str]]:
    try:
        return find_periods(visits, stars, options), {}
    except Exception as error:  # one star must not end a survey
        if refused(error) or out_of_memory(error) or not stars:
            raise
        if len(stars) == 1:
            why = first_line(error)
            lost = {stars[0]: f"{why}\n{traceback.format_exc()}"}
            return failed_search(stars[0], why, visits), lost
    half = len(stars) // 2
    first, lost = _search(visits, stars[:half], options)
    second, more = _search(visits, stars[half:], options)
    return pl.concat([first, second]), lost | more


def explain_lost(lost: Mapping[Any, str]) -> list[str]:
    """Say of stars that an error ended their search, once for each error.

    The first line is for people, the others for those who mend the program.
    """
    stars: dict[str, list[str]] = {}
    for star, why in lost.items():
        stars.setdefault(why, []).append(str(star))
    return [
        f"Periods of {', '.join(some[:3])}{' ...' if len(some) > 3 else ''} "
        f"({len(some)} in all) could not be searched: {why}"
        for why, some in stars.items()
    ]


def judge_closely(chosen: Candidates, periods: pl.DataFrame, tasks: Tasks) -> Judged:
    """Fit the orbits that are wanted, and give every star its class by all that is known.

    ``periods``: of the stars that were chosen (schema "periods").
    """
    orbits, samples = (schema.empty(n) for n in ("orbits", "orbit-samples"))
    notes, stars = list(chosen.notes), chosen.stars
    if tasks.orbits is not None and stars:
        most = tasks.most_orbits
        if most is not None and len(stars) > most:
            notes.append(
                f"Orbits were fitted for the {most} surest of {len(stars)} stars: "
                "`steadystar orbits` fits all."
            )
        orbits, samples, said = _orbits(chosen.visits, stars[:most], tasks)
        notes += said
    judged = classify_stars(chosen.variables, periods, orbits, tasks.variables.classes)
    return Judged(judged, periods, orbits, samples, tuple(notes))


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
