"""Stars that vary, as tables to be sorted and searched: what to observe next, and why."""

__all__ = [
    "candidate_listing",
    "class_listing",
    "massive_listing",
    "orbit_listing",
    "peak_listing",
]

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from steadystar.data import schema
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.measured import (
    chance,
    is_known,
    whole,
    with_error,
    with_limits,
)
from steadystar.publish.numbers import DASH, counted, significant
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
        "most in units of its error. Two stars: visits that show the lines of two. p "
        "(Teff): chance that temperature and velocity are independent. Why a star "
        "is of its class is said on its page."
    )
    if len(shown) < len(table):
        note += f" The first {len(shown)} are listed; variables.parquet holds all."
    filled = _filled(rows)
    return Listing(
        "candidates",
        "Candidates",
        tuple(_CANDIDATE[place] for place in filled),
        tuple(tuple(row[place] for place in filled) for row in rows),
        note if rows else "No star was found to vary.",
        numeric=frozenset(range(2, len(filled))),
        links=links,
        search=len(rows) > 5,
        sortable=True,
    )


_CANDIDATE = (
    *("star", "class", "period (d)", "FAP", "K (km/s)", "modes"),
    *("difference (km/s)", "in errors", "p (chi²)", "two stars", "p (Teff)"),
    *("visits", "days", "e", "f(M) (M☉)", "least M₂ (M☉)"),
)


def _filled(rows: Sequence[tuple[str, ...]]) -> list[int]:
    """The columns of candidates, but those that are empty for all of them."""
    return [
        place
        for place in range(len(_CANDIDATE))
        if place < 2 or any(row[place] != DASH for row in rows)
    ]


def _candidate(row: Mapping[str, Any]) -> tuple[str, ...]:
    orbit = is_known(row["orbit_period"])
    name = "orbit_period" if orbit else "period"
    period = _limits_of(row, name) if orbit else _error_of(row, "period")
    kind = row["class"] or DASH
    if row["massive_companion"]:
        kind += ", massive companion"
    return (
        row["star_id"],
        kind,
        period,
        chance(row["period_fap"]),
        _limits_of(row, "k") if is_known(row["k"]) else _error_of(row, "peak_k"),
        whole(row["n_modes"]),
        _error_of(row, "rv_max_difference"),
        significant(_size(row["rv_max_difference_snr"])),
        chance(row["p_value"]),
        whole(row["n_double_lined"] or None),
        chance(row["p_teff_rv"]),
        whole(row["n_visits"]),
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
            _limits_of(row, "orbit_period"),
            _limits_of(row, "k"),
            whole(row["n_visits"]),
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
    if is_known(row["chi2"]) and row["dof"]:
        ratio = f"{row['chi2']:.1f} / {row['dof']}"
    return (
        str(row["star_id"]),
        row["orbit_status"] or DASH,
        whole(row["n_visits"]),
        whole(row["n_samples"]),
        whole(row["n_modes"]),
        significant(row["mode_share"], 2),
        *(_limits_of(row, n) for n in ("period", "k", "e", "v0", "jitter")),
        *(_limits_of(row, n) for n in ("mass_ratio", "mass_function", "m2_min")),
        ratio,
        row["method"] or DASH,
    )


def peak_listing(periods: pl.DataFrame) -> Listing:
    """The peaks of one star's periodogram."""
    rows = tuple(
        (
            whole(row["rank"]),
            _error_of(row, "period"),
            significant(row["power"]),
            _limits(row["power_low"], row["power_high"]),
            chance(row["fap"]),
            _error_of(row, "amplitude"),
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
    if not (is_known(low) and is_known(high)):
        return DASH
    return f"{significant(low, 2)} to {significant(high, 2)}"


def _alias(row: Mapping[str, Any]) -> str:
    if row["alias_of"] is None:
        return row["alias"] or DASH
    how = f": {row['alias']}" if row["alias"] else ""
    return f"of {row['alias_of']}{how}"


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _error_of(row: Mapping[str, Any], name: str) -> str:
    return with_error(row[name], row[f"{name}_err"])


def _limits_of(row: Mapping[str, Any], name: str) -> str:
    return with_limits(*(row[f"{name}{end}"] for end in ("", "_low", "_high")))
