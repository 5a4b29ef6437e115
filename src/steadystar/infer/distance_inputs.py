"""What a table says of distances: parallaxes and distance moduli that can be used.

The distance modulus of a single star follows from its magnitudes (Xiang et al. 2021,
section 7):

    mu = Ks - A_Ks - M_Ks,   A_Ks = 0.30 E(B-V)
    sigma^2 = m_ks_err^2 + ks_err^2 + (0.30 ebv_err)^2

A number that is missing, not finite, or a placeholder such as -9999 is none; so is one
whose error is. Why a row has no modulus or no parallax is kept in words.
"""

__all__ = ["NEEDED", "Measured", "measured", "numbers"]

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.distance_options import DistanceOptions
from steadystar.survey.columns import CatalogError, named

Vector = NDArray[np.float64]

NEEDED = (
    *("star_id", "m_ks", "m_ks_err", "ks", "ks_err", "ebv", "ebv_err"),
    *("parallax", "parallax_error"),
)
"""Columns that a table of stars must have; values may be missing."""

_FAINTEST = 60.0
"""mag. Nothing in the sky is fainter, nor brighter than minus this: catalogs write 99,
999 or -9999 for unknown. A modulus of 60 is beyond the horizon."""
_NEAREST = 900.0
"""mas. The nearest star has 768; -999 and the like stand for none."""
_LEAST_WIDTH = 1e-6
"""mag. Grids resolve nothing finer; no magnitude is better known."""
_LEAST_RATIO = 1e-7
"""Least relative error of a parallax, for the same reason."""


@dataclass(frozen=True)
class Measured:
    """Arrays ``(row,)``; what cannot be used is NaN.

    ``modulus, width``: of a single star, and its error, mag. ``parallax, error``: mas,
    zero point subtracted. ``why_not``: why a row lacks one of them, ``""`` if none.
    """

    modulus: Vector
    width: Vector
    parallax: Vector
    error: Vector
    why_not: NDArray[np.object_]

    @property
    def has_modulus(self) -> NDArray[np.bool_]:
        """Rows with a modulus."""
        return np.isfinite(self.modulus)

    @property
    def has_parallax(self) -> NDArray[np.bool_]:
        """Rows with a parallax."""
        return np.isfinite(self.parallax)

    def shifted(self, zero: float) -> "Measured":
        """Return the same with all moduli larger by ``zero`` mag."""
        return replace(self, modulus=self.modulus + zero)

    def __getitem__(self, rows) -> "Measured":
        return Measured(
            *(self.modulus[rows], self.width[rows], self.parallax[rows]),
            *(self.error[rows], self.why_not[rows]),
        )


def measured(table: pl.DataFrame, options: DistanceOptions) -> Measured:
    """Return what ``table`` says, row by row; see `NEEDED` for its columns.

    Raises:
        CatalogError: a column is missing, or holds no numbers.
    """
    _require(table)
    m_ks, ks, ebv = (numbers(table, name) for name in ("m_ks", "ks", "ebv"))
    m_ks_err, ks_err, ebv_err = (
        numbers(table, name) for name in ("m_ks_err", "ks_err", "ebv_err")
    )
    parallax, error = numbers(table, "parallax"), numbers(table, "parallax_error")
    why = np.full(len(table), "", object)
    magnitude = np.ones(len(table), bool)
    for name, good in (
        ("m_ks", np.abs(m_ks) < _FAINTEST),
        ("m_ks_err", (m_ks_err > 0) & np.isfinite(m_ks_err)),
        ("ks", np.abs(ks) < _FAINTEST),
        ("ks_err", (ks_err >= 0) & np.isfinite(ks_err)),
        ("ebv", np.abs(ebv) < _FAINTEST),
        ("ebv_err", (ebv_err >= 0) & np.isfinite(ebv_err)),
    ):
        why[magnitude & ~good] = f"No magnitude, since {name} has no usable value."
        magnitude &= good
    astrometry = (np.abs(parallax) < _NEAREST) & (error > 0) & np.isfinite(error)
    missing = "No parallax, since parallax or parallax_error has no usable value."
    why[~astrometry] = [f"{text} {missing}".strip() for text in why[~astrometry]]
    if "parallax_offset" in table.columns:
        offset = numbers(table, "parallax_offset")
        known = np.isfinite(offset)
        parallax = parallax - np.where(known, offset, 0.0)
        lost = astrometry & ~known
        said = "No parallax_offset: the parallax is taken as it is."
        why[lost] = [f"{text} {said}".strip() for text in why[lost]]
    ratio = options.a_ks_per_ebv
    with np.errstate(over="ignore", invalid="ignore"):
        modulus = ks - ratio * ebv - m_ks
        width = np.sqrt(m_ks_err**2 + ks_err**2 + (ratio * ebv_err) ** 2)
        width = np.maximum(width, _LEAST_WIDTH)
        error = np.maximum(error, _LEAST_RATIO * np.abs(parallax))
    return Measured(
        np.where(magnitude, modulus, np.nan),
        np.where(magnitude, width, np.nan),
        np.where(astrometry, parallax, np.nan),
        np.where(astrometry, error, np.nan),
        why,
    )


def _require(table: pl.DataFrame) -> None:
    lacking = [name for name in NEEDED if name not in table.columns]
    if lacking:
        raise CatalogError(
            f"The table has no column {' and no column '.join(lacking)}; it has "
            f"{named(table.columns)}. Say which it is, as in --columns "
            f"{lacking[0]}=COLUMN, or add it, empty where nothing is known."
        )


def numbers(table: pl.DataFrame, name: str) -> Vector:
    """Return a column as float64, NaN where there is no number."""
    column = table[name]
    try:
        values = column.cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError:
        values = pl.Series(name, [None] * len(column), dtype=pl.Float64)
    given = len(column) - column.null_count()
    if given and values.null_count() == len(values):
        example = str(column.drop_nulls()[0])[:40]
        raise CatalogError(
            f"Column {name} holds no number; it begins with {example!r}. Name the right "
            f"one, as in --columns {name}=COLUMN."
        )
    return values.fill_null(np.nan).to_numpy()
