"""Samples of an orbit as a table, their modes, medians and limits as rows, and curves."""

__all__ = [
    "limits_of",
    "orbit_modes",
    "samples_table",
    "status_of",
    "summary_row",
    "velocities_of",
]

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data import schema
from steadystar.infer.orbit_likelihood import Elements, StarVelocities
from steadystar.infer.orbit_masses import mass_function, projected_axis
from steadystar.infer.orbit_modes import modes_of
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_sampling import Posterior

Array = NDArray[np.float64]

_LIMITS = (16.0, 50.0, 84.0)
_SURE = 0.1
"""A period with a larger relative error is uncertain."""
_EVIDENCE = 3.0
_EDGE = 1.1
"""So near to the first or last period of the prior, the true one may be beyond."""
_LOOSE = 0.3
"""A scatter beyond the errors of such a share of K is more than an orbit."""
_LARGE = 2.5
"""So is one of so many widths of its prior."""
_OF_MODES = ("period", "k", "e", "v0")


def samples_table(star_id: Any, star: StarVelocities, found: Posterior) -> pl.DataFrame:
    """Return the samples, schema "orbit-samples": K positive, angles in degrees."""
    elements, k = found.elements, found.linear[:, 0]
    omega = np.degrees(np.where(k < 0, elements.omega + np.pi, elements.omega)) % 360
    # Of all times of periastron the one next to the middle of the visits.
    phase = elements.phase - np.round(elements.phase)
    extra = dict(zip(star.constants[1:], found.linear.T[2:], strict=True))
    return pl.DataFrame(
        {
            "star_id": [star_id] * len(k),
            "sample": np.arange(len(k)),
            "mode": modes_of(elements.period, star.baseline),
            "period": elements.period,
            "e": elements.e,
            "omega": omega,
            "t_peri": star.epoch + phase * elements.period,
            "k": np.abs(k),
            "k_2": np.full(len(k), np.nan),
            "v0": found.linear[:, 1] + star.center,
            "jitter": elements.jitter,
            "ln_likelihood": found.ln_likelihood,
            **{
                # Zeros of other arms are levels of their own, offsets are not.
                name: values + (star.center if name.startswith("v0") else 0.0)
                for name, values in extra.items()
            },
        }
    )


def summary_row(
    samples: pl.DataFrame, star: StarVelocities, found: Posterior
) -> dict[str, Any]:
    """Return medians and limits (16%, 84%) of the largest mode, as columns of "orbits"."""
    mode = samples["mode"].to_numpy()
    largest = samples.filter(pl.Series(mode == 0))
    best = int(np.argmax(np.where(mode == 0, found.ln_likelihood, -np.inf)))
    parameters = 5 + len(star.constants)
    row: dict[str, Any] = {
        "n_visits": len(star),
        "n_samples": len(samples),
        "n_prior": found.n_prior,
        "method": found.method,
        "n_modes": int(mode.max(initial=-1) + 1),
        "mode_share": float((mode == 0).mean()),
        "ln_evidence_ratio": found.ln_evidence_ratio,
        "chi2": float(found.chi2[best]),
        "dof": len(star) - parameters,
    }
    period, k, e = (largest[n].to_numpy() for n in ("period", "k", "e"))
    values = {
        **{n: largest[n].to_numpy() for n in ("omega", "t_peri", "v0", "jitter")},
        "period": period,
        "k": k,
        "e": e,
        "a_sin_i": projected_axis(period, k, e),
        "mass_function": mass_function(period, k, e),
    }
    return row | limits_of(values)


def limits_of(values: dict[str, Array]) -> dict[str, float]:
    """Return medians and limits (16%, 84%), ``name``, ``name_low`` and ``name_high``.

    ``values``: samples of one mode, ``(sample,)``. ``omega`` (degrees) is from 0 to 360, its
    limits on either side of it; times of periastron may be any of each sample's.
    """
    turned = {
        "omega": _unwrapped(values["omega"], 360.0),
        "t_peri": _nearest(values["t_peri"], values["period"]),
    }
    row = {}
    for name, numbers in (values | turned).items():
        low, middle, high = np.percentile(numbers, _LIMITS)
        row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    # Limits of an angle stay on either side of it, though they may pass 0 or 360.
    turn = 360 * np.floor(row["omega"] / 360)
    for name in ("omega", "omega_low", "omega_high"):
        row[name] -= turn
    return row


def status_of(row: dict[str, Any], options: OrbitOptions, *, few: bool) -> str:
    """Say whether follow-up can be planned on this orbit.

    ``row``: of "orbits", of one star or of a pair; ``few``: whether its samples are.
    """
    if (evidence := row["ln_evidence_ratio"]) is not None and evidence < _EVIDENCE:
        return "no evidence of an orbit"
    most = options.jitter * np.exp(_LARGE * options.jitter_width)
    # A pair's orbit is seen in the star that moves more.
    k = np.fmax(row["k"], row.get("k_2", np.nan))
    if row["jitter"] > min(_LOOSE * k, most if most > 0 else np.inf):
        return "scatter beyond the orbit"
    if row["n_modes"] > 1:
        return "several periods"
    if row["period_high"] - row["period_low"] > 2 * _SURE * row["period"]:
        return "uncertain period"
    if (
        row["period_high"] > options.max_period / _EDGE
        or row["period_low"] < options.min_period * _EDGE
    ):
        return "at the limit of the periods"
    return "few samples" if few else "good"


def orbit_modes(samples: pl.DataFrame) -> pl.DataFrame:
    """Return one row a mode of every star's orbit, schema "orbit-modes".

    ``samples``: of one star or of many, schema "orbit-samples". Shares are of the samples of
    the star; modes of a star are in order, the largest first.
    """
    low, _, high = (limit / 100 for limit in _LIMITS)
    keys = ["star_id", "mode"]
    table = samples.group_by(keys, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("n_samples"),
        *(
            expression
            for n in _OF_MODES
            for expression in (
                pl.col(n).median(),
                pl.col(n).quantile(low, "linear").alias(f"{n}_low"),
                pl.col(n).quantile(high, "linear").alias(f"{n}_high"),
            )
        ),
    )
    share = pl.col("n_samples") / pl.col("n_samples").sum().over("star_id")
    table = table.with_columns(share.alias("share")).sort(keys)
    return schema.conform(table, "orbit-modes", keep_dtype=("star_id",))


def _unwrapped(angle: Array, turn: float) -> Array:
    """Bring angles together around the direction that most have."""
    radians = angle * 2 * np.pi / turn
    center = np.angle(np.exp(1j * radians).mean()) * turn / (2 * np.pi)
    return center + (angle - center + turn / 2) % turn - turn / 2


def _nearest(t_peri: Array, period: Array) -> Array:
    """Bring times of periastron together that are a period apart."""
    first = np.median(t_peri)
    turns = _unwrapped(((t_peri - first) / period) % 1, 1.0)
    return first + turns * period


def velocities_of(samples: pl.DataFrame, bjd: Array, second: bool = False) -> Array:
    """Velocity of a star on each orbit of ``samples`` at each time, ``(sample, time)``."""
    value = {n: samples[n].to_numpy() for n in ("period", "e", "omega", "t_peri", "v0")}
    epoch = float(np.mean(bjd)) if len(bjd) else 0.0
    phase = (value["t_peri"] - epoch) / value["period"]
    omega = np.radians(value["omega"]) + (np.pi if second else 0.0)
    elements = Elements(value["period"], value["e"], omega, phase, np.zeros(len(phase)))
    k = samples["k_2" if second else "k"].to_numpy()
    return value["v0"][:, None] + k[:, None] * elements.shape_at(bjd - epoch)
