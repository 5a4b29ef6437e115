"""Two catalogs of the same stars: how they differ, in what, and why.

`compare_catalogs` pairs the stars (`pairing`), compares every quantity that both have
(`residuals`) and returns a `Comparison`: an immutable value with the stars that are in
both, the statistics of each quantity, the stars that are in one only with the reason,
and the candidates for high velocity. Before velocities are compared, stars with a single
visit and stars whose velocities scatter are set aside (Zong et al. 2020, section 4.4).
"""

__all__ = ["compare_catalogs"]

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from astropy import units

from steadystar.infer.catalog import QUANTITIES, Catalog, catalog_of
from steadystar.infer.compare_words import (
    matched_notes,
    nobody,
    nothing_shared,
    quantity_notes,
    unmatched,
)
from steadystar.infer.comparison import CompareOptions, Comparison
from steadystar.infer.fast_stars import fast_stars
from steadystar.infer.pairing import Pairing, pair_stars
from steadystar.infer.residuals import (
    Residuals,
    Sample,
    Vector,
    common_value,
    correlation,
    describe_differences,
)
from steadystar.survey.columns import CatalogError


def compare_catalogs(
    a: pl.DataFrame | Catalog,
    b: pl.DataFrame | Catalog,
    options: CompareOptions | None = None,
) -> Comparison:
    """Compare every quantity that two catalogs of stars share.

    Arguments:
        a, b: tables with identifiers or positions, whose columns are found by their usual
            names; or what `catalog.read_catalog` and `catalog.catalog_of` give.
        options: how.

    Raises:
        CatalogError: a column is missing, no star is in both, or no quantity is shared;
            the message says what to do.
    """
    options = options or CompareOptions()
    a, b = _catalog(a, "A", options), _catalog(b, "B", options)
    b, shared = _shared(a, b, options)
    how = {"auto": "auto", "position": "position"}.get(options.by, "identifier")
    _findable(a, b, how)
    pairs = pair_stars(a.frame, b.frame, options.radius_arcsec, how)
    if not len(pairs.a):
        raise CatalogError(nobody(a, b, pairs, options.radius_arcsec, how))
    matches = _matches(a, b, pairs, options)
    statistics: dict[str, Residuals] = {}
    notes = [*_named(a), *_named(b)]
    notes += matched_notes(a, b, pairs, options.radius_arcsec)
    aside, said = _set_aside(matches, options)
    for quantity in shared:
        reasons = aside if quantity == "rv" else None
        columns, found = _compared(a, b, pairs, quantity, reasons, matches, options)
        if found is None:
            notes.append(
                f"{quantity}: no star is compared: all that have it in both tables are "
                "set aside, or there is none."
            )
            notes += said if quantity == "rv" else []
            continue
        matches = matches.with_columns(**columns)
        statistics[quantity] = found
        if quantity == "rv":
            notes += said
        notes += quantity_notes(found, a.name, b.name, options.significance)
    if not statistics:
        raise CatalogError(nothing_shared(a, b, len(pairs.a), aside))
    matches, corrected = _corrected(matches, statistics, options)
    return Comparison(
        names=(a.name, b.name),
        matches=matches,
        statistics=statistics,
        unmatched=unmatched(a, b, pairs, options.radius_arcsec, how),
        fast=fast_stars(a, b, pairs, options.high_velocity),
        bins=_bins(matches, statistics, options),
        columns=_columns(a, b, statistics),
        n_stars=(len(a.frame), len(b.frame)),
        options=options,
        notes=tuple(dict.fromkeys(notes)),
        corrected=corrected,
    )


def _catalog(table: pl.DataFrame | Catalog, name: str, options: CompareOptions):
    if isinstance(table, Catalog):
        return table
    key = options.key
    return catalog_of(table, name, also=options.wanted, key=key)


def _named(catalog: Catalog) -> list[str]:
    """Notes of a table, with its name where they do not say it."""
    name = catalog.name
    return [n if name in n else f"{name}: {n}" for n in catalog.notes]


def _findable(a: Catalog, b: Catalog, how: str) -> None:
    """Refuse tables whose stars cannot be matched at all."""
    has_ids = [c.frame["key"].drop_nulls().len() > 0 for c in (a, b)]
    has_sky = [bool(c.frame["ra"].is_finite().any()) for c in (a, b)]
    if (how != "position" and all(has_ids)) or (how != "identifier" and all(has_sky)):
        return
    lacks = [
        f"{c.name} has {'' if i else 'no '}identifiers and {'' if s else 'no '}positions"
        for c, i, s in zip((a, b), has_ids, has_sky, strict=True)
    ]
    raise CatalogError(
        f"Stars cannot be matched: {'; '.join(lacks)}. Name the columns, as in "
        "star_id=ID or ra=RA,dec=DEC; both tables need the same."
    )


def _shared(
    a: Catalog, b: Catalog, options: CompareOptions
) -> tuple[Catalog, list[str]]:
    """Return B in A's units, and the quantities that both have."""
    asked = dict.fromkeys((*QUANTITIES, *options.quantities))
    for name in options.quantities:
        for catalog in (a, b):
            if name not in catalog.quantities:
                raise CatalogError(
                    f"{catalog.name} has no numbers {name!r}; it has "
                    f"{', '.join(catalog.quantities) or 'none that are known'}. Say "
                    f"which column it is, as in {name}=COLUMN."
                )
    shared = [n for n in asked if n in a.quantities and n in b.quantities]
    if not shared:
        raise CatalogError(nothing_shared(a, b))
    unknown = [n for n in options.correct if n not in shared]
    unknown += [n for n in options.ranges if n not in shared]
    if unknown:
        raise CatalogError(
            f"{', '.join(unknown)} cannot be corrected or limited: it is not in both "
            f"tables, which share {', '.join(shared)}."
        )
    if options.color is not None and not any(
        options.color in c.quantities for c in (a, b)
    ):
        raise CatalogError(
            f"Neither table has a column of numbers {options.color!r} to color with: "
            "name one, or say which column it is, as in --columns-a "
            f"{options.color}=COLUMN."
        )
    frame = b.frame
    for name in shared:
        factor = _conversion(name, a, b)
        frame = frame.with_columns(pl.col(name, f"{name}_err") * factor)
    return Catalog(b.name, frame, b.columns, b.units, b.notes, b.n_rows), shared


def _conversion(name: str, a: Catalog, b: Catalog) -> float:
    """Return what turns B's unit into A's, where both are stated."""
    one, other = a.units.get(name), b.units.get(name)
    if name in QUANTITIES or not one or not other or one == other:
        return 1.0
    try:
        factor: Any = units.Unit(other).to(units.Unit(one))
        return float(factor)
    except (ValueError, TypeError) as error:
        raise CatalogError(
            f"{name} is in {other!r} in {b.name} and in {one!r} in {a.name}: say the unit "
            f"of one, as in {name}=COLUMN[{one}]."
        ) from error


def _matches(a: Catalog, b: Catalog, pairs: Pairing, options: CompareOptions):
    """The stars in both tables, without the quantities."""
    one, other = a.frame[pairs.a], b.frame[pairs.b]
    ra, dec = (one[n].fill_nan(None).fill_null(other[n]) for n in ("ra", "dec"))
    columns: dict[str, Any] = {
        "star_id_a": one["star_id"],
        "star_id_b": other["star_id"],
        "row_a": one["row"],
        "row_b": other["row"],
        "ra": ra,
        "dec": dec,
        "matched": pairs.by,
        "separation": pairs.separation,
        "ambiguous": pairs.ambiguous,
    }
    for name in ("n_visits", "rv_scatter"):
        columns[f"{name}_a"], columns[f"{name}_b"] = one[name], other[name]
    if options.color is not None:
        source = one if options.color in a.quantities else other
        columns["third"] = source[options.color]
    return pl.DataFrame(columns)


def _set_aside(
    matches: pl.DataFrame, options: CompareOptions
) -> tuple[pl.Series, list[str]]:
    """Return why stars are not used for velocities (null if they are), and say so.

    A table in which no star has two visits says nothing by their number.
    """
    reason = np.full(len(matches), None, object)
    said = []
    for side in "ab":
        visits = matches[f"n_visits_{side}"].to_numpy()
        scatter = matches[f"rv_scatter_{side}"].to_numpy()
        table = side.upper()
        if (visits >= options.min_visits).any():
            few = visits < options.min_visits
            reason[few] = f"fewer than {options.min_visits} visits in {table}"
        elif np.isfinite(visits).any():
            said.append(
                f"rv: no star has {options.min_visits} visits in {table}: none is set "
                "aside by their number there."
            )
        reason[scatter > options.max_scatter] = (
            f"scatter above {options.max_scatter:g} km/s in {table}"
        )
    out = pl.Series("rv_reason", reason.tolist(), dtype=pl.String)
    counts = out.drop_nulls().value_counts(sort=True).sort("rv_reason")
    for words, number in counts.iter_rows():
        said.append(f"rv: {number:,} stars are set aside, {words}.")
    return out, said


def _compared(a, b, pairs: Pairing, quantity, reasons, matches, options):
    """Return the columns of a quantity for ``matches``, and its statistics."""
    one, other = a.frame[pairs.a], b.frame[pairs.b]
    values = [
        t[n].to_numpy() for t in (one, other) for n in (quantity, f"{quantity}_err")
    ]
    value_a, err_a, value_b, err_b = values
    has = np.isfinite(value_a) & np.isfinite(value_b)
    used = has if reasons is None else has & reasons.is_null().to_numpy()
    if not used.any():
        return {}, None
    sample = Sample(value_a[used], value_b[used], err_a[used], err_b[used])
    x = common_value(sample, options.against)
    low, high = options.ranges.get(quantity, (-np.inf, np.inf))
    inside = (x >= low) & (x <= high)
    sample = Sample(sample.a, sample.b, sample.a_err, sample.b_err, inside)
    found, far = describe_differences(
        quantity,
        a.units.get(quantity) or b.units.get(quantity) or "",
        sample,
        x,
        n_sigma=options.n_sigma,
        outlier=options.outlier,
        level=options.significance,
        n_set_aside=int((has & ~used).sum()),
    )
    if "third" in matches.columns:
        third = matches["third"].to_numpy()[used]
        rank, chance = correlation(third, sample.difference)
        found = replace(found, color_rank=rank, color_p=chance)
    columns = {
        f"{quantity}_a": value_a,
        f"{quantity}_a_err": err_a,
        f"{quantity}_b": value_b,
        f"{quantity}_b_err": err_b,
        f"{quantity}_difference": value_a - value_b,
        f"{quantity}_difference_err": np.hypot(err_a, err_b),
        f"{quantity}_common": _filled(x, used),
        f"{quantity}_used": used,
        f"{quantity}_outlier": _filled(far, used, fill=False),
    }
    if reasons is not None:
        columns["rv_reason"] = reasons
    return {n: pl.Series(n, v) for n, v in columns.items()}, found


def _filled(values, used, fill: float | bool = float("nan")):
    out = np.full(len(used), fill, dtype=np.asarray(values).dtype)
    out[used] = values
    return out


def _corrected(matches, statistics, options: CompareOptions):
    """Take the polynomial off the values of A, where that was asked for.

    Returns the matches with the corrected values, and the statistics of these.
    """
    corrected: dict[str, Residuals] = {}
    for quantity in options.correct:
        found = statistics.get(quantity)
        if found is None or found.polynomial is None:
            raise CatalogError(
                f"{quantity} cannot be corrected: too few stars have it in both tables "
                "for a polynomial."
            )
        value = matches[f"{quantity}_a"].to_numpy()
        value = value - found.polynomial.at(value)
        matches = matches.with_columns(pl.Series(f"{quantity}_a_corrected", value))
        used = matches[f"{quantity}_used"].to_numpy()
        rest = (matches[f"{quantity}_{n}"].to_numpy() for n in ("b", "a_err", "b_err"))
        sample = Sample(value[used], *(values[used] for values in rest))
        corrected[quantity], _ = describe_differences(
            quantity,
            found.unit,
            sample,
            common_value(sample, options.against),
            n_sigma=options.n_sigma,
            outlier=options.outlier,
            level=options.significance,
            n_set_aside=found.n_set_aside,
        )
    return matches, corrected


def _bins(matches: pl.DataFrame, statistics, options: CompareOptions) -> pl.DataFrame:
    """Bias and scatter of each quantity in five parts of equal number by color."""
    schema = {
        "quantity": pl.String,
        "low": pl.Float64,
        "high": pl.Float64,
        "n": pl.Int64,
        "bias": pl.Float64,
        "scatter": pl.Float64,
    }
    rows = []
    for quantity in statistics if "third" in matches.columns else ():
        used = matches.filter(f"{quantity}_used").filter(pl.col("third").is_finite())
        third: Vector = used["third"].to_numpy()
        difference = used[f"{quantity}_difference"].to_numpy()
        if len(third) < 25:
            continue
        edges = np.unique(np.quantile(third, np.linspace(0, 1, 6)))
        part = np.searchsorted(edges, third, side="right") - 1
        part = np.clip(part, 0, max(len(edges) - 2, 0))
        for number in range(len(edges) - 1):
            d = difference[part == number]
            if len(d) < 4:
                continue
            low, median, high = np.percentile(d, [25, 50, 75])
            rows.append(
                (
                    *(quantity, float(edges[number]), float(edges[number + 1])),
                    *(len(d), float(median), float(high - low) / 1.3489795),
                )
            )
    return pl.DataFrame(rows, schema=schema, orient="row")


def _columns(a: Catalog, b: Catalog, statistics) -> pl.DataFrame:
    """Which columns of the tables were compared."""
    rows = [
        {
            "quantity": quantity,
            "unit": statistics[quantity].unit,
            "column_a": a.columns[quantity],
            "error_a": a.columns.get(f"{quantity}_err"),
            "column_b": b.columns[quantity],
            "error_b": b.columns.get(f"{quantity}_err"),
        }
        for quantity in statistics
    ]
    names = ("quantity", "unit", "column_a", "error_a", "column_b", "error_b")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
