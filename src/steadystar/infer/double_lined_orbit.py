"""The orbit of a pair, from the velocities of both stars.

Both stars' velocities tell the ratio of the masses, and the masses but for the
inclination. Orbits that come near the best one are found first (`double_lined_candidates`),
then the posterior is sampled around all of them. Periods that fit nearly as well are
modes, each with its share.

Where the velocities as given make no orbit, stars may have changed places
(`double_lined_exchange`): visits that are exchanged in the best orbit are told in a note. A
visit in which only one velocity was measured shows a blend of both stars, and is left out
unless asked for.
"""

__all__ = ["DoubleLined", "DoubleLinedOptions", "fit_double_lined"]

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.double_lined_candidates import Candidate, candidates_of
from steadystar.infer.double_lined_exchange import ln_odds
from steadystar.infer.double_lined_pair import (
    LEAST_EPOCHS,
    DoubleLinedOptions,
    Pair,
    count_epochs,
    pair_of,
)
from steadystar.infer.double_lined_tables import (
    best_of_modes,
    modes_table,
    no_summary,
    samples_table,
    summary_of,
)
from steadystar.infer.orbit_clouds import remarks_on
from steadystar.infer.orbit_curves import Curves
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import Refined
from steadystar.infer.orbit_weighing import Weighed, weigh
from steadystar.infer.star_visits import usable_visits
from steadystar.infer.wilson import MassRatio

_PRIOR, _AS_USUAL = OrbitOptions(), DoubleLinedOptions()
_WORTH_NAMING = 0.01


@dataclass(frozen=True, eq=False)
class DoubleLined:
    """The orbit of a pair.

    Attributes:
        summary: a row of "orbits"; NaN and a reason where there is no orbit.
        samples: of the posterior, schema "orbit-samples" and one column a zero point.
        modes: a row a mode of the samples and the best orbit in it, the largest first:
            ``mode, share, period, period_err, e, k, k_2, v0, jitter, chi2, delta_chi2,
            exchanged`` (the number of visits whose velocities were exchanged).
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


def fit_double_lined(
    visits: pl.DataFrame,
    options: OrbitOptions = _PRIOR,
    double: DoubleLinedOptions = _AS_USUAL,
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
    pair, notes = pair_of(used, options, double)
    n_both, epochs = int(pair.both.sum()), count_epochs(used)
    if epochs < max(LEAST_EPOCHS, options.min_visits):
        return _without(
            star_id, n_both, f"{epochs} visits with both velocities: too few"
        )
    found = candidates_of(pair, options, double)
    if not found:
        return _without(star_id, n_both, "no period fits")
    parts, worth = _weighed(pair, found, options, double)
    if not parts:
        return _without(star_id, n_both, "the prior allows none of the orbits that fit")
    samples = samples_table(star_id, parts)
    # The largest mode need not be the one with the highest peak.
    of_modes = best_of_modes(found, samples, float(np.ptp(pair.t)))
    modes, (best, exchanged, _) = modes_table(of_modes, samples), of_modes[0]
    # Of all times of periastron those next to that of the best orbit.
    turns = ((pl.col("t_peri") - best.elements["t_peri"]) / pl.col("period")).round()
    samples = samples.with_columns(pl.col("t_peri") - turns * pl.col("period"))
    if exchanged.any():
        notes.append(
            f"The velocities of {int(exchanged.sum())} of {n_both} visits were "
            "exchanged: as given, they make no such orbit."
        )
    notes += [*best.notes, *_remarks(modes, worth)]
    summary = summary_of(star_id, n_both, samples, best, options, worth)
    wilson = pair.turned(exchanged).wilson()
    return DoubleLined(summary, samples, modes, best, exchanged, wilson, tuple(notes))


def _weighed(
    pair: Pair,
    found: list[Candidate],
    options: OrbitOptions,
    double: DoubleLinedOptions,
) -> tuple[list[tuple[Curves, Weighed]], float]:
    """Sample around all orbits: velocities with samples for each way to assign them.

    Together they are ``n_samples``; what they are worth is told as well.
    """
    ways = {one.exchanged.tobytes(): one.exchanged for one in found}
    sigma = pair.sigma if len(pair.sigma) else None
    parts = []
    for key, exchanged in ways.items():
        same = [one.orbit for one in found if one.exchanged.tobytes() == key]
        density = PosteriorDensity(pair.turned(exchanged).curves(), options, sigma)
        parts.append((density.curves, weigh(density, same, options.n_samples)))
    odds = [ln_odds(exchanged, double) for exchanged in ways.values()]
    ln = np.array([w.ln_evidence for _, w in parts]) + np.array(odds)
    total = np.logaddexp.reduce(ln)
    if not np.isfinite(total):
        return [], 0.0
    share = np.exp(ln - total)
    rng = np.random.default_rng(options.seed)
    counts = rng.multinomial(options.n_samples, share / share.sum())
    taken = [
        (c, replace(w, numbers=w.numbers[:count], jitter=w.jitter[:count]))
        for (c, w), count in zip(parts, counts, strict=True)
        if count
    ]
    return taken, sum(w.worth * s for (_, w), s in zip(parts, share, strict=True))


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
    return out + remarks_on(worth)


def _without(star_id, n_visits: int, reason: str) -> DoubleLined:
    samples = samples_table(star_id, [])
    return DoubleLined(
        no_summary(star_id, n_visits, reason),
        samples,
        modes_table([], samples),
        None,
        np.zeros(0, bool),
        None,
        (f"There is no orbit: {reason}.",),
    )
