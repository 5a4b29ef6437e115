"""Which rows of a table of labels may be trusted, and which hold the same photons.

A label is left out where it is not finite, has no positive error, or where a flag of its
row speaks against it (``SPEAKS_AGAINST``; `TWO_SOLUTIONS`, double lines, and the like).

**The edge of the models.** A label at the edge of its grid is a bound and no measurement:
averaged, it would draw the mean towards the grid and feign a scatter of zero; and the
other labels were fitted with that one held in a wrong place. Rows with LABEL_EDGE stay
out. (A star that does not rotate is at no edge of the models, and has no such flag.)

**The same photons.** All arms of an exposure fitted at once (``arm = "all"``) hold the
photons of each of its arms: where the joint fit counts, the arms do not. A sum of
exposures (COADD) counts only for stars that have nothing else. Where a spectrum was
fitted by several methods or models, that one counts which has labels for most spectra of
the table.
"""

__all__ = [
    "ALL_ARMS",
    "SPEAKS_AGAINST",
    "labels_in",
    "own_error",
    "require_labels",
    "trusted",
    "usual_groups",
    "with_errors_of_repeats",
    "with_labels_trusted",
    "without_repeats",
]

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError
from steadystar.data.schema import LABEL_NAMES
from steadystar.data.status import Status

ALL_ARMS = "all"
"""The arm of rows whose labels are of all arms of an exposure at once."""

SPEAKS_AGAINST = (
    Status.NO_DATA
    | Status.LOW_SNR
    | Status.GRID_EDGE
    | Status.FLAT_CHI2
    | Status.TWO_MINIMA
    | Status.NOT_CONVERGED
    | Status.BAD_WAVELENGTHS
    | Status.DOUBLE_LINED
    | Status.USER_EXCLUDED
    | Status.INTERNAL_ERROR
    | Status.DUPLICATE
    | Status.SURVEY_FLAG
    | Status.LABEL_EDGE
    | Status.TWO_SOLUTIONS
    | Status.NO_LABELS
)
"""Flags after which the labels of a row are no measurement of one star."""

_SAME_EXPOSURE = ("star_id", "survey", "telescope", "exposure_id")
_HOW = ("method", "model")


def labels_in(labels: pl.DataFrame, names: Iterable[str] = LABEL_NAMES) -> list[str]:
    """Return those of ``names`` that are columns of ``labels``, in order."""
    return [name for name in names if name in labels.columns]


def require_labels(
    labels: pl.DataFrame, names: Sequence[str] | str | None, *more: str
) -> list[str]:
    """Return the labels asked for, all there are if None; refuse what is missing.

    Raises:
        CalibrationError: a column is missing, or there is no label at all.
    """
    names = [names] if isinstance(names, str) else names
    wanted = labels_in(labels) if names is None else list(names)
    needed = ["star_id", *wanted, *(f"{name}_err" for name in wanted), *more]
    absent = [name for name in needed if name not in labels.columns]
    if absent:
        raise CalibrationError(
            f"The table of labels has no column {', '.join(absent)}: add it, or choose "
            f"among {', '.join(sorted(labels.columns)[:40])}."
        )
    if not wanted:
        raise CalibrationError(
            f"The table has none of the labels {', '.join(LABEL_NAMES)}: give the table "
            "that the fit of labels wrote, or name the columns."
        )
    return wanted


def trusted(
    labels: pl.DataFrame,
    names: Sequence[str] | None = None,
    against: Status = SPEAKS_AGAINST,
) -> dict[str, NDArray[np.bool_]]:
    """Say of each label which rows are trusted, ``(row,)``; rows keep their order.

    Raises:
        CalibrationError: a column is missing or holds no numbers.
    """
    wanted = require_labels(labels, names)
    status = _status(labels)
    measured = {}
    for name in wanted:
        value, error = (_numbers(labels, column) for column in (name, f"{name}_err"))
        measured[name] = np.isfinite(value) & np.isfinite(error) & (error > 0)
    out = (status & int(against)) != 0
    named = labels["star_id"].is_not_null().to_numpy()
    if labels["star_id"].dtype == pl.String:
        named &= (labels["star_id"] != "").fill_null(False).to_numpy()
    return {name: one & ~out & named for name, one in measured.items()}


def with_labels_trusted(
    labels: pl.DataFrame, names: Sequence[str], against: Status = SPEAKS_AGAINST
) -> pl.DataFrame:
    """Return the table with labels and errors NaN where they are not trusted."""
    columns = []
    for name, good in trusted(labels, names, against).items():
        for column in (name, f"{name}_err"):
            values = np.where(good, _numbers(labels, column), np.nan)
            columns.append(pl.Series(column, values))
    return labels.with_columns(columns)


def with_errors_of_repeats(
    labels: pl.DataFrame, names: Iterable[str] = LABEL_NAMES
) -> pl.DataFrame:
    """Return the table with the errors by which repeats differ, where it has others too.

    What all spectra of a star have in common (a line spread that is not known to better
    than 5%, say) is in ``X_err`` and in ``X_common_err``; no spectrum of the star differs
    from another by it.
    """
    return labels.with_columns(
        own_error(labels, name).alias(f"{name}_err")
        for name in names
        if f"{name}_common_err" in labels.columns and f"{name}_err" in labels.columns
    )


def own_error(labels: pl.DataFrame, name: str, total: str | None = None) -> pl.Series:
    """Return a label's errors without what the spectra of a star have in common.

    ``total``: the column of the errors, ``X_err`` if None.
    """
    error, common = (
        labels[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for column in (total or f"{name}_err", f"{name}_common_err")
    )
    common = np.where(np.isfinite(common) & (common >= 0), common, 0.0)
    # Something is always a spectrum's own.
    rest = np.maximum(error - common, 1e-6 * error)
    return pl.Series(np.sqrt(rest) * np.sqrt(error + common))


def without_repeats(
    labels: pl.DataFrame, counts: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which of the rows that count (bool) are left when no photon counts twice.

    Arguments:
        labels: a table of labels; of the columns that tell spectra apart (``visit_id,
            arm, exposure_id, survey, telescope, method, model, status``) those it has.
        counts: rows that hold a trusted label, ``(row,)``.
    """
    table = labels.select(
        [
            name
            for name in (*_SAME_EXPOSURE, "visit_id", "arm", *_HOW)
            if name in labels.columns
        ]
    ).with_columns(
        _row=pl.int_range(pl.len()),
        _coadd=pl.Series((_status(labels) & int(Status.COADD)) != 0),
    )
    table = table.filter(pl.Series(counts))
    # A sum of exposures adds nothing to them, but where it is all there is, it counts.
    single = (~pl.col("_coadd")).any().over("star_id")
    table = table.filter(~(pl.col("_coadd") & single))
    table = _one_of_each_spectrum(table)
    table = _whole_before_parts(table)
    left = np.zeros(len(labels), bool)
    left[table["_row"].to_numpy()] = True
    return left


def usual_groups(labels: pl.DataFrame) -> list[str]:
    """Return the columns that say how labels were measured, where they differ."""
    return [
        name
        for name in ("survey", "arm", *_HOW)
        if name in labels.columns and labels[name].drop_nulls().n_unique() > 1
    ]


def _one_of_each_spectrum(table: pl.DataFrame) -> pl.DataFrame:
    """Keep one row a spectrum: by the method and model that has most of them."""
    how = [name for name in _HOW if name in table.columns]
    if "visit_id" not in table.columns:
        return table
    if how:
        most = table.group_by(how).agg(_n=pl.len())
        table = table.join(
            most, on=how, how="left", nulls_equal=True, maintain_order="left"
        )
        order = ["_n", *how, "_row"]
        down = [True, *[False] * (len(how) + 1)]
        table = table.sort(*order, descending=down, nulls_last=True)
    spectrum = ["star_id", "visit_id", *[n for n in ("arm",) if n in table.columns]]
    named = pl.col("visit_id").is_not_null()
    return table.filter(~named | pl.struct(spectrum).is_first_distinct())


def _whole_before_parts(table: pl.DataFrame) -> pl.DataFrame:
    """Leave out the arms of exposures of which all arms were fitted at once."""
    if not {"arm", "exposure_id"} <= set(table.columns):
        return table
    keys = [name for name in _SAME_EXPOSURE if name in table.columns]
    whole = (pl.col("arm") == ALL_ARMS).fill_null(False)
    known = pl.col("exposure_id").is_not_null()
    return table.filter(whole | ~known | ~whole.any().over(keys))


def _status(labels: pl.DataFrame) -> NDArray[np.int64]:
    if "status" not in labels.columns:
        return np.zeros(len(labels), np.int64)
    status = labels["status"]
    if status.dtype.is_float():
        status = status.fill_nan(None)
    return status.cast(pl.Int64, strict=False).fill_null(0).to_numpy()


def _numbers(labels: pl.DataFrame, name: str) -> NDArray[np.float64]:
    column = labels[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise CalibrationError(
            f"Column {name} should hold numbers, but is of type {column.dtype}: convert "
            "it."
        )
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
