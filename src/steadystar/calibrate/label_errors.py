"""Errors of labels that mean what they say: a scale and a floor for each label.

    teff_err^2 = scale^2 (teff_fit_err^2 - teff_common_err^2) + floor^2 + teff_common_err^2

as for velocities (`errors`), by the same likelihood: repeats of a star scatter about its
mean, in a mixture that lets stars vary and single spectra be wild. The mean is taken
within an arm, method and model, whose labels may differ by more than noise.

Repeats say nothing of what is the same in all of them: the line spread function of the
star's fiber above all, which the rotation of a slow star cannot be told from. That part,
``teff_common_err``, is as the fit gives it (none where a table has no such column), and
does not become smaller in a mean (`infer.labels`).

`label_pulls` says whether errors can be trusted: deviations from the mean of the star's
*other* spectra over what the errors let expect, whose width should be 1.
"""

__all__ = [
    "LabelErrors",
    "fit_label_errors",
    "label_pulls",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.calibrate.errors import ErrorModel, fit_error_model
from steadystar.calibrate.label_rows import (
    own_error,
    require_labels,
    usual_groups,
    with_errors_of_repeats,
    with_labels_trusted,
)
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.data.archive import pack, unpack

_NEEDED = 30
_NARROWEST = 3.0
"""Typical deviations by which a star's labels must scatter more to count as variable: a
label's floor is often far below its noise, and three floors then tell nothing apart."""


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Scale and floor of the errors of every label, by groups of rows.

    ``models``: by label, an `ErrorModel` whose floors are in the unit of the label.
    ``notes``: sentences for people.
    """

    models: Mapping[str, ErrorModel]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pl.DataFrame:
        """One row a label and group: ``label``, its columns, scale, floor, counts."""
        parts = [
            model.table.rename({"n_visits": "n_spectra"}).select(
                pl.lit(name).alias("label"), pl.all()
            )
            for name, model in self.models.items()
        ]
        return pl.concat(parts) if parts else pl.DataFrame()

    def apply(self, labels: pl.DataFrame) -> pl.DataFrame:
        """Return ``labels`` with calibrated errors; what the fit gave is ``X_fit_err``.

        ``X_common_err`` is in them, and stays what it was. Applied again, it starts from what the fit gave. Row order is kept.

        Raises:
            CalibrationError: a column is missing or of another kind.
        """
        for name, model in self.models.items():
            require_labels(labels, [name])
            fitted = f"{name}_fit_err"
            given = fitted if fitted in labels.columns else f"{name}_err"
            raw = labels[given].cast(pl.Float64).fill_null(np.nan).to_numpy()
            raw = np.where(np.isfinite(raw) & (raw > 0), raw, np.nan)
            scale, floor = model.of(labels)
            labels = labels.with_columns(pl.Series(fitted, raw))
            own, common = raw, np.zeros_like(raw)
            if f"{name}_common_err" in labels.columns:
                own = own_error(labels, name, fitted).to_numpy()
                common = np.sqrt(np.maximum(raw - own, 0)) * np.sqrt(raw + own)
            error = np.hypot(np.hypot(scale * own, floor), common)
            labels = labels.with_columns(pl.Series(f"{name}_err", error))
        return labels

    def save(self, path: str | PathLike[str]) -> None:
        """Write to one file, whole or not at all; equal values give equal bytes."""
        meta = {
            "notes": list(self.notes),
            "labels": {
                name: {
                    "by": list(model.by),
                    "scale": model.scale,
                    "floor": model.floor,
                    "notes": model.notes,
                }
                for name, model in self.models.items()
            },
        }
        tables = {name: model.table for name, model in self.models.items()}
        pack(Path(path), "errors of labels", meta, tables, {})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "LabelErrors":
        """Read what `save` wrote.

        Raises:
            CalibrationError: the file holds no errors of labels.
        """
        meta, tables, _ = unpack(Path(path), "errors of labels", CalibrationError)
        models = {
            name: ErrorModel(
                tuple(facts["by"]),
                tables[name],
                facts["scale"],
                facts["floor"],
                facts["notes"],
            )
            for name, facts in meta["labels"].items()
        }
        return cls(models, tuple(meta["notes"]))


def fit_label_errors(
    labels: pl.DataFrame,
    by: Sequence[str] | str | None = None,
    names: Sequence[str] | None = None,
) -> LabelErrors:
    """Fit scale and floor of the errors of labels to the repeats of stars.

    Arguments:
        labels: one row a fit (schema "labels"): ``star_id``, labels and their errors.
        by: columns by which scale and floor may differ; None: survey, arm, method and model,
            those that differ in the table.
        names: the labels; None: all that the table has.

    A label without repeats keeps its errors, and a note says so.

    Raises:
        CalibrationError: a column is missing or holds no numbers.
    """
    wanted = require_labels(labels, names)
    if by is None:
        by = usual_groups(labels)
    groups = [by] if isinstance(by, str) else list(by)
    absent = [name for name in groups if name not in labels.columns]
    if absent:
        raise CalibrationError(
            f"The table of labels has no column {', '.join(absent)}, by which errors "
            f"were to be calibrated: choose among {', '.join(sorted(labels.columns)[:40])}."
        )
    fitted = with_errors_of_repeats(as_fitted(labels, wanted), wanted)
    table = with_labels_trusted(fitted, wanted)
    models, notes = {}, []
    for name in wanted:
        model = _fit(table, name, groups)
        models[name] = model
        notes += [f"{name}: {note}" for note in model.notes]
    return LabelErrors(models, tuple(notes))


def as_fitted(labels: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the table with the errors that the fits gave, where it has others too."""
    return labels.with_columns(
        pl.col(f"{name}_fit_err").alias(f"{name}_err")
        for name in names
        if f"{name}_fit_err" in labels.columns
    )


def as_velocities(
    labels: pl.DataFrame, name: str, by: Sequence[str], unit: float | None = None
) -> tuple[pl.DataFrame, float]:
    """Return a label as if it were a velocity, and its unit in that of the label.

    What fits velocities has limits in km/s; in units of the typical deviation of a
    spectrum from its star (1 where no star has two) they are as wide as for velocities.
    Each arm, method and model of a star has a mean of its own. ``by``: columns that are
    carried along; ``unit``: one found before. Rows are those of ``labels``.
    """
    how = [column for column in ("arm", "method", "model") if column in labels.columns]
    reference = pl.concat_str(
        [pl.lit("as"), *(pl.col(column).cast(pl.String) for column in how)],
        separator=" ",
        ignore_nulls=True,
    )
    value, error = (
        labels[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for column in (name, f"{name}_err")
    )
    carried = [column for column in dict.fromkeys(by) if column != "star_id"]
    visits = labels.select("star_id", *carried, reference_visit_id=reference)
    if unit is None:
        unit = _typical(visits, value, error)
    return visits.with_columns(
        rv_raw=pl.Series(value / unit),
        rv_raw_err=pl.Series(error / unit),
        status=pl.lit(0, pl.Int64),
    ), unit


def with_values(labels: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the rows that have the label and its error."""
    return labels.filter(pl.col(name).is_finite() & pl.col(f"{name}_err").is_finite())


def zeros_of(visits: pl.DataFrame) -> Groups:
    """Return which rows of `as_velocities` share a mean."""
    zero, _ = codes(visits, ["star_id", "reference_visit_id"])
    return Groups.of_stars(zero)


def _typical(visits: pl.DataFrame, value: Vector, error: Vector) -> float:
    groups = zeros_of(visits)
    repeated = groups.n_of_zero[groups.zero] > 1
    deviation = np.abs(value - groups.medians(value)[groups.zero])[repeated]
    spread = 1.4826 * float(np.median(deviation)) if len(deviation) else 0.0
    # Where nothing repeats, or all repeats are equal, the errors give the unit.
    return spread or (float(np.median(error)) if len(error) else 1.0)


def _fit(labels: pl.DataFrame, name: str, by: list[str]) -> ErrorModel:
    visits, unit = as_velocities(with_values(labels, name), name, by)
    model = fit_error_model(visits, by, narrowest=_NARROWEST)
    table = model.table.with_columns(pl.col("floor", "floor_err") * unit)
    notes = []
    if not len(table):
        notes.append(
            "No star has two spectra with labels: the errors stay as they were given."
        )
    elif (several := int(table["n_visits"].sum())) < _NEEDED:
        notes.append(
            f"Only {several} spectra are of stars that repeat and keep their labels, "
            f"{_NEEDED} are needed: the errors stay as they were given."
        )
        model = replace(model, scale=1.0, floor=0.0)
        table = table.head(0)
    elif (table["n_visits"] < _NEEDED).any() and len(table) > 1:
        few = int((table["n_visits"] < _NEEDED).sum())
        notes.append(
            f"{few} of {len(table)} groups have fewer than {_NEEDED} spectra of stars "
            f"that repeat and keep their labels: they take the errors of all (scale "
            f"{model.scale:.2f}, floor {model.floor * unit:.3g})."
        )
    if any("settled" in note for note in model.notes):
        notes.append("The errors had not settled: take them with care.")
    return replace(model, table=table, floor=model.floor * unit, notes=notes)


def label_pulls(labels: pl.DataFrame, name: str) -> pl.DataFrame:
    """Compare every spectrum with the other spectra of its star.

        pull_i = (P_i - mean of the others) / sqrt(err_i^2 + error^2 of that mean)

    Returns ``star_id, arm`` (if there), ``snr`` (if there), ``deviation`` and ``pull`` for
    each row with a trusted label whose star has another of the same arm, method and
    model. Pulls of constant stars have width 1 if the errors are right.

    Raises:
        CalibrationError: a column is missing or holds no numbers.
    """
    require_labels(labels, [name])
    labels = with_errors_of_repeats(labels, [name])
    table = with_values(with_labels_trusted(labels, [name]), name)
    visits, unit = as_velocities(table, name, [])
    groups = zeros_of(visits)
    value, error = visits["rv_raw"].to_numpy(), visits["rv_raw_err"].to_numpy()
    value = value - groups.medians(value)[groups.zero]
    weight = error**-2.0
    others = groups.zeros(weight)[groups.zero] - weight
    some = groups.n_of_zero[groups.zero] > 1
    safe = np.where(some, others, 1.0)
    mean = (groups.zeros(weight * value)[groups.zero] - weight * value) / safe
    deviation = value - mean
    pull = deviation / np.sqrt(error**2 + 1 / safe)
    kept = [c for c in ("star_id", "arm", "snr") if c in table.columns]
    return (
        table.select(kept)
        .with_columns(deviation=pl.Series(deviation * unit), pull=pl.Series(pull))
        .filter(pl.Series(some))
    )
