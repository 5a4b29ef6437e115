"""Exposures that were calibrated with another arc lamp.

LAMOST's alternate lamp makes velocities read larger by 6.5 km/s (Zong 2020, appendix A).
Ordinary zero points of one spectrograph lie within a few hundred m/s, so such exposures
stand apart: the offsets fall into a lower and an upper group 6.5 km/s above it, with a
gap between them that is wider than either, and each scatters by less than a tenth of the
shift. The alternate lamp is the exception: where half of the exposures or more read
larger, none is flagged and a sentence says so. Where the offsets are spread otherwise,
none is named. A column ``lamp`` decides by name instead, where it tells exposures apart.
"""

__all__ = ["find_lamp_outliers", "shifted"]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import ZeroPointOptions
from steadystar.calibrate.problem import Family
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Vector

_MOST = 12
"""Sentences; a survey of years has hundreds of nights with the alternate lamp."""


def find_lamp_outliers(
    family: Family,
    offset: Vector,
    component: NDArray[np.intp],
    visits: pl.DataFrame,
    options: ZeroPointOptions,
) -> tuple[NDArray[np.bool_], list[str]]:
    """Find the exposures (group,) that read as after a change of the arc lamp.

    Arguments:
        family: of the offsets; only one with a column of exposures is searched.
        offset: zero points, km/s, ``(group,)``; NaN for undetermined ones.
        component: connected set of each, ``(group,)``.
        visits: the table, for its column ``lamp``.
        options: the shift to look for and its tolerance.

    Returns:
        Which groups, and a sentence for every connected set and spectrograph that has
        some; of many, the first and how many more there are.
    """
    out = np.zeros(len(offset), bool)
    notes: list[str] = []
    flagged: list[bool] = []
    if not set(family.columns) & set(options.lamp_columns) or not len(offset):
        return out, notes
    rest = [n for n in family.columns if n not in options.lamp_columns]
    part = codes(family.groups, rest)[0] if rest else np.zeros(len(offset), np.intp)
    lamp, names = _lamps(family, visits)
    key = component * (int(part.max(initial=0)) + 1) + part
    for one in np.unique(key[np.isfinite(offset)]):
        at = np.flatnonzero((key == one) & np.isfinite(offset))
        high, lamp_name = _by_lamp(offset[at], lamp[at], names, options)
        if lamp_name is None:
            high = shifted(offset[at], options)
        if high.any():
            usual = lamp_name is not None or bool(2 * high.sum() < len(high))
            out[at[high]] = usual
            notes.append(_sentence(family, at, high, offset, lamp_name, usual))
            flagged.append(usual)
    if left := flagged[_MOST:]:
        notes[_MOST:] = [_others(left)]
    return out, notes


def _others(flagged: list[bool]) -> str:
    """Say how many sets of exposures have no sentence of their own."""
    said = "LAMP_OUTLIER in the status of a zero point says which"
    if rest := len(flagged) - sum(flagged):
        said += f", but for {rest} sets with so many that none is flagged"
    more = "set has" if len(flagged) == 1 else "sets have"
    return f"{len(flagged)} more {more} exposures that read larger so: {said}."


def shifted(offset: Vector, options: ZeroPointOptions) -> NDArray[np.bool_]:
    """Return which of the offsets of one spectrograph form the shifted upper group."""
    n = len(offset)
    out = np.zeros(n, bool)
    if n < 3:
        return out
    order = np.argsort(offset)
    value = offset[order]
    split = int(np.argmax(np.diff(value))) + 1
    low, high = value[:split], value[split:]
    apart = float(np.median(high) - np.median(low))
    if (
        len(low) >= 2
        and abs(apart - options.lamp_shift) <= options.lamp_tolerance
        and high[0] - low[-1] > options.lamp_shift / 2
        and max(np.ptp(low), np.ptp(high)) < options.lamp_shift / 2
        and max(np.std(low), np.std(high)) < options.lamp_shift / 10
    ):
        out[order[split:]] = True
    return out


def _lamps(family: Family, visits: pl.DataFrame) -> tuple[NDArray[np.intp], list[str]]:
    """Return the lamp of each group, -1 if unknown or mixed, and the lamps' names."""
    lamp = np.full(len(family.groups), -1)
    if "lamp" not in visits.columns:
        return lamp, []
    index, names = codes(visits, ["lamp"])
    has = (family.index >= 0) & (index >= 0)
    low = np.full(len(lamp), len(names))
    np.minimum.at(low, family.index[has], index[has])
    np.maximum.at(lamp, family.index[has], index[has])
    return np.where(low == lamp, lamp, -1), [str(n) for n in names["lamp"]]


def _by_lamp(offset, lamp, names, options) -> tuple[NDArray[np.bool_], str | None]:
    """Return the exposures of a lamp that reads larger than the most common one.

    The second value is its name, None if lamps do not tell these exposures apart.
    """
    none = np.zeros(len(offset), bool)
    known = np.unique(lamp[lamp >= 0])
    if len(known) < 2:
        return none, None
    usual = known[np.argmax([np.sum(lamp == one) for one in known])]
    middle = float(np.median(offset[lamp == usual]))
    scatter = 1.4826 * float(np.median(np.abs(offset[lamp == usual] - middle)))
    for one in known:
        apart = float(np.median(offset[lamp == one])) - middle
        # Zero points drift by themselves: few exposures may miss the shift by that. The
        # name of the lamp is evidence enough for half the shift, not for less.
        drift = 3 * scatter / np.sqrt(np.sum(lamp == one))
        tolerance = min(max(options.lamp_tolerance, drift), options.lamp_shift / 2)
        if one != usual and abs(abs(apart) - options.lamp_shift) <= tolerance:
            # The alternate lamp is the one that reads larger.
            alternate = one if apart > 0 else usual
            return lamp == alternate, names[alternate]
    return none, None


def _sentence(family: Family, at, high, offset, lamp_name, usual: bool) -> str:
    named = [family.describe(int(g)) for g in at[high][:5]]
    more = f" and {int(high.sum()) - 5} more" if high.sum() > 5 else ""
    apart = float(np.median(offset[at[high]]) - np.median(offset[at[~high]]))
    others = f"lamps other than {lamp_name}" if lamp_name else "their spectrograph"
    verdict = (
        "as after the alternate arc lamp"
        if usual
        else "as two arc lamps do, but so many that none is flagged"
    )
    return (
        f"Read {apart:.2f} km/s larger than the {int((~high).sum())} other exposures "
        f"of {others}, {verdict}: {'; '.join(named)}{more}."
    )
