"""The zero points that a directory keeps beside its tables, for reports written later.

The tables of offsets hold values and errors; the covariance of the offsets, and what other
methods found, are in archives (`ZeroPoints.save`) under ``work/``.
"""

__all__ = ["kept_comparison", "kept_zeropoints", "united", "zeropoints_path"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.pipeline.ledger import Ledger


def zeropoints_path(directory: Path, method: str | None = None) -> Path:
    """Return where `calibrate` keeps its zero points, or those of another method."""
    return directory / "work" / f"zeropoints{f'-{method}' if method else ''}.zip"


def united(parts: Sequence[ZeroPoints]) -> ZeroPoints | None:
    """Return zero points of different families that were solved apart, as one value.

    None if there are none, or if two parts have a family in common.
    """
    if len(parts) < 2:
        return parts[0] if parts else None
    by = tuple(columns for part in parts for columns in part.by)
    if len(set(by)) < len(by):
        return None
    sizes = [part.covariance.size for part in parts]
    starts = np.cumsum([0, *sizes])
    covariance = OffsetCovariance(int(starts[-1]))
    for part, start in zip(parts, starts, strict=False):
        covariance.members.extend(m + start for m in part.covariance.members)
        covariance.matrices.extend(part.covariance.matrices)
        covariance.sampled.extend(part.covariance.sampled)
    return ZeroPoints(
        by=by,
        method=parts[0].method,
        offsets={name: t for part in parts for name, t in part.offsets.items()},
        stars=pl.concat([part.stars for part in parts]),
        prior_widths={n: w for part in parts for n, w in part.prior_widths.items()},
        errors=pl.concat([part.errors for part in parts], how="diagonal_relaxed"),
        notes=[note for part in parts for note in part.notes],
        covariance=covariance,
    )


def kept_zeropoints(
    directory: Path, offsets: Mapping[str, pl.DataFrame], notes: list[str]
) -> ZeroPoints | None:
    """Return the zero points behind the tables ``offsets``, None if there are none.

    ``offsets``: keyed as their files are named. Zero points that something else left in
    the directory do not agree with the tables, and are passed over. Of damaged files
    ``notes`` gets a sentence.
    """
    ledger = Ledger(directory)
    record = ledger.record("zeropoints", "all")
    paths = [zeropoints_path(directory)]
    if record and "zeropoints" in record.outputs:
        paths.insert(0, ledger.path(record, "zeropoints"))
    for path in paths:
        zero = _loaded(path, notes) if path.exists() else None
        if zero is None:
            continue
        known = list(offsets.values())
        if len(zero.offsets) == len(known) and all(
            any(table.equals(other) for other in known)
            for table in zero.offsets.values()
        ):
            return zero
    return None


def kept_comparison(
    directory: Path, numbers: Mapping[str, Mapping[str, Any]], notes: list[str]
) -> tuple[dict[str, ZeroPoints], dict[str, str]]:
    """Return the zero points of other methods, and why others have none.

    ``numbers``: the entry ``compared`` of the summary.
    """
    refused = {name: one["reason"] for name, one in numbers.items() if "reason" in one}
    found = {}
    for name in numbers:
        path = zeropoints_path(directory, name)
        if name not in refused and path.exists() and (zero := _loaded(path, notes)):
            found[name] = zero
    return found, refused


def _loaded(path: Path, notes: list[str]) -> ZeroPoints | None:
    try:
        return ZeroPoints.load(path)
    except CalibrationError as error:
        notes.append(f"The report lacks what a damaged file holds. {error}")
        return None
