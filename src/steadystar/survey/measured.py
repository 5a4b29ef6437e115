"""From the columns of a foreign table to numbers in our units, with flags."""

__all__ = ["checked", "doubt", "in_our_units"]

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.match import assign_stars
from steadystar.data.schema import columns as schema_columns
from steadystar.data.status import Status
from steadystar.survey.columns import numbers
from steadystar.survey.doubts import doubt_errors, doubt_velocities
from steadystar.survey.draft import ASKED, VELOCITIES, Draft, Source, has_positions
from steadystar.survey.surveys import CatalogError
from steadystar.survey.units import UnitError, bjd_of, degrees_of, velocity_factor

_NUMBERS = (*VELOCITIES, "bjd", "exptime", "snr", "ra", "dec")
_MAX_RV, _MAX_ERR = 5000.0, 1000.0
"""km/s. Beyond are the -9999 and 999999 of catalogs, not stars: no star of the Galaxy
moves at more than a few per cent of this, but for those at its central black hole."""
_MIN_ERR = 1e-9
"""km/s. Nobody measures a velocity to a millionth of a meter a second."""


def doubt(draft: Draft) -> None:
    """Refuse columns that hold no numbers or no velocities; note what is doubtful."""
    for name in ("rv_raw", "rv_raw_err"):
        column = draft.frame[name]
        if column.dtype == pl.String and np.isnan(_number(column).to_numpy()).all():
            first = next((v for v in column.to_list() if v is not None), "")
            comma = re.fullmatch(r"\s*[+-]?\d+,\d+\s*", first)
            raise CatalogError(
                f"The column {ASKED[name]} of {draft.path} holds no numbers; it begins "
                f"with {first[:40]!r}. "
                + (
                    "Write decimal points instead of commas."
                    if comma
                    else f"Name the right one, as in {ASKED[name]}=COLUMN."
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
        draft.sources.get(name, Source(ASKED[name])).name
        for name in ("rv_raw", "rv_raw_err")
    ]
    sure = said or known
    velocity, error = draft.frame["rv_raw"], draft.frame["rv_raw_err"]
    draft.notes.extend(doubt_velocities(velocity, names[0], draft.path, unit_said=sure))
    draft.notes.extend(doubt_errors(error, names[1], unit_said=sure))


def _unit_of(draft: Draft, name: str) -> float | None:
    """Return what turns a column of velocities into km/s, None if nobody says."""
    source = draft.sources.get(name)
    if source is None:
        return None
    try:
        return velocity_factor(source.unit)
    except UnitError as error:
        ours = ASKED.get(name, name)
        raise CatalogError(
            f"Column {source.name} of {draft.path} is in {error}. Say what it is in, as "
            f"in {ours}={source.name}[km/s] (option --columns), or convert it."
        ) from error


def in_our_units(draft: Draft) -> pl.DataFrame:
    """Convert what the user or the file gives in other units, and note it."""
    frame, made = draft.frame, []
    factors = {name: _unit_of(draft, name) for name in VELOCITIES}
    pair = ("rv_raw", "rv_raw_err")
    for one, other in (pair, pair[::-1]):
        if factors[one] is None and factors[other] not in (None, 1.0):
            if one not in draft.sources and draft.survey is not None:
                continue
            factors[one] = factors[other]
            draft.notes.append(
                f"{ASKED[one]} has no unit: it was taken to be in that of "
                f"{ASKED[other]}, m/s."
            )
    for name, factor in factors.items():
        if factor not in (None, 1.0) and name in frame.columns:
            source = draft.sources.get(name, Source(name))
            made.append(pl.Series(name, _number(frame[name]).to_numpy() * factor))
            draft.notes.append(f"{source.name} was converted from m/s to km/s.")
    for name in ("ra", "dec"):
        source = draft.sources.get(name, Source(name))
        text = name in frame.columns and frame[name].dtype == pl.String
        if name in frame.columns and (source.unit or text):
            made.append(_angle(draft, name, source))
    if "bjd" in frame.columns:
        source = draft.sources.get("bjd", Source("bjd"))
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


def _angle(draft: Draft, name: str, source: Source) -> pl.Series:
    try:
        found = degrees_of(draft.frame[name], source.unit, hours=name == "ra")
    except UnitError as error:
        raise CatalogError(
            f"Column {source.name} of {draft.path} is in {error}. Say what it is in, as "
            f"in {name}={source.name}[deg]."
        ) from error
    return pl.Series(name, found)


def checked(frame: pl.DataFrame) -> pl.DataFrame:
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
    if has_positions(frame):
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
    if has_positions(frame):
        return assign_stars(frame)
    alone = pl.lit("unplaced ") + pl.col("visit_id")
    return frame.with_columns(pl.col("star_id").fill_null(alone))


def _number(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False).fill_null(float("nan"))
