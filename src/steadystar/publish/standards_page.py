"""The page of a comparison with standards, in the dress of the report."""

__all__ = ["write_standards_page"]

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steadystar.calibrate.standards import StandardsTie
from steadystar.publish.figures.standards import standards_items
from steadystar.publish.headlines import Headline
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import DASH, counted, ms
from steadystar.publish.single_page import Page, write_page


def write_standards_page(
    directory: Path | str,
    tie: StandardsTie,
    title: str,
    notes: Sequence[str] = (),
    options: ReportOptions | None = None,
) -> Path:
    """Write the page into ``directory``, with what it needs, and return its path.

    ``notes``: sentences besides those of the tie. What only an earlier page there had is
    removed.
    """
    page = Page(
        "standards",
        title,
        _opening(tie),
        _headlines(tie),
        [*tie.notes, *notes],
        standards_items(tie),
    )
    return write_page(directory, page, options)


def _opening(tie: StandardsTie) -> str:
    used = tie.matches.filter("used")
    groups = int((tie.groups["n_standards"] > 0).sum())
    first = tie.groups.filter(tie.groups["n_standards"] > 0)
    best = first.row(int(np.argmax(first["n_standards"].to_numpy())), named=True)
    where = tie.name(tie.groups["n_standards"].arg_max() or 0)
    scatter = f", scatter {ms(best['scatter'])}" if np.isfinite(best["scatter"]) else ""
    return (
        f"{counted(used['star_id'].n_unique(), 'star')} with known velocities, observed in "
        f"{counted(groups, 'group')} of visits. {where[:1].upper()}{where[1:]} reads "
        f"{ms(best['offset'])} ± {ms(best['offset_err'])} more than the standards{scatter}."
    )


def _headlines(tie: StandardsTie) -> list[Headline]:
    used = tie.matches.filter("used")
    left = tie.matches.filter(~tie.matches["used"])["star_id"].n_unique()
    known = tie.groups.filter(tie.groups["n_standards"] > 0)
    offsets = known["offset"].to_numpy()
    one = len(known) == 1
    span = ms(float(offsets[0])) if one else f"{ms(float(np.ptp(offsets)))}"
    return [
        Headline(f"{used['star_id'].n_unique():,}", "standards compared"),
        Headline(f"{used['n_visits'].sum():,}", "visits behind them"),
        Headline(span, "offset" if one else "between the offsets"),
        Headline(f"{int(used['outlier'].sum()):,}" or DASH, "outliers"),
        Headline(f"{left:,}", "left out"),
    ]
