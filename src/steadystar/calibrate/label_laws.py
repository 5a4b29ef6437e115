"""Laws of uncertainty of labels: how their errors fall with S/N, ``a x^b + c``.

The scatter of repeats takes no error for granted that a fit states. By likelihood, or as
published (Zong et al. 2020, section 3.2), see `laws`; with the errors at S/N 10, 20 and
50, as in table 4 of the paper.
"""

__all__ = ["PUBLISHED_AT", "LabelLaws", "fit_label_laws"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.calibrate.label_rows import (
    require_labels,
    usual_groups,
    with_labels_trusted,
)
from steadystar.calibrate.laws import LawOptions, UncertaintyLaw
from steadystar.calibrate.lawtable import UncertaintyLaws, fit_laws
from steadystar.calibrate.options import CalibrationError
from steadystar.data.numbers import Numbers
from steadystar.data.status import Status

_LAWS = LawOptions()
PUBLISHED_AT = (10.0, 20.0, 50.0)
"""S/N at which Zong et al. (2020, table 4) give the errors."""


@dataclass(frozen=True, eq=False)
class LabelLaws:
    """The law of uncertainty ``a x^b + c`` of every label, by groups of rows.

    ``laws``: by label. ``notes``: sentences for people, also on labels without a law.
    """

    laws: Mapping[str, UncertaintyLaws]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pl.DataFrame:
        """Coefficients with errors, and the errors at S/N 10, 20 and 50, a row a law.

        ``label``, the columns of the groups, ``a, a_err, b, b_err, c, c_err, low, high,
        n_used, n_outliers``, then ``at_10, at_10_err`` and so on (Zong's table 4).
        """
        return self.at(PUBLISHED_AT)

    def at(self, snr: Numbers) -> pl.DataFrame:
        """Return ``table`` with the laws evaluated at other S/N."""
        x = np.atleast_1d(np.asarray(snr, np.float64))
        parts = []
        for name, found in self.laws.items():
            values = np.stack([law.apply(x) for law in found.laws])
            errors = np.stack([law.error(x) for law in found.laws])
            more = {}
            for i, place in enumerate(x):
                more[f"at_{place:g}"] = values[:, i]
                more[f"at_{place:g}_err"] = errors[:, i]
            parts.append(
                found.table.select(pl.lit(name).alias("label"), pl.all()).with_columns(
                    **{k: pl.Series(v) for k, v in more.items()}
                )
            )
        return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()

    def law(self, name: str) -> UncertaintyLaw:
        """Return the law of a label that has only one.

        Raises:
            CalibrationError: it has none, or one for each group.
        """
        if name not in self.laws:
            raise CalibrationError(
                f"There is no law of {name}: choose among {', '.join(self.laws)}."
            )
        if len(self.laws[name].laws) != 1:
            raise CalibrationError(
                f"There are {len(self.laws[name].laws)} laws of {name}, by "
                f"{', '.join(self.laws[name].by)}: take them from `table`."
            )
        return self.laws[name].laws[0]

    def apply(self, labels: pl.DataFrame) -> pl.DataFrame:
        """Add ``X_law_err`` for every label, the error that the law gives a row.

        Raises:
            CalibrationError: the column of S/N or one of the groups is missing.
        """
        for found in self.laws.values():
            labels = found.apply(labels)
        return labels


def fit_label_laws(
    labels: pl.DataFrame,
    by: Sequence[str] | str | None = None,
    names: Sequence[str] | None = None,
    options: LawOptions = _LAWS,
) -> LabelLaws:
    """Fit the law of uncertainty of every label to the repeats of stars.

    Arguments:
        labels: one row a fit (schema "labels"): ``star_id``, ``snr``, labels and errors.
        by: columns whose groups get laws of their own; None: arm, method and model,
            those that differ in the table.
        names: the labels; None: all that the table has.
        options: method (``likelihood``, or ``zong`` as published) and limits.

    A label whose law cannot be fitted is in the notes, not in the table.

    Raises:
        CalibrationError: a column is missing or holds no numbers.
    """
    wanted = require_labels(labels, names, "snr")
    groups = usual_groups(labels) if by is None else by
    table = with_labels_trusted(labels, wanted)
    # Flags that keep a velocity out are not all against a label: those that are, were
    # heard above.
    table = table.with_columns(status=pl.lit(int(Status.GOOD), pl.Int64))
    laws, notes = {}, []
    for name in wanted:
        try:
            laws[name] = fit_laws(table, name, groups, options=options)
        except CalibrationError as error:
            notes.append(f"{name} has no law. {error}")
            continue
        notes += [f"{name}: {note}" for note in laws[name].notes]
        notes += [f"{name}: {note}" for law in laws[name].laws for note in law.notes]
    return LabelLaws(laws, tuple(notes))
