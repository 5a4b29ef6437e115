"""What the tables of all surveys need: columns under our names, times, flags."""

__all__ = [
    "CatalogError",
    "at_barycenter",
    "exact_sum",
    "flags",
    "named",
    "numbers",
    "parse_columns",
    "renamed",
    "text",
    "with_bjd",
    "with_flag",
    "without_sentinels",
]

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.survey.observatory import Site, barycentric

_JD0 = 2_400_000.5
_NAMED = 40


class CatalogError(ValueError):
    """A table of velocities that lacks what is needed; the message says what."""


def parse_columns(words: str) -> dict[str, str]:
    """Read ``"star_id=ID,rv=V[m/s]"`` as a mapping of our names to a table's.

    Raises:
        CatalogError: a part has no ``=``, a side of it is empty, or a name of ours
            occurs twice.
    """
    mapping: dict[str, str] = {}
    for part in words.split(","):
        ours, _, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and theirs):
            raise CatalogError(
                f"{part.strip()!r} names no column: write OURS=THEIRS, separated by "
                "commas, such as star_id=ID,rv=V,rv_err=E_V; a unit may follow in "
                "brackets, as in rv=V[m/s]."
            )
        if ours in mapping:
            raise CatalogError(
                f"{ours} is named twice, as {mapping[ours]} and as {theirs}: name it "
                "once."
            )
        mapping[ours] = theirs
    return mapping


def named(names: Sequence[str]) -> str:
    """Return names for a message: the first forty, and how many more there are."""
    said = ", ".join(name[:60] for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{said} and {more} more" if more > 0 else said


def renamed(frame: pl.DataFrame, names: str) -> pl.DataFrame:
    """Add our columns with the values of theirs, where those are there."""
    present = {o: t for o, t in parse_columns(names).items() if t in frame.columns}
    return frame.with_columns(pl.col(t).alias(ours) for ours, t in present.items())


def without_sentinels(frame: pl.DataFrame) -> pl.DataFrame:
    """Make identifiers of -9999 and the like missing: they are not one star."""
    if "star_id" not in frame.columns or not frame["star_id"].dtype.is_integer():
        return frame
    return frame.with_columns(
        star_id=pl.when(pl.col("star_id") > 0).then(pl.col("star_id"))
    )


def exact_sum(frame: pl.DataFrame) -> pl.DataFrame:
    """Join velocity and barycentric correction exactly, where they were just added.

    The sum and ``c[(1 + v/c)(1 + b/c) - 1]`` differ by 7 m/s at 100 and 20 km/s. Where
    they differ by less than the rounding of published velocities, either is right.
    """
    if not {"rv_obs", "rv_raw", "bary_corr"} <= set(frame.columns):
        return frame
    observed, total, correction = (
        pl.col(name).cast(pl.Float64, strict=False)
        for name in ("rv_obs", "rv_raw", "bary_corr")
    )
    added = (observed + correction - total).abs() < 2e-3
    exact = observed + correction + observed * correction / C_KMS
    return frame.with_columns(rv_raw=pl.when(added).then(exact).otherwise(total))


def text(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as text without blanks around; nulls if there is none."""
    if name not in frame.columns:
        return pl.Series(name, [None] * len(frame), dtype=pl.String)
    return frame[name].cast(pl.String).str.strip_chars()


def numbers(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as numbers; NaN where, or if, there is none."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return frame[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def with_bjd(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add BJD_TDB from the Julian dates (UTC) at the middle of the exposures."""
    if column not in frame.columns:
        return frame
    jd = numbers(frame, column)
    return at_barycenter(frame, np.where(jd > 2.4e6, jd - _JD0, np.nan), None)


def at_barycenter(
    frame: pl.DataFrame, middle: NDArray[np.float64], site: Site | None
) -> pl.DataFrame:
    """Add ``bjd`` and, if the site is known and there is none yet, ``bary_corr``.

    ``middle`` of the exposures: modified Julian dates (UTC), ``(visit,)``.
    """
    if not {"ra", "dec"} <= set(frame.columns):
        return frame
    ra, dec = numbers(frame, "ra"), numbers(frame, "dec")
    believable = (np.abs(dec) <= 90) & (ra >= 0) & (ra <= 360)
    bjd, correction = barycentric(np.where(believable, middle, np.nan), ra, dec, site)
    frame = frame.with_columns(pl.Series("bjd", bjd))
    if site is not None and "bary_corr" not in frame.columns:
        frame = frame.with_columns(pl.Series("bary_corr", correction))
    return frame


def with_flag(
    frame: pl.DataFrame, bad: NDArray[np.bool_], flag: Status
) -> pl.DataFrame:
    """Set ``flag`` in the status of the rows that are ``bad``."""
    status = np.where(bad, int(flag), 0)
    if "status" in frame.columns:
        status |= frame["status"].to_numpy()
    return frame.with_columns(pl.Series("status", status, dtype=pl.Int64))


def flags(frame: pl.DataFrame, column: str, bits: int) -> NDArray[np.bool_]:
    """Return the rows in whose ``column`` of integers one of ``bits`` is set."""
    if column not in frame.columns or not frame[column].dtype.is_integer():
        return np.zeros(len(frame), bool)
    values = frame[column].cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    return (values & bits) != 0
