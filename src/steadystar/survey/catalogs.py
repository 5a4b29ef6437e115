"""Velocities that others published, under our names.

A table of any survey becomes one row a velocity with ``star_id``, ``rv_raw`` (km/s,
barycentric), ``rv_raw_err``, ``status`` and whatever else the table says of it; its own
columns are kept beside ours, rows keep their order, and columns keep their types. A row
without a usable velocity, or that its survey marks as failed, stays, with NaN and the
status that says so.

Which survey's table it is shows in its columns; see `SURVEYS`. Any other table needs
`columns`, such as ``{"star_id": "ID", "rv": "V", "rv_err": "E_V"}``.
"""

__all__ = ["SURVEYS", "CatalogError", "parse_columns", "read_velocity_table"]

import difflib
from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
import polars as pl

from steadystar.data.match import assign_stars
from steadystar.data.schema import columns as schema_columns
from steadystar.data.status import Status
from steadystar.data.tables import read_table
from steadystar.survey.surveys import SURVEYS, CatalogError, Survey, parse_columns

_RENAMED = {"rv": "rv_raw", "rv_err": "rv_raw_err"}
_NEEDED = ("star_id", "rv_raw", "rv_raw_err")
_ASKED = {"star_id": "star_id", "rv_raw": "rv", "rv_raw_err": "rv_err"}
_HINTS = {
    "star_id": ("star_id", "star", "id", "name", "object", "source_id", "target"),
    "rv_raw": ("rv", "rv_raw", "v", "vrad", "vhelio", "radial_velocity", "velocity"),
    "rv_raw_err": ("rv_err", "err", "e_rv", "sigma_rv", "rv_error", "vrelerr", "sigma"),
}
_NUMBERS = (
    *("rv_raw", "rv_raw_err", "rv_obs", "bary_corr", "bjd", "exptime", "snr"),
    *("ra", "dec"),
)
_MAX_RV, _MAX_ERR = 5000.0, 1000.0
"""km/s. Beyond are the -9999 and 999999 of catalogs, not stars: no star of the Galaxy
moves at more than a few per cent of this, but for those at its central black hole."""


def read_velocity_table(
    path: str | PathLike[str],
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
) -> pl.DataFrame:
    """Read a table of velocities of any format and survey.

    Arguments:
        path: Parquet, FITS, VOTable, ECSV, CSV or text.
        survey: a name in `SURVEYS`; None to find out from the columns.
        columns: our name -> the table's name, as a mapping or as text
            (``"star_id=ID,rv=V"``); added to, and overruling, what the survey says.

    Returns rows in the order of the table (LAMOST's wide tables: blue before red).
    Columns named ``rv`` and ``rv_err`` become ``rv_raw`` and ``rv_raw_err``, if the
    table has none of that name.

    Raises:
        CatalogError: the survey is unknown, or a needed column is missing.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    mapping = (
        parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    )
    frame = read_table(path)
    own = frame.columns
    found = _survey(survey, frame)
    if found is not None:
        frame = found.join_extensions(path, frame)
        frame = found.convert(frame)
    frame = _mapped(frame, mapping, path)
    frame = _with_defaults(frame, found)
    _require(frame, own, path)
    if not len(frame):
        raise CatalogError(
            f"{path} has columns but no rows: check that it was written to its end."
        )
    _require_numbers(frame, path)
    return _checked(frame)


def _survey(name: str | None, frame: pl.DataFrame) -> Survey | None:
    if name is None:
        return next((s for s in SURVEYS.values() if s.recognizes(frame)), None)
    if name not in SURVEYS:
        near = difflib.get_close_matches(name, SURVEYS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise CatalogError(
            f"There is no survey {name!r}. {hint}There are: {', '.join(SURVEYS)}; for "
            "any other table, name its columns."
        )
    return SURVEYS[name]


def _mapped(
    frame: pl.DataFrame, mapping: Mapping[str, str], path: str | PathLike[str]
) -> pl.DataFrame:
    """Add the columns that the user names; what had the name before is set aside."""
    added = {}
    for ours, theirs in mapping.items():
        if theirs not in frame.columns:
            near = difflib.get_close_matches(theirs, frame.columns, n=3)
            hint = f"Nearest are {', '.join(near)}. " if near else ""
            raise CatalogError(
                f"{path} has no column {theirs!r}, which was named as {ours}. {hint}"
                f"There are: {', '.join(frame.columns)}."
            )
        added[_RENAMED.get(ours, ours)] = frame[theirs]
    aside = {
        name: f"{name}_original"
        for name in added
        if name in frame.columns and name not in mapping.values()
    }
    return frame.rename(aside).with_columns(**added)


def _with_defaults(frame: pl.DataFrame, survey: Survey | None) -> pl.DataFrame:
    lower = {name.casefold(): name for name in frame.columns}
    for ours in (*_RENAMED, *_NEEDED):
        theirs = lower.get(ours, ours)
        taken = {ours, _RENAMED.get(ours, ours)} & set(frame.columns)
        if theirs in frame.columns and not taken:
            frame = frame.rename({theirs: ours})
    for old, new in _RENAMED.items():
        if old in frame.columns and new not in frame.columns:
            frame = frame.rename({old: new})
    if "visit_id" not in frame.columns:
        names = [f"row-{row}" for row in range(len(frame))]
        frame = frame.with_columns(pl.Series("visit_id", names, dtype=pl.String))
    if "survey" not in frame.columns and survey is not None:
        frame = frame.with_columns(survey=pl.lit(survey.name))
    if "star_id" not in frame.columns and _placed(frame):
        frame = frame.with_columns(star_id=pl.lit(None, pl.String))
    return frame


def _placed(frame: pl.DataFrame) -> bool:
    return {"ra", "dec"} <= set(frame.columns)


def _require(
    frame: pl.DataFrame, own: Sequence[str], path: str | PathLike[str]
) -> None:
    missing = [name for name in _NEEDED if name not in frame.columns]
    if not missing:
        return
    hints = []
    lower = {name.casefold(): name for name in own}
    for name in missing:
        near = [
            lower[match]
            for hint in _HINTS[name]
            for match in difflib.get_close_matches(hint, lower, n=2, cutoff=0.7)
        ]
        if near:
            hints.append(f"{_ASKED[name]}={near[0]}")
    example = ",".join(hints) or "star_id=ID,rv=V,rv_err=E_V"
    raise CatalogError(
        f"{path} lacks a column for {', '.join(_ASKED[n] for n in missing)}; it has "
        f"{', '.join(own)}. Say which they are, perhaps {example}."
    )


def _require_numbers(frame: pl.DataFrame, path: str | PathLike[str]) -> None:
    for name in ("rv_raw", "rv_raw_err"):
        if frame[name].dtype == pl.String and _number(frame[name]).is_nan().all():
            raise CatalogError(
                f"The column {_ASKED[name]} of {path} holds no numbers; it begins with "
                f"{frame[name][0]!r}. Name the right one, as in {_ASKED[name]}=COLUMN."
            )


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    """Give the columns that are measured their types, and flag what is no velocity."""
    frame = frame.with_columns(
        *(_number(frame[name]) for name in _NUMBERS if name in frame.columns),
        frame["visit_id"].cast(pl.String),
    )
    status = np.zeros(len(frame), np.int64)
    if "status" in frame.columns:
        if frame["status"].dtype.is_integer():
            status |= frame["status"].fill_null(0).cast(pl.Int64).to_numpy()
        else:
            frame = frame.rename({"status": "status_original"})
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
    trusted = (error > 0) & (error < _MAX_ERR)
    status |= np.where(measured, 0, int(Status.NO_VELOCITY))
    status |= np.where(measured & ~trusted, int(Status.BAD_ERROR), 0)
    failed = (status & int(Status.SURVEY_FLAG | Status.NO_VELOCITY)) != 0
    frame = _named(frame).with_columns(
        pl.Series("rv_raw", np.where(failed, np.nan, rv)),
        pl.Series("rv_raw_err", np.where(failed | ~trusted, np.nan, error)),
        pl.Series("status", status),
    )
    ours = [name for name in schema_columns("velocities") if name in frame.columns]
    return frame.select(*ours, pl.exclude(ours))


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Give every row a star: its own identifier, its position, or itself."""
    star_id = frame["star_id"].cast(pl.String).str.strip_chars()
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
