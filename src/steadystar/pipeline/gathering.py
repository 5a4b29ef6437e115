"""From the shards to the survey: all velocities, their zero points, the stars.

Measuring is done shard by shard, and only where spectra are new. What follows sees the
whole survey at once, every time, and says what changed since the last.
"""

__all__ = [
    "calibrate_velocities",
    "changes",
    "describe_stars",
    "gather_velocities",
    "plan_stars",
    "plan_velocities",
    "plan_zeropoints",
]

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadystar.calibrate.zeropoint import ZeroPointOptions, fit_zeropoints
from steadystar.data.schema import empty
from steadystar.infer.summary import summarize_stars
from steadystar.pipeline.publishing import offsets_name
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables


def plan_velocities(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the velocities of all shards."""
    records = run.ledger.records("measure").values()
    inputs = [record.outputs["velocities"].sha256 for record in records]
    paths = tuple(run.ledger.path(record, "velocities") for record in records)
    return [Unit("all", inputs, paths)]


def gather_velocities(paths: tuple[Path, ...], prefix: Path) -> Result:
    """Put the shards' velocities into one table, in order of stars and spectra."""
    frames = [pl.read_parquet(path).drop("_group") for path in paths]
    table = pl.concat([empty("velocities"), *frames], how="diagonal_relaxed")
    table = table.sort("star_id", "visit_id", "method")
    facts = {"visits": len(table), "measured": int(table["rv_raw"].is_finite().sum())}
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
    job = _ZeroPointJob(
        run.ledger.path(record, "velocities"),
        run.configuration.zeropoints,
        run.ledger.path(old, "velocities") if old else None,
    )
    return [Unit("all", record.outputs["velocities"].sha256, job)]


def calibrate_velocities(job: _ZeroPointJob, prefix: Path) -> Result:
    """Fit the zero points and take them off every velocity."""
    raw = pl.read_parquet(job.velocities)
    zero = fit_zeropoints(raw, options=job.options)
    calibrated = zero.apply(raw)
    frames = {"velocities": calibrated, "p_constant": zero.stars}
    frames |= {offsets_name(family): zero.offsets[family] for family in zero.offsets}
    before = pl.read_parquet(job.before) if job.before else None
    facts = {
        "method": job.options.method,
        "families": {family: len(table) for family, table in zero.offsets.items()},
        "notes": list(zero.notes),
        "changes": changes(before, calibrated),
    }
    return Result(write_tables(frames, prefix), facts)


def changes(before: pl.DataFrame | None, now: pl.DataFrame) -> list[str]:
    """Say in sentences how the calibrated velocities differ from the last time."""
    if before is None:
        return []
    names = ["visit_id", "method", "star_id", "rv_raw", "rv"]
    old, new = before.select(names), now.select(names)
    both = new.join(old, on=["visit_id", "method"], suffix="_old", nulls_equal=True)
    said = []
    for count, what in (
        (len(new) - len(both), "spectra came"),
        (len(old) - len(both), "spectra went"),
        (int((both["star_id"] != both["star_id_old"]).sum()), "spectra changed star"),
        (
            int((both["rv_raw"] - both["rv_raw_old"]).abs().gt(0).sum()),
            "velocities were measured anew and differ",
        ),
    ):
        if count:
            said.append(f"{count} {what}")
    shift = (both["rv"] - both["rv_old"]).abs()
    shift = shift.filter(shift.is_finite())
    if len(shift) and float(shift.max()) > 0:
        said.append(
            f"calibrated velocities of the others moved by up to {shift.max():.3f} km/s "
            f"(median {shift.median():.3f})"
        )
    return said


def plan_stars(run: Run, stage: Stage) -> list[Unit]:
    """One unit: every star from its calibrated visits."""
    record = run.ledger.records("zeropoints")["all"]
    path = run.ledger.path(record, "velocities")
    return [Unit("all", record.outputs["velocities"].sha256, path)]


def describe_stars(velocities: Path, prefix: Path) -> Result:
    """Summarize every star: its mean, its scatter, whether it is constant."""
    stars = summarize_stars(pl.read_parquet(velocities))
    return Result(write_tables({"stars": stars}, prefix), {"stars": len(stars)})
