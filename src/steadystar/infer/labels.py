"""What all spectra of a star say of its temperature, gravity, metallicity, rotation.

Two means stand beside each other:

- as published (Zong et al. 2020, equations 1 and 2), with the square of S/N as weight,

      mean = sum w P / sum w,    sigma_w^2 = N/(N - 1) sum w (P - mean)^2 / sum w,

  ``teff`` and ``teff_scatter``. As printed, sigma_w is the scatter of single spectra, not
  the error of the mean; that is ``teff_err = sigma_w / sqrt(N_eff)``, with
  ``N_eff = (sum w)^2 / sum w^2``. For N = 1 both are the error of the one fit. Where errors
  fall as 1/(S/N) it is too large by ``sqrt(N / N_eff)``, 10 to 20% where S/N differs by
  30%; and from two or three spectra a scatter may be near zero by chance. This is why
- ``teff_mean`` and ``teff_mean_err`` are those that the errors of the fits ask for,
  weighted by their inverse variance: they mean what they say once the errors were
  calibrated (`calibrate.label_errors`); what all spectra of a star have in common stays
  in them, however many there are. ``teff_chi2`` about this mean and ``teff_p_value``
  tell whether the star keeps its temperature: pulsators do not.

Which rows count, and that no photon counts twice, is decided in `calibrate.label_rows`.
"""

__all__ = ["LabelSummaryOptions", "summarize_labels"]

import warnings
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import chdtrc

from steadystar.calibrate.label_rows import (
    SPEAKS_AGAINST,
    labels_in,
    own_error,
    require_labels,
    trusted,
    without_repeats,
)
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Vector, sums
from steadystar.data import schema
from steadystar.data.status import Status


@dataclass(frozen=True)
class LabelSummaryOptions:
    """Which spectra enter the mean labels of a star."""

    leave_out: Annotated[
        tuple[str, ...],
        "Flags that keep the labels of a spectrum out of its star's means, by name.",
    ] = field(default_factory=lambda: tuple(str(flag.name) for flag in SPEAKS_AGAINST))

    def __post_init__(self) -> None:
        unknown = [name for name in self.leave_out if name not in Status.__members__]
        if unknown:
            raise CalibrationError(
                f"leave_out names {', '.join(unknown)}, which is no flag: choose among "
                f"{', '.join(Status.__members__)}."
            )

    @property
    def against(self) -> Status:
        """The flags of ``leave_out`` together."""
        total = Status.GOOD
        for name in self.leave_out:
            total |= Status[name]
        return total


_DEFAULT = LabelSummaryOptions()


def summarize_labels(
    labels: pl.DataFrame,
    stars: pl.DataFrame | None = None,
    options: LabelSummaryOptions = _DEFAULT,
) -> pl.DataFrame:
    """Return ``stars`` with the mean labels of each (the optional columns of "stars").

    Arguments:
        labels: one row a fit (schema "labels"), with ``star_id``, ``snr`` and labels with
            their errors, best after `calibrate.label_errors.LabelErrors.apply`.
        stars: as `summarize_stars` gives them; their rows and order are kept. Stars that
            only ``labels`` knows follow after. None: the stars of ``labels`` alone.
        options: which flags keep spectra out.

    A star without a trusted label has NaN, and 0 in ``n_labels``. A label that no spectrum
    of the table has goes without its columns. A row enters with S/N that is positive. Rows
    that name no star enter no mean: a warning says how many.

    Raises:
        CalibrationError: a column is missing or holds no numbers.
    """
    names = require_labels(labels, None, "snr")
    if not labels["snr"].dtype.is_numeric() and len(labels):
        raise CalibrationError("The column snr should hold numbers: convert it.")
    snr = labels["snr"].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    good = trusted(labels, names, options.against)
    weighted = np.isfinite(snr) & (snr > 0)
    some = np.any(list(good.values()), axis=0) & weighted
    used = without_repeats(labels, some)
    star, ids = codes(labels, ["star_id"])
    if (star < 0).any():
        warnings.warn(
            f"{int((star < 0).sum())} of {len(labels)} rows of labels name no star "
            "(star_id) and enter no star's mean: match them, or take them out.",
            stacklevel=2,
        )
    columns: dict[str, NDArray] = {}
    for name in labels_in(labels):
        rows = good[name] & used
        if rows.any():
            value, total = (
                labels[column].cast(pl.Float64).to_numpy()[rows]
                for column in (name, f"{name}_err")
            )
            error, common = total, np.zeros(len(total))
            if f"{name}_common_err" in labels.columns:
                error = own_error(labels, name).to_numpy()[rows]
                common = np.sqrt(np.maximum(total - error, 0)) * np.sqrt(total + error)
            found = _of_one_label(value, error, common, snr[rows], star[rows], len(ids))
            columns |= {f"{name}{suffix}": v for suffix, v in found.items()}
    count = np.bincount(star[used], minlength=len(ids)).astype(np.int64)
    means = ids.with_columns(
        n_labels=pl.Series(count, dtype=pl.Int64),
        **{name: pl.Series(values) for name, values in columns.items()},
    )
    if not columns:
        means = means.drop("n_labels")
    return _joined(_base(labels, stars, ids), means)


def _of_one_label(
    value: Vector,
    error: Vector,
    common: Vector,
    snr: Vector,
    star: NDArray[np.intp],
    size: int,
) -> dict[str, Vector]:
    """Return the statistics of one label for all stars, each ``(star,)``, by suffix.

    ``error``: by which spectra of a star differ; ``common``: what they share.
    """
    n = np.bincount(star, minlength=size)
    several, once = n > 1, n == 1
    # The largest weight of a star is 1: tiny S/N do not vanish when squared.
    largest = np.zeros(size)
    np.maximum.at(largest, star, snr)
    mean, square, effective = _moments(value, (snr / largest[star]) ** 2, star, size)
    scatter = np.sqrt(square * n / np.maximum(n - 1, 1))
    alone = np.full(size, np.nan)
    alone[star] = np.hypot(error, common)
    scatter = np.where(several, scatter, np.where(once, alone, np.nan))
    smallest = np.full(size, np.inf)
    np.minimum.at(smallest, star, error)
    weight = (smallest[star] / error) ** 2
    best, _, _ = _moments(value, weight, star, size)
    total = sums(star, weight, size)
    safe = np.where(total > 0, total, np.nan)
    shared = sums(star, weight * common**2, size) / safe
    # No chi2 is infinite: 1e150 errors are as impossible as any more.
    away = np.minimum(np.abs(value - best[star]) / error, 1e150)
    chi2 = sums(star, away**2, size)
    chi2 = np.where(several, chi2, np.nan)
    p_value = chdtrc(np.maximum(n - 1, 1), np.nan_to_num(chi2))
    return {
        "": mean,
        "_scatter": scatter,
        "_err": scatter / np.sqrt(effective),
        "_mean": best,
        "_mean_err": np.hypot(
            np.where(n > 0, smallest, np.nan) / np.sqrt(safe), np.sqrt(shared)
        ),
        "_chi2": chi2,
        "_p_value": np.where(several, p_value, np.nan),
    }


def _moments(value: Vector, weight: Vector, star, size: int):
    """Return weighted mean, mean square deviation and effective number of each star."""
    total = sums(star, weight, size)
    safe = np.where(total > 0, total, np.nan)
    # About the plain mean first: temperatures are large beside their differences.
    number = np.maximum(np.bincount(star, minlength=size), 1)
    about = sums(star, value, size) / number
    mean = about + sums(star, weight * (value - about[star]), size) / safe
    square = sums(star, weight * (value - mean[star]) ** 2, size) / safe
    return mean, square, safe**2 / sums(star, weight**2, size).clip(1e-300)


def _base(
    labels: pl.DataFrame, stars: pl.DataFrame | None, ids: pl.DataFrame
) -> pl.DataFrame:
    """Return the stars that get means: those given, then those of the labels alone."""
    if stars is not None and "star_id" not in stars.columns:
        raise CalibrationError(
            "The table of stars has no column star_id: give the stars of the same run."
        )
    if stars is not None and stars["star_id"].dtype != ids["star_id"].dtype:
        raise CalibrationError(
            f"The star_id of labels is of type {ids['star_id'].dtype}, that of stars of "
            f"{stars['star_id'].dtype}: convert one."
        )
    fresh = ids if stars is None else ids.join(stars, on="star_id", how="anti")
    fresh = fresh.sort("star_id")
    places = [name for name in ("ra", "dec") if name in labels.columns]
    if places and len(fresh):
        first = labels.group_by("star_id").agg(
            pl.col(name).filter(pl.col(name).is_finite()).first() for name in places
        )
        fresh = fresh.join(first, on="star_id", how="left", maintain_order="left")
    if stars is not None and not len(fresh):
        return stars
    fresh = schema.conform(fresh, "stars", keep_dtype=("star_id",)).with_columns(
        n_visits=pl.lit(0, pl.Int64),
        constant=pl.lit(False),
        variable=pl.lit(False),
        double_lined=pl.lit(False),
    )
    return fresh if stars is None else pl.concat([stars, fresh], how="diagonal_relaxed")


def _joined(stars: pl.DataFrame, means: pl.DataFrame) -> pl.DataFrame:
    """Put the columns of ``means`` where the schema has them, in place of earlier ones."""
    known = [c.name for c in schema.TABLES["stars"] if c.optional]
    old = {
        name
        for name in known
        if name.partition("_")[0] in schema.LABEL_NAMES or name == "n_labels"
    }
    table = stars.drop(old & set(stars.columns))
    table = table.join(means, on="star_id", how="left", maintain_order="left")
    if "n_labels" in means.columns:
        table = table.with_columns(pl.col("n_labels").fill_null(0))
    floats = [name for name in means.columns if means[name].dtype == pl.Float64]
    table = table.with_columns(pl.col(name).fill_null(np.nan) for name in floats)
    order = [name for name in schema.columns("stars") if name in table.columns]
    return table.select(*order, *[n for n in table.columns if n not in order])
