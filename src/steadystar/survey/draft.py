"""Which column of a foreign table is which of ours: as told, or as it is called."""

__all__ = [
    "ASKED",
    "VELOCITIES",
    "Draft",
    "Source",
    "has_positions",
    "mapped",
    "planned_visits",
    "require",
    "with_defaults",
    "without_second",
]

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from steadystar.data.tables import Table
from steadystar.survey.columns import named
from steadystar.survey.surveys import CatalogError, Survey
from steadystar.survey.units import split_unit

RENAMED = {"rv": "rv_raw", "rv_err": "rv_raw_err"}
NEEDED = ("star_id", "rv_raw", "rv_raw_err")
ASKED = {"star_id": "star_id", "rv_raw": "rv", "rv_raw_err": "rv_err"}
_HINTS = {
    "star_id": ("star_id", "star", "id", "name", "object", "source_id", "target"),
    "rv_raw": ("rv", "rv_raw", "v", "vrad", "vhelio", "radial_velocity", "velocity"),
    "rv_raw_err": (
        *("rv_err", "err", "e_rv", "sigma_rv", "rv_error", "vrelerr", "sigma"),
        *("sigmarv", "rvsig", "rv_sig", "error"),
    ),
}
VELOCITIES = ("rv_raw", "rv_raw_err", "rv_obs", "bary_corr")
_COPIED = ("ra", "dec", "snr", "bjd", "exptime", "visit_id")
"""Our names that are also found in another case, and then copied."""


@dataclass(frozen=True)
class Source:
    """Where a column of ours comes from: a column of the table, and its unit."""

    name: str
    unit: str | None = None


@dataclass(frozen=True)
class Draft:
    """A table on its way to our names; ``sources`` of the columns not yet converted."""

    path: str
    frame: pl.DataFrame
    units: Mapping[str, str]
    notes: list[str]
    sources: dict[str, Source] = field(default_factory=dict)
    survey: Survey | None = None


def without_second(table: Table, mapping: Mapping[str, str], path: str) -> pl.DataFrame:
    """Refuse two columns of one needed name; a second rv is no second velocity."""
    frame = table.frame
    for note in table.notes:
        name, _, rest = note.removeprefix("Column ").partition(
            " occurs twice; the second is "
        )
        second = rest.removesuffix(" here.")
        if not rest or name.casefold() not in (*RENAMED, *NEEDED):
            continue
        again = f"{name}_again"
        if second in frame.columns and again not in frame.columns:
            frame = frame.rename({second: again})
        if RENAMED.get(name, name) not in {RENAMED.get(o, o) for o in mapping}:
            raise CatalogError(
                f"{path} has two columns called {name}. Say which is meant: {name}={name}"
                f" (the first) or {name}={again} (the second)."
            )
    return frame


def mapped(draft: Draft, mapping: Mapping[str, str]) -> Draft:
    """Add the columns that the user names; what had the name before is set aside."""
    frame, sources = draft.frame, dict(draft.sources)
    added = {}
    for ours, said in mapping.items():
        if len(said) > 1 and said[0] == said[-1] and said[0] in "'\"":
            added[RENAMED.get(ours, ours)] = pl.lit(said[1:-1])
            continue
        theirs, unit = (said, None) if said in frame.columns else split_unit(said)
        if theirs not in frame.columns:
            near = difflib.get_close_matches(theirs, frame.columns[:2000], n=3)
            hint = f"Nearest are {', '.join(near)}. " if near else ""
            raise CatalogError(
                f"{draft.path} has no column {theirs!r}, which was named as {ours}. "
                f"{hint}There are: {named(frame.columns)}."
            )
        name = RENAMED.get(ours, ours)
        added[name] = frame[theirs]
        sources[name] = Source(theirs, unit or draft.units.get(theirs))
    aside = {
        name: f"{name}_original"
        for name in added
        if name in frame.columns and name not in mapping.values()
    }
    frame = frame.rename(aside).with_columns(**added)
    return replace(draft, frame=frame, sources=sources)


def with_defaults(draft: Draft) -> Draft:
    """Take the columns that are called as ours, in any case, where the user names none."""
    frame, sources = draft.frame, dict(draft.sources)
    lower: dict[str, list[str]] = {}
    for name in frame.columns:
        lower.setdefault(split_unit(name)[0].casefold(), []).append(name)
    for ours in (*RENAMED, *NEEDED):
        final = RENAMED.get(ours, ours)
        if {ours, final} & set(frame.columns) or ours not in lower:
            continue
        theirs = _one_of(lower[ours], ours, draft.path)
        frame = frame.rename({theirs: ours})
        sources[ours] = Source(theirs, _unit_in(draft, theirs))
    for old, new in RENAMED.items():
        if old in frame.columns and new not in frame.columns:
            frame = frame.rename({old: new})
            sources[new] = sources.pop(old, Source(old, draft.units.get(old)))
    for ours in _COPIED:
        others = [name for name in lower.get(ours, ()) if name != ours]
        if ours not in frame.columns and len(others) == 1:
            frame = frame.with_columns(frame[others[0]].alias(ours))
            sources[ours] = Source(others[0], _unit_in(draft, others[0]))
    for ours in (*VELOCITIES, "bjd", "ra", "dec"):
        if ours in draft.units and ours in frame.columns:
            sources.setdefault(ours, Source(ours, draft.units[ours]))
    if "visit_id" not in frame.columns:
        frame = frame.with_columns(_visit_names(draft))
    if "star_id" not in frame.columns and has_positions(frame):
        frame = frame.with_columns(star_id=pl.lit(None, pl.String))
    return replace(draft, frame=frame, sources=sources)


def planned_visits(draft: Draft) -> Draft:
    """Let every velocity be 0, and errors that are not given unknown."""
    frame = draft.frame.with_columns(rv_raw=pl.lit(0.0))
    if "rv_raw_err" not in frame.columns:
        frame = frame.with_columns(rv_raw_err=pl.lit(float("nan")))
    sources = {n: s for n, s in draft.sources.items() if n != "rv_raw"}
    return replace(draft, frame=frame, sources=sources)


def _visit_names(draft: Draft) -> pl.Series:
    """Name the visits by their rows; rows that repeat another share its name.

    Only where a column tells exposures apart: else two equal rows may be two visits.
    """
    count = len(draft.frame)
    rows = np.arange(count)
    told = {name.casefold() for name in draft.frame.columns} & _TELLING
    # Arms of one row of the table are two velocities, not one twice.
    repeated = (
        draft.frame.is_duplicated().to_numpy()
        if len(draft.frame.columns) < _WIDE
        else np.zeros(count, bool)
    )
    if repeated.any():
        if told:
            same = draft.frame.filter(pl.Series(repeated))
            first = dict[int, int]()
            where = np.flatnonzero(repeated)
            for at, key in zip(where, same.hash_rows().to_list(), strict=True):
                rows[at] = first.setdefault(key, int(at))
        extra = int((rows != np.arange(count)).sum())
        draft.notes.append(
            f"{extra} of {count} rows repeat another in every column: they are taken as "
            "the same visit."
            if told
            else f"{int(repeated.sum())} of {count} rows equal another in every column. "
            "If they are the same visits, remove them; with a column of times, or "
            "exposure_id, they would be known as such."
        )
    return pl.Series("visit_id", [f"row-{row}" for row in rows], dtype=pl.String)


_TELLING = frozenset(
    ("bjd", "jd", "hjd", "mjd", "date", "time", "exposure", "exposure_id", "expid")
)
"""Names of columns that tell one visit of a star from another."""
_WIDE = 2000


def _unit_in(draft: Draft, name: str) -> str | None:
    return draft.units.get(name) or split_unit(name)[1]


def _one_of(names: Sequence[str], ours: str, path: str) -> str:
    if len(names) > 1:
        raise CatalogError(
            f"{path} has {len(names)} columns that may be {ours}: {named(names)}. Say "
            f"which, as in {ours}={names[0]}."
        )
    return names[0]


def has_positions(frame: pl.DataFrame) -> bool:
    """Whether stars can be told apart by where they are."""
    return {"ra", "dec"} <= set(frame.columns)


def require(frame: pl.DataFrame, own: Sequence[str], path: str) -> None:
    """Refuse a table that lacks a needed column, with a guess at which it is.

    Raises:
        CatalogError: a column is missing.
    """
    missing = [name for name in NEEDED if name not in frame.columns]
    if not missing:
        return
    hints = []
    lower = {name.casefold(): name for name in own[:2000]}
    for name in missing:
        near = [
            lower[match]
            for hint in _HINTS[name]
            for match in difflib.get_close_matches(hint, lower, n=2, cutoff=0.7)
        ]
        if near:
            hints.append(f"{ASKED[name]}={near[0]}")
    example = ",".join(hints) or "star_id=ID,rv=V,rv_err=E_V"
    alone = ""
    if "star_id" in missing and not any(hint.startswith("star_id") for hint in hints):
        alone = (
            " If all rows are of one star, give it a name in quotes: star_id='HD 1'."
        )
    raise CatalogError(
        f"{path} lacks a column for {', '.join(ASKED[n] for n in missing)}; it has "
        f"{named(own)}. Say which they are, perhaps {example} (option --columns).{alone}"
    )
