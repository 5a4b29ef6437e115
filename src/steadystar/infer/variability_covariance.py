"""What the errors of a star's velocities have in common.

The noise of every visit is its own. The error of a correction belongs to a group (an
exposure, a fiber), and all visits of the star in that group share it: it makes them
look alike, and visits of different groups unlike. With ``n_i^2 = rv_err^2 -
correction_err^2`` the noise, the covariance of two visits is

    V_ij = n_i^2 [i = j] + r_i r_j [same group] + u

where ``u`` is what all visits of the star share, which no comparison of them sees. A
table of visits does not say ``u``, but `ZeroPoints.apply` left its trace: the mean
covariance of a visit's correction with those of the others, ``correction_common_err``,

    m_i^2 = [c_i^2 (W_group - w_i) + u (W - W_group)] / (W - w_i),    r_i^2 = c_i^2 - u,

with weights ``w`` and their sums. Where every visit has a group of its own ``u`` is
``m_i^2`` and the visits are independent. Who has the `ZeroPoints` needs none of this:
they know the whole matrix.
"""

__all__ = ["Shared", "exact_covariance", "in_parts", "rows_by_count", "shared_errors"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Groups, Vector, sums

_CELLS = 1_000_000
"""Elements of the covariances of several stars that are held at once (8 MB)."""


@dataclass(frozen=True)
class Shared:
    """The covariance of visits as noise and what groups share, all ``(visit,)``.

    ``variance``: of each visit's own error; ``amplitude``: its part of the error of its
    group; ``block``: number of the group within the velocity zero, -1 where no other
    visit shares it (``amplitude`` is 0 there).
    """

    variance: Vector
    amplitude: Vector
    block: NDArray[np.intp]

    @property
    def total(self) -> Vector:
        """Variance of each visit, without what all visits of the star share."""
        return self.variance + self.amplitude**2

    def covariance(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the covariance of visits of stars, ``rows`` (..., n), (..., n, n)."""
        block, r = self.block[rows], self.amplitude[rows]
        same = (block[..., :, None] == block[..., None, :]) & (block[..., None] >= 0)
        out = same * r[..., :, None] * r[..., None, :]
        own = np.arange(rows.shape[-1])
        out[..., own, own] += self.variance[rows]
        return out


def shared_errors(
    table: pl.DataFrame, groups: Groups, by: Sequence[Sequence[str]]
) -> Shared:
    """Return what visits of `usable_visits` share by the columns of the table.

    Arguments:
        table: the visits; without ``correction_err`` nothing is shared.
        groups: which of them share a velocity zero.
        by: columns of each family of offsets. Visits that agree in all families share
            the error of the correction; without families no visit shares anything.

    Raises:
        ValueError: a column of a family is missing.
    """
    within = table["rv_err"].to_numpy() ** 2
    nothing = np.zeros(len(table)), np.full(len(table), -1)
    if not by or "correction_err" not in table.columns:
        return Shared(within, *nothing)
    names = list(dict.fromkeys(name for family in by for name in family))
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(
            f"The table has no column {missing[0]}, by which errors should be shared: "
            "name the columns by which it was calibrated, or none."
        )
    code, distinct = codes(table, names)
    key = groups.zero * (len(distinct) + 1) + code + 1
    block = np.unique(key, return_inverse=True)[1]
    # A visit whose group is not known shares nothing.
    count = np.bincount(block)
    alone = (count[block] < 2) | (code < 0)
    common = table["rv_common_err"].to_numpy() ** 2
    given = table["correction_err"].cast(pl.Float64, strict=False)
    total = within + common
    c2 = np.nan_to_num(given.fill_null(0.0).to_numpy()) ** 2
    # Some noise is left to every visit, were it a thousandth of its error.
    c2 = np.clip(c2, common, np.maximum((1 - 1e-6) * total, common))
    weight = 1 / np.maximum(total - c2, 1e-30)
    of_block = sums(block, weight, len(count))[block]
    of_zero = groups.zeros(weight)[groups.zero]
    others = of_zero - of_block
    trace = common * (of_zero - weight) - c2 * (of_block - weight)
    everywhere = others <= 1e-9 * of_zero
    u = np.where(everywhere, c2, np.clip(trace / np.maximum(others, 1e-300), 0, c2))
    amplitude = np.where(alone, 0.0, np.sqrt(c2 - u))
    variance = np.where(alone, within, np.maximum(total - c2, 1e-6 * within))
    return Shared(variance, amplitude, np.where(alone, -1, block))


def exact_covariance(
    table: pl.DataFrame, star: NDArray[np.intp], zeropoints: ZeroPoints
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Yield ``rows`` (star, n) of stars of n visits, and their covariance (star, n, n).

    Every star once; stars without visits never.

    Arguments:
        table: visits of `usable_visits`, calibrated by ``zeropoints``.
        star: number of the star of each visit.
        zeropoints: who knows the covariance of the corrections.

    Raises:
        CalibrationError: a column of a family is missing or of another kind.
    """
    given = table["correction_err"].cast(pl.Float64).fill_null(0.0).to_numpy()
    total = table["rv_err"].to_numpy() ** 2 + table["rv_common_err"].to_numpy() ** 2
    noise = np.maximum(total - np.nan_to_num(given) ** 2, 0.0)
    shared = zeropoints.covariances_of_visits(table)
    for rows in rows_by_count(star):
        own = np.arange(rows.shape[1])
        for part in in_parts(rows):
            matrix = shared.of(part)
            matrix[:, own, own] += noise[part]
            yield part, matrix
            del matrix  # Not two at a time.


def rows_by_count(code: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield, for every number n of rows, the ``rows`` (group, n) of groups that have n.

    ``code`` (row,) is the number of each row's group.
    """
    order = np.argsort(code, kind="stable")
    count = np.bincount(code)
    first = np.cumsum(count) - count
    for n in np.unique(count[count > 0]):
        yield order[first[count == n][:, None] + np.arange(n)]


def in_parts(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield ``rows`` (group, n) in parts whose covariances (group, n, n) fit in memory."""
    step = max(1, _CELLS // rows.shape[1] ** 2)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
