"""The page of distances, in the dress of the report."""

__all__ = ["write_distances_page"]

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steadystar.infer.distance import Distances
from steadystar.publish.figures.distances import distance_items
from steadystar.publish.headlines import Headline
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import counted, finite, percent, significant
from steadystar.publish.single_page import Page, write_page


def write_distances_page(
    directory: Path | str,
    found: Distances,
    title: str,
    notes: Sequence[str] = (),
    options: ReportOptions | None = None,
) -> Path:
    """Write the page into ``directory``, with what it needs, and return its path.

    ``notes``: sentences besides those of the distances. What only an earlier page there
    had is removed.
    """
    options = options or ReportOptions()
    page = Page(
        "distances",
        title,
        _opening(found),
        _headlines(found),
        [*found.notes, *notes],
        distance_items(found, options),
    )
    return write_page(directory, page, options)


def _opening(found: Distances) -> str:
    table, data = found.table, found.data
    both = int((data.has_modulus & data.has_parallax).sum())
    known = int(table["dis"].is_finite().sum())
    return (
        f"{counted(known, 'distance')} of {counted(len(table), 'row')}: {both:,} from "
        f"parallax and magnitude together, {int(data.has_parallax.sum()) - both:,} from "
        f"the parallax alone, {int(data.has_modulus.sum()) - both:,} from the magnitude "
        "alone."
    )


def _headlines(found: Distances) -> list[Headline]:
    table = found.table
    error = finite((table["dis_high"] - table["dis_low"]) / 2 / table["dis"])
    flag = table["binary_flag"]
    made = [Headline(f"{int(table['dis'].is_finite().sum()):,}", "distances")]
    if len(error):
        text = f"{significant(100 * float(np.median(error)), 2)}%"
        made.append(Headline(text, "median error"))
    made.append(Headline(f"{int((flag == 1).sum()):,}", "over-luminous by the flag"))
    if found.mixture.n_stars:
        share = f"{100 * found.mixture.fraction:.1f} ± "
        share += f"{100 * found.mixture.fraction_err:.1f}%"
        made.append(Headline(share, "of the stars are pairs, by the mixture"))
    without = int((flag == -1).sum())
    made.append(Headline(percent(without, len(table)), "without a flag"))
    return made
