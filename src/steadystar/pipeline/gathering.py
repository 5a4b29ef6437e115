"""From the shards to the survey: all velocities, their zero points, the stars.

Measuring is done shard by shard, and only where spectra are new. What follows sees the
whole survey at once, every time, and says what changed since the last.
"""

__all__ = [
    "calibrate_errors",
    "calibrate_velocities",
    "catalog_hashes",
    "changes",
    "describe_stars",
    "gather_velocities",
    "plan_errors",
    "plan_stars",
    "plan_velocities",
    "plan_zeropoints",
]

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.calibrate.errors import ErrorModelOptions, fit_error_model
from steadystar.calibrate.families import families_by_survey, with_usual_width
from steadystar.calibrate.zeropoint import (
    ZeroPointOptions,
    ZeroPoints,
    fit_zeropoints,
)
from steadystar.data.schema import empty
from steadystar.data.tables import TableError
from steadystar.infer.labels import summarize_labels
from steadystar.infer.summary import summarize_stars
from steadystar.pipeline.config import Configuration, ConfigurationError, StarOptions
from steadystar.pipeline.kept import united
from steadystar.pipeline.ledger import atomic, content_hash
from steadystar.pipeline.publishing import describe_errors, offsets_name
from steadystar.pipeline.starvisits import read_for_stars
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables
from steadystar.survey.crossmatch import CrossMatchOptions, cross_match_all
from steadystar.survey.star_catalogs import CatalogError, open_catalog


def plan_velocities(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the velocities of all shards."""
    records = run.ledger.records("measure").values()
    inputs = [record.outputs["velocities"].sha256 for record in records]
    paths = tuple(run.ledger.path(record, "velocities") for record in records)
    return [Unit("all", inputs, paths)]


def gather_velocities(paths: tuple[Path, ...], prefix: Path) -> Result:
    """Put the shards' velocities into one table, in order of stars and spectra."""
    # No second name for any of it: a large survey is held twice while it is sorted.
    table = pl.concat(
        [
            empty("velocities"),
            *(pl.read_parquet(path).drop("_group") for path in paths),
        ],
        how="diagonal_relaxed",
    )
    table = table.sort("star_id", "visit_id", "method")
    measured = table["visit_id"].filter(table["rv_raw"].is_finite())
    facts = {"visits": table["visit_id"].n_unique(), "measured": measured.n_unique()}
    return Result(write_tables({"velocities": table}, prefix), facts)


@dataclass(frozen=True)
class _ZeroPointJob:
    velocities: Path
    options: ZeroPointOptions
    before: Path | None


def plan_zeropoints(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all families of offsets are solved together."""
    record = run.ledger.records("velocities")["all"]
    old = run.ledger.record(stage.name, "all")
    old = run.ledger.intact(old) if old else None
    job = _ZeroPointJob(
        run.ledger.path(record, "velocities"),
        run.configuration.zeropoints,
        run.ledger.path(old, "velocities") if old else None,
    )
    return [Unit("all", record.outputs["velocities"].sha256, job)]


def calibrate_velocities(job: _ZeroPointJob, prefix: Path) -> Result:
    """Fit the zero points and take them off every velocity."""
    calibrated, parts, notes = fit_by_survey(
        pl.read_parquet(job.velocities), job.options
    )
    frames = {
        "velocities": calibrated,
        "p_constant": pl.concat([zero.stars for zero in parts]),
    }
    families = {name: table for zero in parts for name, table in zero.offsets.items()}
    frames |= {offsets_name(name): table for name, table in families.items()}
    before = None
    if job.before:
        before = pl.read_parquet(job.before, columns=list(_COMPARED))
    facts = {
        "method": job.options.method,
        "families": {name: len(table) for name, table in families.items()},
        "notes": notes,
        "changes": changes(before, calibrated),
    }
    outputs = write_tables(frames, prefix)
    # For the covariance of the offsets, which the report draws.
    if whole := united(parts):
        outputs["zeropoints"] = prefix.with_name(f"{prefix.name}-zeropoints.zip")
        with atomic(outputs["zeropoints"]) as part:
            whole.save(part)
    return Result(outputs, facts)


def fit_by_survey(
    raw: pl.DataFrame, options: ZeroPointOptions
) -> tuple[pl.DataFrame, list[ZeroPoints], list[str]]:
    """Fit and apply zero points by the families that are asked for, or usual.

    Surveys whose usual families differ are solved apart: no offset of one says anything
    on the other, and their zeros are not tied. Rows keep their order.

    Returns the calibrated visits, the zero points of each part, and notes.
    """
    if options.by:
        zero = fit_zeropoints(raw, options=options)
        return zero.apply(raw), [zero], list(zero.notes)
    groups = families_by_survey(raw)
    if len(groups) == 1:
        ((by, surveys),) = groups.items()
        said = with_usual_width(replace(options, by=by), surveys)
        zero = fit_zeropoints(raw, options=said)
        return zero.apply(raw), [zero], list(zero.notes)
    raw = raw.with_row_index("_row")
    frames, parts, notes = [], [], []
    for by, surveys in groups.items():
        mine = pl.col("survey").is_in([name for name in surveys if name is not None])
        if None in surveys:
            mine |= pl.col("survey").is_null()
        rows = raw.filter(mine.fill_null(False) if None not in surveys else mine)
        said = with_usual_width(replace(options, by=by), surveys)
        zero = fit_zeropoints(rows, options=said)
        frames.append(zero.apply(rows))
        parts.append(zero)
        notes += zero.notes
    each = "; ".join(
        f"{', '.join(name or 'unnamed' for name in surveys)} by "
        f"{' and by '.join('+'.join(family) for family in by)}"
        for by, surveys in groups.items()
    )
    notes.insert(
        0,
        f"The zero points of surveys were solved apart ({each}): each has a zero of "
        "its own, and nothing ties one to the other.",
    )
    calibrated = pl.concat(frames, how="diagonal_relaxed").sort("_row").drop("_row")
    return calibrated, parts, notes


_COMPARED = ("visit_id", "method", "star_id", "rv_raw", "rv")


def changes(before: pl.DataFrame | None, now: pl.DataFrame) -> list[str]:
    """Say in sentences how the calibrated velocities differ from the last time."""
    if before is None:
        return ["all is new"]
    old, new = before.select(_COMPARED), now.select(_COMPARED)
    both = new.join(
        old,
        on=["visit_id", "method"],
        suffix="_old",
        nulls_equal=True,
        maintain_order="left",
    )
    said = []
    for count, what in (
        (len(new) - len(both), "spectra came"),
        (len(old) - len(both), "spectra went"),
        (int((both["star_id"] != both["star_id_old"]).sum()), "spectra changed star"),
        (
            int(both["rv_raw"].ne_missing(both["rv_raw_old"]).sum()),
            "velocities were measured anew and differ",
        ),
    ):
        if count:
            said.append(f"{count} {what}")
    shift = (both["rv"] - both["rv_old"]).abs().to_numpy()
    shift = shift[np.isfinite(shift)]
    if shift.any():
        said.append(
            f"calibrated velocities moved by up to {shift.max():.3f} km/s (median "
            f"{np.median(shift):.3f})"
        )
    return said


def plan_errors(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the errors of all calibrated velocities."""
    record = run.ledger.records("zeropoints")["all"]
    job = run.ledger.path(record, "velocities"), run.configuration.errors
    return [Unit("all", record.outputs["velocities"].sha256, job)]


def calibrate_errors(job: tuple[Path, ErrorModelOptions], prefix: Path) -> Result:
    """Fit scale and floor of the errors on constant stars, and apply them."""
    path, options = job
    velocities = pl.read_parquet(path)
    model = fit_error_model(velocities, options=options)
    outputs = write_tables({"velocities": model.apply(velocities)}, prefix)
    outputs["model"] = prefix.with_name(f"{prefix.name}-model.json")
    with atomic(outputs["model"]) as part:
        model.save(part)
    return Result(outputs, {"groups": describe_errors(model), "notes": model.notes})


@dataclass(frozen=True)
class _StarsJob:
    velocities: Path
    labels: Path | None
    options: StarOptions
    catalogs: CrossMatchOptions


def catalog_hashes(configuration: Configuration) -> list[str]:
    """Hashes of the content of the catalogs in which stars are looked up.

    Raises:
        ConfigurationError: one of them cannot be read as such.
    """
    options = configuration.catalogs
    out = []
    for name, path in options.catalogs.items():
        try:
            open_catalog(path, options.names.get(name), options.bring.get(name, ()))
        except (CatalogError, TableError) as error:
            raise ConfigurationError(f"Option catalogs.catalogs: {error}") from error
        out.append(content_hash(Path(path)))
    return out


def plan_stars(run: Run, stage: Stage) -> list[Unit]:
    """One unit: every star from its calibrated visits and its labels."""
    record = run.ledger.records("errors")["all"]
    labels = run.ledger.records("parameters").get("all")
    inputs = [record.outputs["velocities"].sha256]
    if labels:
        inputs.append(labels.outputs["labels"].sha256)
    inputs += catalog_hashes(run.configuration)
    job = _StarsJob(
        run.ledger.path(record, "velocities"),
        run.ledger.path(labels, "labels") if labels else None,
        run.configuration.stars,
        run.configuration.catalogs,
    )
    return [Unit("all", inputs, job)]


def describe_stars(job: _StarsJob, prefix: Path) -> Result:
    """Summarize every star: mean, scatter, constancy, labels; look it up elsewhere."""
    velocities = read_for_stars(job.velocities)
    stars = summarize_stars(velocities, job.options)
    if job.labels is not None:
        stars = summarize_labels(pl.read_parquet(job.labels), stars, job.options)
    found = cross_match_all(stars, job.catalogs, velocities)
    facts = {
        "stars": len(stars),
        "notes": list(found.notes),
        "columns": [vars(column) | {"dtype": ""} for column in found.columns],
    }
    return Result(write_tables({"stars": found.stars}, prefix), facts)
