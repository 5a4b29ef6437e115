"""The tables on the page of a comparison: numbers, who is odd, fast, or in one only."""

__all__ = ["compare_listings", "number_listings"]

import numpy as np
import polars as pl

from steadystar.infer.comparison import Comparison
from steadystar.infer.residuals import Residuals
from steadystar.publish.figures.compare_quantity import plus_minus, with_unit
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import DASH, MINUS, counted, probability, significant

_LISTED = 200


def number_listings(comparison: Comparison) -> list[Listing]:
    """All statistics: a row a quantity."""
    stats = comparison.statistics
    return [
        _residuals(stats, comparison),
        _errors(stats),
        _shapes(stats, comparison),
        _columns(comparison),
    ]


def compare_listings(comparison: Comparison) -> list[Listing]:
    """Lists of stars: outliers, candidates for high velocity, in one table only."""
    return [_outliers(comparison), _fast(comparison), _unmatched(comparison)]


def _residuals(stats, comparison: Comparison) -> Listing:
    rows = []
    every = [(q, s) for q, s in stats.items()]
    every += [(f"{q}, corrected", s) for q, s in comparison.corrected.items()]
    for quantity, s in every:
        core = DASH
        if np.isfinite(s.core.sigma):
            core = (
                f"{plus_minus(s.core.mu, s.core.mu_err)}; "
                f"{plus_minus(s.core.sigma, s.core.sigma_err, s.unit)}"
            )
        robust = plus_minus(s.median, s.median_err)
        rows.append(
            (
                quantity,
                f"{s.n:,}",
                f"{s.n - s.n_kept:,}",
                plus_minus(s.bias, s.bias_err, s.unit),
                plus_minus(s.scatter, s.scatter_err, s.unit),
                f"{robust}; {plus_minus(s.width, s.width_err, s.unit)}",
                core,
                f"{100 * s.core.wing_share:.1f}%" if s.core.wing_share > 0 else DASH,
                f"{s.n_outliers:,}",
            )
        )
    return Listing(
        "compare-numbers",
        f"A {MINUS} B in numbers",
        (
            *("quantity", "stars", "clipped", "bias", "scatter"),
            *("median; robust width", "Gaussian: mean; sigma", "in wings", "outliers"),
        ),
        tuple(rows),
        note=f"Bias and scatter: mean and standard deviation, clipped at "
        f"{comparison.options.n_sigma:g} sigma until nothing changes. Robust width: "
        "interquartile range over 1.349. Outliers: beyond "
        f"{comparison.options.outlier:g} robust widths.",
        numeric=frozenset(range(1, 9)),
    )


def _errors(stats) -> Listing:
    rows = tuple(
        (
            quantity,
            with_unit(s.error_a, s.unit),
            with_unit(s.error_b, s.unit),
            with_unit(s.error_both, s.unit),
            plus_minus(s.pull_width, s.pull_width_err),
            _of(s.sigma_b_if_a, s.unit),
            _of(s.sigma_a_if_b, s.unit),
            _of(s.beyond_both, s.unit),
        )
        for quantity, s in stats.items()
    )
    return Listing(
        "compare-errors",
        "What the errors predict",
        (
            *("quantity", "median error of A", "of B", "of both", "width of the pulls"),
            *("B's, if A's are right", "A's, if B's are right", "beyond both"),
        ),
        rows,
        note="Pulls: differences from the median over the errors of both; their width is "
        "one where these are right. sigma^2 = sigma_A^2 + sigma_B^2, solved by likelihood "
        "with wings for the errors of the one table, those of the other being taken as "
        "they are; the last column is what neither explains. Errors that both tables "
        "share, as of the same spectra, cancel and are not seen.",
        numeric=frozenset(range(1, 8)),
    )


def _of(pair: tuple[float, float], unit: str) -> str:
    """Write a value and its error."""
    return plus_minus(pair[0], pair[1], unit)


def _shapes(stats, comparison: Comparison) -> Listing:
    rows = []
    for quantity, s in stats.items():
        line, poly = (DASH, DASH), (DASH, DASH, DASH)
        if s.line is not None:
            line = (
                plus_minus(s.line.slope, s.line.slope_err),
                plus_minus(s.line.offset, s.line.offset_err, s.unit),
            )
        if s.polynomial is not None:
            p = s.polynomial
            terms = "; ".join(
                plus_minus(c, e) for c, e in zip(p.coefficients, p.errors, strict=True)
            )
            where = (
                f"t = (x {MINUS} {significant(p.center, 5)}) / {significant(p.scale)}"
            )
            poly = (
                ("yes" if p.significant else "no") + f" ({probability(p.p_value)})",
                with_unit(p.rms, s.unit),
                f"{terms}, with {where.replace(f'{MINUS} {MINUS}', '+ ')}",
            )
        rows.append((quantity, *line, *poly))
    return Listing(
        "compare-shapes",
        "Line and structure",
        (
            *("quantity", "slope of A against B", "offset", "structure (by chance)"),
            *("its rms", "fourth order: c0 to c4"),
        ),
        tuple(rows),
        note="The line is fitted after clipping about itself. Where errors of B are known, "
        "they do not flatten it; where only those of A are, B is fitted against A, and the "
        "line is its inverse; where none are, it is flattened. Structure: whether a polynomial of the fourth order says "
        "more than a constant, at a probability by chance below "
        f"{comparison.options.significance:g}. It is not taken off unless asked for.",
        numeric=frozenset((1, 2, 4)),
        wordy=frozenset((5,)),
    )


def _columns(comparison: Comparison) -> Listing:
    rows = tuple(
        tuple(value or DASH for value in row)
        for row in comparison.columns.select(
            "quantity", "unit", "column_a", "error_a", "column_b", "error_b"
        ).iter_rows()
    )
    return Listing(
        "compare-columns",
        "Columns that were compared",
        ("quantity", "unit", "in A", "its error", "in B", "its error"),
        rows,
    )


def _outliers(comparison: Comparison) -> Listing:
    rows: list[tuple[str, ...]] = []
    total = 0
    for quantity, s in comparison.statistics.items():
        far = comparison.matches.filter(f"{quantity}_outlier")
        total += len(far)
        away = (pl.col(f"{quantity}_difference") - s.median).abs()
        for row in far.sort(away, descending=True).head(_LISTED).iter_rows(named=True):
            rows.append(_outlier(row, quantity, s))
    shown = "" if total == len(rows) else f" The {_LISTED} farthest of each quantity."
    note = (
        f"{counted(total, 'difference')} beyond {comparison.options.outlier:g} robust "
        f"widths.{shown} compare.parquet has all (columns *_outlier)."
    )
    return Listing(
        "compare-outliers",
        "Outliers",
        (
            *("quantity", "star in A", "star in B", "A", "B", f"A {MINUS} B"),
            *("widths from the median", "arcsec apart"),
        ),
        tuple(rows),
        note=note if rows else "No star is an outlier.",
        numeric=frozenset(range(3, 8)),
        search=True,
        sortable=True,
    )


def _outlier(row: dict, quantity: str, s: Residuals) -> tuple[str, ...]:
    width = s.width if s.width > 0 else float("nan")
    difference = row[f"{quantity}_difference"]
    return (
        quantity,
        row["star_id_a"] or _place(row),
        row["star_id_b"] or _place(row),
        _plain(row[f"{quantity}_a"]),
        _plain(row[f"{quantity}_b"]),
        _plain(difference),
        significant((difference - s.median) / width, 3),
        significant(row["separation"], 2),
    )


def _plain(value: float) -> str:
    return significant(value, 5 if abs(value) >= 100 else 4)


def _place(row: dict) -> str:
    if not np.isfinite(row["ra"]):
        return DASH
    return f"{row['ra']:.5f} {row['dec']:+.5f}".replace("-", MINUS)


def _fast(comparison: Comparison) -> Listing:
    fast = comparison.fast
    rows = tuple(
        (
            row["star_id"] or _place(row),
            plus_minus(row["rv"], row["rv_err"]),
            f"{row['n_visits']:.0f}" if np.isfinite(row["n_visits"]) else DASH,
            significant(row["rv_scatter"], 2),
            plus_minus(row["rv_other"], row["rv_other_err"]),
            row["doubts"] or "none",
        )
        for row in fast.head(_LISTED).iter_rows(named=True)
    )
    limit = comparison.options.high_velocity
    solid = int(fast["solid"].sum())
    note = (
        f"{counted(len(fast), 'star')} of A faster than {limit:g} km/s; nothing speaks "
        f"against {solid:,} of them. high-velocity.parquet has all."
        if len(fast)
        else f"No star of A is faster than {limit:g} km/s."
    )
    return Listing(
        "compare-fast",
        "Candidates for high velocity",
        (
            *("star", "velocity (km/s)", "visits", "their scatter (km/s)"),
            *("in B (km/s)", "doubts"),
        ),
        rows,
        note=note,
        numeric=frozenset((1, 2, 3, 4)),
        wordy=frozenset((5,)),
    )


def _unmatched(comparison: Comparison) -> Listing:
    counts = (
        comparison.unmatched.group_by("table", "reason", maintain_order=True)
        .agg(n=pl.len(), nearest=pl.col("nearest").fill_nan(None).median())
        .sort("table", "n", descending=[False, True])
    )
    rows = tuple(
        (
            comparison.names["ab".index(row["table"])],
            row["reason"],
            f"{row['n']:,}",
            significant(row["nearest"], 3),
        )
        for row in counts.iter_rows(named=True)
    )
    return Listing(
        "compare-unmatched",
        "Stars in one table only",
        ("table", "why", "stars", "median distance of the nearest (arcsec)"),
        rows,
        note="unmatched.parquet has them one by one. Distances are told up to a degree."
        if rows
        else "Every star is in both tables.",
        numeric=frozenset((2, 3)),
        wordy=frozenset((1,)),
    )
