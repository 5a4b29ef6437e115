"""From ends of fits to columns: labels, errors, correlations, velocities, statuses."""

__all__ = ["LabelTable"]

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.kernels.emulation import ROTATION_UNIT
from steadystar.measure.label_fit import Fitted

_POOR_FIT = 3.0
_SETTLED = 0.1


class LabelTable:
    """The result, filled group by group."""

    def __init__(self, number: int, labels: tuple[str, ...]) -> None:
        self.labels = labels
        # Rotation is the last parameter of a star, unless it is a label itself.
        self.every = labels if "vsini" in labels else (*labels, "vsini")
        names = [f"{n}{e}" for n in self.every for e in ("", "_err", "_common_err")]
        names += [f"corr_{a}_{b}" for a, b in combinations(self.every, 2)]
        names += ["rv_obs", "rv_obs_err", "chi2", "ivar_scale"]
        self.columns = {name: np.full(number, np.nan) for name in names}
        self.snr = np.full(number, np.nan)
        self.n_good = np.zeros(number, np.int64)
        self.status = np.zeros(number, np.int64)

    def lost(self, rows: NDArray[np.intp], why: Status | NDArray[np.int64]) -> None:
        """These have no labels, for one reason or one each."""
        self.status[rows] |= np.asarray(why, np.int64) | int(Status.NO_LABELS)

    def fill(
        self, rows: NDArray[np.intp], fitted: Fitted, parts, pieces, seen, rv, flags
    ) -> None:
        """Take over labels, errors and statuses of one block."""
        out, size = self.columns, len(self.labels)
        centers = np.array([part.center for part in parts])[fitted.piece]
        scales = np.array([part.scale for part in parts])[fitted.piece]
        limits = np.array([piece.limits for piece in pieces])[fitted.piece]
        covariance, common, stay = _covariance(fitted, limits, size)
        values = fitted.values
        variances = np.diagonal(covariance, axis1=1, axis2=2)
        for k, name in enumerate(self.labels):
            out[name][rows] = centers[:, k] + scales[:, k] * values[:, k]
            for end, of in (("_err", variances), ("_common_err", common)):
                out[f"{name}{end}"][rows] = scales[:, k] * np.sqrt(of[:, k])
        if "vsini" not in self.labels and (limits[:, 1, size] > 0).all():
            turning = values[:, size] + np.where(values[:, size] <= 0, stay[:, size], 0)
            variance = variances[:, size]
            speed, speed_err = _speed(turning, np.sqrt(variance))
            out["vsini"][rows], out["vsini_err"][rows] = speed, speed_err
            share = np.sqrt(common[:, size] / variance)
            out["vsini_common_err"][rows] = speed_err * share
        root = np.sqrt(variances)
        for (i, one), (j, other) in combinations(enumerate(self.every), 2):
            both = covariance[:, i, j] / (root[:, i] * root[:, j])
            out[f"corr_{one}_{other}"][rows] = both
        self._velocity(rows, values, covariance, seen, rv, size)
        out["chi2"][rows] = fitted.chi2
        self.n_good[rows] = fitted.n_good
        squares = np.where(seen, fitted.scale, 0) ** 2
        out["ivar_scale"][rows] = np.sqrt(squares.sum(axis=1) / seen.sum(axis=1))
        low, high = limits[:, 0, : size + 1], limits[:, 1, : size + 1]
        near = 1e-6 * (high - low)
        star = values[:, : size + 1]
        edge = (star <= low + near) | (star >= high - near)
        # Not to rotate is no edge.
        edge[:, size] &= star[:, size] > near[:, size]
        poor = np.where(seen, fitted.scale, 0).max(axis=1) > _POOR_FIT
        for mask, flag in (
            (edge.any(axis=1), Status.LABEL_EDGE),
            (fitted.rival, Status.TWO_SOLUTIONS),
            (fitted.gain > _SETTLED, Status.NOT_CONVERGED),
            (poor, Status.POOR_FIT),
        ):
            flags = flags | np.where(mask, int(flag), 0)
        self.status[rows] |= flags

    def widen(self, floors: Mapping[str, float]) -> None:
        """Add floors to the errors; what has one no longer has all of its correlation."""
        shrink = {}
        for name, floor in floors.items():
            given, common = (
                self.columns[f"{name}{e}"] for e in ("_err", "_common_err")
            )
            self.columns[f"{name}_err"] = np.hypot(given, floor)
            # A model is wrong for a star in the same way every time.
            self.columns[f"{name}_common_err"] = np.hypot(common, floor)
            shrink[name] = given / self.columns[f"{name}_err"]
        for one, other in combinations(self.every, 2):
            both = shrink.get(one, 1.0) * shrink.get(other, 1.0)
            self.columns[f"corr_{one}_{other}"] *= both

    def _velocity(self, rows, values, covariance, seen, rv, size: int) -> None:
        """Mean velocity of the arms that were seen."""
        at = size + 2 + 2 * np.arange(seen.shape[1])
        error = np.sqrt(covariance[:, at, at])
        # Both shifts are along the logarithm of wavelength.
        total = np.log1p(rv / C_KMS) + values[:, at] / C_KMS
        speed = C_KMS * np.expm1(total)
        weight = np.where(seen, error, np.inf) ** -2.0
        sums = weight.sum(axis=1)
        mean = (weight * np.where(seen, speed, 0)).sum(axis=1) / sums
        self.columns["rv_obs"][rows] = mean
        self.columns["rv_obs_err"][rows] = sums**-0.5

    def frame(self, model: str) -> pl.DataFrame:
        """Return the table."""
        free = len(self.every) + 1
        return pl.DataFrame(self.columns).with_columns(
            n_good=pl.Series(self.n_good),
            dof=pl.Series(np.maximum(self.n_good - free, 0)),
            snr=pl.Series(self.snr),
            model=pl.lit(model),
            status=pl.Series(self.status),
        )


def _covariance(fitted: Fitted, limits, labels: int):
    """Return the covariance of the parameters, the part of their variances that the line
    spread's prior leaves, which is common to spectra of a fiber, and the step that limits
    forbid.
    """
    size = fitted.normal.shape[1]
    # What an absent arm leaves undetermined must not spoil the rest; what may not
    # change is known.
    held = np.where(limits[:, 1] > limits[:, 0], 1e-10, 1e12)
    normal = fitted.normal + held[:, :, None] * np.eye(size)
    covariance = np.linalg.inv(normal).astype(np.float64)
    excess = np.zeros(size)
    # Excess and velocity of each arm follow labels and rotation.
    excess[labels + 1 :: 2] = 1e12
    known = np.linalg.inv(normal + np.diag(excess)).astype(np.float64)
    step = np.einsum("sij,sj->si", covariance, fitted.pull)
    rest = np.diagonal(covariance - known, axis1=1, axis2=2)
    return covariance, np.maximum(rest, 0), step


_SPEEDS = 400


def _speed(
    turning: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the rotation, km/s, in units of its square.

    Rotation enters a spectrum by its square, which has a Gaussian error and may come out
    negative; all speeds from zero on are equally likely before.
    """
    reach = np.sqrt(np.maximum(turning, 0) + 6 * error)
    x = (np.arange(_SPEEDS) + 0.5) / _SPEEDS * reach[:, None]
    pull = (x**2 - turning[:, None]) / error[:, None]
    log = -0.5 * pull**2
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    total = weight.sum(axis=1)
    mean = (weight * x).sum(axis=1) / total
    width = np.sqrt((weight * (x - mean[:, None]) ** 2).sum(axis=1) / total)
    # Fine steps are needed where the error is much smaller than the speed.
    sharp = turning > 25 * error
    root = np.sqrt(np.maximum(turning, 1e-12))
    mean = np.where(sharp, root, mean)
    width = np.where(sharp, error / (2 * root), width)
    return ROTATION_UNIT * mean, ROTATION_UNIT * width
