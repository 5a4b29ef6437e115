"""Laws of uncertainty: how the error of any column falls with S/N, ``a x^b + c``.

Repeated spectra of a star say how well a column is measured: the deviations
``(P - mean) sqrt(n/(n-1))`` of n values from their mean have the width of a single
measurement (Zong et al. 2020, equations 3 and 4). Two ways lead to the law:

- by likelihood: deviations are Gaussian with that width, but for those of stars that
  vary and for single wild ones, whose shares are found with the law; the errors of the
  coefficients follow from the curvature;
- as published: deviations beyond 3 sigma are clipped in bins of 6 in S/N until none is
  left, a first law is fitted, everything within 6 of its sigma comes back, and the law is
  fitted to the widths of these at S/N 8, 10, 12, ..., 166: 80 points.

``ZONG_2020`` holds the published laws. The table of the paper prints the exponent of the
velocity with the wrong sign: -0.420 x^-0.201 + 1.669 is 1.40 km/s at S/N 10 and grows from
there, whereas the values printed beside it (1.00, 0.90, 0.75 km/s at 10, 20, 50) are those
of b = +0.201, which stands here.
"""

__all__ = ["ZONG_2020", "LawOptions", "UncertaintyLaw", "fit_law"]

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.lawfit import LawFit, fit_squares, fit_widths
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visitsums import Vector, sums
from steadystar.data.archive import pack, unpack
from steadystar.data.numbers import Numbers

_METHODS = ("likelihood", "zong")


@dataclass(frozen=True)
class LawOptions:
    """How a law of uncertainty is fitted."""

    method: Annotated[str, "likelihood, or zong: as published (Zong 2020)."] = (
        "likelihood"
    )
    max_rounds: Annotated[int, "likelihood: most iterations."] = 300
    max_snr: Annotated[float, "zong: measurements beyond this S/N are left out."] = (
        300.0
    )
    bin_width: Annotated[float, "zong: width of the bins in S/N for clipping."] = 6.0
    clip: Annotated[float, "zong: limit of the clipping in the bins, sigma."] = 3.0
    drop: Annotated[float, "zong: limit of the last cut, sigma of the first law."] = 6.0
    first: Annotated[float, "zong: S/N of the first point that is fitted."] = 8.0
    step: Annotated[float, "zong: distance of the points in S/N."] = 2.0
    last: Annotated[
        float,
        "zong: S/N of the last point; 80 points, as published, end at 166. Points with "
        "fewer than 10 deviations are left out.",
    ] = 166.0
    fewest: Annotated[int, "Deviations without which no law is fitted."] = 30

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise CalibrationError(
                f"There is no law of uncertainty by method {self.method!r}: choose "
                f"{' or '.join(_METHODS)}."
            )
        for name in ("max_rounds", "bin_width", "clip", "drop", "first", "step"):
            if not getattr(self, name) > 0:
                raise CalibrationError(
                    f"{name} = {getattr(self, name)} has no meaning: give a positive "
                    "number."
                )


_DEFAULT = LawOptions()


@dataclass(frozen=True, eq=False)
class UncertaintyLaw:
    """The error of one measurement, ``a x^b + c``, in the unit of the column.

    ``covariance`` (3, 3) of (a, b, c); NaN where it is not known. ``low, high``: range of
    x that it rests on. ``n_used``: deviations behind it, ``n_outliers``: those that were
    found to be no noise (by likelihood: their expected number). ``method``: how it was
    found. ``notes``: sentences for people.
    """

    a: float
    b: float
    c: float
    covariance: NDArray[np.float64]
    low: float = 0.0
    high: float = float("inf")
    n_used: int = 0
    n_outliers: float = 0.0
    method: str = "likelihood"
    notes: tuple[str, ...] = ()

    @property
    def a_err(self) -> float:
        """Standard error of ``a``."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def b_err(self) -> float:
        """Standard error of ``b``."""
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def c_err(self) -> float:
        """Standard error of ``c``."""
        return float(np.sqrt(self.covariance[2, 2]))

    def apply(self, x: Numbers) -> Vector:
        """Return the error at every ``x``, ``(n,)``; NaN where x or the law is not positive."""
        x = np.atleast_1d(np.asarray(x, np.float64))
        good = np.isfinite(x) & (x > 0)
        law = self.a * np.where(good, x, 1.0) ** self.b + self.c
        return np.where(good & (law > 0), law, np.nan)

    def error(self, x: Numbers) -> Vector:
        """Return the standard error of the law at every ``x``, ``(n,)``."""
        x = np.atleast_1d(np.asarray(x, np.float64))
        good = np.isfinite(x) & (x > 0)
        safe = np.where(good, x, 1.0)
        power = safe**self.b
        by = np.stack([power, self.a * power * np.log(safe), np.ones_like(safe)])
        variance = np.einsum("in,ij,jn->n", by, self.covariance, by)
        return np.where(good, np.sqrt(np.maximum(variance, 0.0)), np.nan)

    def save(self, path: str | PathLike[str]) -> None:
        """Write to one file, whole or not at all; equal values give equal bytes."""
        pack(Path(path), "law of uncertainty", self.facts(), {}, self.arrays())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "UncertaintyLaw":
        """Read what `save` wrote.

        Raises:
            CalibrationError: the file holds no law of uncertainty.
        """
        meta, _, arrays = unpack(Path(path), "law of uncertainty", CalibrationError)
        return cls.restored(meta, arrays["law"])

    def facts(self) -> dict:
        """Return what JSON can hold of it without loss: method, counts, notes."""
        return {
            "n_used": self.n_used,
            "method": self.method,
            "notes": list(self.notes),
        }

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return its numbers, ``{"law": (15,)}``."""
        numbers = [self.a, self.b, self.c, self.low, self.high, self.n_outliers]
        return {"law": np.r_[numbers, self.covariance.ravel()]}

    @classmethod
    def restored(cls, facts: dict, law: NDArray[np.float64]) -> "UncertaintyLaw":
        """Return the law whose `facts` and `arrays` these are."""
        a, b, c, low, high, outliers = (float(value) for value in law[:6])
        return cls(
            *(a, b, c, law[6:].reshape(3, 3), low, high, facts["n_used"], outliers),
            facts["method"],
            tuple(facts["notes"]),
        )


def _published(a: float, b: float, c: float) -> UncertaintyLaw:
    unknown = np.full((3, 3), np.nan)
    return UncertaintyLaw(a, b, c, unknown, 0.0, 300.0, method="zong")


ZONG_2020: Mapping[str, UncertaintyLaw] = MappingProxyType(
    {
        "teff": _published(1109.0, -1.105, 14.24),
        "logg": _published(1.241, -0.951, 0.012),
        "feh": _published(0.893, -1.032, 0.008),
        "rv": _published(-0.420, 0.201, 1.669),
    }
)
"""Laws of LAMOST's medium-resolution spectra in S/N (Zong et al. 2020, table 4), in K,
dex and km/s; the exponent of rv with the sign that gives the values of the table."""


def fit_law(
    x: Numbers,
    deviations: Numbers,
    counts: Numbers | None = None,
    options: LawOptions = _DEFAULT,
) -> UncertaintyLaw:
    """Fit ``sigma = a x^b + c`` to deviations that should have that width.

    Arguments:
        x: S/N, or whatever the error depends on; positive, ``(n,)``.
        deviations: of values from their means, widened by ``sqrt(n/(n-1))``, ``(n,)``.
        counts: degrees of freedom of each, ``(n - 1)/n`` for those from a mean of n;
            1 if not given. Without it the errors of a law from pairs are too small by
            the root of 2.
        options: method and limits.

    Pairs with a value that is not finite, or an x that is not positive, are left out, and
    counted in the notes. For the columns of a table see `lawtable.fit_laws`.

    Raises:
        CalibrationError: too few deviations, all zero, or x hardly differs.
    """
    x, deviations = (np.atleast_1d(np.asarray(v, np.float64)) for v in (x, deviations))
    counts = np.ones(len(x)) if counts is None else np.asarray(counts, np.float64)
    if not len(x) == len(deviations) == len(counts):
        raise CalibrationError(
            f"There are {len(x)} values of x, {len(deviations)} deviations and "
            f"{len(counts)} counts: give one of each for every measurement."
        )
    good = np.isfinite(x) & (x > 0) & np.isfinite(deviations) & (counts > 0)
    if options.method == "zong":
        good &= x <= options.max_snr
    x, deviations, counts = x[good], deviations[good], counts[good]
    require_range(x, deviations, options)
    fit = _by_zong if options.method == "zong" else _by_likelihood
    law = fit(x, deviations, counts, options)
    return (
        law if good.all() else with_note(law, left_out(int((~good).sum()), len(good)))
    )


def left_out(lost: int, count: int) -> str:
    """Say how many measurements took no part."""
    return (
        f"{lost} of {count} measurements take no part: their value or their S/N is "
        "missing or beyond the limit."
    )


def with_note(law: UncertaintyLaw, note: str) -> UncertaintyLaw:
    """Return ``law`` with one more note."""
    return replace(law, notes=(*law.notes, note))


def require_range(x: Vector, deviations: Vector, options: LawOptions) -> None:
    """Refuse what no law can be fitted to.

    Raises:
        CalibrationError: too few deviations, all zero, or x hardly differs.
    """
    if len(x) < options.fewest:
        raise CalibrationError(
            f"Only {len(x)} deviations are usable, and a law of three coefficients asks "
            f"for {options.fewest}: add stars with repeated measurements."
        )
    if np.count_nonzero(deviations) < options.fewest / 2:
        raise CalibrationError(
            "Most deviations are exactly zero: give values of single spectra, not ones "
            "that were averaged or copied."
        )
    low, high = np.percentile(x, [5, 95])
    if high < 1.2 * low:
        raise CalibrationError(
            f"Nine tenths of the S/N lie between {low:.4g} and {high:.4g}: how an error "
            "depends on S/N does not show in so narrow a range. Add measurements, or use "
            "one width for all."
        )


def law_of(fit: LawFit, x: Vector, **facts) -> UncertaintyLaw:
    """Return the law in the form of Zong's equation 4."""
    (a, b, c), covariance = fit.coefficients()
    ends = float(x.min()), float(x.max())
    return UncertaintyLaw(float(a), float(b), float(c), covariance, *ends, **facts)


def _by_likelihood(x, deviations, counts, options: LawOptions) -> UncertaintyLaw:
    """Find the law and the share of outliers by expectation and maximization.

    Outliers have extra widths from 3 typical ones up in steps of 3, as variable stars do
    in `constancy`.
    """
    typical = 1.4826 * float(np.median(np.abs(deviations)))
    typical = typical or float(np.sqrt(np.mean(deviations**2)))
    reach = np.log(max(float(np.abs(deviations).max()) / typical, 3.0) / 3) / np.log(3)
    extra = typical * np.r_[0.0, 3 * 3.0 ** np.arange(int(np.ceil(reach)) + 1)]
    share = np.r_[0.9, np.full(len(extra) - 1, 0.1 / (len(extra) - 1))]
    square = deviations**2
    start = np.minimum(square, (3 * typical) ** 2)
    fit = fit_squares(x, start, counts)
    noise, settled = np.ones(len(x)), False
    for _ in range(options.max_rounds):
        variance = fit(x)[:, None] ** 2 + extra**2
        log = np.log(share) - 0.5 * (np.log(variance) + square[:, None] / variance)
        chance = np.exp(log - log.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        noise = chance[:, 0]
        was = np.append(fit.parameters, share[0])
        share = (chance * counts[:, None]).sum(axis=0) + 1e-6 * counts.sum()
        share /= share.sum()
        fit = fit_squares(x, square, counts * noise, fit)
        moved = np.abs(np.append(fit.parameters, share[0]) - was)
        error = np.append(np.sqrt(np.diag(fit.covariance)), 1e-3)
        if np.all(moved < 1e-3 * error):
            settled = True
            break
    notes = () if settled else (unsettled(options.max_rounds),)
    outliers = float(np.sum(1 - noise))
    return law_of(fit, x, n_used=len(x), n_outliers=outliers, notes=notes)


def unsettled(rounds: int) -> str:
    """Say that the iteration did not end."""
    return f"The law had not settled after {rounds} rounds: take its errors as doubled."


def _by_zong(x, deviations, counts, options: LawOptions) -> UncertaintyLaw:
    kept = _clipped(x, deviations, options)
    first = _law_of_points(x[kept], deviations[kept], counts[kept], options)
    kept = np.abs(deviations) <= options.drop * np.maximum(first(x), 0.0)
    fit = _law_of_points(x[kept], deviations[kept], counts[kept], options)
    return law_of(
        fit, x, n_used=int(kept.sum()), n_outliers=float((~kept).sum()), method="zong"
    )


def _clipped(x: Vector, deviations: Vector, options: LawOptions) -> NDArray[np.bool_]:
    """Clip the deviations in bins of x until nothing changes."""
    place = np.floor(x / options.bin_width).astype(np.intp)
    size = int(place.max()) + 1
    kept = np.ones(len(x), bool)
    while True:
        number = sums(place[kept], np.ones(int(kept.sum())), size)
        square = sums(place[kept], deviations[kept] ** 2, size)
        sigma = np.sqrt(square / np.maximum(number, 1))
        new = kept & (np.abs(deviations) <= options.clip * sigma[place])
        if new.sum() == kept.sum():
            return kept
        kept = new


def _law_of_points(x, deviations, counts, options: LawOptions) -> LawFit:
    """Fit the law to the widths of deviations within half a bin of every point.

    Neighboring points share deviations, which their covariance says.
    """
    order = np.argsort(x, kind="stable")
    x, deviations, counts = x[order], deviations[order], counts[order]
    points = np.arange(options.first, options.last + options.step / 2, options.step)
    half = options.bin_width / 2
    low, high = np.searchsorted(x, points - half), np.searchsorted(x, points + half)
    enough = high - low >= 10
    if enough.sum() < 4:
        raise CalibrationError(
            f"Only {int(enough.sum())} of {len(points)} points in S/N from "
            f"{options.first:g} to {options.last:g} have 10 deviations nearby, and a law "
            "of three coefficients asks for 4: add spectra, or fit by likelihood."
        )
    points, low, high = points[enough], low[enough], high[enough]
    running = np.append(0.0, np.cumsum(deviations**2 * counts))
    number = np.append(0.0, np.cumsum(counts))
    weight = number[high] - number[low]
    width = np.sqrt((running[high] - running[low]) / weight)
    if not np.all(width > 0):
        raise CalibrationError(
            f"All deviations near S/N {points[np.argmin(width)]:g} are exactly zero: "
            "give values of single spectra, not ones that were averaged or copied."
        )
    left, right = np.maximum.outer(low, low), np.minimum.outer(high, high)
    shared = np.maximum(number[np.maximum(right, left)] - number[left], 0.0)
    covariance = np.outer(width / weight, width / weight) * shared / 2
    return fit_widths(points, width, covariance)
