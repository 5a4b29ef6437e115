"""Distances of a table of stars: from a file to a catalog and a page."""

__all__ = ["describe_distances", "measure_distances", "read_stars"]

import difflib
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from astropy import units

from steadystar.data.tables import open_table
from steadystar.infer.distance import Distances, infer_distances
from steadystar.infer.distance_inputs import NEEDED
from steadystar.infer.distance_options import DistanceOptions
from steadystar.pipeline.answers import Answer
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import content_hash, fingerprint
from steadystar.publish.catalog import described
from steadystar.publish.distances_page import write_distances_page
from steadystar.survey.columns import CatalogError, named, parse_columns
from steadystar.survey.units import UnitError, degrees_of, split_unit

_UNITS = {
    **dict.fromkeys(("parallax", "parallax_error", "parallax_offset"), units.mas),
    **dict.fromkeys(("m_ks", "m_ks_err", "ks", "ks_err", "ebv", "ebv_err"), units.mag),
}
_KNOWN = (*NEEDED, "parallax_offset", "ra", "dec")


def measure_distances(
    table: Path,
    directory: Path,
    options: DistanceOptions | None = None,
    *,
    columns: Mapping[str, str] | str | None = None,
    quiet: bool = True,
) -> Distances:
    """Estimate the distances of a table of stars, and write all results.

    Arguments:
        table: Parquet, FITS, VOTable, ECSV or CSV; see `estimate_distances`.
        directory: where the results go; made if need be.
        options: how.
        columns: our names of the table's columns; a unit may follow in brackets.
        quiet: write to ``run.log`` only.

    Writes ``distances.parquet``, ``summary.json`` and ``report/index.html``.

    Raises:
        ValueError: the table cannot be read or lacks a column; the message says what to
            do.
    """
    options = options or DistanceOptions()
    frame, notes = read_stars(table, columns)
    answer = Answer(directory, "distances", [table], ("distances",))
    found = infer_distances(frame, options)
    with answer.begun(quiet) as log:
        log.say(f"Read        {len(frame):,} rows of {printable(str(table))}")
        given = [repr(sorted(asdict(options).items())), str(columns)]
        origin = {
            "steadystar.version": version("steadystar"),
            "steadystar.configuration": fingerprint(given)[:16],
            "steadystar.inputs": fingerprint([content_hash(table)])[:16],
        }
        said = described(found.table, "distances", origin)
        answer.table("distances", found.table, origin | said)
        summary = _summary(found, options, [*found.notes, *notes])
        answer.summary(summary, origin)
        title = f"Distances of {table.name}"
        answer.report(lambda part: write_distances_page(part, found, title, notes))
        for line in [*describe_distances(summary), *answer.lines()]:
            log.say(line)
    return found


def read_stars(
    path: Path, columns: Mapping[str, str] | str | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Read a table of stars under our names and in our units, with notes.

    Columns that are named, or differ from our names in case only, are added under our
    names; all others stay as they are.

    Raises:
        CatalogError: a column is not what was said, a unit is unfit, or there are no rows.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    table = open_table(path).flat()
    frame, notes = table.frame, list(table.notes)
    if not len(frame):
        raise CatalogError(
            f"{path} has columns but no rows: check that it was written to its end."
        )
    mapping = (
        parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    )
    if odd := [name for name in mapping if name not in _KNOWN]:
        raise CatalogError(
            f"{', '.join(odd)} cannot be named: name any of {', '.join(_KNOWN)}."
        )
    lower = {name.casefold(): name for name in reversed(frame.columns)}
    for ours in _KNOWN:
        theirs, unit = mapping.get(ours, lower.get(ours, ours)), None
        if theirs not in frame.columns:
            theirs, unit = split_unit(theirs)
        if theirs not in frame.columns:
            if ours in mapping:
                raise CatalogError(_absent(path, ours, mapping[ours], frame))
            continue
        unit = unit or table.units.get(theirs)
        values = _in_our_unit(frame[theirs], ours, unit, path)
        if ours in frame.columns and not values.equals(frame[ours]):
            kept = f"{ours}_original"
            notes.append(f"Column {ours} of the table is {kept} here.")
            frame = frame.rename({ours: kept})
        frame = frame.with_columns(values.alias(ours))
    return frame, notes


def _absent(path: Path, ours: str, theirs: str, frame: pl.DataFrame) -> str:
    near = difflib.get_close_matches(theirs, frame.columns, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return (
        f"{path} has no column {theirs!r}, which was named as {ours}. {hint}There are: "
        f"{named(frame.columns)}."
    )


def _in_our_unit(
    column: pl.Series, ours: str, unit: str | None, path: Path
) -> pl.Series:
    """Return a column in mas, mag or degrees."""
    if ours in ("ra", "dec"):
        try:
            degrees = degrees_of(column, unit, hours=ours == "ra")
        except (UnitError, pl.exceptions.PolarsError) as error:
            raise CatalogError(
                f"Column {column.name} of {path} is in {error}: say its unit, as in "
                f"--columns {ours}={column.name}[deg]."
            ) from error
        same = column.dtype.is_float() and np.array_equal(
            degrees, column.fill_null(np.nan).to_numpy(), equal_nan=True
        )
        return column if same else pl.Series(ours, degrees)
    wanted = _UNITS.get(ours)
    if wanted is None or not unit or unit.strip() in ("-", "--", "None"):
        return column
    try:
        factor = units.Unit(unit).to(wanted, 1.0)
    except (ValueError, TypeError, units.UnitConversionError) as error:
        raise CatalogError(
            f"Column {column.name} of {path} is in {unit!r}, and {ours} is in {wanted}: "
            f"say the right unit, as in --columns {ours}={column.name}[{wanted}]."
        ) from error
    if factor == 1:
        return column
    return column.cast(pl.Float64, strict=False) * float(np.real(factor))


def _summary(
    found: Distances, options: DistanceOptions, notes: list[str]
) -> dict[str, Any]:
    table, data, mixture = found.table, found.data, found.mixture
    both = data.has_modulus & data.has_parallax
    error = ((table["dis_high"] - table["dis_low"]) / 2 / table["dis"]).to_numpy()
    error = error[np.isfinite(error)]
    flags = table["binary_flag"]
    said = table["distance_status"]
    counts = said.filter(said != "").value_counts().sort("distance_status")
    return {
        "rows": len(table),
        "distances": int(table["dis"].is_finite().sum()),
        "from_both": int(both.sum()),
        "from_parallax_alone": int((data.has_parallax & ~both).sum()),
        "from_magnitude_alone": int((data.has_modulus & ~both).sum()),
        "median_relative_error": float(np.median(error)) if len(error) else None,
        "over_luminous": int((flags == 1).sum()),
        "not_over_luminous": int((flags == 0).sum()),
        "unknown": int((flags == -1).sum()),
        "pair_fraction": mixture.fraction,
        "pair_fraction_err": mixture.fraction_err,
        "magnitude_zero": mixture.zero,
        "outlier_fraction": float(mixture.weights[-1]),
        "learned_from": mixture.n_stars,
        "statuses": dict(counts.iter_rows()),
        "options": asdict(options),
        "notes": notes,
    }


def describe_distances(summary: Mapping[str, Any]) -> list[str]:
    """Say what was found, a line each, from ``summary.json``."""
    error = summary["median_relative_error"]
    median = f", median error {100 * error:.1f}%" if error is not None else ""
    lines = [
        (
            f"Distances   {summary['distances']:,}: {summary['from_both']:,} from parallax "
            f"and magnitude, {summary['from_parallax_alone']:,} from the parallax alone, "
            f"{summary['from_magnitude_alone']:,} from the magnitude alone{median}"
        ),
        (
            f"Pairs       {summary['over_luminous']:,} over-luminous by the flag, "
            f"{summary['not_over_luminous']:,} not, {summary['unknown']:,} unknown"
        ),
    ]
    if summary["learned_from"]:
        lines.append(
            f"            {100 * summary['pair_fraction']:.1f} ± "
            f"{100 * summary['pair_fraction_err']:.1f}% of the stars are pairs, by the "
            "mixture"
        )
    for i, note in enumerate(summary["notes"]):
        lines.append(f"{'' if i else 'Notes':<12}{note}")
    return lines
