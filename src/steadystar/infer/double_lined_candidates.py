"""Orbits of a pair that fit nearly as well as the best: the modes of its posterior.

All periods are searched by the difference of the velocities (`double_lined_search`), the
best orbits refined with both stars, quickly and then, near the best, in full. How good one
is, its merit, is the posterior there, with the odds of the exchanges that it needs.
"""

__all__ = ["Candidate", "candidates_of"]

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.double_lined_exchange import by_line, by_orbit, by_sign, ln_odds
from steadystar.infer.double_lined_pair import DoubleLinedOptions, Pair
from steadystar.infer.double_lined_search import Start, search
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import Refined, RefinementOptions, refine_curves

_NEAR = 12.0
"""Orbits whose merit is less by so much have no share worth a sample."""
_MULTIPLES = (0.5, 2.0, 1 / 3, 3.0)
_WITH_MULTIPLES = 3
_ROUNDS = 4
_EXCHANGES = 3
"""Times that visits change places while an orbit is refined quickly."""


class Candidate(NamedTuple):
    """A refined orbit, the visits exchanged for it ``(visit,)``, and its merit (ln)."""

    orbit: Refined
    exchanged: NDArray[np.bool_]
    merit: float


def candidates_of(
    pair: Pair, options: OrbitOptions, double: DoubleLinedOptions
) -> list[Candidate]:
    """Return the orbits near the best one, each once, the highest merit first."""
    look = _Look(pair, options, double)
    given: list[Candidate] = []
    if double.assignment != "free":
        given = look.closely(look.quickly(pair.nobody, look.starts(pair)))
        if double.assignment == "given" or (given and _fits(given[0].orbit)):
            return given
    return look.closely(given + look.exchanging())


@dataclass(frozen=True)
class _Look:
    """What is looked at: how to find and refine orbits of a pair."""

    pair: Pair
    options: OrbitOptions
    double: DoubleLinedOptions

    def starts(self, pair: Pair, signed: bool = True) -> list[Start]:
        """Search the periods; visits with one velocity help where signs are known."""
        t, difference, err = pair.differences(pair.both)
        if signed and (~pair.both).any():
            known, more = (t, difference, err), pair.differences(~pair.both)
            t, difference, err = map(np.concatenate, zip(known, more, strict=True))
        return search(
            t,
            difference,
            err,
            (self.options.min_period, self.options.max_period),
            signed=signed,
            number=self.double.starts,
        )

    def exchanging(self) -> list[Candidate]:
        """Refine quickly with exchanges by Wilson's line, and by searches without signs."""
        found = []
        swapped = by_line(self.pair)
        if swapped.any():
            starts = self.starts(self.pair.turned(swapped))
            found += self.quickly(swapped, starts)
        # The search has told by the sign which is which: many starts share an assignment.
        for start in self.starts(self.pair, signed=False):
            found += self.quickly(by_sign(self.pair, start.high), [start])
        return found

    def quickly(
        self, exchanged: NDArray[np.bool_], starts: list[Start]
    ) -> list[Candidate]:
        """Refine in a few steps; visits that may be exchanged change places meanwhile."""
        how = self.how(rounds=2, steps=40)
        curves = self.pair.turned(exchanged).curves()
        if len(curves.v) < len(curves.names):
            return []
        free = self.double.assignment == "free" or bool(exchanged.any())
        found = []
        for start in starts:
            now = exchanged
            orbit = refine_curves(curves, start.elements, how)
            for _ in range(_EXCHANGES if free else 0):
                new = by_orbit(self.pair, orbit)
                if (new == now).all():
                    break
                now = new
                again = self.pair.turned(now).curves()
                orbit = refine_curves(again, orbit.elements, how)
            found.append(self.judged(orbit, now))
        return found

    def closely(self, found: list[Candidate]) -> list[Candidate]:
        """Refine in full what is near the best, each orbit once, the best first."""
        sharp = [self.sharp(x, o.elements) for o, x, _ in _near(found, 2 * _NEAR)]
        # What was found from few visits near periastron may be a part of the period, or a
        # multiple: as long as that makes a better one.
        for _ in range(_ROUNDS):
            best = _near(sharp)[:_WITH_MULTIPLES]
            sharp += [
                self.sharp(exchanged, start)
                for orbit, exchanged, _ in best
                for by in _MULTIPLES
                for start in _passing_alike(orbit.elements, by)
                if self.options.min_period < start["period"] < self.options.max_period
            ]
            if not best or _near(sharp)[0].orbit is best[0].orbit:
                break
        return _near(sharp)

    def sharp(self, exchanged, start: dict[str, float]) -> Candidate:
        """Refine one orbit in full."""
        curves = self.pair.turned(exchanged).curves()
        return self.judged(refine_curves(curves, start, self.how()), exchanged)

    def how(self, **limits) -> RefinementOptions:
        """Return how orbits are refined: the prior keeps them from e = 1."""
        b = max(self.options.eccentricity_b, 1.0)
        jitter = -1.0 if self.options.jitter > 0 else 0.0
        return RefinementOptions(jitter=jitter, eccentricity_b=b, **limits)

    def judged(self, orbit: Refined, exchanged) -> Candidate:
        """Add the merit to an orbit."""
        pair = self.pair.turned(exchanged)
        sigma = pair.sigma if len(pair.sigma) else None
        density = PosteriorDensity(pair.curves(), self.options, sigma)
        jitter = np.array([density.allowed(orbit.elements["jitter"])])
        value = float(density(orbit.numbers[None], jitter)[0])
        return Candidate(orbit, exchanged, value + ln_odds(exchanged, self.double))


def _near(found: list[Candidate], room: float = _NEAR) -> list[Candidate]:
    """Return those near the best, each orbit once, the best first."""
    finite = [one for one in found if np.isfinite(one.merit)]
    least = max((one.merit for one in finite), default=0.0) - room
    kept: list[Candidate] = []
    for one in sorted(finite, key=lambda one: -one.merit):
        if one.merit >= least and not any(_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two refinements came to one orbit."""
    width = 0.3 * np.sqrt(other.orbit.covariance[0, 0]) + 1e-9
    return bool(
        (one.exchanged == other.exchanged).all()
        and abs(one.orbit.numbers[0] - other.orbit.numbers[0]) < width
        and abs(one.orbit.ln_likelihood - other.orbit.ln_likelihood) < 0.05
    )


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


def _fits(orbit: Refined) -> bool:
    """Whether the errors as given explain what is left, within their chance."""
    return bool(orbit.chi2 < orbit.dof + 5 * np.sqrt(2 * max(orbit.dof, 1)))
