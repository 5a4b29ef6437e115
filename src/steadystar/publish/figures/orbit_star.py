"""The orbit of one star: folded velocities, the posterior of the period, two stars.

Every mode of the posterior has a panel of its own. A sample's curve is drawn with its own
period over the cycle in the middle of the observations, at the phase of the mode's best
sample, and at the height at which it fits the velocities best: mean velocity and zero
points of arms were free in the fit too.
"""

__all__ = ["folded_orbits", "period_posterior", "wilson_plot"]

import numpy as np
import polars as pl

from steadystar.infer.orbit_summary import orbit_modes
from steadystar.publish.figures.folded_visits import (
    FoldedVisits,
    above_center,
    modes_seen,
    sine_seen,
)
from steadystar.publish.measured import chance
from steadystar.publish.numbers import (
    Array,
    counted,
    finite,
    kms,
    percent,
    significant,
)
from steadystar.publish.plot import (
    PHASE,
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
    twice,
)
from steadystar.publish.variable_facts import Evidence

_MODES = 3
_PHASES = np.linspace(0, 1, 121)
MODE_COLORS = ("sky", "orange", "green")
"""Colors of the modes of a posterior, the largest first."""
_SECOND = "green"


def folded_orbits(evidence: Evidence, arms: tuple[str, ...]) -> Figure | Missing:
    """Velocities folded with the period of each mode, samples of the orbit over them."""
    name, title = "folded", "Folded velocities"
    visits = evidence.visits
    if not len(visits):
        return Missing(name, title, "No velocity of this star can be used.")
    if len(evidence.samples):
        modes = modes_seen(evidence, _MODES)
    elif np.isfinite(evidence.period):
        modes = [sine_seen(evidence)]
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


def _curve_panel(
    evidence: Evidence,
    mode: FoldedVisits,
    number: int,
    arms: tuple[str, ...],
    label: str,
) -> Panel:
    visits = evidence.visits
    color = MODE_COLORS[number % len(MODE_COLORS)]
    marks: list[Mark] = _curves(visits, mode, color)
    for arm, chosen in _by_arm(visits):
        if (seen := chosen & mode.fitted).any():
            marks.append(
                twice(
                    mode.phase[seen],
                    mode.rv[seen],
                    mode.rv_err[seen],
                    color=arm_color(arm, arms),
                    label=arm_title(arm) if number == 0 else "",
                )
            )
    second = mode.fitted & np.isfinite(mode.rv_2)
    if second.any():
        marks.append(
            twice(
                mode.phase[second],
                mode.rv_2[second],
                mode.rv_2_err[second],
                color=_SECOND,
                label="second star" if number == 0 else "",
                symbol="diamond",
            )
        )
    marks += _left_out(mode, number)
    share = f", {percent(mode.share, 1)} of the samples" if mode.share < 1 else ""
    return Panel(
        PHASE,
        Axis(label),
        tuple(marks),
        title=f"{significant(mode.best['period'], 6)} d{share}",
    )


def _left_out(mode: FoldedVisits, number: int) -> list[Mark]:
    """Visits that the orbit was not fitted to, open, with all velocities they have."""
    left = ~mode.fitted
    if not left.any():
        return []
    why = "one velocity" if mode.of_pair else "two stars"
    y = np.concatenate([mode.rv[left], mode.rv_2[left]])
    error = np.concatenate([mode.rv_err[left], mode.rv_2_err[left]])
    known = np.isfinite(y)
    return [
        twice(
            np.tile(mode.phase[left], 2)[known],
            y[known],
            error[known],
            color="muted",
            label=f"{why}: not fitted" if number == 0 else "",
            symbol="open",
        )
    ]


def _curves(visits: pl.DataFrame, mode: FoldedVisits, color: str) -> list[Mark]:
    """The samples as one line each, joined with gaps; the best one on top."""
    best, time = mode.best, visits["bjd"].to_numpy()
    turns = np.round((time.mean() - best["t_peri"]) / best["period"])
    grid = best["t_peri"] + (turns + _PHASES) * best["period"]
    marks: list[Mark] = []
    if len(mode.samples) > 1:
        curves = above_center(mode.samples, np.concatenate([grid, time]))
        weight = mode.weight / mode.weight.sum()
        level = (mode.rv - curves[:, grid.size :]) @ weight
        marks.append(_joined(curves[:, : grid.size] + level[:, None], color))
    sample = pl.DataFrame([best])
    marks.append(_joined(mode.center + above_center(sample, grid), "ink", 1.6))
    if mode.of_pair:
        second = above_center(sample, grid, second=True)
        marks.append(_joined(mode.center + second, _SECOND, 1.6))
    return marks


def _joined(curves: Array, color: str, width: float = 0.7) -> Line:
    """Many curves over two cycles in one line with gaps."""
    gap = np.full((len(curves), 1), np.nan)
    # Of another period than the best one, a curve does not end where it began.
    y = np.concatenate([curves, gap, curves, gap], axis=1).ravel()
    phases = np.concatenate([_PHASES, [np.nan], 1 + _PHASES, [np.nan]])
    return Line(np.tile(phases, len(curves)), y, color, width=width)


def _residual_panel(
    evidence: Evidence, mode: FoldedVisits, arms: tuple[str, ...]
) -> Panel:
    marks: list[Mark] = [
        Line(np.array([0.0, 2.0]), np.zeros(2), "muted", dash="dash", width=1)
    ]
    drawn = [
        (chosen, mode.residual, mode.rv_err, {"color": arm_color(arm, arms)})
        for arm, chosen in _by_arm(evidence.visits)
    ]
    everyone = np.ones(len(mode.rv), bool)
    style = {"color": _SECOND, "symbol": "diamond"}
    drawn.append((everyone, mode.residual_2, mode.rv_2_err, style))
    for chosen, residual, error, look in drawn:
        if (seen := chosen & np.isfinite(residual)).any():
            marks.append(
                twice(mode.phase[seen], residual[seen], error[seen], size=5, **look)
            )
    return Panel(PHASE, Axis("residual (km/s)"), tuple(marks), tall=0.6)


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


def _here(evidence: Evidence, modes: list[FoldedVisits]) -> str:
    rms = _what_is_left(modes[0])
    if not len(evidence.samples):
        peak = evidence.periods["fap"].head(1).to_list()
        fap = (
            f" Noise has such a peak with a chance of {chance(peak[0])}."
            if peak
            else ""
        )
        return f"Here: {significant(evidence.period, 6)} d.{rms}{fap}"
    number = evidence.samples["mode"].n_unique()
    status = evidence.orbit.get("orbit_status")
    outcome = f" Outcome: {status}." if status else ""
    hidden = f", of which the first {_MODES} are drawn" if number > _MODES else ""
    return (
        f"Here: {counted(len(evidence.samples), 'sample')} in "
        f"{counted(number, 'mode')}{hidden}; the largest holds "
        f"{percent(modes[0].share, 1)}.{rms}{outcome}"
    )


def _what_is_left(mode: FoldedVisits) -> str:
    """Say how much the fitted visits scatter about the best sample."""
    first, second = finite(mode.residual), finite(mode.residual_2)
    if len(first) < 2:
        return ""
    text = f" It leaves {kms(float(np.std(first)))} rms"
    if len(second) > 1:
        text += f", {kms(float(np.std(second)))} of the second star"
    if number := int(mode.exchanged.sum()):
        text += f"; the two velocities of {counted(number, 'visit')} are exchanged"
    return text + "."


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
    table = orbit_modes(samples)
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
