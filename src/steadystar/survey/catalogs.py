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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath

import polars as pl

from steadystar.data.tables import Table, TableError, open_table
from steadystar.survey.columns import named
from steadystar.survey.draft import (
    Draft,
    mapped,
    planned_visits,
    require,
    with_defaults,
    without_second,
)
from steadystar.survey.measured import checked, doubt, in_our_units
from steadystar.survey.surveys import SURVEYS, CatalogError, Survey, parse_columns
from steadystar.survey.units import (
    UnitError,
    velocity_factor,
)

_logger = logging.getLogger(__name__)

_MOST_EXTENSIONS = 8


@dataclass(frozen=True)
class VelocityTable:
    """A table of velocities under our names, and what was found on the way."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    """Sentences on units, on what was left out, on what is doubtful."""


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
    frame = without_second(table, mapping, name)
    draft = Draft(name, frame, table.units, _fewer(table.notes), survey=found)
    table = replace(table, frame=frame)
    if found is not None:
        draft = _converted(draft, found, table, survey is not None)
    draft = mapped(draft, mapping)
    draft = with_defaults(draft)
    if planned:
        draft = planned_visits(draft)
    require(draft.frame, own, name)
    if not planned:
        doubt(draft)
    frame = checked(in_our_units(draft))
    if "status_original" in frame.columns and "status" in own:
        draft.notes.append(
            "The column status of the table is not of flags of steadystar: it is "
            "status_original here, and nothing was concluded from it."
        )
    return VelocityTable(frame, tuple(draft.notes))


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


def _converted(draft: Draft, survey: Survey, table: Table, asked: bool) -> Draft:
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
