"""The tables of offsets, the widths of undetermined ones, and sentences about them."""

__all__ = ["Result", "offset_tables", "prior_widths", "sentences"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.problem import Family, Problem
from steadystar.calibrate.visitsums import Vector, distinct_stars
from steadystar.data.status import Status

_ENOUGH = 5
_NAMED = 5


@dataclass(frozen=True)
class Result:
    """Offsets in their gauges: ``offset``, ``label`` and ``status``, all (offset,)."""

    offset: Vector
    covariance: OffsetCovariance
    label: NDArray[np.intp]
    status: NDArray[np.int64]
    notes: tuple[str, ...]


def offset_tables(
    problem: Problem, result: Result, p_constant: Vector
) -> dict[str, pl.DataFrame]:
    """Return one table a family: its columns, then those of schema "offsets"."""
    error = np.sqrt(result.covariance.variances())
    constant = np.nan_to_num(p_constant) > 0.5
    tables = {}
    for family, start in zip(problem.families, problem.starts, strict=False):
        size = len(family.groups)
        mine = slice(start, start + size)
        seen = np.isfinite(problem.rv) & (family.index >= 0)
        stars = seen & (problem.star >= 0)
        steady = stars.copy()
        steady[stars] = constant[problem.star[stars]]
        label = np.unique(result.label[mine], return_inverse=True)[1]
        tables[family.name] = family.groups.with_columns(
            offset=pl.Series(result.offset[mine]),
            offset_err=pl.Series(
                np.where(np.isfinite(result.offset[mine]), error[mine], np.nan)
            ),
            n_visits=_counts(np.bincount(family.index[seen], minlength=size)),
            n_stars=_counts(_stars(problem, family, stars)),
            n_constant=_counts(_stars(problem, family, steady)),
            component=_counts(label),
            status=_counts(result.status[mine]),
        )
    return tables


def _counts(values: NDArray) -> pl.Series:
    return pl.Series(values.astype(np.int64), dtype=pl.Int64)


def _stars(problem: Problem, family: Family, rows: NDArray[np.bool_]) -> NDArray:
    size = len(family.groups)
    return distinct_stars(problem.star[rows], family.index[rows], size)


def prior_widths(
    tables: dict[str, pl.DataFrame], options: ZeroPointOptions
) -> dict[str, float]:
    """Return the width of each family's offsets, km/s.

    It is the scatter of the determined ones beyond their errors, if there are five or
    more, without those of an alternate lamp; else what the options say.
    """
    widths = {}
    for name, table in tables.items():
        good = table.filter(
            pl.col("offset").is_finite(),
            pl.col("status").cast(pl.Int64) & int(Status.LAMP_OUTLIER) == 0,
        )
        widths[name] = options.assumed_width(tuple(name.split("+")))
        free = len(good) - good["component"].n_unique()
        if len(good) >= _ENOUGH and free > 0:
            offset, error = good["offset"].to_numpy(), good["offset_err"].to_numpy()
            excess = float(np.sum(offset**2) / free - np.mean(error**2))
            widths[name] = float(np.sqrt(max(excess, 0.0)))
    return widths


def sentences(
    problem: Problem, tables: dict[str, pl.DataFrame], widths: dict[str, float]
) -> list[str]:
    """Say which offsets are missing and why, and which sets are not tied."""
    notes = []
    for family in problem.families:
        table = tables[family.name]
        status = table["status"].to_numpy()
        lost = (status & int(Status.UNCALIBRATED)) != 0
        if lost.any():
            several = len(problem.families) > 1
            width = widths[family.name]
            notes.append(_missing(family, table, lost, width, several=several))
        redundant = (status & int(Status.REDUNDANT)) != 0
        if redundant.any():
            notes.append(
                f"{int(redundant.sum())} of {len(table)} offsets of {family.name} are "
                "contained in the families named before it, and counted there: "
                f"{_names(family, redundant)}."
            )
        if ((status & int(Status.AMBIGUOUS)) != 0).any():
            notes.append(
                f"The offsets of {family.name} and of the families before it are tied "
                "along a direction that the data do not determine: their sums are right, "
                "the parts are a convention."
            )
        good = table.filter(pl.col("offset").is_finite())
        sets = good["component"].n_unique()
        if sets > 1:
            notes.append(
                f"The offsets of {family.name} fall into {sets} sets that no star ties "
                "to each other; each has a zero of its own, its weighted mean."
            )
    return notes


def _missing(
    family: Family, table: pl.DataFrame, lost: NDArray, width: float, *, several: bool
) -> str:
    status = table["status"].to_numpy()
    reasons = {
        Status.PLATE_REFUSED: "their plates were refused",
        Status.INCONSISTENT_SCATTER: "their spectrographs were set aside",
        Status.TOO_FEW_STARS: "too few constant stars tie them to others",
    }
    parts = []
    rest = lost.copy()
    for flag, reason in reasons.items():
        these = rest & ((status & int(flag)) != 0)
        if these.any():
            parts.append(f"{reason}: {_names(family, these)}")
        rest &= ~these
    if rest.any():
        parts.append(
            f"no star was seen both in them and in another: {_names(family, rest)}"
        )
    count = "None" if lost.all() else f"{int(lost.sum())}"
    verb = "can" if lost.all() else "cannot"
    whose = "their visits are"
    if several:
        whose = "their visits, where no other offset corrects them, are"
    return (
        f"{count} of the {len(table)} offsets of {family.name} {verb} be determined "
        f"({'; '.join(parts)}); {whose} UNCALIBRATED, with {width:.2f} km/s in "
        "correction_err."
    )


def _names(family: Family, which: NDArray[np.bool_]) -> str:
    at = np.flatnonzero(which)
    named = "; ".join(family.describe(int(i)) for i in at[:_NAMED])
    more = len(at) - _NAMED
    return f"{named}; and {more} more" if more > 0 else named
