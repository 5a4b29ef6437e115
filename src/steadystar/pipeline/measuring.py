"""From shards to raw velocities, each spectrum measured once.

Templates and references are frozen: they are kept in the shard's record, and new spectra
are measured against them until the options of measuring change, or the user asks for new
ones by another label (`references` in the section `run`). The rows of old spectra are
carried over; only a star that has no template yet is measured again, whole.
"""

__all__ = [
    "fail_shard",
    "measure_shard",
    "plan_measuring",
    "templates_hash",
]

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from steadystar.data.schema import conform, empty
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.data.tables import TableError
from steadystar.measure.absolute import METHOD, AbsoluteOptions, measure_absolute
from steadystar.measure.batches import at_most
from steadystar.measure.relative import (
    RelativeOptions,
    StarTemplates,
    measure_relative,
)
from steadystar.models.templates import Templates
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.ledger import atomic, content_hash
from steadystar.pipeline.shardwork import Earlier, ShardJob, ShardWork
from steadystar.pipeline.side_by_side import side_by_side
from steadystar.pipeline.sorting import parts
from steadystar.pipeline.units import Result, Run, Stage, Unit


@dataclass(frozen=True)
class _Options:
    """What is measured, and how."""

    velocities: str
    relative: RelativeOptions
    absolute: AbsoluteOptions
    device_batch: int


def templates_hash(configuration: Configuration) -> str:
    """Hash of the content of the user's file of templates; empty if none is used.

    Raises:
        ConfigurationError: there is no such file, or there are no templates in it.
    """
    path = Path(configuration.absolute.templates)
    if not path.name or configuration.run.velocities == "relative":
        return ""
    try:
        Templates.load(path)
    except (TableError, ValueError) as error:
        raise ConfigurationError(
            f"Option absolute.templates: {str(error).rstrip('.')}. Leave it empty for "
            "the bundled ones."
        ) from error
    return content_hash(path)


def plan_measuring(run: Run, stage: Stage) -> list[Unit]:
    """One unit a shard, also for those that only remember templates."""
    match = run.ledger.records("match")["all"]
    shards, assigned = match.facts["shards"], run.ledger.path(match, "assigned")
    chosen = run.configuration
    references, velocities = chosen.run.references, chosen.run.velocities
    absolute = chosen.absolute
    if absolute.templates:  # the same file for workers that begin elsewhere
        path = str(Path(absolute.templates).absolute())
        absolute = replace(absolute, templates=path)
    options = _Options(velocities, chosen.measure, absolute, chosen.run.device_batch)
    marks = ["references", references, velocities]
    own = templates_hash(chosen)
    base = stage.mark(chosen, [*marks, own] if own else marks)
    records = run.ledger.records(stage.name)
    known = Earlier(run.ledger, records, base, _TABLES)
    present = parts(run.ledger)
    units = []
    for shard in range(shards):
        held, name = tuple(present.get(shard, [])), f"{shards:05d}-{shard:05d}"
        if held or name in records:
            inputs = [references, velocities, [part.sha256 for part in held]]
            inputs += [own] if own else []
            before = known.of(shard, shards)
            job = ShardJob(shard, shards, held, assigned, options, base, before)
            units.append(Unit(name, inputs, job))
    return units


_TABLES = ("keys", "velocities", "covariances")


def measure_shard(job: ShardJob, prefix: Path) -> Result:
    """Measure the stars of a shard whose spectra are not those of the last time."""
    with at_most(job.options.device_batch):
        return _Velocities(job).result(prefix)


def fail_shard(job: ShardJob, prefix: Path, reason: str) -> Result:
    """Write the rows of a shard whose worker died; what was known is kept."""
    return _Velocities(job, f"The worker ended: {reason}").result(prefix)


class _Velocities(ShardWork):
    """Velocities, and the templates that later ones will be measured against."""

    empty: ClassVar = {
        "velocities": empty("velocities"),
        "covariances": pl.DataFrame(schema={"star_id": pl.String, "arm": pl.String}),
    }
    order: ClassVar = {
        "velocities": ("star_id", "visit_id", "method"),
        "covariances": ("star_id", "_group", "arm"),
    }

    def __init__(self, job: ShardJob, failure: str = "") -> None:
        super().__init__(job, failure)
        self.templates: dict[str, StarTemplates] = {}
        for before in job.before:
            for group, path in before.more.items():
                loaded = StarTemplates(self.mine(StarTemplates.load(path).table))
                held = self.templates.get(group)
                self.templates[group] = held.merged_with(loaded) if held else loaded

    def more(self, prefix: Path) -> tuple[dict[str, Path], dict[str, Any]]:
        """Write the templates of each group."""
        outputs = {}
        for number, group in enumerate(sorted(self.templates)):
            name = f"templates-{number}"
            outputs[name] = prefix.with_name(f"{prefix.name}-{name}.parquet")
            with atomic(outputs[name]) as part:
                self.templates[group].save(part)
        return outputs, {"groups": sorted(self.templates), "more": "templates"}

    def units(self, present: pl.DataFrame) -> pl.Expr:
        """An arm: a star has one template for each."""
        return pl.col("arm").fill_null("all")

    def again(self, changed: pl.DataFrame) -> pl.DataFrame:
        """Stars whose exposures are compared with each other, and not with a template."""
        stars = changed.select("star_id", "_group", "unit").unique(maintain_order=True)
        if self.job.options.velocities == "absolute":
            return stars.clear()
        if self.job.options.relative.method != "joint":
            return stars
        with_template = [
            held.table.select("star_id", pl.lit(group).alias("_group"), unit="arm")
            for group, held in self.templates.items()
        ]
        none = stars.clear()
        return stars.join(
            pl.concat([none, *with_template]), on=stars.columns, how="anti"
        )

    def held(self, name: str, table: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        """Rows by spectrum; the covariances by star, of when its template was made."""
        key = ["visit_id" if name == "velocities" else "star_id", "_group"]
        return table.join(kept, on=key, how="semi")

    def measure(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Measure what was asked for."""
        options, held = self.job.options, self.templates.get(group)
        works: dict[str, Callable[[], Any]] = {}
        if options.velocities != "absolute":
            works["relative"] = lambda: measure_relative(
                visits, spectra, options.relative, held
            )
        if options.velocities != "relative":
            works["absolute"] = lambda: measure_absolute(
                visits, spectra, options.absolute
            )
        found = side_by_side(works)
        relative, absolute = found.get("relative"), found.get("absolute")
        if absolute is not None:
            self.add(group, "velocities", absolute.table)
            self.notes |= dict.fromkeys(absolute.notes)
            if relative is None:
                # Nothing else has a row of those without templates.
                left = visits.join(absolute.table, on="visit_id", how="anti")
                self.add(group, "velocities", _unmeasured(left))
        if relative is not None:
            new = relative.templates
            self.templates[group] = held.merged_with(new) if held else new
            self.add(group, "velocities", relative.table)
            self.add(group, "covariances", relative.covariances)

    def failed(self, visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return rows without velocity, one for each kind that was asked for."""
        options, methods = self.job.options, []
        if options.velocities != "absolute":
            methods.append(options.relative.method)
        if options.velocities != "relative":
            methods.append(METHOD)
        status = pl.col("status").fill_null(0) | int(Status.INTERNAL_ERROR)
        rows = [visits.with_columns(status, method=pl.lit(m)) for m in methods]
        return {"velocities": conform(pl.concat(rows), "velocities")}


def _unmeasured(visits: pl.DataFrame) -> pl.DataFrame:
    status = pl.col("status").fill_null(0) | int(Status.NO_DATA)
    return conform(visits.with_columns(status, method=pl.lit(METHOD)), "velocities")
