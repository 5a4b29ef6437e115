"""Zero points from common constant stars (Zong et al. 2020, appendix A; Liu et al. 2019).

On each plate (``field``), and in each arm:

1. Common constant stars have a spectrum in every exposure in which their spectrograph
   was used, and velocities that scatter by less than 1.0 km/s.
2. The offset of a spectrograph in an exposure is the weighted mean of its common
   constant stars' deviations from their own means.
3. One round is enough, as the paper found when it tried three; more can be asked for.

Plates with fewer than 540 spectra in the arm are refused. A spectrograph whose stars
scatter far more on a plate than on the survey's other plates and spectrographs is set
aside there. Exposures taken with the alternate arc lamp shift by 6.5 km/s, so that no
star would pass as constant: they are found first, from the medians of all stars.
"""

__all__ = ["solve"]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.case import Case, Solution
from steadystar.calibrate.lamps import shifted
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Groups, Vector, distinct_stars, sums
from steadystar.data.status import Status

_REFUSED = int(Status.PLATE_REFUSED | Status.UNCALIBRATED)
_SET_ASIDE = int(Status.INCONSISTENT_SCATTER | Status.UNCALIBRATED)
_TOO_FEW = int(Status.TOO_FEW_STARS | Status.UNCALIBRATED)


def solve(case: Case, options: ZeroPointOptions) -> Solution:
    """Return offsets by common constant stars, for one family of offsets.

    Raises:
        CalibrationError: several families were asked for.
    """
    if len(case.problem.families) != 1:
        raise CalibrationError(
            "The method common-constant solves one family of offsets: give one --by, "
            "or choose the method joint or linear."
        )
    visits = case.problem.visits[case.rows]
    size, unknown = case.design.size, case.design.unknown[0]
    status = np.zeros(size, np.int64)
    notes: list[str] = []
    plate, plates = _numbered(visits, ["field", "arm"])
    if "field" not in visits.columns:
        notes.append("The table has no column field: all visits count as one plate.")
    for one in np.unique(plate):
        spectra = int((plate == one).sum())
        if spectra < options.min_plate_spectra:
            status[np.unique(unknown[(plate == one) & (unknown >= 0)])] |= _REFUSED
            notes.append(
                f"Plate refused: {plates[one]} has {spectra} spectra, fewer than "
                f"{options.min_plate_spectra}."
            )
    pair, pairs = _numbered(visits, ["field", "arm", "telescope", "spectrograph"])
    deviation = case.y - case.groups.medians(case.y)[case.groups.zero]
    first = _first_offsets(deviation, unknown, pair, size, options)
    complete = _in_every_exposure(case, unknown, pair)
    scatter = _scatter(case.y - np.append(first, 0.0)[unknown], case.groups)
    for one in _inconsistent(scatter, complete, case.groups, pair, options):
        status[np.unique(unknown[(pair == one) & (unknown >= 0)])] |= _SET_ASIDE
        notes.append(
            f"Set aside: the velocities of {pairs[one]} scatter far more than those of "
            "the other spectrographs."
        )
    offset, error, constant = _rounds(case, unknown, complete, first, status, options)
    few = (
        np.isnan(offset)
        & (status == 0)
        & (np.bincount(unknown[unknown >= 0], minlength=size) > 0)
    )
    status[few] |= _TOO_FEW
    return Solution(
        offset=np.where(status == 0, offset, np.nan),
        weight=np.ones(len(case.rows)),
        p_constant=np.where(case.groups.n_of_star > 1, constant.astype(float), np.nan),
        status=status,
        error=error,
        notes=tuple(notes),
    )


def _numbered(visits: pl.DataFrame, wanted: list[str]) -> tuple[NDArray, list[str]]:
    """Number the groups by those of ``wanted`` that the table has, and name them."""
    columns = [n for n in wanted if n in visits.columns and visits[n].null_count() == 0]
    if not columns:
        return np.zeros(len(visits), np.intp), ["the table"]
    index, groups = codes(visits, columns)
    names = [
        ", ".join(f"{n} {v}" for n, v in row.items())
        for row in groups.iter_rows(named=True)
    ]
    return index, names


def _first_offsets(deviation, unknown, pair, size, options) -> Vector:
    """Shift, by the lamp only, of every offset: from the medians of all stars."""
    has = unknown >= 0
    median = Groups.of_stars(unknown[has]).medians(deviation[has])
    out = np.zeros(size)
    for one in np.unique(pair):
        members = np.unique(unknown[has & (pair == one)])
        high = members[shifted(median[members], options)]
        out[high] = options.lamp_shift
    return out


def _in_every_exposure(case: Case, unknown, pair) -> NDArray[np.bool_]:
    """Return the velocity zeros (bool) with a visit in every exposure of their plate."""
    has = unknown >= 0
    exposures = distinct_stars(unknown[has], pair[has], int(pair.max(initial=0)) + 1)
    zero = case.groups.zero
    seen = distinct_stars(unknown[has], zero[has], case.groups.n_zeros)
    wanted = np.zeros(case.groups.n_zeros, np.intp)
    # A star on two spectrographs or plates must be in all exposures of both.
    table = distinct_pairs(zero[has], pair[has])
    np.add.at(wanted, table[0], exposures[table[1]])
    return (wanted > 1) & (seen == wanted)


def distinct_pairs(a: NDArray[np.intp], b: NDArray[np.intp]) -> tuple[NDArray, NDArray]:
    """Return the distinct pairs of ``(a, b)``."""
    width = int(b.max(initial=0)) + 1
    return np.divmod(np.unique(a * width + b), width)


def _scatter(y: Vector, groups: Groups) -> Vector:
    """Sample standard deviation of the visits of every velocity zero."""
    count = np.maximum(groups.n_of_zero, 1)
    mean = groups.zeros(y) / count
    square = groups.zeros((y - mean[groups.zero]) ** 2)
    return np.sqrt(square / np.maximum(count - 1, 1))


def _inconsistent(scatter, complete, groups: Groups, pair, options) -> list[int]:
    """Return spectrograph-and-plate pairs whose typical scatter stands out.

    A single star's scatter is no measure, since it may vary: the median over all the
    pair's complete stars is, and with it three pairs or more can be compared.
    """
    home = np.zeros(groups.n_zeros, np.intp)
    home[groups.zero] = pair
    typical = {
        int(one): float(np.median(scatter[complete & (home == one)]))
        for one in np.unique(home[complete])
    }
    if len(typical) < 3:
        return []
    middle = float(np.median(list(typical.values())))
    limit = options.inconsistent_scatter * middle
    return [one for one, value in typical.items() if value > max(limit, 1e-9)]


def _rounds(case: Case, unknown, complete, first, status, options):
    """Select constant stars and average their deviations, as often as asked for."""
    size, groups = case.design.size, case.groups
    err = case.err
    weight = np.where(np.isfinite(err) & (err > 0), err, np.nan) ** -2.0
    has = (unknown >= 0) & np.isfinite(weight)
    has[has] = status[unknown[has]] == 0
    offset, error = first.copy(), np.full(size, np.nan)
    constant = np.zeros(groups.n_zeros, bool)
    for _ in range(options.rounds):
        left = case.y - np.append(offset, 0.0)[unknown]
        constant = complete & (_scatter(left, groups) < options.max_scatter)
        use = has & constant[groups.zero]
        w = np.where(use, weight, 0.0)
        total = np.maximum(groups.zeros(w), 1e-300)
        deviation = left - (groups.zeros(w * left) / total)[groups.zero]
        total = sums(unknown[use], w[use], size)
        mean = sums(unknown[use], (w * deviation)[use], size)
        known = total > 0
        mean = np.divide(mean, total, out=np.full(size, np.nan), where=known)
        offset = np.where(known, np.nan_to_num(offset) + mean, np.nan)
        error = np.where(known, 1 / np.sqrt(np.where(known, total, 1.0)), np.nan)
    stars = groups.stars(constant.astype(float)) > 0
    return offset, error, stars
