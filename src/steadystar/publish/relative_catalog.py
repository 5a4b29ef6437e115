"""The two catalogs of Xiong et al. (2021): relative velocities and constant stars.

Their table 2 has one row a star and exposure with both arms beside each other. Ours has
the same columns under the same names, with the star and the exposure named before them.
``hjd`` is BJD_TDB here (heliocentric Julian dates in UTC differ from it by about 69 s,
the offset of TDB, and up to 4 s, the Sun's own motion).
"""

__all__ = ["constant_candidates", "relative_catalog"]

import polars as pl

from steadystar.data import schema
from steadystar.publish.methods import of_method, shown_method

_SUFFIX = {"red": "r", "blue": "b"}


def relative_catalog(velocities: pl.DataFrame) -> pl.DataFrame:
    """Lay out velocities as table 2: a row a star and exposure, sorted by star and time.

    An arm without a velocity in an exposure has NaN there. If a table holds several
    methods, all rows are of one (`shown_method`): the relative one where there is one,
    also for stars that it could not measure. Spectra of other arms than ``red`` and
    ``blue`` have no place in this layout.

    Raises:
        ValueError: the table has no spectrum of a red or a blue arm.
    """
    frame = schema.conform(
        velocities, "velocities", keep_dtype=("spectrograph", "fiber", "field")
    ).filter(pl.col("arm").is_in(list(_SUFFIX)))
    if len(velocities) and not len(frame):
        raise ValueError(
            "The relative-velocity layout has columns for a red and a blue arm, but no "
            "spectrum is of either: export the velocities table itself."
        )
    frame = of_method(frame, shown_method(frame)[0])
    keys = ["star_id", "exposure_id"]
    # Where the exposure is not named its time tells exposures apart.
    frame = frame.with_columns(
        pl.coalesce("exposure_id", pl.format("BJD {}", pl.col("bjd").round(6))).alias(
            "exposure_id"
        )
    )
    merged = frame.group_by(keys, maintain_order=True).agg(
        pl.col("ra").first(), pl.col("dec").first(), pl.col("bjd").mean().alias("hjd")
    )
    for arm, suffix in _SUFFIX.items():
        side = (
            frame.filter(pl.col("arm") == arm)
            .unique(keys, keep="first", maintain_order=True)
            .select(
                *keys,
                pl.col("snr").alias(f"SNR_{suffix}"),
                pl.col("rv_raw").alias(f"DRV_{suffix}"),
                pl.col("rv_raw_err").alias(f"DRV_{suffix}_err"),
                pl.col("rv").alias(f"DRV_{suffix}_corr"),
            )
        )
        merged = merged.join(
            side, on=keys, how="left", maintain_order="left", nulls_equal=True
        )
    ordered = schema.conform(merged, "relative")
    return ordered.sort("star_id", "hjd", "exposure_id", maintain_order=True)


def constant_candidates(stars: pl.DataFrame) -> pl.DataFrame:
    """Return the stars classified as constant, in the order of the table."""
    return stars.filter(pl.col("constant").fill_null(False))
