"""What is to be said of a comparison with standards, in sentences."""

__all__ = ["left_out", "matched", "nobody", "thin_groups", "ties_of_groups"]

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from steadystar.calibrate.standard_match import Match

if TYPE_CHECKING:
    import steadystar.calibrate.standards

_FEW = 5


def nobody(stars: pl.DataFrame, standards: pl.DataFrame, match: Match, radius) -> str:
    """Say that no star is a standard, and how near the nearest is."""
    count = stars["star_id"].drop_nulls().len()
    if not count or standards.is_empty():
        return (
            f"There is nothing to compare: {count} stars have a name and a usable "
            f"velocity, and the list has {len(standards)} standards. Name the column of "
            "the stars (star_id), or give a list with rows."
        )
    text = (
        f"None of the {count} stars is one of the {len(standards)} standards: no name "
        f"agrees (such as {stars['star_id'].drop_nulls()[0]} and "
        f"{standards['given'].fill_null('no name')[0]})"
    )
    if np.isfinite(match.closest):
        star, standard = match.which
        text += (
            f", and no position is within {radius:g} arcsec: the nearest are "
            f"{stars['star_id'][star]} and {standards['given'][standard]}, "
            f"{_angle(match.closest)} apart"
        )
        remedy = "Give a list whose stars were observed"
        if match.closest < 60:
            remedy = "Give a larger radius if the list is of another epoch"
        return f"{text}. {remedy}."
    return (
        f"{text}, and positions are not in both tables. Give ra and dec in both, or the "
        "same names."
    )


def _angle(arcsec: float) -> str:
    if arcsec < 120:
        return f"{arcsec:.1f} arcsec"
    return f"{arcsec / 60:.0f} arcmin" if arcsec < 7200 else f"{arcsec / 3600:.1f} deg"


def matched(match: Match, radius: float) -> str:
    """Say how many stars are standards, and how they were found."""
    named = sum(how == "name" for how in match.by)
    placed = sum(how == "position" for how in match.by)
    text = (
        f"{named + placed} stars are standards: {named} by name, {placed} by position"
    )
    return f"{text} (within {radius:g} arcsec)."


def left_out(matches: pl.DataFrame) -> list[str]:
    """Say which standards were left out, by reason."""
    out = matches.filter(~pl.col("used")).unique("star_id", maintain_order=True)
    notes = []
    for (reason,), part in out.group_by("reason", maintain_order=True):
        names = part["standard_id"].fill_null(part["star_id"]).to_list()
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        notes.append(
            f"{len(names)} standard{'s' * (len(names) > 1)} left out as {reason}: "
            f"{', '.join(names[:5])}{more}."
        )
    return notes


def thin_groups(tie: "steadystar.calibrate.standards.StandardsTie") -> list[str]:
    """Say which groups have no standard, and which few."""
    notes = []
    number = tie.groups["n_standards"].to_list()
    none = [tie.name(i) for i, n in enumerate(number) if n == 0]
    if none:
        more = f"; and {len(none) - 5} more" if len(none) > 5 else ""
        notes.append(
            f"No standard that can be used was observed in {'; '.join(none[:5])}{more}: "
            "these velocities stay as they are (tied is false)."
        )
    for i, n in enumerate(number):
        if 0 < n < _FEW:
            notes.append(
                f"{tie.name(i)} rests on {n} standard{'s' * (n > 1)}: the error assumes "
                "that they scatter as those of all groups together, or as their errors "
                "say if that is more."
            )
    return notes[:12]


def ties_of_groups(tie: "steadystar.calibrate.standards.StandardsTie") -> list[str]:
    """Say how the groups with standards differ from the first of them."""
    known = np.flatnonzero(tie.groups["n_standards"].to_numpy() > 0).tolist()
    if len(known) < 2:
        return []
    rows = tie.groups.select(tie.by).rows()
    notes = []
    for i in known[1:6]:
        value, error, common = tie.difference(rows[i], rows[known[0]])
        notes.append(
            f"{tie.name(i)} reads {1000 * value:+.0f} ± {1000 * error:.0f} m/s against "
            f"{tie.name(known[0])} ({common} standards in both, "
            "compared star by star if that is more precise)."
        )
    return notes
