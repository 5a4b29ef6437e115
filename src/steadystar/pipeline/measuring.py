"""From shards to raw velocities, each star measured once until it has new spectra.

A star is measured when the set of its spectra has changed; the rows of the others are
carried over. Templates and references are frozen: they are kept in the shard's record,
and new spectra are measured against them until the options of measuring change, or the
user asks for new ones by another label (`references` in the section `run`). An error in
the measuring of one star costs that star: its rows say so, and the log has the details.
"""

__all__ = [
    "fail_shard",
    "measure_shard",
    "plan_measuring",
    "shard_spectra",
    "templates_hash",
]

import traceback
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.data.schema import conform, empty
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.data.tables import TableError
from steadystar.measure.absolute import METHOD, AbsoluteOptions, measure_absolute
from steadystar.measure.relative import (
    RelativeOptions,
    StarTemplates,
    measure_relative,
)
from steadystar.models.templates import Templates
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.ledger import (
    Ledger,
    Record,
    atomic,
    content_hash,
    fingerprint,
)
from steadystar.pipeline.sorting import Part, parts
from steadystar.pipeline.units import Result, Run, Stage, Unit, first_line, write_tables
from steadystar.survey.shards import read_shard


@dataclass(frozen=True)
class _Before:
    """The files of an earlier record that has stars of this shard."""

    tables: dict[str, Path]
    templates: dict[str, Path]


@dataclass(frozen=True)
class _Options:
    """What is measured, and how."""

    velocities: str
    relative: RelativeOptions
    absolute: AbsoluteOptions


@dataclass(frozen=True)
class _Job:
    shard: int
    shards: int
    parts: tuple[Part, ...]
    assigned: Path
    options: _Options
    base: str
    before: tuple[_Before, ...]


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
    options = _Options(velocities, chosen.measure, absolute)
    marks = ["references", references, velocities]
    own = templates_hash(chosen)
    base = stage.mark(chosen, [*marks, own] if own else marks)
    records = run.ledger.records(stage.name)
    present = parts(run.ledger)
    units = []
    for shard in range(shards):
        held, name = tuple(present.get(shard, [])), f"{shards:05d}-{shard:05d}"
        if held or name in records:
            inputs = [references, velocities, [part.sha256 for part in held]]
            inputs += [own] if own else []
            before = _earlier(run.ledger, records, shard, shards, base)
            job = _Job(shard, shards, held, assigned, options, base, before)
            units.append(Unit(name, inputs, job))
    return units


def _earlier(
    ledger: Ledger, records: Mapping[str, Record], shard: int, shards: int, base: str
) -> tuple[_Before, ...]:
    """Find the records with a shard's stars: its own, else those of another layout."""
    layouts: dict[int, list[Record]] = {}
    for unit, record in records.items():
        of, number = (int(part) for part in unit.split("-"))
        common = min(of, shards)  # both are powers of two
        related = record.facts["base"] == base and number % common == shard % common
        if related and ledger.intact(record):
            layouts.setdefault(of, []).append(record)
    chosen = layouts.get(shards) or next(iter(layouts.values()), [])
    return tuple(
        _Before(
            {name: ledger.path(record, name) for name in _TABLES},
            {
                group: ledger.path(record, f"templates-{number}")
                for number, group in enumerate(record.facts["groups"])
            },
        )
        for record in chosen
    )


_TABLES = ("keys", "velocities", "covariances")


def measure_shard(job: _Job, prefix: Path) -> Result:
    """Measure the stars of a shard whose spectra are not those of the last time."""
    return _Shard(job).result(prefix)


def fail_shard(job: _Job, prefix: Path, reason: str) -> Result:
    """Write the rows of a shard whose worker died; what was known is kept."""
    return _Shard(job, f"The worker ended: {reason}").result(prefix)


class _Shard:
    """The work on one shard, group by group; a group is one survey in one frame."""

    def __init__(self, job: _Job, failure: str = "") -> None:
        self.job, self.failure = job, failure
        self.old = {name: self._remembered(name) for name in _TABLES}
        self.templates: dict[str, StarTemplates] = {}
        for before in job.before:
            for group, path in before.templates.items():
                loaded = StarTemplates(self._mine(StarTemplates.load(path).table))
                held = self.templates.get(group)
                self.templates[group] = held.merged_with(loaded) if held else loaded
        self.tables: dict[str, list[pl.DataFrame]] = {name: [] for name in _TABLES}
        self.lost: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self.measured = 0

    def _remembered(self, name: str) -> pl.DataFrame | None:
        frames = [self._mine(pl.read_parquet(b.tables[name])) for b in self.job.before]
        return pl.concat(frames) if frames else None

    def _mine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the stars of this shard, where another layout held more of them."""
        stars = frame["star_id"].unique(maintain_order=True)
        mine = [
            star
            for star in stars
            if zlib.crc32(star.encode()) % self.job.shards == self.job.shard
        ]
        return frame.filter(pl.col("star_id").is_in(mine))

    def result(self, prefix: Path) -> Result:
        """Measure all groups and write what is to be kept."""
        groups = _load(self.job)
        for group in sorted(groups):
            self._measure(group, *groups[group])
        tables = {
            "keys": pl.concat([*self.tables["keys"], _NO_KEYS]).sort(
                "_group", "star_id"
            ),
            "velocities": pl.concat(
                [*self.tables["velocities"], _NO_VELOCITIES], how="diagonal_relaxed"
            ).sort("star_id", "visit_id", "method"),
            "covariances": pl.concat(
                [*self.tables["covariances"], _NO_COVARIANCES], how="diagonal_relaxed"
            ).sort("star_id", "_group", "arm"),
        }
        outputs = write_tables(tables, prefix)
        for number, group in enumerate(sorted(self.templates)):
            name = f"templates-{number}"
            outputs[name] = prefix.with_name(f"{prefix.name}-{name}.parquet")
            with atomic(outputs[name]) as part:
                self.templates[group].save(part)
        facts = {
            "base": self.job.base,
            "groups": sorted(self.templates),
            "visits": len(tables["velocities"]),
            "measured": self.measured,
            "failed": sorted(self.lost),
        }
        notes = [*self.notes]
        notes += [
            f"{n} stars were not measured. {why}" for why, n in _counts(self.lost)
        ]
        return Result(outputs, facts, tuple(notes))

    def _measure(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        keys = _star_keys(visits, self.job.assigned, self.job.shard, group)
        kept = keys.clear()
        if self.old["keys"] is not None:
            kept = keys.join(self.old["keys"], on=keys.columns, how="semi")
        stars = kept.select("star_id", "_group")
        for name in ("velocities", "covariances"):
            old = self.old[name]
            if old is not None:
                table = old.join(stars, on=stars.columns, how="semi")
                self.tables[name].append(table)
        new = (~visits["star_id"].is_in(kept["star_id"].implode())).to_numpy()
        if new.any():
            self._measure_new(group, visits.filter(new), _trimmed(spectra[new]))
        lost = pl.col("star_id").is_in(list(self.lost))
        self.tables["keys"].append(keys.filter(~lost))

    def _measure_new(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Measure; if that fails, halve the stars until the one is found that does it."""
        if self.failure:
            self._give_up(group, visits, self.failure)
            return
        try:
            self._measure_all(group, visits, spectra)
        except Exception as error:  # noqa: BLE001 - one star must not end a survey
            stars = visits["star_id"].unique().sort()
            if len(stars) == 1:
                why = f"{first_line(error)}\n{traceback.format_exc()}"
                self._give_up(group, visits, why)
                return
            first = visits["star_id"].is_in(stars[: len(stars) // 2].implode())
            for half in (first, ~first):
                self._measure_new(group, visits.filter(half), spectra[half.to_numpy()])

    def _measure_all(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Measure what was asked for; nothing is kept of it unless all of it succeeds."""
        options, held = self.job.options, self.templates.get(group)
        relative = absolute = None
        if options.velocities != "absolute":
            relative = measure_relative(visits, spectra, options.relative, held)
        if options.velocities != "relative":
            absolute = measure_absolute(visits, spectra, options.absolute)
            self.tables["velocities"].append(_of(group, absolute.table))
            self.notes |= dict.fromkeys(absolute.notes)
            if relative is None:
                # Nothing else has a row of those without templates.
                left = visits.join(absolute.table, on="visit_id", how="anti")
                self.tables["velocities"].append(_of(group, _unmeasured(left)))
        if relative is not None:
            new = relative.templates
            self.templates[group] = held.merged_with(new) if held else new
            self.tables["velocities"].append(_of(group, relative.table))
            self.tables["covariances"].append(_of(group, relative.covariances))
        self.measured += visits["star_id"].n_unique()

    def _give_up(self, group: str, visits: pl.DataFrame, why: str) -> None:
        self.lost |= dict.fromkeys(visits["star_id"].unique(), why)
        status = pl.col("status").fill_null(0) | int(Status.INTERNAL_ERROR)
        failed = conform(visits.with_columns(status), "velocities")
        self.tables["velocities"].append(_of(group, failed))


def _unmeasured(visits: pl.DataFrame) -> pl.DataFrame:
    status = pl.col("status").fill_null(0) | int(Status.NO_DATA)
    return conform(visits.with_columns(status, method=pl.lit(METHOD)), "velocities")


def _of(group: str, table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(_group=pl.lit(group))


_NO_KEYS = pl.DataFrame(
    schema={"star_id": pl.String, "_group": pl.String, "key": pl.String}
)
_NO_VELOCITIES = empty("velocities").with_columns(_group=pl.lit("", pl.String))
_NO_COVARIANCES = pl.DataFrame(
    schema={"star_id": pl.String, "arm": pl.String, "_group": pl.String}
)


def _load(job: _Job) -> dict[str, tuple[pl.DataFrame, Spectra]]:
    """Read the parts of a shard, by group, in order of stars and visits."""
    together: dict[str, list[Part]] = {}
    for part in job.parts:
        together.setdefault(f"{part.frame} {part.survey}", []).append(part)
    return {group: shard_spectra(some) for group, some in together.items()}


def shard_spectra(
    some: Sequence[Part], star_id: str | None = None
) -> tuple[pl.DataFrame, Spectra]:
    """Read part files of one group, of all stars or of one, in order of visits."""
    tables, batches = [], []
    for part in some:
        visits, spectra = read_shard(part.path)
        if star_id is not None:
            mine = (visits["star_id"] == star_id).to_numpy()
            visits, spectra = visits.filter(mine), spectra[mine]
        tables.append(visits)
        batches.append(spectra)
    visits = pl.concat(tables, how="diagonal_relaxed").with_row_index("_at")
    visits = visits.sort("star_id", "visit_id")
    spectra = Spectra.concatenate(batches)[visits["_at"].to_numpy()]
    return visits.drop("_at"), spectra


def _star_keys(
    visits: pl.DataFrame, assigned: Path, shard: int, group: str
) -> pl.DataFrame:
    """Name the set of spectra of each star: by visit and by content of the file."""
    sources = pl.scan_parquet(assigned).filter(pl.col("shard") == shard)
    text = pl.concat_str("visit_id", "_source", separator="\x1f")
    return (
        visits.select("visit_id", "star_id")
        .join(sources.select("visit_id", "_source").collect(), on="visit_id")
        .sort("visit_id")
        .group_by("star_id")
        .agg(key=text.str.join("\x1e"))
        .sort("star_id")
        .select(
            "star_id",
            _group=pl.lit(group),
            key=pl.col("key").map_elements(fingerprint, return_dtype=pl.String),
        )
    )


def _trimmed(spectra: Spectra) -> Spectra:
    """Drop the padding that no spectrum needs here, whatever batches they came in."""
    used = np.flatnonzero(((spectra.ivar > 0) | (spectra.flux != 0)).any(axis=0))
    size = max(2, int(used[-1]) + 1 if len(used) else 2)
    return replace(
        spectra,
        wave=spectra.wave[..., :size],
        flux=spectra.flux[:, :size],
        ivar=spectra.ivar[:, :size],
    )


def _counts(lost: Mapping[str, str]) -> list[tuple[str, int]]:
    reasons = list(lost.values())
    return [(why, reasons.count(why)) for why in dict.fromkeys(reasons)]
