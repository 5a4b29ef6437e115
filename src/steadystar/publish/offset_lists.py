"""Lists about offsets: which were set aside and why, and which hang together."""

__all__ = ["component_listing", "set_aside_listing", "telescope_listing"]

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.data.status import Status
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.naming import group_names, spoken, together
from steadystar.publish.numbers import DASH, MINUS, counted, significant

_ONE_ROW = 40
"""Groups of one family with the same reason that still get a row each."""

_UNKNOWN = {
    Status.PLATE_REFUSED: "Refused: its plate has too few spectra for this method.",
    Status.INCONSISTENT_SCATTER: "Set aside: constant stars scatter here by much more "
    "than in the other spectrographs.",
    Status.TOO_FEW_STARS: "Not determined: too few constant stars tie it to the others; "
    "a star that varies could not be told from a zero point.",
    Status.TOO_FEW_VISITS: "Not determined: it has too few visits.",
    Status.REDUNDANT: "Counted elsewhere: families named before it contain this offset; "
    "it is zero here.",
    Status.UNCALIBRATED: "Not determined: no star was seen both in it and in another.",
}
_KNOWN = {
    Status.LAMP_OUTLIER: "Stands apart, as after a change of the arc lamp; it is "
    "corrected, but does not count for the mean that defines zero.",
    Status.AMBIGUOUS: "Known only together with offsets of other families: the sum is "
    "right, the parts are a convention.",
}
_NO_REASON = "Not determined, for no reason that the table gives."


def set_aside_listing(
    offsets: Mapping[str, pl.DataFrame], options: ReportOptions
) -> Listing | None:
    """Offsets that are unknown or carry a reservation, with the reason in words."""
    rows: list[tuple[str, ...]] = []
    kinds: dict[str, int] = {}
    for family, table in sorted(offsets.items()):
        columns = [c for c in family.split("+") if c in table.columns]
        if not columns or "offset" not in table.columns:
            continue
        for reason, mine in _reasons(table):
            kinds[reason] = kinds.get(reason, 0) + int(mine.sum())
            rows += _rows(family, table.filter(pl.Series(mine)), columns, reason)
    if not offsets:
        return None
    total = sum(kinds.values())
    note = "Every zero point could be determined."
    if total:
        note = (
            f"{counted(total, 'zero point').capitalize()} in all; the tables of offsets "
            "hold them too."
        )
    if any(reason.startswith("Not determined") for reason in kinds):
        note += (
            " Where a zero point is not determined, velocities stay as measured, with "
            "the usual width of zero points in their errors."
        )
    if len(rows) > options.listed_rows:
        note = f"The first {options.listed_rows} of {len(rows):,} rows. {note}"
    return Listing(
        "offsets-aside",
        "Zero points set aside, and why",
        (
            "family",
            "group",
            "reason",
            "zero point (km/s)",
            "visits",
            "stars",
            "constant",
        ),
        tuple(rows[: options.listed_rows]),
        note,
        numeric=frozenset((3, 4, 5, 6)),
        wordy=frozenset((1, 2)),
        search=len(rows) > 10,
    )


def _reasons(table: pl.DataFrame) -> list[tuple[str, NDArray[np.bool_]]]:
    """The reasons that occur, each with its rows of the table; a row has one."""
    known = np.isfinite(table["offset"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    status = np.zeros(len(table), np.int64)
    if "status" in table.columns:
        status = table["status"].cast(pl.Int64).fill_null(0).to_numpy()
    found = []
    for among, reasons in ((~known, _UNKNOWN), (known, _KNOWN)):
        left = among.copy()
        for flag, reason in reasons.items():
            mine = left & ((status & int(flag)) != 0)
            left &= ~mine
            found.append((reason, mine))
        if among is not known:
            found.append((_NO_REASON, left))
    return [(reason, mine) for reason, mine in found if mine.any()]


def _rows(
    family: str, table: pl.DataFrame, columns: list[str], reason: str
) -> list[tuple[str, ...]]:
    numbers = ("n_visits", "n_stars", "n_constant")
    if len(table) > _ONE_ROW:
        sums = [_count(table[c].sum() if c in table.columns else None) for c in numbers]
        # A star in two groups would be counted twice.
        many = f"{len(table):,} groups: {together(table, columns)}"
        return [(spoken(family), many, reason, DASH, sums[0], DASH, DASH)]
    cells = [table[c].to_list() if c in table.columns else [None] * len(table) for c in numbers]  # fmt: skip
    offset = table["offset"].cast(pl.Float64).to_list()
    return [
        (spoken(family), name, reason, significant(value), *map(_count, counts))
        for name, value, *counts in zip(
            group_names(table, columns), offset, *cells, strict=True
        )
    ]


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else DASH


def component_listing(offsets: Mapping[str, pl.DataFrame], options: ReportOptions):
    """The connected sets of every family that falls into several, the largest first."""
    rows = []
    for family, table in sorted(offsets.items()):
        columns = [c for c in family.split("+") if c in table.columns]
        if not {"offset", "component"} <= set(table.columns) or not columns:
            continue
        known = table.filter(pl.col("offset").is_finite())
        parts = known.partition_by("component", maintain_order=True)
        if len(parts) < 2:
            continue
        for part in sorted(parts, key=len, reverse=True):
            error = (
                part["offset_err"].median() if "offset_err" in part.columns else None
            )
            error = error if isinstance(error, float) else None
            visits = part["n_visits"].sum() if "n_visits" in part.columns else None
            rows.append(
                (
                    spoken(family),
                    together(part, columns),
                    f"{len(part):,}",
                    _count(visits),
                    significant(error, 2),
                )
            )
    if not rows:
        return None
    note = (
        "No star ties one set to another. Each has a zero of its own, the mean of its "
        "zero points weighted by visits: velocities of different sets cannot be compared."
    )
    if len(rows) > options.listed_rows:
        note = f"The {options.listed_rows} largest of {len(rows):,} sets. {note}"
    return Listing(
        "connected",
        "Connected groups",
        ("family", "set", "zero points", "visits", "median error (km/s)"),
        tuple(rows[: options.listed_rows]),
        note,
        numeric=frozenset((2, 3, 4)),
        wordy=frozenset((1,)),
        search=len(rows) > 10,
    )


def telescope_listing(zero: ZeroPoints | None) -> Listing | None:
    """How telescopes differ, where a family has several that stars tie to each other."""
    if zero is None or not any("telescope" in columns for columns in zero.by):
        return None
    pairs = zero.compare("telescope")
    rows = tuple(
        (
            f"{row['first']} {MINUS} {row['second']}",
            spoken(row["family"]),
            significant(1000 * row["difference"], 3),
            significant(1000 * row["difference_err"], 2),
            f"{row['n_first']:,} and {row['n_second']:,}",
        )
        for row in pairs.iter_rows(named=True)
    )
    if not rows:
        return None
    return Listing(
        "telescopes",
        "Telescopes against each other",
        ("telescopes", "family", "difference (m/s)", "error (m/s)", "zero points"),
        rows,
        "The mean zero point of one less that of the other, with the error that the full "
        "covariance gives (Saydjari et al. 2025, section 5.1).",
        numeric=frozenset((2, 3, 4)),
    )
