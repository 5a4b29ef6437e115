"""Velocities that others published, under our names.

A table of any survey becomes one row a velocity with ``star_id``, ``rv_raw`` (km/s,
barycentric), ``rv_raw_err``, ``status`` and whatever else the table says of it; its own
columns are kept beside ours as they are, and rows keep their order. A row without a
usable velocity, or that its survey marks as failed, stays, with NaN and the status that
says so. Units in the file are honored.

Which survey's table it is shows in its columns; see `SURVEYS`. Any other table needs
`columns`, such as ``{"star_id": "ID", "rv": "V[m/s]", "rv_err": "E_V[m/s]"}``.
"""

__all__ = [
    "SURVEYS",
    "CatalogError",
    "VelocityTable",
    "open_velocity_table",
    "parse_columns",
    "read_velocity_table",
]

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.match import assign_stars
from steadystar.data.schema import columns as schema_columns
from steadystar.data.status import Status
from steadystar.data.tables import Table, TableError, open_table
from steadystar.survey.columns import named, numbers
from steadystar.survey.doubts import doubt_errors, doubt_velocities
from steadystar.survey.surveys import SURVEYS, CatalogError, Survey, parse_columns
from steadystar.survey.units import (
    UnitError,
    bjd_of,
    degrees_of,
    split_unit,
    velocity_factor,
)

_logger = logging.getLogger(__name__)

_RENAMED = {"rv": "rv_raw", "rv_err": "rv_raw_err"}
_NEEDED = ("star_id", "rv_raw", "rv_raw_err")
_ASKED = {"star_id": "star_id", "rv_raw": "rv", "rv_raw_err": "rv_err"}
_HINTS = {
    "star_id": ("star_id", "star", "id", "name", "object", "source_id", "target"),
    "rv_raw": ("rv", "rv_raw", "v", "vrad", "vhelio", "radial_velocity", "velocity"),
    "rv_raw_err": (
        *("rv_err", "err", "e_rv", "sigma_rv", "rv_error", "vrelerr", "sigma"),
        *("sigmarv", "rvsig", "rv_sig", "error"),
    ),
}
_VELOCITIES = ("rv_raw", "rv_raw_err", "rv_obs", "bary_corr")
_NUMBERS = (*_VELOCITIES, "bjd", "exptime", "snr", "ra", "dec")
_COPIED = ("ra", "dec", "snr", "bjd", "exptime", "visit_id")
"""Our names that are also found in another case, and then copied."""
_MAX_RV, _MAX_ERR = 5000.0, 1000.0
"""km/s. Beyond are the -9999 and 999999 of catalogs, not stars: no star of the Galaxy
moves at more than a few per cent of this, but for those at its central black hole."""
_MIN_ERR = 1e-9
"""km/s. Nobody measures a velocity to a millionth of a meter a second."""
_MOST_EXTENSIONS = 8


@dataclass(frozen=True)
class VelocityTable:
    """A table of velocities under our names, and what was found on the way."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    """Sentences on units, on what was left out, on what is doubtful."""


@dataclass(frozen=True)
class _Source:
    """Where a column of ours comes from: a column of the table, and its unit."""

    name: str
    unit: str | None = None
    by_user: bool = False


@dataclass(frozen=True)
class _Draft:
    """A table on its way to our names; ``sources`` of the columns not yet converted."""

    path: str
    frame: pl.DataFrame
    units: Mapping[str, str]
    notes: list[str]
    sources: dict[str, _Source] = field(default_factory=dict)
    survey: Survey | None = None


def read_velocity_table(
    path: str | PathLike[str],
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
) -> pl.DataFrame:
    """Read a table of velocities as `open_velocity_table` does; notes go to the log."""
    table = open_velocity_table(path, survey, columns)
    for note in table.notes:
        _logger.warning("%s: %s", fspath(path), note)
    return table.frame


def open_velocity_table(
    path: str | PathLike[str],
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    *,
    planned: bool = False,
) -> VelocityTable:
    """Read a table of velocities of any format and survey, with notes.

    Arguments:
        path: Parquet, FITS, VOTable, ECSV, CSV or text.
        survey: a name in `SURVEYS`; None to find out from the columns.
        columns: our name -> the table's name, as a mapping or as text
            (``"star_id=ID,rv=V"``); added to, and overruling, what the survey says. A
            unit in brackets, ``V[m/s]``, overrules that of the file; a text in quotes,
            ``star_id='HD 1'``, is the value of every row.
        planned: the visits are still to be made: every velocity is 0, and a table
            without errors has NaN.

    Returns rows in the order of the table (LAMOST's wide tables: blue before red).
    Columns named ``rv`` and ``rv_err`` become ``rv_raw`` and ``rv_raw_err``, if the
    table has none of that name.

    Raises:
        CatalogError: the survey is unknown, a needed column is missing, empty or in
            doubt, or a unit is unknown; the message says what to do.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    mapping = (
        parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    )
    name = fspath(path)
    found, table = _recognized(name, survey, open_table(path).flat())
    own = table.frame.columns
    if not len(table.frame):
        raise CatalogError(
            f"{name} has columns but no rows: check that it was written to its end."
        )
    frame = _without_second(table, mapping, name)
    draft = _Draft(name, frame, table.units, _fewer(table.notes), survey=found)
    table = replace(table, frame=frame)
    if found is not None:
        draft = _converted(draft, found, table, survey is not None)
    draft = _mapped(draft, mapping)
    draft = _with_defaults(draft)
    if planned:
        draft = _planned(draft)
    _require(draft.frame, own, name)
    if not planned:
        _doubt(draft)
    frame = _checked(_in_our_units(draft))
    if "status_original" in frame.columns and "status" in own:
        draft.notes.append(
            "The column status of the table is not of flags of steadystar: it is "
            "status_original here, and nothing was concluded from it."
        )
    return VelocityTable(frame, tuple(draft.notes))


def _without_second(
    table: Table, mapping: Mapping[str, str], path: str
) -> pl.DataFrame:
    """Refuse two columns of one needed name; a second rv is no second velocity."""
    frame = table.frame
    for note in table.notes:
        name, _, rest = note.removeprefix("Column ").partition(
            " occurs twice; the second is "
        )
        second = rest.removesuffix(" here.")
        if not rest or name.casefold() not in (*_RENAMED, *_NEEDED):
            continue
        again = f"{name}_again"
        if second in frame.columns and again not in frame.columns:
            frame = frame.rename({second: again})
        if _RENAMED.get(name, name) not in {_RENAMED.get(o, o) for o in mapping}:
            raise CatalogError(
                f"{path} has two columns called {name}. Say which is meant: {name}={name}"
                f" (the first) or {name}={again} (the second)."
            )
    return frame


def _fewer(notes: Sequence[str]) -> list[str]:
    """Say once, not column by column, what was left out and why."""
    out: dict[str, list[str]] = {}
    for note in notes:
        column, _, reason = note.removeprefix("Column ").partition(" was left out: ")
        if reason and note.startswith("Column "):
            out.setdefault(reason, []).append(column)
    said = [note for note in notes if " was left out: " not in note]
    for reason, columns in out.items():
        verb = "Columns" if len(columns) > 1 else "Column"
        was = "were" if len(columns) > 1 else "was"
        reason = reason.replace("its ", "their ") if len(columns) > 1 else reason
        said.append(f"{verb} {named(columns)} {was} left out: {reason}")
    return said


def _recognized(
    path: str, name: str | None, table: Table
) -> tuple[Survey | None, Table]:
    """Return the survey, and the table: of several in a file, the first it knows."""
    if name is not None and name not in SURVEYS:
        near = difflib.get_close_matches(name, SURVEYS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise CatalogError(
            f"There is no survey {name!r}. {hint}There are: {', '.join(SURVEYS)}; for "
            "any other table, name its columns."
        )
    asked = [SURVEYS[name]] if name is not None else list(SURVEYS.values())
    found = next((s for s in asked if s.recognizes(table.frame)), None)
    if found is None and any("the file has others" in note for note in table.notes):
        for extension in range(2, _MOST_EXTENSIONS + 1):
            try:
                other = open_table(path, extension)
            except TableError:
                continue
            found = next((s for s in asked if s.recognizes(other.frame)), None)
            if found is not None:
                said = f"Read table {extension} of the file: it is {found.description}."
                return found, replace(other, notes=(said, *other.notes))
    return (SURVEYS[name] if name is not None else found), table


def _converted(draft: _Draft, survey: Survey, table: Table, asked: bool) -> _Draft:
    """Apply a survey's names; the columns of the table come out as they went in."""
    if survey.convert is SURVEYS["steadystar"].convert:
        return draft
    if asked and not survey.recognizes(table.frame):
        lower = {name.casefold() for name in table.frame.columns}
        lacks = survey.lacks(lower if survey.any_case else set(table.frame.columns))
        draft.notes.append(
            f"The table lacks {', '.join(lacks)}, which {survey.description} has."
        )
    frame, units = survey.join_extensions(draft.path, table, draft.notes)
    aside = {name: f"{name}_original" for name in ("status", "survey") if name in frame}
    frame = frame.rename(aside).with_row_index("_from")
    scaled = {}
    for name, unit in units.items():
        try:
            factor = velocity_factor(unit)
        except UnitError as error:
            if name.casefold() not in _OF_SURVEYS:
                continue
            raise CatalogError(
                f"Column {name} of {draft.path} is in {error}: convert it."
            ) from error
        if factor not in (None, 1.0) and frame[name].dtype.is_numeric():
            scaled[name] = frame[name]
            frame = frame.with_columns(frame[name].cast(pl.Float64) * factor)
            draft.notes.append(f"{name} is in {unit}: it was converted to km/s.")
    made = survey.convert(frame, draft.notes)
    rows = made["_from"]
    made = made.with_columns(
        values.gather(rows) for name, values in scaled.items() if name in made.columns
    ).drop("_from")
    if "survey" not in made.columns:
        made = made.with_columns(
            survey=pl.lit(_SURVEY_OF.get(survey.name, survey.name))
        )
    return replace(draft, frame=made, units=units)


_OF_SURVEYS = frozenset(
    (
        *("vhelio", "vheliobary", "vrel", "vrelerr", "bc", "v_rad", "v_rel", "e_v_rel"),
        *("vrad", "vrad_err", "rv", "rv_err"),
        *("rv_b0", "rv_b0_err", "rv_r0", "rv_r0_err"),
    )
)
"""Columns of surveys that are velocities."""
_SURVEY_OF = {"sdss-v-drp": "sdss-v"}


def _mapped(draft: _Draft, mapping: Mapping[str, str]) -> _Draft:
    """Add the columns that the user names; what had the name before is set aside."""
    frame, sources = draft.frame, dict(draft.sources)
    added = {}
    for ours, said in mapping.items():
        if len(said) > 1 and said[0] == said[-1] and said[0] in "'\"":
            added[_RENAMED.get(ours, ours)] = pl.lit(said[1:-1])
            continue
        theirs, unit = (said, None) if said in frame.columns else split_unit(said)
        if theirs not in frame.columns:
            near = difflib.get_close_matches(theirs, frame.columns[:2000], n=3)
            hint = f"Nearest are {', '.join(near)}. " if near else ""
            raise CatalogError(
                f"{draft.path} has no column {theirs!r}, which was named as {ours}. "
                f"{hint}There are: {named(frame.columns)}."
            )
        name = _RENAMED.get(ours, ours)
        added[name] = frame[theirs]
        sources[name] = _Source(theirs, unit or draft.units.get(theirs), bool(unit))
    aside = {
        name: f"{name}_original"
        for name in added
        if name in frame.columns and name not in mapping.values()
    }
    frame = frame.rename(aside).with_columns(**added)
    return replace(draft, frame=frame, sources=sources)


def _with_defaults(draft: _Draft) -> _Draft:
    frame, sources = draft.frame, dict(draft.sources)
    lower: dict[str, list[str]] = {}
    for name in frame.columns:
        lower.setdefault(split_unit(name)[0].casefold(), []).append(name)
    for ours in (*_RENAMED, *_NEEDED):
        final = _RENAMED.get(ours, ours)
        if {ours, final} & set(frame.columns) or ours not in lower:
            continue
        theirs = _one_of(lower[ours], ours, draft.path)
        frame = frame.rename({theirs: ours})
        sources[ours] = _Source(theirs, _unit_in(draft, theirs))
    for old, new in _RENAMED.items():
        if old in frame.columns and new not in frame.columns:
            frame = frame.rename({old: new})
            sources[new] = sources.pop(old, _Source(old, draft.units.get(old)))
    for ours in _COPIED:
        others = [name for name in lower.get(ours, ()) if name != ours]
        if ours not in frame.columns and len(others) == 1:
            frame = frame.with_columns(frame[others[0]].alias(ours))
            sources[ours] = _Source(others[0], _unit_in(draft, others[0]))
    for ours in (*_VELOCITIES, "bjd", "ra", "dec"):
        if ours in draft.units and ours in frame.columns:
            sources.setdefault(ours, _Source(ours, draft.units[ours]))
    if "visit_id" not in frame.columns:
        frame = frame.with_columns(_visit_names(draft))
    if "star_id" not in frame.columns and _placed(frame):
        frame = frame.with_columns(star_id=pl.lit(None, pl.String))
    return replace(draft, frame=frame, sources=sources)


def _planned(draft: _Draft) -> _Draft:
    """Let every velocity be 0, and errors that are not given unknown."""
    frame = draft.frame.with_columns(rv_raw=pl.lit(0.0))
    if "rv_raw_err" not in frame.columns:
        frame = frame.with_columns(rv_raw_err=pl.lit(float("nan")))
    sources = {n: s for n, s in draft.sources.items() if n != "rv_raw"}
    return replace(draft, frame=frame, sources=sources)


def _visit_names(draft: _Draft) -> pl.Series:
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


def _unit_in(draft: _Draft, name: str) -> str | None:
    return draft.units.get(name) or split_unit(name)[1]


def _one_of(names: Sequence[str], ours: str, path: str) -> str:
    if len(names) > 1:
        raise CatalogError(
            f"{path} has {len(names)} columns that may be {ours}: {named(names)}. Say "
            f"which, as in {ours}={names[0]}."
        )
    return names[0]


def _placed(frame: pl.DataFrame) -> bool:
    return {"ra", "dec"} <= set(frame.columns)


def _require(frame: pl.DataFrame, own: Sequence[str], path: str) -> None:
    missing = [name for name in _NEEDED if name not in frame.columns]
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
            hints.append(f"{_ASKED[name]}={near[0]}")
    example = ",".join(hints) or "star_id=ID,rv=V,rv_err=E_V"
    alone = ""
    if "star_id" in missing and not any(hint.startswith("star_id") for hint in hints):
        alone = (
            " If all rows are of one star, give it a name in quotes: star_id='HD 1'."
        )
    raise CatalogError(
        f"{path} lacks a column for {', '.join(_ASKED[n] for n in missing)}; it has "
        f"{named(own)}. Say which they are, perhaps {example} (option --columns).{alone}"
    )


def _doubt(draft: _Draft) -> None:
    """Refuse columns that hold no numbers or no velocities; note what is doubtful."""
    for name in ("rv_raw", "rv_raw_err"):
        column = draft.frame[name]
        if column.dtype == pl.String and np.isnan(_number(column).to_numpy()).all():
            first = next((v for v in column.to_list() if v is not None), "")
            comma = re.fullmatch(r"\s*[+-]?\d+,\d+\s*", first)
            raise CatalogError(
                f"The column {_ASKED[name]} of {draft.path} holds no numbers; it begins "
                f"with {first[:40]!r}. "
                + (
                    "Write decimal points instead of commas."
                    if comma
                    else f"Name the right one, as in {_ASKED[name]}=COLUMN."
                )
            )
    if draft.frame["star_id"].dtype == pl.Boolean:
        raise CatalogError(
            f"The column star_id of {draft.path} holds true and false, not names of "
            "stars. Name the right one, as in star_id=COLUMN."
        )
    units = [_unit_of(draft, name) for name in ("rv_raw", "rv_raw_err")]
    said = any(unit is not None for unit in units)
    known = draft.survey is not None and "rv_raw" not in draft.sources
    names = [
        draft.sources.get(name, _Source(_ASKED[name])).name
        for name in ("rv_raw", "rv_raw_err")
    ]
    sure = said or known
    velocity, error = draft.frame["rv_raw"], draft.frame["rv_raw_err"]
    draft.notes.extend(doubt_velocities(velocity, names[0], draft.path, unit_said=sure))
    draft.notes.extend(doubt_errors(error, names[1], unit_said=sure))


def _unit_of(draft: _Draft, name: str) -> float | None:
    """Return what turns a column of velocities into km/s, None if nobody says."""
    source = draft.sources.get(name)
    if source is None:
        return None
    try:
        return velocity_factor(source.unit)
    except UnitError as error:
        ours = _ASKED.get(name, name)
        raise CatalogError(
            f"Column {source.name} of {draft.path} is in {error}. Say what it is in, as "
            f"in {ours}={source.name}[km/s] (option --columns), or convert it."
        ) from error


def _in_our_units(draft: _Draft) -> pl.DataFrame:
    """Convert what the user or the file gives in other units, and note it."""
    frame, made = draft.frame, []
    factors = {name: _unit_of(draft, name) for name in _VELOCITIES}
    pair = ("rv_raw", "rv_raw_err")
    for one, other in (pair, pair[::-1]):
        if factors[one] is None and factors[other] not in (None, 1.0):
            if one not in draft.sources and draft.survey is not None:
                continue
            factors[one] = factors[other]
            draft.notes.append(
                f"{_ASKED[one]} has no unit: it was taken to be in that of "
                f"{_ASKED[other]}, m/s."
            )
    for name, factor in factors.items():
        if factor not in (None, 1.0) and name in frame.columns:
            source = draft.sources.get(name, _Source(name))
            made.append(pl.Series(name, _number(frame[name]).to_numpy() * factor))
            draft.notes.append(f"{source.name} was converted from m/s to km/s.")
    for name in ("ra", "dec"):
        source = draft.sources.get(name, _Source(name))
        text = name in frame.columns and frame[name].dtype == pl.String
        if name in frame.columns and (source.unit or text):
            made.append(_angle(draft, name, source))
    if "bjd" in frame.columns:
        source = draft.sources.get("bjd", _Source("bjd"))
        try:
            dates, note = bjd_of(numbers(frame, "bjd"), source.unit, source.name)
        except UnitError as error:
            raise CatalogError(
                f"Column {source.name} of {draft.path} is in {error}. Say what it is, "
                f"as in bjd={source.name}[MJD]."
            ) from error
        made.append(pl.Series("bjd", dates))
        draft.notes.extend([note] if note else [])
    return frame.with_columns(made)


def _angle(draft: _Draft, name: str, source: _Source) -> pl.Series:
    try:
        found = degrees_of(draft.frame[name], source.unit, hours=name == "ra")
    except UnitError as error:
        raise CatalogError(
            f"Column {source.name} of {draft.path} is in {error}. Say what it is in, as "
            f"in {name}={source.name}[deg]."
        ) from error
    return pl.Series(name, found)


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    """Give the columns that are measured their types, and flag what is no velocity."""
    frame = frame.with_columns(
        *(_number(frame[name]) for name in _NUMBERS if name in frame.columns),
        frame["visit_id"].cast(pl.String),
    )
    status = np.zeros(len(frame), np.int64)
    if "status" in frame.columns:
        flags = _flags_of(frame["status"])
        if flags is None:
            frame = frame.rename({"status": "status_original"})
        else:
            status |= flags
    if _placed(frame):
        ra, dec = frame["ra"].to_numpy(), frame["dec"].to_numpy()
        placed = (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
        status |= np.where(placed, 0, int(Status.NO_POSITION))
        frame = frame.with_columns(
            pl.Series("ra", np.where(placed, ra, np.nan)),
            pl.Series("dec", np.where(placed, dec, np.nan)),
        )
    rv, error = frame["rv_raw"].to_numpy(), frame["rv_raw_err"].to_numpy()
    measured = np.abs(rv) < _MAX_RV
    trusted = (error > _MIN_ERR) & (error < _MAX_ERR)
    status |= np.where(measured, 0, int(Status.NO_VELOCITY))
    status |= np.where(measured & ~trusted, int(Status.BAD_ERROR), 0)
    failed = (status & int(Status.SURVEY_FLAG | Status.NO_VELOCITY)) != 0
    frame = _named(frame).with_columns(
        pl.Series("rv_raw", np.where(failed, np.nan, rv)),
        pl.Series("rv_raw_err", np.where(failed | ~trusted, np.nan, error)),
        pl.Series("status", status),
    )
    ours = [name for name in schema_columns("velocities") if name in frame.columns]
    rest = [name for name in frame.columns if name not in set(ours)]
    return frame.select(*ours, *rest)


def _flags_of(given: pl.Series) -> NDArray[np.int64] | None:
    """Return a column of our flags, or None if it is not one."""
    if not given.dtype.is_integer():
        return None
    flags = given.cast(pl.Int64, strict=False)
    if flags.null_count() > given.null_count():
        return None
    values = flags.fill_null(0).to_numpy()
    return None if (values & ~_ALL).any() else values


_ALL = int(sum(Status))
"""Every flag there is: a column called status that has other bits is not ours."""


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Give every row a star: its own identifier, its position, or itself."""
    names = frame["star_id"]
    if names.dtype.is_float():
        # 5853498713190525696.0 and NaN are what a table makes of whole numbers with gaps.
        names = names.fill_nan(None)
        whole = names.cast(pl.Int64, strict=False)
        if (whole.cast(pl.Float64) == names).all():
            names = whole
    star_id = names.cast(pl.String).str.strip_chars()
    frame = frame.with_columns(star_id.replace("", None))
    if not frame["star_id"].null_count():
        return frame
    if _placed(frame):
        return assign_stars(frame)
    alone = pl.lit("unplaced ") + pl.col("visit_id")
    return frame.with_columns(pl.col("star_id").fill_null(alone))


def _number(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False).fill_null(float("nan"))
