"""The same table by several methods, when asked: solve, keep, say how they did."""

__all__ = ["describe_comparison", "keep_comparison", "solve_otherwise"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.zeropoint import ZeroPoints, fit_zeropoints
from steadystar.pipeline.kept import zeropoints_path
from steadystar.pipeline.ledger import atomic
from steadystar.publish.comparison import compare_methods


def solve_otherwise(
    visits: pl.DataFrame,
    zero: ZeroPoints,
    methods: Sequence[str],
    options: ZeroPointOptions,
) -> dict[str, ZeroPoints | str]:
    """Solve the families of ``zero`` by other methods; a sentence where one cannot."""
    others: dict[str, ZeroPoints | str] = {}
    for method in dict.fromkeys(methods):
        if method == zero.method:
            others[method] = f"Method {method} is the one that is used here."
            continue
        try:
            others[method] = fit_zeropoints(visits, zero.by, method, options)
        except CalibrationError as error:
            others[method] = f"Method {method} cannot do what was asked. {error}"
    return others


def keep_comparison(
    calibrated: pl.DataFrame,
    zero: ZeroPoints,
    others: Mapping[str, ZeroPoints | str],
    directory: Path,
) -> dict[str, dict[str, Any]]:
    """Save the zero points of other methods for the report; return all in numbers.

    Those of methods that were compared here before and are not now are removed.
    """
    solved = {name: one for name, one in others.items() if isinstance(one, ZeroPoints)}
    new = {zeropoints_path(directory, name) for name in solved}
    for old in set(zeropoints_path(directory).parent.glob("zeropoints-*.zip")) - new:
        old.unlink()
    for name, one in solved.items():
        with atomic(zeropoints_path(directory, name)) as part:
            one.save(part)
    numbers = compare_methods(calibrated, zero, solved) if solved else {}
    refused = {n: {"reason": one} for n, one in others.items() if isinstance(one, str)}
    return {**numbers, **{n: r for n, r in refused.items() if n not in numbers}}


def describe_comparison(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say how the methods did, a line each; the first is the one that is used."""
    lines = []
    for name, one in numbers.items():
        if "reason" in one:
            lines.append(one["reason"])
            continue
        text = f"{name}: {one['undetermined']} of {one['offsets']} undetermined"
        if one["scatter_kms"] is not None:
            text += f", constant stars scatter by {1000 * one['scatter_kms']:.0f} m/s"
        if one["difference_kms"] is not None:
            first = next(iter(numbers))
            text += f", {1000 * one['difference_kms']:.0f} m/s rms from {first}"
        lines.append(text)
    return [f"{'' if i else 'Compared':<12}{line}" for i, line in enumerate(lines)]
