"""Groups of a number: ``bjd@1h`` is an hour of time, ``fiber@30`` a bundle of 30 fibers.

An instrument that drifts slowly has too many exposures for one offset each, where each
holds few stars. Its drift is a family of bins, such as ``spectrograph,night,bjd@1h``: an
offset for every hour of a night. A bin is named by its lower edge, a whole multiple of the
width; what drifts within a bin stays in the velocities, so that a bin should be as short
as its stars allow.
"""

__all__ = ["is_binned", "width_of", "with_bins"]

import re
from collections.abc import Iterable

import polars as pl

from steadystar.calibrate.options import CalibrationError

_DAYS = {"d": 1.0, "h": 1 / 24, "min": 1 / 1440}
_WIDTH = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-z]*)\s*")


def is_binned(column: str) -> bool:
    """Whether the name of a column asks for bins of another."""
    return "@" in column


def width_of(column: str) -> tuple[str, float]:
    """Return the column of ``"bjd@1h"`` that holds numbers, and the width of its bins.

    A width in h, min or d is in days: it is meant for times.

    Raises:
        CalibrationError: there is no width, or none that is positive.
    """
    name, _, text = column.rpartition("@")
    found = _WIDTH.fullmatch(text)
    unit = found[2] if found else ""
    width = float(found[1]) if found else 0.0
    if not (name and width > 0 and (unit in _DAYS or not unit)):
        raise CalibrationError(
            f"{column} asks for bins without saying how wide: write COLUMN@WIDTH, such "
            "as bjd@1h (also min, d) or fiber@30."
        )
    return name, width * _DAYS.get(unit, 1.0)


def with_bins(visits: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Return ``visits`` with every binned one of ``columns``: lower edges, or null.

    A column that has the name already is taken as it is.

    Raises:
        CalibrationError: the column is missing or holds no numbers.
    """
    added = {}
    for column in columns:
        if not is_binned(column) or column in visits.columns:
            continue
        name, width = width_of(column)
        if name not in visits.columns:
            raise CalibrationError(
                f"The table has no column {name}, in bins of which ({column}) offsets "
                f"were asked for: choose among {', '.join(sorted(visits.columns)[:40])}."
            )
        if not visits[name].dtype.is_numeric():
            raise CalibrationError(
                f"Column {name} holds no numbers, so that {column} has no bins: name a "
                "column of numbers."
            )
        value = visits[name].cast(pl.Float64)
        edge = (value / width).floor() * width
        added[column] = edge.fill_nan(None).set(edge.is_infinite(), None)
    return visits.with_columns(**added)
