"""The visits of a pair: velocities of both stars, or of a blend, and their zero points.

Stars that are nearly alike change places from visit to visit: `Pair.turned` is the pair
with the velocities of some visits exchanged. All that is made of a pair, velocity curves,
Wilson's line and the differences that a search for the period takes, is made of the pair
as it stands.
"""

__all__ = [
    "LEAST_EPOCHS",
    "DoubleLinedOptions",
    "Pair",
    "count_epochs",
    "pair_of",
    "with_both",
]

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.infer.orbit_curves import Curves
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import curves_of
from steadystar.infer.wilson import MassRatio, mass_ratio
from steadystar.measure.option_checks import check_values

Vector = NDArray[np.float64]
Chosen = NDArray[np.bool_]

LEAST_EPOCHS = 4
"""Times at which both velocities were measured, from which an orbit of a pair follows."""
# Of the difference in a blend's velocity: where less, it cancels.
_LEAST_PART = 0.02
_ANYWHERE = 1e4  # km/s: prior width of a zero of which nothing is known


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
class Pair:
    """Visits with both velocities, and those with one that are used.

    ``t`` days; ``rv, err, rv_2, err_2`` km/s; ``family``: number of the zero point, that
    moves both velocities; ``share_2``: the second star's share of the light where ``rv`` is
    that of a blend, 0 elsewhere; ``both``: whether both were measured: ``(visit,)``.
    ``sigma``: prior widths of the zero points after the first, km/s.
    """

    t: Vector
    rv: Vector
    err: Vector
    rv_2: Vector
    err_2: Vector
    family: NDArray[np.intp]
    sigma: Vector
    share_2: Vector
    both: Chosen

    @property
    def nobody(self) -> Chosen:
        """No visit, ``(visit,)``."""
        return np.zeros(len(self.t), bool)

    def turned(self, exchanged: Chosen) -> "Pair":
        """Return the pair with both stars exchanged in some visits, ``(visit,)``."""
        whole, blend = exchanged & self.both, exchanged & ~self.both
        return replace(
            self,
            rv=np.where(whole, self.rv_2, self.rv),
            err=np.where(whole, self.err_2, self.err),
            rv_2=np.where(whole, self.rv, self.rv_2),
            err_2=np.where(whole, self.err, self.err_2),
            share_2=np.where(blend, 1 - self.share_2, self.share_2),
        )

    def curves(self) -> Curves:
        """Return all velocities, to be fitted by an orbit."""
        return curves_of(
            self.t,
            self.rv,
            self.err,
            rv_2=self.rv_2,
            err_2=self.err_2,
            family=self.family,
            share_2=self.share_2,
        )

    def wilson(self, *, exchange: bool = False) -> MassRatio:
        """Return the mass ratio without an orbit; ``exchange``: by any exchanges."""
        rows = self.both
        columns = (a[rows] for a in (self.rv, self.err, self.rv_2, self.err_2))
        family = self.family[rows]
        return mass_ratio(*columns, exchange=exchange, family=family, sigma=self.sigma)

    def differences(self, rows: Chosen) -> tuple[Vector, Vector, Vector]:
        """Return times and velocities of the first star less the second's, with errors.

        A visit with one velocity has the difference that Wilson's line makes of it.
        """
        t, rv, err = self.t[rows], self.rv[rows], self.err[rows]
        if self.both[rows].all():
            return t, rv - self.rv_2[rows], np.hypot(err, self.err_2[rows])
        line, share = self.wilson(), self.share_2[rows]
        # v - gamma = D ((1 - b) q - b) / (1 + q), with K / K_2 = q.
        part = ((1 - share) * line.q - share) / (1 + line.q)
        part = np.where(np.abs(part) < _LEAST_PART, _LEAST_PART, part)
        off = rv - line.gamma - line.offsets[self.family[rows]]
        return t, off / part, np.hypot(err, line.gamma_err) / np.abs(part)


def with_both(visits: pl.DataFrame) -> Chosen:
    """Return which `usable_visits` have the velocities of both stars, ``(visit,)``."""
    rv_2, err_2 = visits["rv_2"].to_numpy(), visits["rv_2_err"].to_numpy()
    return np.isfinite(rv_2) & np.isfinite(err_2) & (err_2 > 0)


def count_epochs(visits: pl.DataFrame) -> int:
    """Count the times at which both velocities were measured: two arms see one."""
    bjd = visits["bjd"].to_numpy()[with_both(visits)]
    return len(np.unique(bjd[np.isfinite(bjd)]))


def pair_of(
    visits: pl.DataFrame, options: OrbitOptions, double: DoubleLinedOptions
) -> tuple[Pair, list[str]]:
    """Return the `usable_visits` of a star that are fitted, and a word on the others."""
    both, timed = with_both(visits), np.isfinite(visits["bjd"].to_numpy())
    notes = []
    if (alone := int((timed & ~both).sum())) and double.single == "out":
        notes.append(
            f"{alone} visits with one velocity, a blend of both stars, are left out."
        )
    if lost := int((~timed).sum()):
        notes.append(f"{lost} visits without a time are left out.")
    share, err = np.zeros(len(visits)), visits["rv_err"].to_numpy()
    if double.single == "blend":
        ratio = _light_ratio(visits, both)
        share = np.where(both, 0.0, ratio / (1 + ratio))
        err = np.where(both, err, np.hypot(err, double.blend_err))
        notes.append(
            f"{alone} blends count as means of both stars, the second with "
            f"{ratio / (1 + ratio):.2f} of the light."
        )
    rows = np.flatnonzero(timed & (both | (double.single != "out")))
    used = visits[rows]
    family, sigma = _families(used, options)
    t, rv, rv_2, err_2 = (used[n].to_numpy() for n in ("bjd", "rv", "rv_2", "rv_2_err"))
    pair = Pair(t, rv, err[rows], rv_2, err_2, family, sigma, share[rows], both[rows])
    return pair, notes


def _light_ratio(visits: pl.DataFrame, both: Chosen) -> float:
    """Light of the second star over the first's, 1 where no visit tells."""
    if "light_ratio" not in visits.columns:
        return 1.0
    light = visits["light_ratio"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = light[both & np.isfinite(light)]
    return float(np.median(known)) if len(known) else 1.0


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
    sigma = np.where(zero[1:] != zero[:1], _ANYWHERE, options.offset_sigma)
    return code, sigma
