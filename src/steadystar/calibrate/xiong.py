"""Zero points of exposures by the iteration of Xiong et al. (2021), section 3.2.

For each spectrograph, red arm first:

1. s_i^2 = (1/m) sum_t (v[i,t] - mean_i)^2 of every star; stars with s_i below the mean
   of all s are the candidates for constant stars.
2. vbar_t, the mean velocity of the candidates in exposure t, is subtracted from all
   stars of that exposure.
3. Again, until every vbar_t, and its change since the round before, is below
   0.01 km/s.

The other arms take the candidates of the red arm, and only the second step is
repeated. No errors are used. The paper works on velocities relative to each star;
absolute ones are made so, by subtracting each star's mean once.
"""

__all__ = ["solve"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.case import Case, Solution
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Vector, sums


@dataclass(frozen=True)
class _Arm:
    """The visits of one spectrograph and arm, numbered from zero."""

    rows: NDArray[np.intp]
    star: NDArray[np.intp]
    star_of: NDArray[np.intp]
    exposure: NDArray[np.intp]
    exposure_of: NDArray[np.intp]

    @classmethod
    def of(cls, rows, star, unknown) -> "_Arm":
        star_of, own_star = np.unique(star[rows], return_inverse=True)
        exposure_of, exposure = np.unique(unknown[rows], return_inverse=True)
        return cls(rows, own_star, star_of, exposure, exposure_of)


def solve(case: Case, options: ZeroPointOptions) -> Solution:
    """Return offsets by the published iteration, for one family of offsets.

    Raises:
        CalibrationError: several families were asked for.
    """
    if len(case.problem.families) != 1:
        raise CalibrationError(
            "The method xiong solves one family of offsets: give one --by, or choose "
            "the method joint or linear."
        )
    size = case.design.size
    velocity = case.y.copy()
    notes: list[str] = []
    if not case.problem.relative:
        sums, count = case.groups.zeros(velocity), np.maximum(case.groups.n_of_zero, 1)
        velocity -= (sums / count)[case.groups.zero]
    offset, error = np.zeros(size), np.full(size, np.nan)
    candidate = np.zeros(case.groups.n_stars, bool)
    judged = np.zeros(case.groups.n_stars, bool)
    unknown, star = case.design.unknown[0], case.groups.star
    for spectrograph, arms in _spectrographs(case):
        chosen: NDArray | None = None
        for name, rows in arms:
            arm = _Arm.of(rows[unknown[rows] >= 0], star, unknown)
            if not len(arm.rows):
                continue
            total, keep, settled = iterate(
                velocity[arm.rows], arm.star, arm.exposure, options, _of(arm, chosen)
            )
            offset[arm.exposure_of] = total
            left = velocity[arm.rows] - np.nan_to_num(total)[arm.exposure]
            error[arm.exposure_of] = _error(left, arm, keep)
            where = " ".join(w for w in (spectrograph, name) if w) or "the table"
            if not settled:
                notes.append(
                    f"The iteration on {where} had not settled after "
                    f"{options.max_rounds} rounds."
                )
            if chosen is None:
                chosen = np.zeros(case.groups.n_stars, bool)
                chosen[arm.star_of[keep]] = True
                judged[arm.star_of] = True
                candidate |= chosen
    return Solution(
        offset=offset,
        weight=np.ones(len(case.rows)),
        p_constant=np.where(judged, candidate.astype(float), np.nan),
        status=np.zeros(size, np.int64),
        error=error,
        notes=tuple(notes),
    )


def iterate(
    velocity: Vector,
    star: NDArray[np.intp],
    exposure: NDArray[np.intp],
    options: ZeroPointOptions,
    candidates: NDArray[np.bool_] | None = None,
) -> tuple[Vector, NDArray[np.bool_], bool]:
    """Run the iteration on one spectrograph and arm.

    Arguments:
        velocity, star, exposure: of each visit, ``(visit,)``; indices from zero.
        options: threshold and largest number of rounds.
        candidates: (star,), if another arm has chosen them; else they are chosen here.

    Returns:
        The zero point of every exposure, km/s (NaN without a candidate), the candidates
        and whether the iteration settled.
    """
    exposures = int(exposure.max(initial=-1)) + 1
    total, previous = np.zeros(exposures), np.full(exposures, np.inf)
    left = velocity.copy()
    settled, rounds = False, 0
    keep = candidates if candidates is not None else steadiest(left, star)
    number = np.zeros(exposures, np.intp)
    while not settled and rounds < options.max_rounds:
        if candidates is None:
            keep = steadiest(left, star)
        use = keep[star]
        number = np.bincount(exposure[use], minlength=exposures)
        means = sums(exposure[use], left[use], exposures) / np.maximum(number, 1)
        left -= means[exposure]
        total += means
        small = np.abs(means) < options.xiong_threshold
        still = np.abs(means - previous) < options.xiong_threshold
        settled = bool(np.all(small & still))
        previous, rounds = means, rounds + 1
    return np.where(number > 0, total, np.nan), keep, settled


def steadiest(velocity: Vector, star: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return the stars whose scatter is below the mean scatter of all stars.

    Stars with one visit have none. Where all scatter alike none is below the mean, and
    all are as good.
    """
    count = np.bincount(star)
    mean = sums(star, velocity, len(count)) / count
    square = sums(star, (velocity - mean[star]) ** 2, len(count))
    scatter, several = np.sqrt(square / count), count > 1
    if not several.any():
        return several
    limit = scatter[several].mean()
    below = several & (scatter < limit)
    return below if below.any() else several & (scatter <= limit * (1 + 1e-9))


def _of(arm: _Arm, chosen: NDArray | None) -> NDArray | None:
    """Return the candidates of another arm among this arm's stars, None if no star."""
    if chosen is None or not chosen[arm.star_of].any():
        return None
    return chosen[arm.star_of]


def _error(left: Vector, arm: _Arm, keep: NDArray) -> Vector:
    """Standard error of the mean of the candidates in every exposure."""
    mean = sums(arm.star, left, len(arm.star_of)) / np.bincount(arm.star)
    use = keep[arm.star]
    exposure, square = arm.exposure[use], (left - mean[arm.star])[use] ** 2
    number = np.bincount(exposure, minlength=len(arm.exposure_of))
    square = sums(exposure, square, len(arm.exposure_of))
    # Mean and exposure have each been fitted to the residuals.
    return np.where(
        number > 1, np.sqrt(square / np.maximum(number * (number - 1), 1)), np.nan
    )


def _spectrographs(case: Case):
    """Yield each spectrograph's name and its arms, red first, with their visits."""
    columns = case.problem.families[0].columns
    visits = case.problem.visits[case.rows]
    all_rows = np.arange(len(case.rows))
    tables = [n for n in ("telescope", "spectrograph") if n in columns]
    part, names = (
        codes(visits, tables) if tables else (np.zeros(len(all_rows), int), None)
    )
    for one in np.unique(part):
        rows = all_rows[part == one]
        label = "" if names is None else ", ".join(map(str, names.row(int(one))))
        label = f"{' '.join(tables)} {label}" if label else ""
        if "arm" not in columns:
            yield label, [("", rows)]
            continue
        arm = visits["arm"].cast(str).to_numpy()[rows]
        order = sorted(set(arm), key=lambda a: (a != "red", a))
        yield label, [(f"arm {a}", rows[arm == a]) for a in order]
