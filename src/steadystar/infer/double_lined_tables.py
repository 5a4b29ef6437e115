"""Rows of the tables for the orbit of a pair: samples, modes, medians and limits."""

__all__ = [
    "best_of_modes",
    "modes_table",
    "no_summary",
    "samples_table",
    "summary_of",
]

from typing import Any

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.infer.double_lined_candidates import Candidate
from steadystar.infer.orbit_clouds import remarks_on
from steadystar.infer.orbit_curves import Curves, elements_of
from steadystar.infer.orbit_masses import (
    double_lined_masses,
    mass_function,
    projected_axis,
)
from steadystar.infer.orbit_modes import modes_of
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import Refined
from steadystar.infer.orbit_summary import limits_of, orbit_modes, status_of
from steadystar.infer.orbit_weighing import Weighed

_MODES = {
    "mode": pl.Int64,
    "share": pl.Float64,
    "period": pl.Float64,
    "period_err": pl.Float64,
    "e": pl.Float64,
    "k": pl.Float64,
    "k_2": pl.Float64,
    "v0": pl.Float64,
    "jitter": pl.Float64,
    "chi2": pl.Float64,
    "delta_chi2": pl.Float64,
    "exchanged": pl.Int64,
}


def samples_table(star_id, parts: list[tuple[Curves, Weighed]]) -> pl.DataFrame:
    """Return samples of the posterior, schema "orbit-samples" and the zero points.

    ``parts``: velocities, as they are assigned to the stars, with samples of the orbit.
    """
    if not parts:
        return schema.empty("orbit-samples")
    table = pl.concat([_samples(*part) for part in parts])
    baseline = float(np.ptp(parts[0][0].t))
    table = table.with_columns(
        pl.col("omega").degrees(),
        star_id=pl.lit(star_id),
        sample=pl.int_range(pl.len()),
        mode=pl.Series(modes_of(table["period"].to_numpy(), baseline)),
    )
    return schema.conform(table, "orbit-samples", keep_dtype=("star_id",))


def _samples(curves: Curves, weighed: Weighed) -> pl.DataFrame:
    out = elements_of(weighed.numbers, curves.names, curves.middle)
    ln = np.empty(len(weighed.jitter))
    for i, (numbers, jitter) in enumerate(
        zip(weighed.numbers, weighed.jitter, strict=True)
    ):
        sigma = np.hypot(curves.err, jitter)
        left = (curves.v - curves.model(numbers)[0]) / sigma
        ln[i] = -0.5 * np.sum(left**2 + np.log(2 * np.pi * sigma**2))
    return pl.DataFrame({**out, "jitter": weighed.jitter, "ln_likelihood": ln})


def best_of_modes(
    found: list[Candidate], samples: pl.DataFrame, baseline: float
) -> list[Candidate]:
    """Return the best orbit of each mode of the samples, the largest mode first.

    ``found``: the best first, those around which the samples were drawn; ``baseline``: of
    the visits, days. An orbit is of the mode whose samples it stays in step with.
    """
    frequency = 1 / np.array([one.orbit.elements["period"] for one in found])
    out = []
    for (_,), group in samples.sort("mode").group_by("mode", maintain_order=True):
        away = np.abs(frequency[:, None] - 1 / group["period"].to_numpy()).min(axis=1)
        same = np.flatnonzero(away * baseline <= 1)
        out.append(found[same[0] if len(same) else int(away.argmin())])
    return out


def modes_table(best: list[Candidate], samples: pl.DataFrame) -> pl.DataFrame:
    """Return one row a mode of the period: the best orbit in it, and its share."""
    rows = [
        {
            "period": orbit.elements["period"],
            "period_err": orbit.errors["period"],
            **{n: orbit.elements[n] for n in ("e", "k", "k_2", "v0", "jitter")},
            "chi2": orbit.chi2,
            "exchanged": int(exchanged.sum()),
        }
        for orbit, exchanged, _ in best
    ]
    if not rows:
        return pl.DataFrame(schema=_MODES)
    table = pl.DataFrame(rows).with_columns(
        orbit_modes(samples).select("mode", "share"),
        delta_chi2=pl.col("chi2") - pl.col("chi2").min(),
    )
    return table.select(pl.col(name).cast(kind) for name, kind in _MODES.items())


def no_summary(star_id, n_visits: int, reason: str) -> dict[str, Any]:
    """Return a row of "orbits" without an orbit, and why there is none."""
    row: dict[str, Any] = schema.conform(
        pl.DataFrame({"star_id": [star_id]}), "orbits", keep_dtype=("star_id",)
    ).row(0, named=True)
    row |= {"n_visits": n_visits, "orbit_status": reason, "method": "importance"}
    return row | {"n_samples": 0, "n_prior": 0, "n_modes": 0}


def summary_of(
    star_id,
    n_visits: int,
    samples: pl.DataFrame,
    best: Refined,
    options: OrbitOptions,
    worth: float,
) -> dict[str, Any]:
    """Return a row of "orbits": medians and limits of the largest mode."""
    mode = samples["mode"].to_numpy()
    largest = samples.filter(pl.Series(mode == 0))
    names = ("period", "k", "k_2", "e", "omega", "t_peri", "v0", "jitter")
    values = {n: largest[n].to_numpy() for n in names}
    period, k, k_2, e = (values[n] for n in names[:4])
    first, second = double_lined_masses(period, k, k_2, e)
    values |= {
        "mass_ratio": k / k_2,
        "a_sin_i": projected_axis(period, k, e),
        "a_2_sin_i": projected_axis(period, k_2, e),
        "mass_function": mass_function(period, k, e),
        "m_sin3_i": first,
        "m_2_sin3_i": second,
    }
    row = no_summary(star_id, n_visits, "good") | limits_of(values)
    row |= {
        "n_samples": len(mode),
        "n_modes": int(mode.max()) + 1,
        "mode_share": float((mode == 0).mean()),
        "chi2": best.chi2,
        "dof": best.dof,
    }
    few = bool(remarks_on(worth))
    status = status_of(row, options, few=few)
    if status == "good" and not best.converged:
        status = "the fit did not settle"
    return row | {"orbit_status": status}
