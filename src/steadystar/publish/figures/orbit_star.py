"""The orbit of one star: folded velocities, the posterior of the period, two stars.

Every mode of the posterior has a panel of its own. A sample's curve is drawn with its own
period over the cycle in the middle of the observations, at the phase of the mode's best
sample, and at the height at which it fits the velocities best: mean velocity and zero
points of arms were free in the fit too.
"""

__all__ = ["folded_orbits", "period_posterior", "wilson_plot"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from steadystar.publish.figures.orbit_curve import orbit_shapes
from steadystar.publish.numbers import (
    Array,
    counted,
    kms,
    percent,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Steps,
    arm_color,
    arm_title,
)
from steadystar.publish.variable_facts import Evidence, star_modes

_MODES = 3
_DRAWN = 40
_PHASES = np.linspace(0, 1, 121)
MODE_COLORS = ("purple", "sky", "green")
"""Colors of the modes of a posterior, the largest first."""
_SECOND = "green"


@dataclass(frozen=True)
class _Mode:
    """One mode: its best sample, others to be drawn, and the data as it sees them."""

    best: dict[str, Any]
    samples: pl.DataFrame
    share: float
    phase: Array
    rv: Array
    residual: Array


def folded_orbits(evidence: Evidence, arms: tuple[str, ...]) -> Figure | Missing:
    """Velocities folded with the period of each mode, samples of the orbit over them."""
    name, title = "folded", "Folded velocities"
    visits = evidence.visits
    if not len(visits):
        return Missing(name, title, "No velocity of this star can be used.")
    if len(evidence.samples):
        modes = _modes(evidence)
    elif np.isfinite(evidence.period):
        modes = [_sine(evidence)]
    else:
        status = evidence.orbit.get("orbit_status")
        reason = f" No orbit: {status}." if status else ""
        return Missing(name, title, f"No period is known of this star.{reason}")
    several = visits["zero"].n_unique() > 1
    label = "velocity \N{MINUS SIGN} mean (km/s)" if several else "velocity (km/s)"
    panels = [
        _curve_panel(evidence, mode, number, arms, label)
        for number, mode in enumerate(modes)
    ]
    panels += [_residual_panel(evidence, mode, arms) for mode in modes]
    return Figure(
        name=name,
        title=title,
        panels=tuple(panels),
        columns=len(modes),
        wide=True,
        shows=_shows(evidence, several),
        good="Curves that lie on each other and go through the velocities; residuals "
        "that are level and as large as their errors.",
        here=_here(evidence, modes),
    )


def _modes(evidence: Evidence) -> list[_Mode]:
    table = star_modes(evidence.samples)
    out = []
    for number, share in table.select("mode", "share").head(_MODES).iter_rows():
        samples = evidence.samples.filter(pl.col("mode") == number)
        best = samples.row(samples["ln_likelihood"].arg_max() or 0, named=True)
        step = -(-len(samples) // _DRAWN)
        out.append(_seen(evidence.visits, best, samples[::step], share))
    return out


def _seen(
    visits: pl.DataFrame, best: dict[str, Any], samples: pl.DataFrame, share: float
) -> _Mode:
    """Bring the zeros of arms together where the best sample has them."""
    time, rv = visits["bjd"].to_numpy(), visits["rv"].to_numpy()
    model = best["k"] * orbit_shapes(pl.DataFrame([best]), time)[0]
    weight = visits["rv_err"].to_numpy() ** -2
    zero = visits["zero"].to_numpy()
    level = np.bincount(zero, weight * (rv - model)) / np.maximum(
        np.bincount(zero, weight), 1e-300
    )
    residual = rv - model - level[zero]
    shown = rv if len(level) == 1 else model + residual
    phase = ((time - best["t_peri"]) / best["period"]) % 1
    return _Mode(best, samples, share, phase, shown, residual)


def _sine(evidence: Evidence) -> _Mode:
    """Take the best sine at the star's period for an orbit: what a periodogram fits."""
    visits, period = evidence.visits, evidence.period
    time, rv = visits["bjd"].to_numpy(), visits["rv"].to_numpy()
    angle = 2 * np.pi * (time - time.mean()) / period
    zeros = np.eye(int(visits["zero"].max()) + 1)[visits["zero"].to_numpy()]  # pyright: ignore[reportArgumentType]
    terms = np.column_stack([np.cos(angle), np.sin(angle), zeros])
    weight = visits["rv_err"].to_numpy() ** -1
    found = np.linalg.lstsq(terms * weight[:, None], rv * weight, rcond=None)[0]
    best = {
        "period": period,
        "e": 0.0,
        "omega": 0.0,
        "k": float(np.hypot(found[0], found[1])),
        "k_2": float("nan"),
        "t_peri": time.mean() + period * np.arctan2(found[1], found[0]) / (2 * np.pi),
        "ln_likelihood": 0.0,
    }
    return _seen(visits, best, pl.DataFrame([best]), 1.0)


def _curve_panel(
    evidence: Evidence, mode: _Mode, number: int, arms: tuple[str, ...], label: str
) -> Panel:
    visits = evidence.visits
    color = MODE_COLORS[number % len(MODE_COLORS)]
    marks: list[Mark] = _curves(visits, mode, color)
    for arm, chosen in _by_arm(visits):
        marks.append(
            Points(
                np.concatenate([mode.phase[chosen], mode.phase[chosen] + 1]),
                np.tile(mode.rv[chosen], 2),
                arm_color(arm, arms),
                arm_title(arm) if number == 0 else "",
                error=np.tile(visits["rv_err"].to_numpy()[chosen], 2),
                size=6,
            )
        )
    marks += _second_points(visits, mode, number)
    share = f", {percent(mode.share, 1)} of the samples" if mode.share < 1 else ""
    return Panel(
        Axis("phase", low=0, high=2),
        Axis(label),
        tuple(marks),
        title=f"{significant(mode.best['period'], 6)} d{share}",
    )


def _curves(visits: pl.DataFrame, mode: _Mode, color: str) -> list[Mark]:
    """The samples as one line each, joined with gaps; the best one on top."""
    best, time = mode.best, visits["bjd"].to_numpy()
    turns = np.round((time.mean() - best["t_peri"]) / best["period"])
    grid = best["t_peri"] + (turns + _PHASES) * best["period"]
    curves = orbit_shapes(mode.samples, np.concatenate([grid, time]))
    k = mode.samples["k"].to_numpy()[:, None]
    weight = visits["rv_err"].to_numpy() ** -2
    at_visits = k * curves[:, grid.size :]
    level = ((mode.rv - at_visits) @ weight / weight.sum())[:, None]
    marks: list[Mark] = []
    if len(mode.samples) > 1:
        marks.append(_joined(k * curves[:, : grid.size] + level, color))
    shape = orbit_shapes(pl.DataFrame([best]), grid)[0]
    fit = float(weight @ (mode.rv - mode.residual) / weight.sum())
    model_mean = float(
        weight @ (best["k"] * orbit_shapes(pl.DataFrame([best]), time)[0])
    ) / float(weight.sum())
    base = fit - model_mean
    marks.append(_joined((base + best["k"] * shape)[None, :], "ink", 1.6))
    k_2 = best.get("k_2")
    if k_2 is not None and np.isfinite(k_2):
        marks.append(_joined((base - k_2 * shape)[None, :], _SECOND, 1.6))
    return marks


def _joined(curves: Array, color: str, width: float = 0.7) -> Line:
    """Many curves over two cycles in one line with gaps."""
    gap = np.full((len(curves), 1), np.nan)
    y = np.concatenate([curves, curves[:, 1:], gap], axis=1).ravel()
    phases = np.concatenate([_PHASES, 1 + _PHASES[1:], [np.nan]])
    return Line(np.tile(phases, len(curves)), y, color, width=width)


def _second_points(visits: pl.DataFrame, mode: _Mode, number: int) -> list[Mark]:
    second = visits["rv_2"].to_numpy()
    seen = np.isfinite(second)
    if not seen.any():
        return []
    moved = second - visits["rv"].to_numpy() + mode.rv
    return [
        Points(
            np.concatenate([mode.phase[seen], mode.phase[seen] + 1]),
            np.tile(moved[seen], 2),
            _SECOND,
            "second star" if number == 0 else "",
            error=np.tile(visits["rv_2_err"].to_numpy()[seen], 2),
            symbol="diamond",
            size=6,
        )
    ]


def _residual_panel(evidence: Evidence, mode: _Mode, arms: tuple[str, ...]) -> Panel:
    visits = evidence.visits
    marks: list[Mark] = [
        Line(np.array([0.0, 2.0]), np.zeros(2), "muted", dash="dash", width=1)
    ]
    for arm, chosen in _by_arm(visits):
        marks.append(
            Points(
                np.concatenate([mode.phase[chosen], mode.phase[chosen] + 1]),
                np.tile(mode.residual[chosen], 2),
                arm_color(arm, arms),
                error=np.tile(visits["rv_err"].to_numpy()[chosen], 2),
                size=5,
            )
        )
    return Panel(
        Axis("phase", low=0, high=2), Axis("residual (km/s)"), tuple(marks), tall=0.6
    )


def _by_arm(visits: pl.DataFrame) -> list[tuple[str, np.ndarray]]:
    arm = visits["arm"].fill_null("all").to_numpy()
    return [(name, arm == name) for name in sorted(set(arm.tolist()))]


def _shows(evidence: Evidence, several: bool) -> str:
    if not len(evidence.samples):
        return (
            "Velocities folded with the period of the highest peak, the best sine over "
            "them (black) and what is left below. No orbit was fitted."
        )
    zeros = (
        " The arms have zeros of their own, which are put where the best orbit has them."
        if several
        else ""
    )
    return (
        "Velocities folded with the best period of each mode of the posterior, samples "
        "of the orbit over them (the best one dark) and what it leaves below. Phase 0 is "
        "periastron." + zeros
    )


def _here(evidence: Evidence, modes: list[_Mode]) -> str:
    left = kms(float(np.std(modes[0].residual))) if len(modes[0].residual) > 1 else ""
    rms = f" It leaves {left} rms." if left else ""
    if not len(evidence.samples):
        return f"Here: {significant(evidence.period, 6)} d.{rms}"
    number = evidence.samples["mode"].n_unique()
    hidden = f", of which the first {_MODES} are drawn" if number > _MODES else ""
    return (
        f"Here: {counted(len(evidence.samples), 'sample')} in "
        f"{counted(number, 'mode')}{hidden}; the largest holds "
        f"{percent(modes[0].share, 1)}.{rms}"
    )


def period_posterior(evidence: Evidence) -> Figure | Missing | None:
    """Histogram of ln P by mode, and the amplitude of each sample."""
    samples = evidence.samples
    name, title = "period-posterior", "Which periods the velocities allow"
    if not len(samples):
        return None
    period = samples["period"].to_numpy()
    low, high = period.min(), period.max()
    if high / low < 1.02:
        low, high = low / 1.0001, high * 1.0001
    else:
        low, high = low / 1.05, high * 1.05
    edges = np.geomspace(low, high, 61)
    histogram: list[Mark] = []
    points: list[Mark] = []
    table = star_modes(samples)
    for place, number in enumerate(table["mode"].to_list()):
        color = MODE_COLORS[place] if place < len(MODE_COLORS) else "muted"
        of_mode = samples.filter(pl.col("mode") == number)
        counts, _ = np.histogram(of_mode["period"].to_numpy(), edges)
        histogram.append(Steps(edges, counts.astype(float), color))
        thin = of_mode[:: -(-len(of_mode) // 500)]
        points.append(
            Points(
                thin["period"].to_numpy(),
                thin["k"].to_numpy(),
                color,
                size=3.5,
                opacity=0.5,
                hover=[f"e {significant(e, 2)}" for e in thin["e"]],
            )
        )
    narrow = high / low < 1.2
    x = Axis("period (d)", log=not narrow, low=float(low), high=float(high))
    largest = table.row(0, named=True)
    return Figure(
        name=name,
        title=title,
        panels=(
            Panel(x, Axis("samples"), tuple(histogram)),
            Panel(x, Axis("semi-amplitude K (km/s)"), tuple(points)),
        ),
        columns=2,
        wide=True,
        shows="Samples of the posterior over the logarithm of the period, a color a mode, "
        "and their amplitudes.",
        good="One narrow peak. Several say that the visits cannot tell these periods "
        "apart, and where another one would.",
        here=f"Here: {significant(largest['period'], 6)} d "
        f"({significant(largest['period_low'], 6)} to "
        f"{significant(largest['period_high'], 6)}) with K "
        f"{kms(largest['k'])} in the largest of {counted(len(table), 'mode')}.",
    )


def wilson_plot(evidence: Evidence, arms: tuple[str, ...]) -> Figure | None:
    """Velocity of the second star against that of the first; None without a second."""
    visits = evidence.visits.filter(
        pl.col("rv").is_finite() & pl.col("rv_2").is_finite()
    )
    if len(visits) < 2:
        return None
    marks: list[Mark] = []
    ratio = evidence.orbit.get("mass_ratio")
    first, second = visits["rv"].to_numpy(), visits["rv_2"].to_numpy()
    here = f"Here: {counted(len(visits), 'visit')} with both velocities"
    if ratio is not None and np.isfinite(ratio) and ratio > 0:
        # v_2 - v0 = -(v_1 - v0) M_1 / M_2
        level = float(np.median(second + first / ratio))
        x = np.array([first.min(), first.max()])
        marks.append(
            Line(x, level - x / ratio, "ink", f"mass ratio {significant(ratio, 3)}")
        )
        where = level / (1 + 1 / ratio)
        marks.append(
            Points(
                np.array([where]),
                np.array([where]),
                "ink",
                "center of mass",
                symbol="cross",
                size=9,
            )
        )
        here += f"; the second star has {significant(ratio, 3)} of the first one's mass"
    for arm, chosen in _by_arm(visits):
        marks.append(
            Points(
                first[chosen],
                second[chosen],
                arm_color(arm, arms),
                arm_title(arm),
                error=visits["rv_2_err"].to_numpy()[chosen],
                size=6,
            )
        )
    return Figure(
        name="wilson",
        title="Both stars of the pair",
        panels=(
            Panel(
                Axis("velocity of the first star (km/s)"),
                Axis("of the second (km/s)"),
                tuple(marks),
            ),
        ),
        shows="The velocity of the second star against that of the first, spectrum by "
        "spectrum (Wilson 1941). Two stars on an orbit lie on a line whose slope is minus "
        "the mass of the first over that of the second.",
        good="All points on one falling line. Points mirrored about the diagonal are "
        "spectra in which the two stars were taken for each other.",
        here=here + ".",
    )
