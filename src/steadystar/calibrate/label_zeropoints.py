"""Do labels have zero points of their own? A test (Zong et al. 2020, appendix B).

The engine that finds the zero points of velocities finds those of temperatures too, by
exposure, spectrograph, fiber or any other columns. Whether they are real is another
question: offsets fitted to noise follow the noise, and the very spectra that they were
fitted to always scatter less afterwards, as in figure A2 of the paper. So stars are dealt
into parts, and each part is corrected by offsets to which its stars contributed nothing.
If there are no offsets, these corrections only add noise:

    gain = 1 - (squared deviations after) / (squared deviations before),

of constant stars, in units of their errors, about their means. It is significant if it
exceeds three times its error, which follows from how it differs from star to star. The
paper's own test, common constant stars within 100 K, 0.15 dex and 0.1 dex on one plate,
is the method ``common-constant``; it found corrections of no use, as `worthwhile` says.
"""

__all__ = ["LabelZeroPointOptions", "LabelZeroPoints", "label_zeropoints"]

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import polars as pl
from scipy.special import chdtrc

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.label_errors import (
    as_velocities,
    fit_label_errors,
    with_values,
    zeros_of,
)
from steadystar.calibrate.label_gain import (
    constant_rows,
    gain_of,
    held_out,
    laws_before_and_after,
    offsets_chi2,
    offsets_width,
    robust_scatter,
)
from steadystar.calibrate.label_rows import (
    require_labels,
    with_errors_of_repeats,
    with_labels_trusted,
    without_repeats,
)
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.problem import families_of
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.schema import LABEL_NAMES

_METHODS = ("joint", "common-constant")
_WORTH = 0.01
"""Of the scatter: a correction that takes off less than this is negligible."""


@dataclass(frozen=True)
class LabelZeroPointOptions:
    """How zero points of labels are fitted, and when they are believed."""

    method: Annotated[
        str, "joint (constancy inferred), or common-constant: as published (Zong 2020)."
    ] = "joint"
    folds: Annotated[
        int, "Parts of the stars, each corrected by offsets fitted to the others."
    ] = 4
    significance: Annotated[
        float, "Standard errors by which the gain must exceed zero."
    ] = 3.0
    max_scatter: Annotated[
        dict[str, float],
        "common-constant: largest scatter of a constant star, by label, in its unit.",
    ] = field(default_factory=lambda: {"teff": 100.0, "logg": 0.15, "feh": 0.1})
    min_plate_spectra: Annotated[
        int, "common-constant: plates with fewer spectra are refused."
    ] = 540
    min_stars: Annotated[
        int, "Stars that must have spectra in a group and outside it."
    ] = 3

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise CalibrationError(
                f"There is no method {self.method!r} for zero points of labels: choose "
                f"{' or '.join(_METHODS)}."
            )
        if self.folds < 2:
            raise CalibrationError(
                f"folds = {self.folds} leaves no star out: give at least 2."
            )


_DEFAULT = LabelZeroPointOptions()


@dataclass(frozen=True, eq=False)
class LabelZeroPoints:
    """Zero points of one label, and what they are worth.

    ``zero``: the fit to all stars, in units of ``unit`` (of the label). ``before, after,
    held_out``: robust scatter of spectra about their stars, in the unit of the label; the
    last is of stars that had no part in the fit. ``gain, gain_err``: relative fall of the
    squared deviations of these. ``width, width_err``: true scatter of the offsets.
    ``chi2, dof, p_value``: of the offsets against zero, as far as their errors are right
    (by ``common-constant`` they are too small, and the p value with them). ``laws``: law of uncertainty at S/N 10, 20, 50 before and after (of stars
    without a part in the fit), no rows where it cannot be fitted. ``notes``: sentences.
    """

    label: str
    unit: float
    zero: ZeroPoints
    before: float
    after: float
    held_out: float
    gain: float
    gain_err: float
    width: float
    width_err: float
    chi2: float
    dof: int
    p_value: float
    laws: pl.DataFrame
    significance: float
    n_spectra: int
    n_stars: int
    notes: tuple[str, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether stars that took no part in the fit scatter less, beyond chance."""
        return bool(self.gain > self.significance * self.gain_err)

    @property
    def worthwhile(self) -> bool:
        """Whether they scatter less by a percent or more: else it is negligible."""
        fall = 1 - float(np.sqrt(max(1 - self.gain, 0.0)))
        return self.significant and fall >= _WORTH

    @property
    def offsets(self) -> dict[str, pl.DataFrame]:
        """The offsets by family, in the unit of the label."""
        scaled = pl.col("offset", "offset_err") * self.unit
        return {n: table.with_columns(scaled) for n, table in self.zero.offsets.items()}

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        by = " and ".join(" + ".join(columns) for columns in self.zero.by)
        fall = 1 - np.sqrt(max(1 - self.gain, 0.0))
        error = self.gain_err / 2
        more = "less" if fall >= 0 else "more"
        seen = (
            f"stars that took no part in the fit scatter {100 * abs(fall):.1f} +- "
            f"{100 * error:.1f}% {more}"
        )
        unit = LABEL_NAMES.get(self.label, ("",))[0]
        size = (
            f"offsets of width {self.width:.2g} +- {self.width_err:.1g} {unit}".strip()
        )
        if self.worthwhile:
            verdict = "are real and worth taking off"
        elif self.significant:
            verdict = "are real, but negligible"
        else:
            verdict = "are not significant"
        return f"Zero points of {self.label} by {by} {verdict}: {seen} ({size})."

    def apply(self, labels: pl.DataFrame) -> pl.DataFrame:
        """Take the offsets off the label, and add their errors to its own.

        Adds ``X_correction``. Rows whose offset is not known keep their label, and get
        the width of the offsets in their error. Row order is kept.

        Raises:
            CalibrationError: a column is missing or of another kind than in the fit.
        """
        require_labels(labels, [self.label])
        columns = [c for family in self.zero.by for c in family if c in labels.columns]
        visits, _ = as_velocities(labels, self.label, columns, self.unit)
        corrected = self.zero.apply(visits)
        total, error = (
            corrected[name].to_numpy() * self.unit
            for name in ("correction", "correction_err")
        )
        value, own = (
            labels[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            for name in (self.label, f"{self.label}_err")
        )
        return labels.with_columns(
            pl.Series(self.label, value - total),
            pl.Series(f"{self.label}_err", np.hypot(own, error)),
            pl.Series(f"{self.label}_correction", total),
        )


def label_zeropoints(
    labels: pl.DataFrame,
    by: Sequence[str | Sequence[str]],
    label: str = "teff",
    options: LabelZeroPointOptions = _DEFAULT,
) -> LabelZeroPoints:
    """Fit zero points of a label, and test whether they are more than noise.

    Arguments:
        labels: one row a fit (schema "labels"): ``star_id``, the label, its error, the
            columns of ``by``; ``snr`` for the laws.
        by: families of offsets, as for `fit_zeropoints`: ``[("spectrograph", "arm",
            "exposure_id")]``.
        label: ``teff``, ``logg``, ``feh``, ``vsini``.
        options: method, and when a gain is believed.

    Only trusted rows enter, no photon twice (`label_rows`).

    Raises:
        CalibrationError: a column is missing or unusable, or no star repeats.
    """
    families = families_of(by)
    table, visits, unit = _repeats(labels, families, label)
    groups = zeros_of(visits)
    asked = _for_velocities(label, unit, options)
    zero = fit_zeropoints(visits, families, options=asked)
    errors = fit_label_errors(table, names=[label]).apply(table)
    errors = with_errors_of_repeats(errors, [label])
    error = errors[f"{label}_err"].to_numpy() / unit
    after = zero.apply(visits)["rv"].to_numpy()
    held = held_out(visits, families, asked, options.folds)
    before = visits["rv_raw"].to_numpy()
    constant = constant_rows(visits, zero)
    gain, gain_err = gain_of(before, held, error, groups, constant)
    chi2, dof = offsets_chi2(zero)
    width, width_err = offsets_width(zero)
    scatter = [unit * robust_scatter(v, error, groups) for v in (before, after, held)]
    return LabelZeroPoints(
        label=label,
        unit=unit,
        zero=zero,
        before=scatter[0],
        after=scatter[1],
        held_out=scatter[2],
        gain=gain,
        gain_err=gain_err,
        width=unit * width,
        width_err=unit * width_err,
        chi2=chi2,
        dof=dof,
        p_value=float(chdtrc(dof, chi2)) if dof else float("nan"),
        laws=laws_before_and_after(visits, before, held, unit),
        significance=options.significance,
        n_spectra=len(visits),
        n_stars=visits["star_id"].n_unique(),
        notes=tuple(note for note in zero.notes if "km/s" not in note),
    )


def _repeats(labels: pl.DataFrame, families, label: str):
    """Return the rows that enter, the same as velocities, and the unit of these."""
    columns = [column for family in families for column in family]
    require_labels(labels, [label], *dict.fromkeys(columns))
    table = with_labels_trusted(labels, [label])
    known = (table[label].is_finite() & table[f"{label}_err"].is_finite()).to_numpy()
    table = with_values(table.filter(pl.Series(without_repeats(table, known))), label)
    more = [name for name in ("field", "telescope", "snr") if name in table.columns]
    visits, unit = as_velocities(table, label, [*columns, *more])
    if not (zeros_of(visits).n_of_zero > 1).any():
        raise CalibrationError(
            f"No star has two spectra with a trusted {label}: zero points show in "
            "repeats only."
        )
    return table, visits, unit


def _for_velocities(
    label: str, unit: float, options: LabelZeroPointOptions
) -> ZeroPointOptions:
    """Return the options of the engine; its km/s are ``unit`` of the label here."""
    return ZeroPointOptions(
        method=options.method,
        min_stars=options.min_stars,
        max_scatter=options.max_scatter.get(label, 3 * unit) / unit,
        min_plate_spectra=options.min_plate_spectra,
        # The alternate lamp shifts velocities, and no temperatures.
        lamp_columns=(),
    )
