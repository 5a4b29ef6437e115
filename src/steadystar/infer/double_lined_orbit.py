"""The orbit of a pair, from the velocities of both stars.

Both stars' velocities tell the ratio of the masses, and the masses but for the
inclination. Steps: all periods are searched by the difference of the velocities, the best
orbits refined with both stars, and the posterior sampled around all that come near the
best. Periods that fit nearly as well are modes, each with its share.

Which star is which. ``rv`` is to be the brighter one, but stars that are nearly alike
change places from visit to visit. Where the velocities as given make no orbit, they may be
exchanged: those that are exchanged in the best orbit are told in a note. A visit in which
only one velocity was measured shows a blend of both stars, and is left out unless asked
for.
"""

__all__ = ["DoubleLined", "DoubleLinedOptions", "fit_double_lined"]

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.double_lined_search import search
from steadystar.infer.double_lined_tables import modes_table, samples_table, summary_of
from steadystar.infer.orbit_curves import Curves
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import (
    Refined,
    RefinementOptions,
    curves_of,
    refine_curves,
)
from steadystar.infer.orbit_weighing import weigh
from steadystar.infer.star_visits import usable_visits
from steadystar.infer.wilson import MassRatio, mass_ratio
from steadystar.measure.option_checks import check_values

Vector = NDArray[np.float64]
_LEAST_VISITS = 4
# Orbits whose evidence is less by e^-12 have no share worth a sample.
_NEAR = 12.0
_WORTH_NAMING = 0.01
# Of the difference in a blend's velocity: where less, it cancels.
_LEAST_PART = 0.02
_MULTIPLES = (0.5, 2.0, 1 / 3, 3.0)
_WITH_MULTIPLES = 3
_ROUNDS = 4
_FIRST_LOOK = RefinementOptions(rounds=2, steps=40)


@dataclass(frozen=True)
class DoubleLinedOptions:
    """What is particular to pairs of which both stars are seen."""

    assignment: Annotated[
        str,
        '"given": rv is always the first star; "free": it may be either; "auto": '
        "exchanged only if the velocities as given make no orbit.",
    ] = "auto"
    exchange_share: Annotated[
        float, "Share of visits that are thought to be exchanged before (auto)."
    ] = 0.05
    single: Annotated[
        str,
        'Visits with one velocity: "out", "first" (it is the first star\'s), or "blend" '
        "(the mean of both, by their light).",
    ] = "out"
    blend_err: Annotated[
        float, "Error that a velocity of a blend has besides its own, km/s."
    ] = 3.0
    starts: Annotated[int, "Orbits of the search that are refined."] = 40

    def __post_init__(self) -> None:
        ways, uses = ("given", "free", "auto"), ("out", "first", "blend")
        check_values(
            self,
            [
                ("assignment", self.assignment in ways, "one of " + ", ".join(ways)),
                ("exchange_share", 0 < self.exchange_share < 1, "between 0 and 1"),
                ("single", self.single in uses, "one of " + ", ".join(uses)),
                ("blend_err", 0 <= self.blend_err < np.inf, "0 or more, km/s"),
                ("starts", self.starts >= 1, "at least 1"),
            ],
        )


@dataclass(frozen=True, eq=False)
class DoubleLined:
    """The orbit of a pair.

    Attributes:
        summary: a row of "orbits"; NaN and a reason where there is no orbit.
        samples: of the posterior, schema "orbit-samples" and one column a zero point.
        modes: a row a period that fits: ``mode, share, period, period_err, e, k, k_2,
            v0, jitter, chi2, delta_chi2, exchanged`` (the number of visits
            whose velocities were exchanged), the largest share first.
        best: the refined orbit of the largest mode, None without one.
        exchanged: visits (of those used, in order) whose velocities were exchanged.
        wilson: mass ratio and center of mass without an orbit, None without one.
        notes: sentences for people.
    """

    summary: dict[str, Any]
    samples: pl.DataFrame
    modes: pl.DataFrame
    best: Refined | None
    exchanged: NDArray[np.bool_]
    wilson: MassRatio | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """Visits with both velocities, and those with one that are used."""

    t: Vector
    rv: Vector
    err: Vector
    rv_2: Vector
    err_2: Vector
    family: NDArray[np.intp]
    sigma: Vector
    share_2: Vector
    both: NDArray[np.bool_]

    def curves(self, exchanged: NDArray[np.bool_]) -> Curves:
        return curves_of(
            self.t,
            np.where(exchanged, self.rv_2, self.rv),
            np.where(exchanged, self.err_2, self.err),
            rv_2=np.where(exchanged, self.rv, self.rv_2),
            err_2=np.where(exchanged, self.err, self.err_2),
            family=self.family,
            share_2=np.where(exchanged & ~self.both, 1 - self.share_2, self.share_2),
        )

    def wilson(self, exchanged: NDArray[np.bool_], free: bool = False) -> MassRatio:
        """Return the mass ratio without an orbit."""
        first = np.where(exchanged, self.rv_2, self.rv)[self.both]
        err = np.where(exchanged, self.err_2, self.err)[self.both]
        second = np.where(exchanged, self.rv, self.rv_2)[self.both]
        err_2 = np.where(exchanged, self.err, self.err_2)[self.both]
        return mass_ratio(first, err, second, err_2, exchange=free)


def fit_double_lined(
    visits: pl.DataFrame,
    options: OrbitOptions = OrbitOptions(),  # noqa: B008
    double: DoubleLinedOptions = DoubleLinedOptions(),
) -> DoubleLined:
    """Fit the orbit of a pair to the velocities of both stars.

    Arguments:
        visits: those of one star: ``star_id, bjd`` (days), ``rv, rv_err, rv_2,
            rv_2_err`` (km/s), and ``light_ratio`` for blends (second over first).
        options: the prior (periods, eccentricities, jitter, zero points), and how many
            samples.
        double: which star is which, and what visits with one velocity are for.

    Raises:
        ValueError: a column is missing, or the visits are of several stars.
    """
    used = usable_visits(visits)
    if used["star_id"].n_unique() > 1:
        raise ValueError(
            f"The visits are of {used['star_id'].n_unique()} stars: give those of one."
        )
    star_id = used["star_id"][0] if len(used) else None
    pair, notes = _pair(used, options, double)
    n_both = int(pair.both.sum())
    if n_both < max(_LEAST_VISITS, options.min_visits):
        return _without(
            star_id, n_both, f"{n_both} visits with both velocities: too few"
        )
    wilson = pair.wilson(np.zeros(len(pair.t), bool))
    found = _orbits(pair, options, double)
    if not found:
        return _without(star_id, n_both, "no period fits")
    parts, worth = _weighed(pair, found, options, double)
    if not parts:
        return _without(star_id, n_both, "the prior allows none of the orbits that fit")
    samples = samples_table(star_id, parts, found[0][0])
    modes = modes_table(found, samples, float(np.ptp(pair.t)))
    # The largest mode need not be the one with the highest peak.
    period = modes["period"][0]
    best, exchanged = next(one for one in found if one[0].elements["period"] == period)
    samples = samples_table(star_id, parts, best)
    if exchanged.any():
        notes.append(
            f"The velocities of {int(exchanged.sum())} of {n_both} visits were "
            "exchanged: as given, they make no such orbit."
        )
        wilson = pair.wilson(exchanged)
    notes += [*best.notes, *_remarks(modes, worth)]
    summary = summary_of(star_id, n_both, samples, best)
    return DoubleLined(summary, samples, modes, best, exchanged, wilson, tuple(notes))


def _pair(used: pl.DataFrame, options, double) -> tuple[_Pair, list[str]]:
    """Return the visits that are used, and what is to be said of the others."""
    rv_2, err_2 = used["rv_2"].to_numpy(), used["rv_2_err"].to_numpy()
    both = np.isfinite(rv_2) & np.isfinite(err_2) & (err_2 > 0)
    timed = np.isfinite(used["bjd"].to_numpy())
    kept = timed & (both | (double.single != "out"))
    notes = []
    if (alone := int((timed & ~both).sum())) and double.single == "out":
        notes.append(
            f"{alone} visits with one velocity, a blend of both stars, are left out."
        )
    if lost := int((~timed).sum()):
        notes.append(f"{lost} visits without a time are left out.")
    light = np.full(len(used), np.nan)
    if "light_ratio" in used.columns:
        light = used["light_ratio"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = light[both & np.isfinite(light)]
    share, err = np.zeros(len(used)), used["rv_err"].to_numpy()
    if double.single == "blend":
        ratio = float(np.median(known)) if len(known) else 1.0
        share = np.where(both, 0.0, ratio / (1 + ratio))
        err = np.where(both, err, np.hypot(err, double.blend_err))
        notes.append(
            f"{int((timed & ~both).sum())} blends count as means of both stars, the "
            f"second with {ratio / (1 + ratio):.2f} of the light."
        )
    rows = np.flatnonzero(kept)
    family, sigma = _families(used[rows], options)
    cut = (used["bjd"].to_numpy(), used["rv"].to_numpy(), err, rv_2, err_2)
    t, rv, err, rv_2, err_2 = (values[rows] for values in cut)
    return (
        _Pair(t, rv, err, rv_2, err_2, family, sigma, share[rows], both[rows]),
        notes,
    )


def _families(used: pl.DataFrame, options) -> tuple[NDArray[np.intp], Vector]:
    """Number the zero points; prior widths of all but the first, NaN-free km/s."""
    by = ["zero", *options.offset_by]
    if missing := [name for name in by if name not in used.columns]:
        raise ValueError(
            f"Zero points by {', '.join(missing)} need that column: the visits lack it."
        )
    keys = used.select(pl.struct(by).rank("dense").alias("_key"), "zero")
    code = keys["_key"].to_numpy().astype(np.intp) - 1
    zero = np.zeros(int(code.max(initial=-1)) + 1)
    zero[code] = keys["zero"].to_numpy()
    # Another zero of relative velocities is anywhere, another group nearby.
    sigma = np.where(zero[1:] != zero[:1], 1e4, options.offset_sigma)
    return code, sigma


def _weighed(pair: _Pair, found, options, double):
    """Sample around all orbits: velocities with samples for each way to assign them."""
    ways = {exchanged.tobytes(): exchanged for _, exchanged in found}
    parts = []
    for key, exchanged in ways.items():
        same = [one for one, other in found if other.tobytes() == key]
        sigma = pair.sigma if len(pair.sigma) else None
        density = PosteriorDensity(pair.curves(exchanged), options, sigma)
        parts.append(
            (density.curves, weigh(density, same, options.n_samples), exchanged)
        )
    ln = np.array([w.ln_evidence + _ln_odds(x, double) for _, w, x in parts])
    total = np.logaddexp.reduce(ln)
    if not np.isfinite(total):
        return [], 0.0
    share = np.exp(ln - total)
    rng = np.random.default_rng(options.seed)
    counts = rng.multinomial(options.n_samples, share / share.sum())
    taken = [
        (c, replace(w, numbers=w.numbers[:count], jitter=w.jitter[:count]))
        for (c, w, _), count in zip(parts, counts, strict=True)
        if count
    ]
    return taken, sum(w.worth * s for (_, w, _), s in zip(parts, share, strict=True))


def _orbits(pair: _Pair, options, double):
    """Refined orbits with their exchanges, the highest evidence first."""
    nobody = np.zeros(len(pair.t), bool)
    found = []
    if double.assignment != "free":
        found = _refined(
            pair, nobody, _starts(pair, options, double, True), options, double
        )
        if double.assignment == "given" or (found and _fits(found[0][0])):
            return found
    trials = _starts(pair, options, double, False)
    swapped = nobody.copy()
    swapped[pair.both] = pair.wilson(nobody, free=True).exchanged
    if swapped.any():
        turned = replace(
            pair,
            rv=np.where(swapped, pair.rv_2, pair.rv),
            rv_2=np.where(swapped, pair.rv, pair.rv_2),
        )
        starts = _starts(turned, options, double, True)
        found += _refined(pair, swapped, starts, options, double)
    # The search has told by the sign which is which: many starts share an assignment.
    up = (pair.rv > pair.rv_2)[pair.both]
    for elements, high in trials:
        exchanged = nobody.copy()
        exchanged[pair.both] = up != high
        if exchanged[pair.both].mean() > 0.5:
            exchanged[pair.both] = ~exchanged[pair.both]
            elements["omega"] += np.pi
        found += _looked(pair, exchanged, [(elements, high)], options, double)
    return _sharpened(pair, found, options, double)


def _starts(pair: _Pair, options, double, signed: bool):
    """Search the periods; visits with one velocity help where signs are known."""
    t, difference, err = _differences(pair, pair.both)
    if signed and (~pair.both).any():
        known, more = (t, difference, err), _differences(pair, ~pair.both)
        t, difference, err = map(np.concatenate, zip(known, more, strict=True))
    starts = search(
        t,
        difference,
        err,
        (options.min_period, options.max_period),
        signed=signed,
        number=double.starts,
    )
    return [(dict(start.elements), start.high) for start in starts]


def _differences(pair: _Pair, rows: NDArray[np.bool_]) -> tuple[Vector, Vector, Vector]:
    """Return times and the stars' velocity differences with errors.

    A visit with one velocity has that which Wilson's line makes of it.
    """
    t = pair.t[rows]
    if pair.both[rows].all():
        rv, err, rv_2, err_2 = (
            a[rows] for a in (pair.rv, pair.err, pair.rv_2, pair.err_2)
        )
        return t, rv - rv_2, np.hypot(err, err_2)
    line = pair.wilson(np.zeros(len(pair.t), bool))
    share = pair.share_2[rows]
    # v - gamma = D ((1 - b) q - b) / (1 + q), with K / K_2 = q.
    part = ((1 - share) * line.q - share) / (1 + line.q)
    part = np.where(np.abs(part) < _LEAST_PART, _LEAST_PART, part)
    err = np.hypot(pair.err[rows], line.gamma_err) / np.abs(part)
    return t, (pair.rv[rows] - line.gamma) / part, err


def _refined(pair: _Pair, exchanged, starts, options, double):
    """Refine all starts quickly, and fully what is near the best."""
    found = _looked(pair, exchanged, starts, options, double)
    return _sharpened(pair, found, options, double)


def _looked(pair: _Pair, exchanged, starts, options, double):
    """Refine quickly; where visits may be exchanged, they change places on the way."""
    found = []
    look = replace(_FIRST_LOOK, eccentricity_b=max(options.eccentricity_b, 1.0))
    for elements, _ in starts:
        now = exchanged
        curves = pair.curves(now)
        if len(curves.v) < len(curves.names):
            return []
        one = refine_curves(curves, elements, look)
        for _ in range(3 if double.assignment == "free" or exchanged.any() else 0):
            new = _exchanges(pair, one, now)
            if (new == now).all():
                break
            now = new
            one = refine_curves(pair.curves(now), one.elements, look)
        if np.isfinite(one.ln_likelihood):
            found.append((one, now))
    return found


def _sharpened(pair: _Pair, found, options, double):
    """Refine fully what is near the best; return each orbit once, the best first."""
    full = RefinementOptions(eccentricity_b=max(options.eccentricity_b, 1.0))
    rank = _Rank(pair, options, double)
    sharp = [
        (refine_curves(pair.curves(x), one.elements, full), x)
        for one, x in rank.near(found, 2 * _NEAR)
    ]
    # What was found from few visits near periastron may be a part of the period, or a
    # multiple: as long as that makes a better one.
    for _ in range(_ROUNDS):
        best = rank.near(sharp)[:_WITH_MULTIPLES]
        sharp += [
            (refine_curves(pair.curves(x), start, full), x)
            for one, x in best
            for by in _MULTIPLES
            for start in _passing_alike(one.elements, by)
            if options.min_period < start["period"] < options.max_period
        ]
        if not best or rank.near(sharp)[0][0] is best[0][0]:
            break
    return rank.near(sharp)


class _Rank:
    """Orbits in order: by the posterior at their best, with the odds of exchanges."""

    def __init__(self, pair: _Pair, options, double: DoubleLinedOptions):
        self.pair, self.options, self.double = pair, options, double

    def merit(self, found: tuple[Refined, Any]) -> float:
        orbit, exchanged = found
        sigma = self.pair.sigma if len(self.pair.sigma) else None
        density = PosteriorDensity(self.pair.curves(exchanged), self.options, sigma)
        jitter = max(orbit.elements["jitter"], 0.3 * self.options.jitter)
        value = density(orbit.numbers[None], np.array([jitter]))
        return float(value[0]) + _ln_odds(exchanged, self.double)

    def near(self, found, room: float = _NEAR):
        """Return those near the best, each orbit once, the best first."""
        merits = [self.merit(one) for one in found]
        kept: list[tuple[Refined, Any]] = []
        for i in sorted(range(len(found)), key=lambda i: -merits[i]):
            one, exchanged = found[i]
            if not merits[i] >= max(merits) - room or not np.isfinite(merits[i]):
                continue
            again = any(
                (exchanged == other).all()
                and abs(one.numbers[0] - same.numbers[0])
                < 0.3 * np.sqrt(same.covariance[0, 0]) + 1e-9
                and abs(one.ln_likelihood - same.ln_likelihood) < 0.05
                for same, other in kept
            )
            if not again:
                kept.append((one, exchanged))
        return kept


def _passing_alike(elements: dict[str, float], factor: float) -> list[dict[str, float]]:
    """Return orbits of another period that share passages of periastron.

    Of eccentric orbits the passages are what is seen, and of the passages of a short
    period any may be those of the long one. The distance at periastron, ``a (1 - e)``,
    stays; ``a`` goes with P^(2/3).
    """
    e = min(max(1 - (1 - elements["e"]) / factor ** (2 / 3), 0), 0.99)
    period = elements["period"]
    return [
        elements
        | {
            "period": period * factor,
            "e": e,
            "t_peri": elements["t_peri"] + turn * period,
        }
        for turn in range(max(round(factor), 1))
    ]


def _exchanges(pair: _Pair, orbit: Refined, exchanged):
    """Say which visits the orbit would rather have the other way round."""
    both = pair.both
    t = pair.t[both]
    jitter = max(orbit.elements["jitter"], 1e-3)
    zeros = Curves(
        np.concatenate([t, t]),
        np.zeros(2 * len(t)),
        np.ones(2 * len(t)),
        np.repeat([0.0, 1.0], len(t)),
        np.tile(pair.family[both], 2),
    )
    object.__setattr__(zeros, "middle", orbit.middle)
    object.__setattr__(zeros, "families", pair.curves(exchanged).families)
    first, second = np.split(zeros.model(orbit.numbers)[0], 2)

    def off(a, s, b, s_b):
        return (a - first) ** 2 / (s**2 + jitter**2) + (b - second) ** 2 / (
            s_b**2 + jitter**2
        )

    one, s, two, s_2 = (a[both] for a in (pair.rv, pair.err, pair.rv_2, pair.err_2))
    out = exchanged.copy()
    out[both] = off(two, s_2, one, s) < off(one, s, two, s_2)
    return out


def _fits(orbit: Refined) -> bool:
    """Whether the errors as given explain what is left, within their chance."""
    return bool(orbit.chi2 < orbit.dof + 5 * np.sqrt(2 * max(orbit.dof, 1)))


def _ln_odds(exchanged, double: DoubleLinedOptions) -> float:
    """Logarithm of how likely just these visits were to be exchanged, over none."""
    share = 0.5 if double.assignment == "free" else double.exchange_share
    return int(exchanged.sum()) * float(np.log(share / (1 - share)))


def _remarks(modes: pl.DataFrame, worth: float) -> list[str]:
    out = []
    likely = modes.filter(pl.col("share") > _WORTH_NAMING)
    if len(likely) > 1:
        others = ", ".join(f"{p:.5g}" for p in likely["period"][1:6])
        out.append(
            f"Other periods that fit nearly as well: {len(likely) - 1}, of {others}"
            f"{' and more' if len(likely) > 6 else ''} d. The first has a share of "
            f"{modes['share'][0]:.2f}."
        )
    if worth < 100:
        out.append(
            f"The samples are worth {worth:.0f} independent ones: limits are rough."
        )
    return out


def _without(star_id, n_visits: int, reason: str) -> DoubleLined:
    summary = summary_of(star_id, n_visits, None, None, reason)
    samples = samples_table(star_id, [], None)
    return DoubleLined(
        summary,
        samples,
        modes_table([], samples, 0.0),
        None,
        np.zeros(0, bool),
        None,
        (f"There is no orbit: {reason}.",),
    )
