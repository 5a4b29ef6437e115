"""The program with quick stand-ins for measuring and reporting.

The pipeline's promises (nothing lost, same bytes, nothing done twice) do not depend on
what is measured; compiling the real thing takes most of a minute. The stand-in measures
a number that depends on the spectrum and on the star's frozen template, and nothing
else.
"""

import os

import numpy as np
import polars as pl

from steadystar.cli import main
from steadystar.data.schema import conform
from steadystar.measure.absolute import AbsoluteVelocities
from steadystar.measure.relative import RelativeVelocities, StarTemplates
from steadystar.measure.survey_labels import VisitLabels
from steadystar.pipeline import labeling, measuring
from steadystar.publish import report

FAILS = ""
"""A star whose measuring fails."""

MEASURED: list[str] = []
"""Visits that were measured, in order."""

WITHOUT_TEMPLATES = False
"""Whether no star gets a template, as one of a single exposure."""

LABELS_FAIL = ""
"""A star whose fit of labels fails."""

OTHER_LABELS = {"logg": 4.0, "feh": -0.2, "vsini": 8.0}

LABELED: list[str] = []
"""Visits whose labels were fitted, in order."""


def measure(visits, spectra, options, templates=None) -> RelativeVelocities:
    """Return the mean flux minus that of the first visits, in 100 counts a km/s."""
    if FAILS in visits["star_id"].to_list():
        raise ZeroDivisionError("this star is not to be measured")
    if os.environ.get("STAND_IN_DIES") in visits["visit_id"].to_list():
        os._exit(9)  # as if the system had killed it
    MEASURED.extend(visits["visit_id"])
    level = (spectra.flux * (spectra.ivar > 0)).mean(axis=1, dtype=np.float64) / 100
    table = visits.with_columns(
        method=pl.lit("joint"), _level=pl.Series(level), rv_raw_err=pl.lit(0.1)
    )
    made = (
        table.sort("visit_id")
        .group_by("star_id", "arm", maintain_order=True)
        .agg(
            reference_visit_id=pl.col("visit_id").first(),
            zero_shift=pl.col("_level").mean(),
        )
        .with_columns(
            start=pl.lit(1.0),
            step=pl.lit(1.0),
            template=pl.lit([1.0], pl.List(pl.Float32)),
        )
        .select(
            *("star_id", "arm", "reference_visit_id", "start", "step"),
            *("zero_shift", "template"),
        )
    )
    new = StarTemplates(made.sort("star_id", "arm"))
    kept = StarTemplates(new.table.clear()) if WITHOUT_TEMPLATES else new
    known = templates.merged_with(new) if templates else new
    zero = known.table.select("star_id", "arm", "reference_visit_id", "zero_shift")
    table = table.drop("reference_visit_id", strict=False).join(
        zero, on=["star_id", "arm"], how="left", maintain_order="left"
    )
    table = table.with_columns(rv_raw=pl.col("_level") - pl.col("zero_shift"))
    return RelativeVelocities(
        conform(table.drop("_level", "zero_shift"), "velocities"),
        pl.DataFrame(
            schema={
                "star_id": pl.String,
                "arm": pl.String,
                "visit_ids": pl.List(pl.String),
                "covariance": pl.List(pl.Float64),
            }
        ),
        kept,
    )


def measure_absolute(visits, spectra, options) -> AbsoluteVelocities:
    """Return the mean flux, in 100 counts a km/s."""
    level = (spectra.flux * (spectra.ivar > 0)).mean(axis=1, dtype=np.float64) / 100
    table = visits.with_columns(
        method=pl.lit("marginal"), rv_raw=pl.Series(level), rv_raw_err=pl.lit(0.1)
    )
    return AbsoluteVelocities(conform(table, "velocities"), ("A note of measuring.",))


def label(visits, spectra, velocities, options) -> VisitLabels:
    """Return the mean flux as temperature, with the velocities that came along."""
    if LABELS_FAIL in visits["star_id"].to_list():
        raise ZeroDivisionError("this star has no labels")
    LABELED.extend(visits["visit_id"])
    level = (spectra.flux * (spectra.ivar > 0)).mean(axis=1, dtype=np.float64)
    known = velocities.select("visit_id", rv_raw="rv_raw")
    table = visits.join(known, on="visit_id", how="left", maintain_order="left")
    table = table.with_columns(
        method=pl.lit("each"),
        model=pl.lit("stand-in"),
        teff=4500 + pl.Series(level) % 1000,
        teff_err=pl.lit(options.max_vsini / 10),
        **{name: pl.lit(value) for name, value in OTHER_LABELS.items()},
        **{f"{name}_err": pl.lit(0.1) for name in OTHER_LABELS},
        snr=pl.lit(30.0),
        status=pl.lit(0),
    )
    return VisitLabels(conform(table, "labels"), ("A note of labels.",))


def write_report(directory, inputs, options=None):
    """Write one page, with what a report is made from in it."""
    directory.mkdir()
    text = f"{len(inputs.velocities)} velocities, {len(inputs.offsets)} families"
    star = inputs.velocities["star_id"].first()
    if star is not None and inputs.spectra is not None:
        visits, spectra = inputs.spectra(star)
        text += f", {len(visits)} spectra of {star}: {spectra.flux.sum():.6g}"
    (directory / "index.html").write_text(text)
    (directory / "files.json").write_text('["index.html"]')
    return directory / "index.html"


def install() -> None:
    """Put the stand-ins in place."""
    measuring.measure_relative = measure
    measuring.measure_absolute = measure_absolute
    labeling.label_visits = label
    report.write_report = write_report


if "STAND_IN" in os.environ:  # for workers that import this as a preload
    install()

if __name__ == "__main__":
    install()
    main()
