"""The tables about stars: those that have a page, and every spectrum of one of them."""

__all__ = ["star_class", "star_listing", "visit_listing"]

from collections.abc import Mapping

import numpy as np
import polars as pl

from steadystar.data.status import explain
from steadystar.publish.facts import Facts
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    calendar_date,
    probability,
    significant,
)


def star_class(row: Mapping) -> str:
    """What a star was taken for, in words."""
    if row.get("class"):
        return row["class"]
    words = []
    if row.get("variable"):
        words.append("variable")
    elif row.get("constant"):
        words.append("constant")
    elif row.get("constant") is not None or row.get("variable") is not None:
        words.append("uncertain")
    if row.get("double_lined"):
        words.append("double-lined")
    return ", ".join(words) or "not classified"


def star_listing(facts: Facts, pages: Mapping[str, str]) -> Listing:
    """The stars that have a page."""
    rows, links = [], []
    place = {star: number for number, star in enumerate(pages)}
    chosen = facts.stars.filter(pl.col("star_id").is_in(list(pages)))
    chosen = chosen.sort(pl.col("star_id").replace_strict(place, return_dtype=pl.Int64))
    for row in chosen.iter_rows(named=True):
        links.append(pages[row["star_id"]])
        rows.append(
            (
                row["star_id"],
                _degrees(row["ra"]),
                _degrees(row["dec"]),
                f"{row['n_measured']:,}",
                significant(row["snr"]),
                significant(row["scatter_before"], 2),
                significant(row["scatter_after"], 2),
                significant(row["rv_intrinsic"], 2),
                probability(row["p_constant"]),
                star_class(row),
            )
        )
    return Listing(
        "stars",
        "Stars with a page of their own",
        (
            "star",
            "ra (deg)",
            "dec (deg)",
            "velocities",
            "S/N",
            "scatter measured (km/s)",
            "calibrated (km/s)",
            "intrinsic (km/s)",
            "p(constant)",
            "class",
        ),
        tuple(rows),
        note=f"{len(rows):,} of {len(facts.stars):,} stars: the most variable, those "
        "with flagged spectra, and the brightest, in turn. stars.parquet holds all.",
        numeric=frozenset(range(1, 9)),
        links=tuple(links),
        search=True,
    )


def _degrees(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return DASH
    return f"{value:.4f}".replace("-", MINUS)


def visit_listing(
    visits: pl.DataFrame, absolute: pl.DataFrame | None = None
) -> Listing:
    """All spectra of one star, with their statuses in words.

    ``absolute`` are the star's absolute velocities, set beside the others.
    """
    rows = []
    beside = None if absolute is None else _absolute_cells(absolute)
    for row in visits.sort("bjd", "arm", nulls_last=True).iter_rows(named=True):
        bjd = row["bjd"]
        known = bjd is not None and np.isfinite(bjd)
        night = row["night"] if isinstance(row["night"], int | float) else None
        rows.append(
            (
                calendar_date(night),
                f"{bjd:.5f}" if known else DASH,
                row["exposure"] or DASH,
                row["arm"],
                significant(row["snr"]),
                significant(row["ivar_scale"], 2),
                _with_error(row["raw"], row["raw_error"]),
                significant(row["correction"], 3),
                _with_error(row["value"], row["error"]),
                *(
                    ()
                    if beside is None
                    else (beside.get((row["visit_id"], row["arm"]), DASH),)
                ),
                " ".join(explain(row["status"])) or "Nothing to remark.",
                row["path"] or DASH,
            )
        )
    return Listing(
        "visits",
        "Every spectrum",
        (
            "night",
            "BJD (TDB)",
            "exposure",
            "arm",
            "S/N",
            "noise / stated",
            "measured (km/s)",
            "correction (km/s)",
            "velocity (km/s)",
            *(() if beside is None else ("absolute (km/s)",)),
            "remarks",
            "file",
        ),
        tuple(rows),
        note="Noise / stated: the scatter of the residuals from the star's template over "
        "what the file's inverse variance predicts."
        + (
            ""
            if beside is None
            else " Absolute velocities are calibrated; noise and remarks are those of the "
            "relative ones."
        ),
        numeric=frozenset((1, 4, 5, 6, 7, 8, *(() if beside is None else (9,)))),
        wordy=frozenset((9 if beside is None else 10,)),
    )


def _absolute_cells(absolute: pl.DataFrame) -> dict[tuple[str, str], str]:
    columns = absolute.select("visit_id", "arm", "value", "error").iter_rows()
    return {
        (visit, arm): _with_error(value, error) for visit, arm, value, error in columns
    }


def _with_error(value: float | None, error: float | None) -> str:
    if value is None or not np.isfinite(value):
        return DASH
    if error is None or not np.isfinite(error) or error <= 0:
        return f"{value:.3f}".replace("-", MINUS)
    places = int(np.clip(1 - np.floor(np.log10(error)), 1, 4))
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", MINUS)
