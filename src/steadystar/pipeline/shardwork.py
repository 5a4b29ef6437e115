"""Work on a shard, spectrum by spectrum, each done once.

What is measured is kept in the record of its shard. A spectrum is measured when it is
new, and so are those that must be measured together with it; only the parts that hold
these are read. All is done again when the options have changed. An error in the work on
one star costs that star: its rows say so, and the log has the details.
"""

__all__ = ["Before", "Earlier", "ShardJob", "ShardWork", "shard_spectra"]

import traceback
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from steadystar.data.spectra import Spectra
from steadystar.pipeline.faults import out_of_memory, refused
from steadystar.pipeline.ledger import Ledger, Record
from steadystar.pipeline.sorting import Part
from steadystar.pipeline.units import Result, first_line, write_tables
from steadystar.survey.observation import UnreadableFile
from steadystar.survey.shards import read_shard


@dataclass(frozen=True)
class Before:
    """The files of an earlier record that has stars of this shard.

    ``tables`` by name; ``more``: those that a kind of work keeps besides, by group.
    """

    tables: dict[str, Path]
    more: dict[str, Path]


@dataclass(frozen=True)
class ShardJob:
    """A shard, its parts, and what is known of it from before.

    ``base`` is the mark of the options: with another one nothing old holds.
    """

    shard: int
    shards: int
    parts: tuple[Part, ...]
    assigned: Path
    options: Any
    base: str
    before: tuple[Before, ...]


class Earlier:
    """The records of a stage that hold for options of one mark, by layout and shard."""

    def __init__(
        self,
        ledger: Ledger,
        records: Mapping[str, Record],
        base: str,
        names: Sequence[str],
    ) -> None:
        self._ledger, self._names = ledger, names
        self._layouts: dict[int, dict[int, Record]] = {}
        for unit, record in records.items():
            if record.facts["base"] == base:
                of, number = (int(part) for part in unit.split("-"))
                self._layouts.setdefault(of, {})[number] = record

    def of(self, shard: int, shards: int) -> tuple[Before, ...]:
        """Find the records with a shard's stars: its own, else those of another layout."""
        layouts = sorted(self._layouts, key=lambda of: of != shards)
        for of in layouts:
            common = min(of, shards)  # both are powers of two
            held = self._layouts[of]
            numbers = range(shard % common, of, common)
            found = [held[n] for n in numbers if n in held]
            found = [record for record in found if self._ledger.intact(record)]
            if found:
                return tuple(self._files(record) for record in found)
        return ()

    def _files(self, record: Record) -> Before:
        return Before(
            {name: self._ledger.path(record, name) for name in self._names},
            {
                group: self._ledger.path(record, f"{record.facts['more']}-{number}")
                for number, group in enumerate(record.facts["groups"])
            },
        )


_KEY = ("visit_id", "star_id", "_source", "_group", "unit")


class ShardWork(ABC):
    """The work on one shard, group by group; a group is one survey in one frame.

    ``empty``: the tables that are made, without rows; ``order``: how each is sorted.
    Spectra are kept in mind by the table "keys": each with its star, its file, its group,
    and what it is measured with, its unit.
    """

    empty: ClassVar[dict[str, pl.DataFrame]]
    order: ClassVar[dict[str, tuple[str, ...]]]

    def __init__(self, job: ShardJob, failure: str = "") -> None:
        self.job, self.failure = job, failure
        names = ("keys", *self.empty)
        self.old = {name: self._remembered(name) for name in names}
        self.tables: dict[str, list[pl.DataFrame]] = {name: [] for name in names}
        self.lost: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self.measured, self.short = 0, 0

    @abstractmethod
    def units(self, present: pl.DataFrame) -> pl.Expr | pl.Series:
        """Name what each spectrum is measured with; ``present`` has visit, star, arm."""

    @abstractmethod
    def again(self, changed: pl.DataFrame) -> pl.DataFrame:
        """Say of which ``star_id, _group, unit`` all spectra must be measured.

        ``changed``: keys of spectra that came, or went.
        """

    @abstractmethod
    def held(self, name: str, table: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of an old table that are of ``kept`` spectra."""

    @abstractmethod
    def measure(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Add the tables of some stars; nothing is to be kept unless all succeeds."""

    @abstractmethod
    def failed(self, visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Return the rows of a star that could not be measured."""

    def more(self, prefix: Path) -> tuple[dict[str, Path], dict[str, Any]]:
        """Write what else is to be kept; return where it is, and facts about it."""
        return {}, {"groups": [], "more": ""}

    def add(self, group: str, name: str, table: pl.DataFrame) -> None:
        """Keep a table of some stars."""
        self.tables[name].append(table.with_columns(_group=pl.lit(group)))

    def mine(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the stars of this shard, where another layout held more of them."""
        stars = frame["star_id"].unique(maintain_order=True)
        mine = [
            star
            for star in stars
            if zlib.crc32(star.encode()) % self.job.shards == self.job.shard
        ]
        return frame.filter(pl.col("star_id").is_in(mine))

    def _remembered(self, name: str) -> pl.DataFrame | None:
        frames = [self.mine(pl.read_parquet(b.tables[name])) for b in self.job.before]
        return pl.concat(frames) if frames else None

    def result(self, prefix: Path) -> Result:
        """Measure all groups and write what is to be kept."""
        present = _present(self.job)
        present = present.with_columns(unit=self.units(present))
        done = self.old["keys"]
        done = present.select(_KEY).clear() if done is None else done
        came = present.join(done, on=_KEY, how="anti")
        went = done.join(present, on=_KEY, how="anti")
        changed = pl.concat([came.select(_KEY), went])
        again = present.join(
            self.again(changed), on=["star_id", "_group", "unit"], how="semi"
        )
        wanted = pl.concat([came, again]).unique("visit_id", maintain_order=True)
        kept = present.join(wanted, on="visit_id", how="anti")
        for name in self.empty:
            old = self.old[name]
            if old is not None:
                self.tables[name].append(self.held(name, old, kept))
        groups = _load(self.job, wanted)
        for group in sorted(groups):
            visits, spectra = groups[group]
            self._do_new(group, visits, _trimmed(spectra))
        if self.short > 1 and not self.measured:
            # Not one star's fault: all had too little.
            raise MemoryError(next(iter(self.lost.values())))
        lost = pl.col("star_id").is_in(list(self.lost))
        self.tables["keys"] += [kept.select(_KEY), wanted.filter(~lost).select(_KEY)]
        keys = pl.concat(self.tables["keys"]).sort("_group", "star_id", "visit_id")
        tables = {"keys": keys}
        for name, empty in self.empty.items():
            none = empty.with_columns(_group=pl.lit("", pl.String))
            whole = pl.concat([*self.tables[name], none], how="diagonal_relaxed")
            tables[name] = whole.sort(*self.order[name])
        outputs = write_tables(tables, prefix)
        files, known = self.more(prefix)
        facts = {
            "base": self.job.base,
            **known,
            "rows": {name: len(table) for name, table in tables.items()},
            "measured": self.measured,
            "failed": sorted(self.lost),
            # With more memory it may come out otherwise.
            "again": self.short > 0,
        }
        notes = [*self.notes]
        notes += [
            f"{n} stars were not measured. {why}" for why, n in _counts(self.lost)
        ]
        return Result(outputs | files, facts, tuple(notes))

    def _do_new(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Measure; if that fails, halve the stars until the one is found that does it."""
        if self.failure:
            self._give_up(group, visits, self.failure)
            return
        try:
            self.measure(group, visits, spectra)
            self.measured += len(visits)
        except OSError:  # a fault of the machine, which no star is to blame for
            raise
        except Exception as error:  # one star must not end a survey
            if fault := refused(error):
                raise fault from error
            stars = visits["star_id"].unique().sort()
            if len(stars) == 1:
                why = f"{first_line(error)}\n{traceback.format_exc()}"
                self._give_up(group, visits, why)
                self.short += out_of_memory(error)
                return
            first = visits["star_id"].is_in(stars[: len(stars) // 2].implode())
            for half in (first, ~first):
                self._do_new(group, visits.filter(half), spectra[half.to_numpy()])

    def _give_up(self, group: str, visits: pl.DataFrame, why: str) -> None:
        self.lost |= dict.fromkeys(visits["star_id"].unique(), why)
        for name, table in self.failed(visits).items():
            self.add(group, name, table)


def _present(job: ShardJob) -> pl.DataFrame:
    """Return the spectra of a shard: visit, star, arm, file, group, and which part."""
    places = pl.DataFrame(
        [
            (part.batch, part.number, _group_of(part), place)
            for place, part in enumerate(job.parts)
        ],
        schema={
            "_batch": pl.String,
            "_number": pl.Int64,
            "_group": pl.String,
            "_part": pl.Int64,
        },
        orient="row",
    )
    assigned = pl.scan_parquet(job.assigned).filter(pl.col("shard") == job.shard)
    names = ["visit_id", "star_id", "arm", "_source", "_batch"]
    spectra = assigned.select(*names, _number="_group").collect()
    return spectra.join(
        places, on=["_batch", "_number"], how="inner", maintain_order="left"
    )


def _group_of(part: Part) -> str:
    return f"{part.frame} {part.survey}"


def _load(
    job: ShardJob, wanted: pl.DataFrame
) -> dict[str, tuple[pl.DataFrame, Spectra]]:
    """Read the wanted spectra, by group, in order of stars and visits."""
    together: dict[str, list[Part]] = {}
    for place in sorted(wanted["_part"].unique()):
        part = job.parts[place]
        together.setdefault(_group_of(part), []).append(part)
    names = wanted["visit_id"]
    try:
        return {group: shard_spectra(some, names) for group, some in together.items()}
    except UnreadableFile as error:
        # The run wrote it itself: that it cannot be opened is the machine's fault.
        if fault := refused(error):
            raise fault from error
        raise


def shard_spectra(
    some: Sequence[Part], visit_ids: pl.Series | None = None
) -> tuple[pl.DataFrame, Spectra]:
    """Read part files of one group, all spectra or those named, in order of visits."""
    tables, batches = [], []
    for part in some:
        visits, spectra = read_shard(part.path)
        if visit_ids is not None:
            mine = visits["visit_id"].is_in(visit_ids.implode()).to_numpy()
            if not mine.all():
                visits, spectra = visits.filter(mine), spectra[mine]
        tables.append(visits)
        batches.append(spectra)
    visits = pl.concat(tables, how="diagonal_relaxed").with_row_index("_at")
    visits = visits.sort("star_id", "visit_id")
    spectra = Spectra.concatenate(batches) if len(batches) > 1 else batches[0]
    at = visits["_at"].to_numpy()
    if (np.diff(at) != 1).any():
        spectra = spectra[at]
    return visits.drop("_at"), spectra


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
