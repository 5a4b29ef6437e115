"""The first sentences and numbers of a page."""

__all__ = ["Headline", "headlines", "opening", "star_facts"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from steadystar.data.status import Status
from steadystar.publish.facts import Facts
from steadystar.publish.figures.truth import recovery_rms
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.numbers import (
    MINUS,
    calendar_date,
    counted,
    finite,
    kms,
    median,
    percent,
    probability,
    significant,
)
from steadystar.publish.star_lists import star_class


@dataclass(frozen=True)
class Headline:
    """A number and what it is."""

    value: str
    meaning: str


def opening(facts: Facts, inputs: ReportInputs) -> str:
    """What this report is about, in two or three sentences."""
    visits = facts.visits
    if not len(visits):
        return (
            "The table of velocities has no rows: no spectrum was found, or none could "
            "be read. What was rejected, and why, is listed below."
        )
    text = (
        f"{counted(len(facts.stars), 'star').capitalize()} in "
        f"{counted(len(visits), 'spectrum', 'spectra')}"
    )
    nights = finite(visits["night"].cast(pl.Float64, strict=False))
    if nights.size:
        first, last = calendar_date(nights.min()), calendar_date(nights.max())
        number = np.unique(nights).size
        text += (
            f", observed in {counted(number, 'night')} from {first} to {last}"
            if number > 1
            else f", observed in the night of {first}"
        )
    arms = [arm for arm in facts.arms if arm != "all"]
    if len(arms) > 1:
        text += f", in the {' and '.join(arms)} arms"
    good = int(visits["measured"].sum())
    text += (
        f". {counted(good, 'velocity', 'velocities').capitalize()} could be measured"
    )
    unknown = (pl.col("status") & int(Status.UNCALIBRATED)) != 0
    uncalibrated = len(visits.filter(unknown & pl.col("measured")))
    if good and not inputs.offsets:
        text += "; no zero points were solved"
    elif good and uncalibrated == good:
        text += (
            "; for none of them a zero point could be determined, so that they are as "
            "measured"
        )
    elif uncalibrated:
        text += (
            f"; for {uncalibrated:,} of them no zero point could be determined, so that "
            "they are as measured"
        )
    text += "."
    if inputs.truth:
        text += (
            " The survey was simulated, so that the truth is known: the last figures "
            "hold the results against it."
        )
    return text


def headlines(facts: Facts, inputs: ReportInputs) -> list[Headline]:
    """The numbers at the top of the first page."""
    visits, stars = facts.visits, facts.stars
    good = facts.columns_measured("arm")
    made = [*_gained(facts, inputs)]
    if stars["variable"].is_not_null().any():
        made.append(Headline(f"{int(stars['variable'].sum()):,}", "variable stars"))
    made += [
        Headline(f"{len(stars):,}", "stars"),
        Headline(f"{len(visits):,}", "spectra"),
        Headline(
            f"{len(good):,}",
            f"velocities ({percent(len(good), len(visits))} of spectra)",
        ),
    ]
    if len(facts.labels) and "teff" in stars.columns:
        warm = int(stars["teff"].is_finite().sum())
        made.append(Headline(f"{warm:,}", "stars with a temperature"))
    absolute = facts.absolute.select("measured").filter("measured")
    if facts.both:
        made.append(Headline(f"{len(absolute):,}", "absolute velocities beside these"))
    for column, name in (("night", "nights"), ("exposure", "exposures")):
        number = visits[column].drop_nulls().n_unique()
        if number:
            made.append(Headline(f"{number:,}", name))
    for arm in facts.arms:
        error = median(facts.of_arm(arm)["error"])
        if np.isfinite(error):
            where = f", {arm} arm" if arm != "all" else ""
            made.append(Headline(kms(error), f"median error{where}"))
    rejected = 0 if inputs.rejected is None else len(inputs.rejected)
    if rejected:
        made.append(Headline(f"{rejected:,}", "files or parts not readable"))
    return made


def _gained(facts: Facts, inputs: ReportInputs) -> list[Headline]:
    """What the calibration was for, first: steady stars at rest, and the truth if known."""
    drawn = ("star_id", "arm", "before", "after", "steady", "correction", "measured")
    good, made = facts.visits.select(drawn).filter("measured"), []
    steady = good.filter("steady").group_by("star_id", "arm")
    stars_of_arm = steady.agg(pl.col("before", "after").std())
    old, new = median(stars_of_arm["before"]), median(stars_of_arm["after"])
    if np.any(finite(good["correction"]) != 0) and np.isfinite(new):
        made.append(
            Headline(
                f"{significant(old, 2)} → {kms(new)}",
                "typical scatter of a constant star, measured → calibrated",
            )
        )
    miss = recovery_rms(inputs)
    if np.isfinite(miss):
        made.append(Headline(kms(miss), "rms by which zero points miss the truth"))
    return made


def star_facts(facts: Facts, row: dict[str, Any]) -> list[Headline]:
    """The numbers at the top of a star's page."""
    made = [Headline(star_class(row), "class")]
    if row["ra"] is not None and row["dec"] is not None:
        place = f"{row['ra']:.5f}, {row['dec']:+.5f}".replace("-", MINUS)
        made.append(Headline(place, "right ascension and declination (deg)"))
    made.append(
        Headline(
            f"{row['n_measured']} of {row['n_spectra']}", "spectra gave a velocity"
        )
    )
    numbers = (
        ("snr", 3, "median S/N per pixel", ""),
        ("rv_mean", 4, f"mean {'absolute ' * facts.both}velocity", " km/s"),
        ("scatter_before", 2, "scatter as measured", " km/s"),
        ("scatter_after", 2, "scatter calibrated", " km/s"),
        ("rv_intrinsic", 2, "intrinsic scatter", " km/s"),
        ("period", 6, "period", " d"),
        ("teff", 4, "effective temperature", " K"),
        ("logg", 3, "surface gravity log g", ""),
        ("feh", 2, "metallicity [Fe/H]", ""),
    )
    for column, digits, meaning, unit in numbers:
        value = row.get(column)
        if column == "rv_mean" and facts.relative and not facts.both:
            continue
        fap = row.get("period_fap")
        if column == "period" and isinstance(fap, float) and np.isfinite(fap):
            meaning = f"period of false-alarm probability {probability(fap)}"
        if isinstance(value, float) and np.isfinite(value):
            made.append(Headline(significant(value, digits) + unit, meaning))
    p = row.get("p_constant")
    if isinstance(p, float) and np.isfinite(p):
        made.append(Headline(probability(p), "probability of being constant"))
    return made
