"""From shards to the labels of stars: temperature, gravity, metallicity, rotation.

A star's spectra are fitted once, beginning from their velocities, until there are new
ones; the survey's labels are then gathered.
"""

__all__ = ["fail_labels", "gather_labels", "label_shard", "plan_gather", "plan_labels"]

from pathlib import Path
from typing import ClassVar

import polars as pl

from steadystar.calibrate.label_errors import fit_label_errors
from steadystar.data.schema import conform, empty
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.measure.batches import at_most
from steadystar.measure.survey_labels import EXPOSURE, label_visits
from steadystar.pipeline.ledger import atomic
from steadystar.pipeline.shardwork import Earlier, ShardJob, ShardWork
from steadystar.pipeline.sorting import parts
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables

_TABLES = ("keys", "labels")


def plan_labels(run: Run, stage: Stage) -> list[Unit]:
    """One unit a shard that has velocities."""
    options = run.configuration.labels
    if not options.measure:
        return []
    match = run.ledger.records("match")["all"]
    shards, assigned = match.facts["shards"], run.ledger.path(match, "assigned")
    measured = run.ledger.records("measure")
    records = run.ledger.records(stage.name)
    present = parts(run.ledger)
    known: dict[str, Earlier] = {}
    units = []
    for name, record in sorted(measured.items()):
        shard = int(name.split("-")[1])
        held = tuple(present.get(shard, []))
        velocities = run.ledger.path(record, "velocities")
        # A fit begins from velocities: those of other options, or of a shard that could
        # not be measured last time, give other ones.
        begun = [record.facts["base"], bool(record.fingerprint)]
        base = stage.mark(run.configuration, begun)
        if base not in known:
            known[base] = Earlier(run.ledger, records, base, _TABLES)
        before = known[base].of(shard, shards)
        told = options, velocities, run.configuration.run.device_batch
        job = ShardJob(shard, shards, held, assigned, told, base, before)
        inputs = [record.outputs["velocities"].sha256, *(p.sha256 for p in held)]
        units.append(Unit(name, inputs, job))
    return units


def label_shard(job: ShardJob, prefix: Path) -> Result:
    """Fit the stars of a shard whose spectra are not those of the last time."""
    with at_most(job.options[2]):
        return _Labels(job).result(prefix)


def fail_labels(job: ShardJob, prefix: Path, reason: str) -> Result:
    """Write the rows of a shard whose worker died; what was known is kept."""
    return _Labels(job, f"The worker ended: {reason}").result(prefix)


class _Labels(ShardWork):
    """Labels of the spectra of a shard."""

    empty: ClassVar = {"labels": empty("labels")}
    order: ClassVar = {"labels": ("star_id", "visit_id", "method")}

    def units(self, present: pl.DataFrame) -> pl.Series:
        """An exposure, whose arms are fitted together."""
        known = pl.read_parquet(self.job.options[1], columns=["visit_id", *EXPOSURE])
        known = known.unique("visit_id", keep="first").select("visit_id", unit=_unit())
        found = present.join(known, on="visit_id", how="left", maintain_order="left")
        return found["unit"].fill_null(present["visit_id"])

    def again(self, changed: pl.DataFrame) -> pl.DataFrame:
        """Exposures of which an arm came or went."""
        return changed.select("star_id", "_group", "unit").unique(maintain_order=True)

    def held(self, name: str, table: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        """Fits of exposures that are as they were."""
        key = ["star_id", "_group", "unit"]
        table = table.with_columns(unit=_unit())
        return table.join(kept, on=key, how="semi").drop("unit")

    def measure(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Fit them."""
        options, path, _ = self.job.options
        known = pl.scan_parquet(path).filter(pl.col("reference_visit_id").is_null())
        columns = known.select("visit_id", "rv_obs", "rv_raw", "status").collect()
        found = label_visits(visits, spectra, columns, options)
        self.add(group, "labels", found.table)
        self.notes |= dict.fromkeys(found.notes)

    def failed(self, visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return rows without labels."""
        flags = int(Status.INTERNAL_ERROR | Status.NO_LABELS)
        rows = visits.with_columns(status=pl.col("status").fill_null(0) | flags)
        known = [name for name in rows.columns if name in empty("labels").columns]
        return {"labels": conform(rows.select(known), "labels")}


def _unit() -> pl.Expr:
    """Name the exposure of a row; a spectrum without one stands for itself."""
    names = [pl.col(name).cast(pl.String).fill_null("") for name in EXPOSURE]
    whole = pl.concat_str(names, separator="\x1f")
    return pl.when(pl.col("exposure_id").is_null()).then("visit_id").otherwise(whole)


def plan_gather(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the labels of all shards; none if there are none."""
    if not run.configuration.labels.measure:
        return []
    records = run.ledger.records("labels").values()
    inputs = [record.outputs["labels"].sha256 for record in records]
    paths = tuple(run.ledger.path(record, "labels") for record in records)
    return [Unit("all", inputs, paths)]


def gather_labels(paths: tuple[Path, ...], prefix: Path) -> Result:
    """Put the shards' labels into one table, and calibrate their errors on repeats."""
    frames = [pl.read_parquet(path).drop("_group") for path in paths]
    table = pl.concat([empty("labels"), *frames], how="diagonal_relaxed")
    table = table.sort("star_id", "visit_id", "method")
    errors = fit_label_errors(table)
    outputs = write_tables({"labels": errors.apply(table)}, prefix)
    outputs["errors"] = prefix.with_name(f"{prefix.name}-errors.zip")
    with atomic(outputs["errors"]) as part:
        errors.save(part)
    facts = {
        "fits": len(table),
        "measured": int(table["teff"].is_finite().sum()),
        "notes": list(errors.notes),
    }
    return Result(outputs, facts)
