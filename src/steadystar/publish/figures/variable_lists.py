"""Stars that vary, as tables to be sorted and searched: what to observe next, and why."""

__all__ = [
    "candidate_listing",
    "class_listing",
    "massive_listing",
    "orbit_listing",
    "peak_listing",
]

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import DASH, MINUS, counted, significant
from steadystar.publish.variable_facts import PAGE_ORDER, candidates, judged_stars

_MEANS = {
    "double-lined binary": "lines of two stars were seen",
    "single-lined binary": "velocity varies as on an orbit, temperature does not",
    "likely pulsator": "temperature varies with the velocity",
    "variable": "varies, and it is not known why",
    "uncertain": "neither shown to vary nor likely to be constant",
    "constant": "more likely constant than not",
}


def candidate_listing(
    inputs: ReportInputs, pages: Mapping[str, str], options: ReportOptions
) -> Listing:
    """The stars that vary, with what is known of each."""
    table = candidates(inputs)
    shown = table.head(max(options.listed_rows, options.star_pages))
    rows = tuple(_candidate(row) for row in shown.iter_rows(named=True))
    links = tuple(pages.get(name) for name in shown["star_id"].to_list())
    note = (
        f"{counted(len(table), 'star')}, companions of great mass first, then by class "
        "and significance; a click on a heading sorts. Period and amplitude are those of "
        "the orbit where there is one (median of its samples), else of the highest peak. "
        "FAP: chance that noise has such a peak. Difference: the two visits that differ "
        "most in units of its error."
    )
    if len(shown) < len(table):
        note += f" The first {len(shown)} are listed; variables.parquet holds all."
    return Listing(
        "candidates",
        "Candidates",
        (
            *("star", "class", "evidence", "period (d)", "FAP", "K (km/s)"),
            *("modes", "difference (km/s)", "in errors", "p (chi²)", "visits", "days"),
            *("e", "f(M) (M☉)", "least M₂ (M☉)"),
        ),
        rows,
        note if rows else "No star was found to vary.",
        numeric=frozenset(range(3, 15)),
        wordy=frozenset((2,)),
        links=links,
        search=len(rows) > 5,
        sortable=True,
    )


def _candidate(row: Mapping[str, Any]) -> tuple[str, ...]:
    orbit = _known(row["orbit_period"])
    name = "orbit_period" if orbit else "period"
    period = _with_limits(row, name) if orbit else _with_error(row, "period")
    kind = row["class"] or DASH
    if row["massive_companion"]:
        kind += ", massive companion"
    return (
        row["star_id"],
        kind,
        row["evidence"] or DASH,
        period,
        _chance(row["period_fap"]),
        _with_limits(row, "k"),
        _whole(row["n_modes"]),
        _with_error(row, "rv_max_difference"),
        significant(_size(row["rv_max_difference_snr"])),
        _chance(row["p_value"]),
        _whole(row["n_visits"]),
        significant(row["baseline"]),
        significant(row["e"], 2),
        significant(row["mass_function"], 2),
        significant(row["m2_min"], 2),
    )


def massive_listing(inputs: ReportInputs, pages: Mapping[str, str]) -> Listing:
    """Binaries whose unseen companion weighs more than the limit."""
    table = candidates(inputs).filter(pl.col("massive_companion"))
    rows = tuple(
        (
            row["star_id"],
            significant(row["m2_min"], 3),
            significant(row["mass_function"], 3),
            _with_limits(row, "orbit_period"),
            _with_limits(row, "k"),
            _whole(row["n_visits"]),
            row["evidence"] or DASH,
        )
        for row in table.iter_rows(named=True)
    )
    note = (
        "The light of these stars shows no companion, and its motion asks for a heavy one: "
        "a white dwarf, neutron star or black hole, or two stars. A period that is an "
        "alias makes a wrong mass: see the page of the star before a night is spent."
        if rows
        else "No star with an orbit has an unseen companion above the limit of mass."
    )
    return Listing(
        "massive",
        "Massive unseen companions",
        (
            *("star", "least M₂ (M☉)", "f(M) (M☉)", "period (d)", "K (km/s)"),
            *("visits", "evidence"),
        ),
        rows,
        note,
        numeric=frozenset((1, 2, 3, 4, 5)),
        wordy=frozenset((6,)),
        links=tuple(pages.get(name) for name in table["star_id"].to_list()),
        sortable=True,
    )


def class_listing(inputs: ReportInputs) -> Listing | None:
    """How many stars are what."""
    if inputs.variables is None:
        return None
    table = judged_stars(inputs)
    counts = dict(table["class"].fill_null("not judged").value_counts().iter_rows())
    known = [name for name in PAGE_ORDER if name in counts]
    names = [*known, *sorted(set(counts) - {*known})]
    rows = tuple((name, f"{counts[name]:,}", _MEANS.get(name, DASH)) for name in names)
    return Listing(
        "classes",
        "Classes",
        ("class", "stars", "what it means"),
        rows,
        numeric=frozenset((1,)),
    )


def orbit_listing(
    inputs: ReportInputs, pages: Mapping[str, str], options: ReportOptions
) -> Listing | None:
    """Every orbit, or why there is none."""
    if inputs.orbits is None:
        return None
    table = schema.conform(inputs.orbits, "orbits")
    shown = table.head(options.listed_rows)
    rows = tuple(_orbit(row) for row in shown.iter_rows(named=True))
    note = (
        "Medians with the distances to the 16th and 84th percentile, in the largest mode; "
        "share: of the samples that are in it. A period with several modes is not known: "
        "more visits tell which it is."
    )
    if len(shown) < len(table):
        note += f" The first {len(shown)} are listed; orbits.parquet holds all."
    return Listing(
        "orbits",
        "Orbits",
        (
            *("star", "outcome", "visits", "samples", "modes", "share"),
            *("period (d)", "K (km/s)", "e", "velocity (km/s)", "jitter (km/s)"),
            *("M₂/M₁", "f(M) (M☉)", "least M₂ (M☉)", "chi²/dof", "method"),
        ),
        rows,
        note,
        numeric=frozenset(range(2, 15)),
        links=tuple(pages.get(str(name)) for name in shown["star_id"].to_list()),
        search=len(rows) > 5,
        sortable=True,
    )


def _orbit(row: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = DASH
    if _known(row["chi2"]) and row["dof"]:
        ratio = f"{row['chi2']:.1f} / {row['dof']}"
    return (
        str(row["star_id"]),
        row["orbit_status"] or DASH,
        _whole(row["n_visits"]),
        _whole(row["n_samples"]),
        _whole(row["n_modes"]),
        significant(row["mode_share"], 2),
        *(_with_limits(row, n) for n in ("period", "k", "e", "v0", "jitter")),
        *(_with_limits(row, n) for n in ("mass_ratio", "mass_function", "m2_min")),
        ratio,
        row["method"] or DASH,
    )


def peak_listing(periods: pl.DataFrame) -> Listing:
    """The peaks of one star's periodogram."""
    rows = tuple(
        (
            _whole(row["rank"]),
            _with_error(row, "period"),
            significant(row["power"]),
            _limits(row["power_low"], row["power_high"]),
            _chance(row["fap"]),
            _with_error(row, "amplitude"),
            significant(row["window"], 2),
            _alias(row),
        )
        for row in periods.iter_rows(named=True)
    )
    return Listing(
        "peaks",
        "Peaks of the periodogram",
        (
            *("rank", "period (d)", "power", "power ± jackknife error", "FAP"),
            *("amplitude (km/s)", "window", "alias"),
        ),
        rows,
        "Errors of a period hold if it is this peak. Jackknife error: from leaving out one "
        "visit or night at a time. Window: power of the times of observation themselves "
        "at this period.",
        numeric=frozenset(range(7)),
    )


def _limits(low: float | None, high: float | None) -> str:
    if not (_known(low) and _known(high)):
        return DASH
    return f"{significant(low, 2)} to {significant(high, 2)}"


def _alias(row: Mapping[str, Any]) -> str:
    if row["alias_of"] is None:
        return row["alias"] or DASH
    how = f": {row['alias']}" if row["alias"] else ""
    return f"of {row['alias_of']}{how}"


def _known(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _whole(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _chance(value: float | None) -> str:
    """Write a small probability as a power of ten: thresholds are below a thousandth."""
    if not _known(value) or value is None:
        return DASH
    if value < 1e-10:
        return "< 1e-10"
    return (
        f"{value:.0e}".replace("e-0", "e-") if value < 0.001 else significant(value, 2)
    )


def _places(error: float) -> int:
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 7))


def _with_error(row: Mapping[str, Any], name: str) -> str:
    value, error = row[name], row[f"{name}_err"]
    if not _known(value):
        return DASH
    if not _known(error) or error <= 0:
        return significant(value, 5)
    places = _places(error)
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", MINUS)


def _with_limits(row: Mapping[str, Any], name: str) -> str:
    """Write a median with the distances to both limits: 2.31, less 0.02, plus 0.03."""
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if not _known(value):
        return DASH
    if not (_known(low) and _known(high)) or high <= low:
        return significant(value, 5)
    down, up = max(value - low, 0.0), max(high - value, 0.0)
    places = _places((high - low) / 2)
    if round(down, places) == round(up, places):
        text = f"{value:.{places}f} ± {up:.{places}f}"
    else:
        text = f"{value:.{places}f} (-{down:.{places}f} +{up:.{places}f})"
    return text.replace("-", MINUS)
