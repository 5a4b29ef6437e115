"""Fields (plates, plans) and nights: who was there, how often, how long, how well."""

__all__ = ["field_nights", "field_table"]

import numpy as np
import polars as pl

from steadystar.data.match import unit_vectors
from steadystar.publish.facts import Facts
from steadystar.publish.sky_map import degrees_of

_EDGE = 0.99
"""Share of the targets within the radius of a field; the rest may be misplaced."""


def _exposures(facts: Facts) -> pl.DataFrame:
    """The visits that say their field, with their night as a number and a name of the
    exposure; a night counts as one exposure where these have no names."""
    night = pl.coalesce(
        pl.col("night").cast(pl.Float64, strict=False),
        (pl.col("bjd").fill_nan(None) - 2_400_001).floor(),
    )
    named = facts.visits.filter(
        pl.col("field").is_not_null(), pl.col("field").cast(pl.String) != ""
    )
    return named.with_columns(
        pl.col("field").cast(pl.String),
        night.alias("night"),
        pl.coalesce("exposure", pl.format("night {}", night), pl.lit("?")).alias(
            "_exposure"
        ),
    )


def _lengths(visits: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Number of exposures, their total time, and the one time if all took the same."""
    exptime = pl.col("exptime").filter(
        pl.col("exptime").is_finite(), pl.col("exptime") > 0
    )
    single = visits.group_by(*keys, "_exposure").agg(exptime.median().alias("seconds"))
    single = single.sort(*keys, "_exposure")
    known = pl.col("seconds").drop_nulls()
    return single.group_by(keys).agg(
        pl.len().alias("exposures"),
        pl.when(pl.col("seconds").is_not_null().any())
        .then(pl.col("seconds").sum())
        .otherwise(None)
        .alias("seconds"),
        known.min().alias("shortest"),
        known.max().alias("longest"),
    )


def _quality(facts: Facts, visits: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Stars, spectra and median S/N in each arm, ``snr ARM``; seeing where known."""
    lit = pl.col("snr").is_finite()
    extra = []
    if "seeing" in visits.columns:
        seeing = pl.col("seeing").cast(pl.Float64, strict=False)
        extra = [
            seeing.filter(seeing.is_finite() & (seeing > 0)).median().alias("seeing")
        ]
    return visits.group_by(keys).agg(
        pl.col("star_id").n_unique().alias("stars"),
        pl.len().alias("spectra"),
        *(
            pl.col("snr").filter(lit & (pl.col("arm") == arm)).median().alias(f"snr {arm}")
            for arm in facts.arms
        ),
        *extra,
    )  # fmt: skip


def field_nights(facts: Facts) -> pl.DataFrame:
    """One row a night of a field, in order of time.

    Columns ``night, field, exposures, seconds, shortest, longest, stars, spectra``, the
    median ``snr ARM`` of every arm, and ``seeing`` where the table has it.
    """
    visits, keys = _exposures(facts), ["night", "field"]
    return (
        _quality(facts, visits, keys)
        .join(
            _lengths(visits, keys),
            on=keys,
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        .sort("night", "field", nulls_last=True)
    )


def field_table(facts: Facts) -> pl.DataFrame:
    """One row a field, by name.

    Columns as those of `field_nights`, without the night, and ``nights, first, last``
    (MJD), ``ra, dec, radius`` (degrees; NaN where no position is known).
    """
    visits, keys = _exposures(facts), ["field"]
    times = visits.group_by("field").agg(
        pl.col("night").n_unique().alias("nights"),
        pl.col("night").min().alias("first"),
        pl.col("night").max().alias("last"),
    )
    return (
        _quality(facts, visits, keys)
        .join(_lengths(visits, keys), on="field", how="left", maintain_order="left")
        .join(times, on="field", how="left", maintain_order="left")
        .join(centers(visits), on="field", how="left", maintain_order="left")
        .sort("field")
        .with_columns(pl.col("ra", "dec", "radius").fill_null(float("nan")))
    )


def centers(placed: pl.DataFrame) -> pl.DataFrame:
    """Return ``field, ra, dec, radius`` of the stars of each field, degrees.

    ``placed``: with ``field, ra, dec``; rows without a position are left out.
    """
    # In order: sums of many numbers depend on it in their last digits.
    known = (
        placed.select("field", "ra", "dec")
        .unique()
        .filter(pl.col("ra").is_finite(), pl.col("dec").is_finite())
        .sort("field", "ra", "dec")
    )
    vectors = unit_vectors(known["ra"].to_numpy(), known["dec"].to_numpy())
    axes = ("_x", "_y", "_z")
    known = known.with_columns(
        pl.Series(axis, vectors[:, i]) for i, axis in enumerate(axes)
    )
    middle = known.group_by("field").agg(pl.col(*axes).mean())
    ra, dec = degrees_of(middle.select(axes).to_numpy())
    middle = middle.select("field", pl.Series("ra", ra), pl.Series("dec", dec))
    center = unit_vectors(ra, dec)
    middle = middle.with_columns(
        pl.Series(f"{axis}0", center[:, i]) for i, axis in enumerate(axes)
    )
    both = known.drop("ra", "dec").join(middle, on="field", maintain_order="left")
    square = sum(
        ((pl.col(axis) - pl.col(f"{axis}0")) ** 2 for axis in axes), pl.lit(0.0)
    )
    radius = both.group_by("field").agg(square.sqrt().quantile(_EDGE).alias("_chord"))
    return middle.join(radius, on="field", maintain_order="left").select(
        "field",
        "ra",
        "dec",
        (2 * (pl.col("_chord") / 2).clip(upper_bound=1.0).arcsin() * (180 / np.pi)).alias("radius"),
    )  # fmt: skip
