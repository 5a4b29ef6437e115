"""Which of a table's methods a statistic is about: one, never two.

A table can hold the velocities of one spectrum by several methods: relative to the
star's own template, and absolute ones against templates of all types. They share the
spectrum and its noise, so that counting both would count it twice.
"""

__all__ = ["ABSOLUTE", "shown_method"]

import polars as pl

ABSOLUTE = "marginal"
"""The method whose velocities are absolute: marginalized over the type of the star."""

_UNNAMED = "of no name"


def shown_method(frame: pl.DataFrame) -> tuple[str, dict[str, int]]:
    """Choose the method that statistics are about, and count the rows of the others.

    The relative one (its rows name a ``reference_visit_id``) where it has velocities:
    it follows a star's changes most closely. Else the method with most velocities. An
    empty name means that no row names a method, and that all of them are of one.
    """
    counts = (
        frame.group_by("method")
        .agg(
            pl.len().alias("rows"),
            pl.col("rv_raw").is_finite().sum().alias("n"),
            (pl.col("rv_raw").is_finite() & pl.col("reference_visit_id").is_not_null())
            .any()
            .alias("relative"),
        )
        .sort(
            pl.col("method").is_null(),
            pl.col("relative"),
            "n",
            "method",
            descending=[False, True, True, False],
        )
    )
    names, rows = counts["method"].to_list(), counts["rows"].to_list()
    if not names or names[0] is None:
        return "", {}
    others = [_UNNAMED if name is None else name for name in names[1:]]
    return names[0], dict(zip(others, rows[1:], strict=True))
