"""The page of a forecast, in the dress of the report."""

__all__ = ["write_forecast_page"]

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.calibrate.forecast import Forecast
from steadystar.publish.figures.forecast import forecast_items
from steadystar.publish.headlines import Headline
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.naming import spoken
from steadystar.publish.numbers import counted, ms
from steadystar.publish.single_page import Page, write_page


def write_forecast_page(
    directory: Path | str,
    forecast: Forecast,
    visits: pl.DataFrame,
    title: str,
    notes: Sequence[str] = (),
    options: ReportOptions | None = None,
) -> Path:
    """Write the page into ``directory``, with what it needs, and return its path.

    ``visits``: the plan, as `Forecast.apply` returns it; ``notes``: sentences besides
    those of the forecast.
    """
    page = Page(
        "forecast",
        title,
        _opening(forecast, visits),
        _headlines(forecast),
        [*forecast.notes, *notes],
        forecast_items(forecast, visits),
    )
    return write_page(directory, page, options)


def _opening(forecast: Forecast, visits: pl.DataFrame) -> str:
    stars = visits["star_id"].drop_nulls().n_unique()
    share = forecast.options.variable_share
    assumed = (
        f"{100 * share:g}% of the stars are expected to vary and do not help."
        if share
        else "All stars are taken as constant: these are the best errors to be reached."
    )
    families = "; ".join(spoken(name) for name in forecast.offsets)
    return (
        f"A plan of {counted(len(visits), 'visit')} to {counted(stars, 'star')}, and how "
        f"well it would determine the zero points by {families}. {assumed}"
    )


def _headlines(forecast: Forecast) -> list[Headline]:
    out = []
    for family, table in forecast.offsets.items():
        error = table["offset_err"].to_numpy()
        known = error[np.isfinite(error)]
        named = f"by {spoken(family)}" if len(forecast.offsets) > 1 else ""
        out.append(
            Headline(f"{len(known):,} of {len(error):,}", f"known {named}".strip())
        )
        if len(known):
            out.append(
                Headline(ms(float(np.median(known))), f"median error {named}".strip())
            )
            out.append(
                Headline(ms(float(known.max())), f"largest error {named}".strip())
            )
    return out
