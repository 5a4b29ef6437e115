"""Which of a table's methods a statistic is about: one, never two.

A table can hold the velocities of one spectrum by several methods: relative to the
star's own template, and absolute ones against templates of all types. They share the
spectrum and its noise, so that counting both would count it twice.
"""

__all__ = ["ABSOLUTE", "of_method", "shown_method"]

import polars as pl

ABSOLUTE = "marginal"
"""The method whose velocities are absolute: marginalized over the type of the star."""


def shown_method(frame: pl.DataFrame) -> tuple[str, dict[str, int]]:
    """Choose the method that statistics are about, and count the rows of the others.

    The relative one (its rows name a ``reference_visit_id``) where it has velocities:
    it follows a star's changes most closely, and zero points are solved from it
    (`calibrate.visits.methods_of`). Else the method with most velocities. An empty name
    means that no row names a method.
    """
    measured = pl.col("rv_raw").is_finite()
    counts = (
        frame.drop_nulls("method")
        .group_by("method")
        .agg(
            pl.len().alias("rows"),
            measured.sum().alias("n"),
            (measured & pl.col("reference_visit_id").is_not_null())
            .any()
            .alias("relative"),
        )
        .sort("relative", "n", "method", descending=[True, True, False])
    )
    names, rows = counts["method"].to_list(), counts["rows"].to_list()
    return (names[0] if names else ""), dict(zip(names[1:], rows[1:], strict=True))


def of_method(frame: pl.DataFrame, method: str) -> pl.DataFrame:
    """The rows of ``method`` and those that name none: spectra that no method got to."""
    return frame.filter(pl.col("method").is_null() | (pl.col("method") == method))
