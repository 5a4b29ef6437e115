"""The tables that a page prints: short, in words, with a pointer to the full ones."""

__all__ = [
    "Listing",
    "absolute_listing",
    "absolute_status_listing",
    "arm_listing",
    "confusion_listing",
    "glossary",
    "rejected_listing",
    "status_listing",
    "summary_listing",
]

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.data.status import SENTENCES
from steadystar.publish.facts import Facts, arms_of
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    DASH,
    counted,
    finite,
    median,
    percent,
    significant,
)


@dataclass(frozen=True)
class Listing:
    """A table of texts. ``numeric`` columns are set flush right, ``wordy`` ones hold
    sentences and get the room; ``links`` of the first column lead to other pages of
    the report. ``search``: rows can be looked for; ``sortable``: put in order of any
    column."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    numeric: frozenset[int] = frozenset()
    wordy: frozenset[int] = frozenset()
    links: tuple[str | None, ...] = ()
    search: bool = False
    sortable: bool = False


def arm_listing(facts: Facts) -> Listing:
    """One row an arm: how much, how good."""
    rows = []
    visits = facts.visits.select("arm", "measured", "snr", "exposure", "error")
    for arm in facts.arms:
        all_rows = visits.filter(pl.col("arm") == arm)
        good = all_rows.filter("measured")
        snr = finite(all_rows["snr"])
        span = np.quantile(snr, [0.1, 0.9]) if snr.size else (np.nan, np.nan)
        rows.append(
            (
                arm,
                f"{len(all_rows):,}",
                f"{len(good):,}",
                percent(len(good), len(all_rows)),
                f"{all_rows['exposure'].drop_nulls().n_unique():,}",
                significant(median(snr)),
                f"{significant(span[0], 2)} to {significant(span[1], 2)}",
                significant(median(good["error"]), 2),
            )
        )
    return Listing(
        "arms",
        "By arm",
        (
            "arm",
            "spectra",
            "velocities",
            "share",
            "exposures",
            "median S/N",
            "S/N of the middle 80%",
            "median error (km/s)",
        ),
        tuple(rows),
        numeric=frozenset(range(1, 8)),
    )


def absolute_listing(facts: Facts) -> Listing:
    """One row an arm: how many absolute velocities, how good, how good they could be."""
    rows = []
    drawn = ("arm", "measured", "rv_limit", "raw_error", "error")
    for arm in arms_of(facts.absolute):
        every = facts.absolute.select(drawn).filter(pl.col("arm") == arm)
        good = every.filter("measured")
        rows.append(
            (
                arm,
                f"{len(every):,}",
                f"{len(good):,}",
                percent(len(good), len(every)),
                significant(median(good["rv_limit"]), 2),
                significant(median(good["raw_error"]), 2),
                significant(median(good["error"]), 2),
            )
        )
    return Listing(
        "absolute",
        "Absolute velocities by arm",
        (
            "arm",
            "spectra",
            "velocities",
            "share",
            "median photon limit (km/s)",
            "median error as measured (km/s)",
            "in the end (km/s)",
        ),
        tuple(rows),
        note="The error as measured exceeds the limit by what the unknown type of the "
        "star, its continuum and the noise beyond the stated one cost; the final one "
        "contains that of the zero point.",
        numeric=frozenset(range(1, 7)),
    )


def absolute_status_listing(facts: Facts) -> Listing:
    """The flags of the absolute velocities, as those of the shown ones."""
    absolute = replace(facts, visits=facts.absolute, arms=arms_of(facts.absolute))
    return replace(
        status_listing(absolute),
        name="absolute-statuses",
        title="What was remarked on the absolute velocities",
    )


def rejected_listing(rejected: pl.DataFrame | None, options: ReportOptions) -> Listing:
    """Files that could not be read, with reasons and remedies."""
    columns = ("file", "reason", "what to do", "tried as")
    if rejected is None or not len(rejected):
        note = (
            "Every file could be read."
            if rejected is not None
            else "This run started from a table: no file of spectra was read."
        )
        return Listing("unreadable", "Files that could not be read", columns, (), note)
    table = schema.conform(rejected, "rejected")
    shown = table.head(options.listed_rows)
    rows = tuple(
        (row["path"] or DASH, row["reason"] or DASH, row["remedy"] or DASH, row["reader"] or DASH)
        for row in shown.iter_rows(named=True)
    )  # fmt: skip
    kinds = (
        table.group_by("reason").len().sort("len", "reason", descending=[True, False])
    )
    note = (
        f"{counted(len(table), 'file or part of a file', 'files or parts of files')}."
    )
    if len(table) > len(shown):
        note += (
            f" The first {len(shown)} are listed; rejected.parquet holds all. Most "
            f"frequent: {kinds['reason'][0]} ({kinds['len'][0]:,} times)."
        )
    return Listing(
        "unreadable",
        "Files that could not be read",
        columns,
        rows,
        note,
        wordy=frozenset((0, 1, 2)),
    )


def status_listing(facts: Facts) -> Listing:
    """How often each flag was set, in words, by arm."""
    status = facts.visits["status"].to_numpy().astype(np.int64)
    arm = facts.visits["arm"].to_numpy()
    measured = facts.visits["measured"].to_numpy()
    rows = []
    good = status == 0
    rows.append(
        ("Nothing to remark.", *_by_arm(good, arm, facts.arms), _lost(good, measured))
    )
    for flag, sentence in SENTENCES.items():
        chosen = (status & int(flag)) != 0
        if chosen.any():
            cells = _by_arm(chosen, arm, facts.arms)
            rows.append((sentence, *cells, _lost(chosen, measured)))
    head = tuple(f"{name} arm" if name != "all" else "spectra" for name in facts.arms)
    return Listing(
        "statuses",
        "What was remarked on the spectra",
        ("remark", *head, "of these without a velocity"),
        tuple(rows) if len(status) else (),
        note="A spectrum can carry several remarks.",
        numeric=frozenset(range(1, len(head) + 2)),
    )  # fmt: skip


def _by_arm(
    chosen: np.ndarray, arm: np.ndarray, arms: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(f"{int((chosen & (arm == name)).sum()):,}" for name in arms)


def _lost(chosen: np.ndarray, measured: np.ndarray) -> str:
    return f"{int((chosen & ~measured).sum()):,}"


def confusion_listing(counts: Mapping[str, Mapping[str, int]]) -> Listing:
    """What stars are against what they were taken for."""
    taken = ("constant", "uncertain", "variable")
    rows = tuple(
        (f"truly {true}", *(f"{counts[true][name]:,}" for name in taken))
        for true in ("constant", "variable")
    )
    steady, moving = counts["constant"], counts["variable"]
    note = (
        f"{percent(steady['constant'], sum(steady.values()))} of the constant stars were "
        f"taken for constant, {percent(steady['variable'], sum(steady.values()))} for "
        f"variable; {percent(moving['variable'], sum(moving.values()))} of the variable "
        "ones were found. Some of these move too little, or too slowly, to be seen."
    )
    return Listing(
        "confusion",
        "Stars by what they are and what they were taken for",
        ("", *(f"taken for {name}" for name in taken)),
        rows,
        note,
        numeric=frozenset((1, 2, 3)),
    )


def summary_listing(summary: Mapping[str, object]) -> Listing:
    """Whatever the run reports about itself."""
    rows = tuple((str(key), _plain(value)) for key, value in summary.items())
    return Listing("summary", "In numbers", ("what", "value"), rows)


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: DASH}[value]
    if isinstance(value, float):
        return significant(value, 4)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        said = (
            f"{str(key).rstrip('.')}: {_plain(item)}" for key, item in value.items()
        )
        return "; ".join(said) or DASH
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or DASH
    return str(value)


def glossary(facts: Facts) -> Listing:
    """The columns of the velocities table that are filled, as the schema explains them."""
    rows = []
    for column in schema.TABLES["velocities"]:
        if column.name in facts.filled:
            rows.append((column.name, column.unit or DASH, column.meaning))
    return Listing(
        "columns",
        "Columns of velocities.parquet that hold something here",
        ("column", "unit", "meaning"),
        tuple(rows),
    )
