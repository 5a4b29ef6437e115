"""What the figures of labels share: temperatures and the like, of spectra and of stars.

Labels of spectra come from the fit (schema "labels"); those of stars are columns of the
table of stars, else means of the former, else medians of what a foreign table of
velocities says of each visit. Numbers that can only stand for "unknown", as -9999, are.
"""

__all__ = [
    "SENSIBLE",
    "SHORT",
    "label_axis",
    "label_names",
    "repeats",
    "star_error",
    "tidy_labels",
    "with_star_labels",
]

from collections.abc import Sequence

import numpy as np
import polars as pl

from steadystar.calibrate.label_rows import (
    trusted,
    with_errors_of_repeats,
    without_repeats,
)
from steadystar.data import schema
from steadystar.data.schema import LABEL_NAMES
from steadystar.infer.labels import summarize_labels
from steadystar.publish.plot import Axis

SENSIBLE = {
    "teff": (500.0, 1e6),
    "logg": (-5.0, 12.0),
    "feh": (-10.0, 5.0),
    "vsini": (0.0, 1e4),
}
"""Limits beyond which a label of a star is a placeholder or a mistake."""
_POSSIBLE = (1e-9, 1e9)
"""The same for S/N and errors, whose squares must be numbers too."""

SHORT = {"teff": "Teff", "logg": "log g", "feh": "[Fe/H]", "vsini": "v sin i"}
"""What a label is called where there is little room."""

_AXES = {
    "teff": "effective temperature (K)",
    "logg": "surface gravity log g (dex)",
    "feh": "[Fe/H] (dex)",
    "vsini": "rotation v sin i (km/s)",
}


def label_axis(name: str, before: str = "") -> Axis:
    """Return the axis of a label, with its unit; ``before``: what it is of the label."""
    if not before:
        return Axis(_AXES[name])
    return Axis(f"{before} {SHORT[name]} ({LABEL_NAMES[name][0] or 'dex'})")


def star_error(stars: pl.DataFrame, name: str) -> str | None:
    """Return the column of the error of a star's mean label; None without one.

    It is that by the errors of its spectra where it is known: the scatter of two or three
    of them may be near zero by chance.
    """
    names = (f"{name}_mean_err", f"{name}_err")
    return next((n for n in names if n in stars.columns), None)


def tidy_labels(labels: pl.DataFrame | None) -> pl.DataFrame:
    """Return the labels of spectra with arms named, and who is trusted.

    Gains ``X_trusted`` for each label X, and ``counts``: some label is trusted, and no
    other row that counts holds the same photons.
    """
    if labels is None:
        labels = schema.empty("labels")
    errors = [f"{name}_err" for name in LABEL_NAMES]
    frame = schema.conform(labels, "labels").with_columns(
        *_sensible(),
        pl.col("arm").fill_null("all"),
        pl.col("status").fill_null(0),
        *(
            pl.when(pl.col(name).is_between(*_POSSIBLE))
            .then(name)
            .otherwise(float("nan"))
            for name in ("snr", *errors)
        ),
    )
    good = trusted(frame, list(LABEL_NAMES))
    some = np.any(list(good.values()), axis=0) if len(frame) else np.zeros(0, bool)
    return frame.with_columns(
        *(pl.Series(f"{name}_trusted", one) for name, one in good.items()),
        pl.Series("counts", without_repeats(frame, some)),
    )


def _sensible(names: tuple[str, ...] = tuple(LABEL_NAMES)) -> list[pl.Expr]:
    return [
        pl.when(pl.col(name).cast(pl.Float64, strict=False).is_between(*SENSIBLE[name]))
        .then(pl.col(name).cast(pl.Float64, strict=False))
        .otherwise(float("nan"))
        .alias(name)
        for name in names
    ]


def with_star_labels(
    stars: pl.DataFrame, visits: Sequence[pl.DataFrame], labels: pl.DataFrame
) -> pl.DataFrame:
    """Return the stars with the labels that are known of them, from the best source.

    ``labels``: as `tidy_labels` returns them; ``visits``: tables that may hold labels of
    their own.
    """
    if not _known(stars, LABEL_NAMES) and labels["counts"].any():
        means = summarize_labels(labels)
        made = [c.name for c in schema.TABLES["stars"] if c.optional]
        fresh = [name for name in made if name in means.columns]
        stars = stars.drop(fresh, strict=False).join(
            means.select("star_id", *fresh),
            on="star_id",
            how="left",
            maintain_order="left",
        )
    new = [name for name in LABEL_NAMES if name not in stars.columns]
    foreign = [name for name in new if any(name in table.columns for table in visits)]
    if foreign:
        seen = pl.concat(
            [
                table.select("star_id", *_sensible(tuple(foreign)))
                for table in visits
                if set(foreign) <= set(table.columns)
            ]
        )
        medians = seen.group_by("star_id").agg(
            pl.col(name).fill_nan(None).median() for name in foreign
        )
        stars = stars.join(medians, on="star_id", how="left", maintain_order="left")
    own = tuple(name for name in LABEL_NAMES if name in stars.columns)
    return stars.with_columns(_sensible(own))


def _known(table: pl.DataFrame, names) -> list[str]:
    """The labels that the table has a number for."""
    return [
        name
        for name in names
        if name in table.columns
        and table[name].cast(pl.Float64, strict=False).is_finite().any()
    ]


def label_names(table: pl.DataFrame) -> tuple[str, ...]:
    """Return the labels of which a table knows something, in the order of the schema."""
    return tuple(_known(table, LABEL_NAMES))


def repeats(labels: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the trusted values of a label, of stars with two or more in the same arm.

    Arguments:
        labels: as `tidy_labels` returns them.
        name: the label.

    Columns ``star_id, arm, method, model, snr, error, n``, then ``deviation``: from the
    mean with weights S/N^2, times ``sqrt(n/(n-1))`` (Zong et al. 2020, equation 3). A mean
    is that of one arm, method and model. For pulls see `calibrate.label_errors`.
    """
    keys = ["star_id", "arm", "method", "model"]
    rows = (
        with_errors_of_repeats(labels, [name])
        .filter(f"{name}_trusted", pl.col("snr").is_finite(), pl.col("snr") > 0)
        .select(
            *keys,
            "snr",
            pl.col(name).alias("value"),
            pl.col(f"{name}_err").alias("error"),
            pl.len().over(keys).alias("n"),
        )
    )
    rows = rows.filter(pl.col("n") > 1)
    weight = pl.col("snr") ** 2
    mean = (pl.col("value") * weight).sum().over(keys) / weight.sum().over(keys)
    widened = (pl.col("n") / (pl.col("n") - 1)).sqrt()
    return rows.with_columns(
        ((pl.col("value") - mean) * widened).alias("deviation")
    ).drop("value")
