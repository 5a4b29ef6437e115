"""Errors that mean what they say: a scale and a floor, fitted on constant stars.

    rv_err^2 = (scale * rv_raw_err)^2 + floor^2 + correction_err^2

(Saydjari 2025, section 6.) Scale and floor may differ between groups of visits:
telescopes and arms, and methods if there are several, unless told otherwise. They
maximize the likelihood of the deviations from the stars' means, in a mixture that lets
stars vary and single visits be wild: which stars are constant is inferred together with
the errors that decide it.

The corrections were solved from these very visits and have followed their noise, so that
deviations are smaller than the noise by the variance of the correction: it is given back.
"""

__all__ = ["ErrorModel", "ErrorModelOptions", "fit_error_model"]

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl

from steadystar.calibrate.errorfit import fit_noise, sample_of
from steadystar.calibrate.grouprows import rows_of_groups
from steadystar.calibrate.noise import Noise
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import methods_of, standard_visits
from steadystar.calibrate.visitsums import Vector, sums

_USUAL = ("telescope", "arm")
_NEEDED = 30


@dataclass(frozen=True)
class ErrorModelOptions:
    """How the errors are calibrated."""

    by: Annotated[
        tuple[str, ...] | None,
        "Columns by which scale and floor may differ; none given: telescope and arm, and "
        "method if there are several.",
    ] = None
    own_corrections: Annotated[
        bool,
        "Whether the corrections were solved from these very visits, and so followed their "
        "noise; not where they come from another table or from known velocities.",
    ] = True
    max_rounds: Annotated[int, "Most iterations."] = 100

    def __post_init__(self) -> None:
        if self.max_rounds < 1:
            raise CalibrationError(
                f"max_rounds = {self.max_rounds} fits nothing: give at least 1."
            )


_DEFAULT = ErrorModelOptions()


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Scale and floor of every group of visits.

    ``table``: the columns of ``by``, then ``scale, scale_err, floor, floor_err`` (km/s)
    and ``n_visits``, the visits of constant stars behind them. ``scale, floor``: for
    visits of groups that are not in the table. ``notes``: sentences for people.
    """

    by: tuple[str, ...]
    table: pl.DataFrame
    scale: float = 1.0
    floor: float = 0.0
    notes: list[str] = field(default_factory=list)

    def apply(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Return ``visits`` with calibrated ``rv_err``; row order is kept.

        Raises:
            CalibrationError: a column of ``by`` is missing or of another kind.
        """
        table = _with_correction(visits)
        scale, floor = self.of(table)
        raw = table["rv_raw_err"].to_numpy()
        raw = np.where(np.isfinite(raw) & (raw > 0), raw, np.nan)
        raw = np.where(np.isfinite(table["rv"].to_numpy()), raw, np.nan)
        variance = (scale * raw) ** 2 + floor**2
        variance += table["correction_err"].to_numpy() ** 2
        return table.with_columns(rv_err=pl.Series(np.sqrt(variance)))

    def of(self, visits: pl.DataFrame) -> tuple[Vector, Vector]:
        """Return scale and floor (km/s) of every visit, both ``(visit,)``."""
        n = len(visits)
        if not self.by:
            return np.full(n, self.scale), np.full(n, self.floor)
        row = rows_of_groups(visits, self.table, self.by, "the errors")
        scale, floor = (
            np.append(self.table[name].to_numpy(), other)[row]
            for name, other in (("scale", self.scale), ("floor", self.floor))
        )
        return scale, floor

    def save(self, path: str | PathLike[str]) -> None:
        """Write as JSON, whole or not at all."""
        value = {
            "kind": "error model",
            "by": list(self.by),
            "scale": self.scale,
            "floor": self.floor,
            "groups": self.table.to_dicts(),
            "dtypes": {n: _said(self.table.schema[n]) for n in self.by},
            "notes": self.notes,
        }
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            temporary.write_text(json.dumps(value, indent=1) + "\n")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "ErrorModel":
        """Read what `save` wrote.

        Raises:
            CalibrationError: the file holds no error model.
        """
        try:
            value: dict[str, Any] = json.loads(Path(path).read_text())
            if value["kind"] != "error model":
                raise ValueError("it holds something else")
            by = tuple(value["by"])
            kinds = {n: _kind(value["dtypes"][n]) for n in by}
            table = pl.DataFrame(value["groups"], schema={**kinds, **_FITTED})
            return cls(by, table, value["scale"], value["floor"], value["notes"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CalibrationError(
                f"{path} holds no error model: {' '.join(str(error).split())[:200]}. "
                "Give a file that ErrorModel.save wrote."
            ) from error
        except pl.exceptions.PolarsError as error:
            raise CalibrationError(f"{path} holds a damaged error model.") from error


def _said(kind: Any) -> str | list[str]:
    """Return the name of a column's kind; of an Enum, its categories."""
    return kind.categories.to_list() if isinstance(kind, pl.Enum) else str(kind)


def _kind(said: str | list[str]) -> Any:
    return pl.Enum(said) if isinstance(said, list) else getattr(pl, said)()


_FITTED = {
    "scale": pl.Float64,
    "scale_err": pl.Float64,
    "floor": pl.Float64,
    "floor_err": pl.Float64,
    "n_visits": pl.Int64,
}


def fit_error_model(
    visits: pl.DataFrame,
    by: Sequence[str] | None = None,
    options: ErrorModelOptions = _DEFAULT,
    narrowest: float | None = None,
) -> ErrorModel:
    """Fit scale and floor of the errors to the repeats of constant stars.

    Arguments:
        visits: calibrated (``rv``, ``rv_raw_err``, ``correction_err``); a table that
            has no corrections yet is taken as needing none.
        by: columns by which scale and floor may differ, instead of ``options.by``.
        options: the rest.
        narrowest: the least extra scatter, km/s, by which a star counts as variable; None:
            three floors. Where floors are far below the errors these cannot be told from
            noise, and some of the noise passes for variability.

    Raises:
        CalibrationError: a column is missing or unusable.
    """
    names = _columns(visits, by, options)
    methods = methods_of(standard_visits(visits))
    if "method" in names and len(methods) > 1:
        return _by_method(visits, methods, names, options, narrowest)
    sample = sample_of(
        _with_correction(visits), names, followed=options.own_corrections
    )
    names = list(sample.names.columns)
    if not (sample.groups.n_of_zero > 1).any():
        table = pl.DataFrame(schema={**sample.names.schema, **_FITTED})
        note = "No star has two calibrated visits: the errors stay as they were given."
        return ErrorModel(tuple(names), table, notes=[note])
    noise, covariance, counts, settled = fit_noise(
        sample, options.max_rounds, narrowest
    )
    notes = []
    if not settled:
        notes.append(f"The errors had not settled after {options.max_rounds} rounds.")
    n = len(noise.scale)
    number = sums(sample.group, counts, n)
    few = number < _NEEDED
    scale, floor = _typical(noise, number)
    fitted = {
        "scale": np.where(few, scale, noise.scale),
        "scale_err": np.sqrt(covariance[:, 0]) / (2 * noise.scale),
        "floor": np.where(few, floor, noise.floor),
        "floor_err": _floor_error(noise.floor, np.sqrt(covariance[:, 1])),
        "n_visits": np.round(number).astype(np.int64),
    }
    table = pl.DataFrame({**sample.names.to_dict(), **fitted})
    if few.any() and n > 1:
        notes.append(
            f"{int(few.sum())} of {n} groups have fewer than {_NEEDED} visits of "
            f"constant stars and take the errors of all (scale {scale:.2f}, floor "
            f"{1000 * floor:.0f} m/s)."
        )
    return ErrorModel(tuple(names), table, scale, floor, notes)


def _by_method(
    visits: pl.DataFrame, methods: list[str], names: list[str], options, narrowest
) -> ErrorModel:
    """Fit each method's velocities on their own: one spectrum's noise is in all of them."""
    models = [
        fit_error_model(
            visits.filter(pl.col("method") == method), names, options, narrowest
        )
        for method in methods
    ]
    notes = [
        f"Method {method}: {note[0].lower()}{note[1:]}"
        for method, model in zip(methods, models, strict=True)
        for note in model.notes
    ]
    table = pl.concat([model.table for model in models]).sort(names)
    return ErrorModel(tuple(names), table, models[0].scale, models[0].floor, notes)


def _with_correction(visits: pl.DataFrame) -> pl.DataFrame:
    """Return the table with ``rv``, ``rv_raw_err`` and ``correction_err`` in km/s."""
    visits = standard_visits(visits)
    if "rv" not in visits.columns:
        visits = visits.with_columns(rv=pl.col("rv_raw"))
    numbers = [
        pl.col(name).cast(pl.Float64).fill_null(0.0).fill_nan(0.0)
        if name in visits.columns
        else pl.lit(0.0).alias(name)
        for name in ("correction_err", "correction_common_err")
    ]
    return visits.with_columns(pl.col("rv").cast(pl.Float64), *numbers)


def _columns(visits: pl.DataFrame, by, options: ErrorModelOptions) -> list[str]:
    if by is None:
        by = options.by
    if by is None:
        usual = [n for n in _USUAL if n in visits.columns]
        if methods_of(standard_visits(visits)):
            usual.append("method")
        return [n for n in usual if not visits[n].is_null().all()]
    by = by.split(",") if isinstance(by, str) else by
    absent = [name for name in by if name not in visits.columns]
    if absent:
        raise CalibrationError(
            f"The table has no column {', '.join(absent)}, by which errors were to be "
            f"calibrated: choose among {', '.join(sorted(visits.columns)[:40])}."
        )
    return list(by)


def _typical(noise: Noise, number: Vector) -> tuple[float, float]:
    """Return scale and floor of the typical visit: means weighted by visits."""
    weight = number if number.sum() > 0 else np.ones(len(number))
    scale = float(np.sqrt(np.average(noise.scale**2, weights=weight)))
    return scale, float(np.sqrt(np.average(noise.floor**2, weights=weight)))


def _floor_error(floor: Vector, error2: Vector) -> Vector:
    """Return how far the floor rises when its square is one standard error higher."""
    return np.sqrt(floor**2 + error2) - floor
