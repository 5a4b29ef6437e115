"""The page of a comparison of two catalogs, in the dress of the report."""

__all__ = ["write_compare_page"]

from collections.abc import Sequence
from pathlib import Path

from steadystar.infer.comparison import Comparison
from steadystar.infer.residuals import Residuals
from steadystar.publish.figures.compare_lists import compare_listings, number_listings
from steadystar.publish.figures.compare_quantity import plus_minus, quantity_figures
from steadystar.publish.headlines import Headline
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import DASH, counted
from steadystar.publish.plot import Figure, Missing
from steadystar.publish.single_page import Page, write_page


def write_compare_page(
    directory: Path | str,
    comparison: Comparison,
    title: str,
    notes: Sequence[str] = (),
    options: ReportOptions | None = None,
) -> Path:
    """Write the page into ``directory``, with what it needs, and return its path.

    ``notes``: sentences besides those of the comparison. What only an earlier page there
    had is removed.
    """
    options = options or ReportOptions()
    page = Page(
        "compare",
        title,
        _opening(comparison),
        _headlines(comparison),
        [*comparison.notes, *notes],
        _items(comparison, options.aggregate_above),
    )
    return write_page(directory, page, options)


def _items(comparison: Comparison, crowd: int) -> list[Figure | Missing | Listing]:
    items: list[Figure | Missing | Listing] = [*number_listings(comparison)]
    for quantity in comparison.statistics:
        items += quantity_figures(comparison, quantity, crowd)
    return [*items, *compare_listings(comparison)]


def _opening(comparison: Comparison) -> str:
    first, second = comparison.names
    sizes = comparison.n_stars
    said = ", ".join(
        f"{name} {_bias(stats)}" for name, stats in comparison.statistics.items()
    )
    return (
        f"{counted(len(comparison.matches), 'star')} are both in A, {first} "
        f"({sizes[0]:,} stars), and in B, {second} ({sizes[1]:,}). A less B, bias ± "
        f"scatter: {said}."
    )


def _bias(stats: Residuals) -> str:
    if stats.n_kept < 2:
        return f"{plus_minus(stats.bias, float('nan'), stats.unit)} (one star)"
    return plus_minus(stats.bias, stats.scatter, stats.unit)


def _headlines(comparison: Comparison) -> list[Headline]:
    outliers = sum(s.n_outliers for s in comparison.statistics.values())
    lost = comparison.unmatched["table"]
    return [
        Headline(f"{len(comparison.matches):,}", "stars in both"),
        Headline(f"{len(comparison.statistics):,}", "quantities compared"),
        Headline(f"{outliers:,}" if outliers else DASH, "outliers"),
        Headline(f"{int((lost == 'a').sum()):,}", "only in A"),
        Headline(f"{int((lost == 'b').sum()):,}", "only in B"),
        Headline(f"{int(comparison.fast['solid'].sum()):,}", "solid fast stars"),
    ]
