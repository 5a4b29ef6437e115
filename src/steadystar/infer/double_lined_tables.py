"""Rows of the tables for the orbit of a pair: samples, modes, medians and limits."""

__all__ = ["modes_table", "samples_table", "summary_of"]

from typing import Any

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.infer.double_lined_candidates import Candidate
from steadystar.infer.orbit_curves import Curves, elements_of
from steadystar.infer.orbit_masses import (
    double_lined_masses,
    mass_function,
    projected_axis,
)
from steadystar.infer.orbit_modes import modes_of
from steadystar.infer.orbit_refinement import Refined
from steadystar.infer.orbit_weighing import Weighed

_LIMITS = (16.0, 50.0, 84.0)
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


def samples_table(
    star_id, parts: list[tuple[Curves, Weighed]], best: Refined | None
) -> pl.DataFrame:
    """Return samples of the posterior, schema "orbit-samples" and the zero points.

    ``parts``: velocities, as they are assigned to the stars, with samples of the orbit.
    """
    if best is None or not parts:
        return schema.empty("orbit-samples")
    table = pl.concat([_samples(*part) for part in parts])
    # Of all times of periastron those next to that of the best orbit.
    since = pl.col("t_peri") - best.elements["t_peri"]
    turns = (since / pl.col("period")).round()
    baseline = float(np.ptp(parts[0][0].t))
    table = table.with_columns(
        pl.col("t_peri") - turns * pl.col("period"),
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


def modes_table(
    found: list[Candidate],
    samples: pl.DataFrame,
    baseline: float,
) -> pl.DataFrame:
    """Return one row a mode of the period: the best orbit in it, and its share."""
    rows = []
    for orbit, exchanged, _ in found:
        frequency = 1 / orbit.elements["period"]
        if any(abs(frequency - 1 / row["period"]) * baseline < 1 for row in rows):
            continue
        elements = {n: orbit.elements[n] for n in ("e", "k", "k_2", "v0", "jitter")}
        rows.append(
            {
                "period": orbit.elements["period"],
                "period_err": orbit.errors["period"],
                **elements,
                "chi2": orbit.chi2,
                "exchanged": int(exchanged.sum()),
            }
        )
    if not rows:
        return pl.DataFrame(schema=_MODES)
    of_sample = 1 / samples["period"].to_numpy()[:, None]
    of_mode = 1 / np.array([row["period"] for row in rows])[None, :]
    nearest = np.argmin(abs(of_sample - of_mode), axis=1)
    share = np.bincount(nearest, minlength=len(rows)) / len(nearest)
    best = min(row["chi2"] for row in rows)
    table = pl.DataFrame(rows).with_columns(
        share=pl.Series(share), delta_chi2=pl.col("chi2") - best
    )
    table = table.sort(-pl.col("share"), "chi2").with_row_index("mode")
    return table.select(pl.col(name).cast(kind) for name, kind in _MODES.items())


def summary_of(
    star_id,
    n_visits: int,
    samples: pl.DataFrame | None,
    best: Refined | None,
    reason: str = "good",
) -> dict[str, Any]:
    """Return a row of "orbits": medians and limits of the largest mode, or a reason."""
    row: dict[str, Any] = schema.conform(
        pl.DataFrame({"star_id": [star_id]}), "orbits", keep_dtype=("star_id",)
    ).row(0, named=True)
    row |= {"n_visits": n_visits, "orbit_status": reason, "method": "least-squares"}
    row |= {"n_samples": 0, "n_prior": 0, "n_modes": 0}
    if samples is None or best is None:
        return row
    mode = samples["mode"].to_numpy()
    largest = samples.filter(pl.Series(mode == 0))
    column = {n: largest[n].to_numpy() for n in samples.columns if n != "star_id"}
    period, k, k_2, e = (column[n] for n in ("period", "k", "k_2", "e"))
    first, second = double_lined_masses(period, k, k_2, e)
    # The angle's limits about the best orbit's, so that 359 and 1 degrees are neighbors.
    omega = np.degrees(best.elements["omega"])
    turned = (column["omega"] - omega + 180) % 360 - 180
    column = column | {
        "omega": turned,
        "mass_ratio": k / k_2,
        "a_sin_i": projected_axis(period, k, e),
        "a_2_sin_i": projected_axis(period, k_2, e),
        "mass_function": mass_function(period, k, e),
        "m_sin3_i": first,
        "m_2_sin3_i": second,
    }
    for name in row:
        if f"{name}_low" in row and name in column:
            low, middle, high = np.percentile(column[name], _LIMITS)
            about = omega if name == "omega" else 0.0
            row |= {name: middle + about, f"{name}_low": low + about}
            row[f"{name}_high"] = high + about
    turns = np.floor(row["omega"] / 360) * 360
    for name in ("omega", "omega_low", "omega_high"):
        row[name] -= turns
    several = int(mode.max()) > 0
    return row | {
        "n_samples": len(mode),
        "n_modes": int(mode.max()) + 1,
        "orbit_status": "several periods" if several else reason,
        "mode_share": float((mode == 0).mean()),
        "chi2": best.chi2,
        "dof": best.dof,
    }
