"""What the pages know of stars that vary: verdicts, periods and orbits, star by star.

The tables are those of `infer.variability`, `infer.periods` and `infer.orbit`; any of
them may be missing. Velocities are `infer.star_visits`, those that were judged.
"""

__all__ = [
    "PAGE_ORDER",
    "Evidence",
    "candidates",
    "evidence_of",
    "judged_stars",
    "page_order",
]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.infer.orbit_summary import orbit_modes
from steadystar.infer.star_visits import usable_visits
from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportInputs

PAGE_ORDER = (
    "double-lined binary",
    "single-lined binary",
    "likely pulsator",
    "variable",
    "uncertain",
    "constant",
)
"""Classes of stars, those that a follow-up is spent on first."""
_STILL = ("constant", "uncertain")


@dataclass(frozen=True)
class Evidence:
    """All that is known of the changes of one star.

    ``visits``: its usable velocities (`usable_visits`) with a time, in order of time,
    where a period or an orbit was looked for;
    ``verdict``, ``orbit``: its rows of the tables of variables and orbits, empty if there
    are none; ``periods``: its peaks; ``samples``: of its orbit.
    """

    star_id: str
    visits: pl.DataFrame
    verdict: Mapping[str, Any]
    periods: pl.DataFrame
    orbit: Mapping[str, Any]
    samples: pl.DataFrame

    @property
    def period(self) -> float:
        """The period to fold with: the orbit's largest mode, else the highest peak."""
        if len(self.samples):
            return float(orbit_modes(self.samples)["period"][0])
        for value in (self.verdict.get("period"), *self.periods["period"].head(1)):
            if value is not None and np.isfinite(value) and value > 0:
                return float(value)
        return float("nan")


def evidence_of(inputs: ReportInputs, star_id: str) -> Evidence:
    """Collect what is known of one star."""
    periods = _rows(inputs.periods, "periods", star_id).filter(pl.col("rank") > 0)
    orbit = _row(inputs.orbits, star_id)
    visits = pl.DataFrame()
    if len(periods) or orbit:
        same = pl.col("star_id").cast(pl.String) == star_id
        visits = usable_visits(inputs.velocities.filter(same))
        visits = visits.filter(pl.col("bjd").is_finite()).sort("bjd", "arm")
    return Evidence(
        star_id,
        visits,
        _row(inputs.variables, star_id),
        periods.sort("rank"),
        orbit,
        _rows(inputs.orbit_samples, "orbit-samples", star_id),
    )


def _rows(table: pl.DataFrame | None, name: str, star_id: str) -> pl.DataFrame:
    table = schema.empty(name) if table is None else table
    return table.filter(pl.col("star_id").cast(pl.String) == star_id)


def _row(table: pl.DataFrame | None, star_id: str) -> dict[str, Any]:
    if table is None:
        return {}
    found = table.filter(pl.col("star_id").cast(pl.String) == star_id)
    return found.row(0, named=True) if len(found) else {}


def judged_stars(inputs: ReportInputs) -> pl.DataFrame:
    """Return the table of variables with all its columns, no rows if nobody judged."""
    if inputs.variables is None:
        return schema.empty("variables")
    table = schema.conform(inputs.variables, "variables", keep_dtype=("star_id",))
    return table.with_columns(pl.col("star_id").cast(pl.String))


def candidates(inputs: ReportInputs) -> pl.DataFrame:
    """Return the stars that vary or are double-lined, those worth most first.

    The table of variables with ``k, e, orbit_period, n_modes, orbit_status`` of their
    orbits and ``peak_k, peak_k_err`` of the highest peaks: NaN or null where there is
    none. Order: companions of great mass, then by
    class, then by significance.
    """
    table = judged_stars(inputs)
    flags = [pl.col(n).fill_null(value=False) for n in ("variable", "double_lined")]
    classed = pl.col("class").is_not_null() & ~pl.col("class").is_in(_STILL)
    table = table.filter(flags[0] | flags[1] | classed)
    rank = pl.col("class").replace_strict(
        {name: i for i, name in enumerate(PAGE_ORDER)}, default=len(PAGE_ORDER)
    )
    massive = pl.col("massive_companion").fill_null(value=False)
    table = table.sort(
        ~massive,
        rank,
        -pl.col("rv_max_difference_snr").abs().fill_nan(0.0).fill_null(0.0),
        "star_id",
    )
    for found in (_of_orbits(inputs), _of_peaks(inputs)):
        table = table.join(found, "star_id", "left", maintain_order="left")
    return table


def _of_orbits(inputs: ReportInputs) -> pl.DataFrame:
    orbits = schema.empty("orbits") if inputs.orbits is None else inputs.orbits
    orbits = schema.conform(orbits, "orbits").unique("star_id", keep="first")
    return orbits.select(
        pl.col("star_id").cast(pl.String),
        *("k", "k_low", "k_high", "e", "n_modes", "mode_share", "orbit_status"),
        *(pl.col(f"period{end}").alias(f"orbit_period{end}") for end in _ENDS),
    )


_ENDS = ("", "_low", "_high")


def _of_peaks(inputs: ReportInputs) -> pl.DataFrame:
    peaks = schema.empty("periods") if inputs.periods is None else inputs.periods
    peaks = schema.conform(peaks, "periods").filter(pl.col("rank") == 1)
    return peaks.select(
        pl.col("star_id").cast(pl.String),
        *(pl.col(f"amplitude{end}").alias(f"peak_k{end}") for end in ("", "_err")),
    ).unique("star_id", keep="first")


def page_order(facts: Facts, inputs: ReportInputs) -> list[str]:
    """Return all stars, those that a page should be spent on first.

    Candidates come first, then the most variable, the flagged and the brightest in turn.
    """
    stars = facts.stars.sort("interest")["star_id"].to_list()
    known = set(stars)
    first = [s for s in candidates(inputs)["star_id"].to_list() if s in known]
    return list(dict.fromkeys([*first, *stars]))
