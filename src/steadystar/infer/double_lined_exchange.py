"""Which of a pair's velocities is whose, where the spectra do not say.

``rv`` is to be the brighter star's, but stars that are nearly alike change places from
visit to visit. Three things tell: Wilson's line, if the masses differ; an orbit that was
fitted with some visits exchanged, of the others; and a search for the period by the size of
the velocity difference, that gives its sign as well.
"""

__all__ = ["by_line", "by_orbit", "by_sign", "ln_odds"]

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.double_lined_pair import DoubleLinedOptions, Pair
from steadystar.infer.orbit_refinement import Refined

Chosen = NDArray[np.bool_]


def by_line(pair: Pair) -> Chosen:
    """Return which visits Wilson's line would rather have exchanged, ``(visit,)``."""
    out = pair.nobody
    out[pair.both] = pair.wilson(exchange=True).exchanged
    return out


def by_sign(pair: Pair, high: Chosen) -> Chosen:
    """Return which visits to exchange if one star recedes faster where ``high``.

    ``high``: of the visits with both velocities. The first star is the one that ``rv`` is
    most often, not that of the search: which of the two that is, an amplitude's sign says.
    """
    exchanged = (pair.rv > pair.rv_2)[pair.both] != high
    out = pair.nobody
    out[pair.both] = ~exchanged if exchanged.mean() > 0.5 else exchanged
    return out


def by_orbit(pair: Pair, orbit: Refined) -> Chosen:
    """Return which visits the orbit would rather have exchanged, ``(visit,)``."""
    rows = pair.both
    jitter = orbit.elements["jitter"]
    given, other = (
        sum(
            (v[rows] - orbit.predicted(pair.t[rows], second, pair.family[rows])) ** 2
            / (err[rows] ** 2 + jitter**2)
            for second, v, err in (
                (0.0, one.rv, one.err),
                (1.0, one.rv_2, one.err_2),
            )
        )
        for one in (pair, pair.turned(rows))
    )
    out = pair.nobody
    out[rows] = other < given
    return out


def ln_odds(exchanged: Chosen, double: DoubleLinedOptions) -> float:
    """Logarithm of how likely just these visits were to be exchanged, over none."""
    share = 0.5 if double.assignment == "free" else double.exchange_share
    return int(exchanged.sum()) * float(np.log(share / (1 - share)))
