"""Work on a shard, star by star, each done once until it has new spectra.

What is measured of a star is kept in the record of its shard; it is done again when the
set of the star's spectra has changed, or the options have. An error in the work on one
star costs that star: its rows say so, and the log has the details.
"""

__all__ = ["Before", "ShardJob", "ShardWork", "earlier", "shard_spectra"]

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
from steadystar.pipeline.ledger import Ledger, Record, fingerprint
from steadystar.pipeline.sorting import Part
from steadystar.pipeline.units import Result, first_line, write_tables
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


def earlier(
    ledger: Ledger,
    records: Mapping[str, Record],
    shard: int,
    shards: int,
    base: str,
    names: Sequence[str],
) -> tuple[Before, ...]:
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
        Before(
            {name: ledger.path(record, name) for name in names},
            {
                group: ledger.path(record, f"{record.facts['more']}-{number}")
                for number, group in enumerate(record.facts["groups"])
            },
        )
        for record in chosen
    )


class ShardWork(ABC):
    """The work on one shard, group by group; a group is one survey in one frame.

    ``empty``: the tables that are made, without rows; ``order``: how each is sorted.
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
        self.measured = 0

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
        groups = _load(self.job)
        for group in sorted(groups):
            self._do(group, *groups[group])
        keys = pl.concat([*self.tables["keys"], _NO_KEYS]).sort("_group", "star_id")
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
        }
        notes = [*self.notes]
        notes += [
            f"{n} stars were not measured. {why}" for why, n in _counts(self.lost)
        ]
        return Result(outputs | files, facts, tuple(notes))

    def _do(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        keys = _star_keys(visits, self.job.assigned, self.job.shard, group)
        kept = keys.clear()
        if self.old["keys"] is not None:
            kept = keys.join(self.old["keys"], on=keys.columns, how="semi")
        stars = kept.select("star_id", "_group")
        for name in self.empty:
            old = self.old[name]
            if old is not None:
                table = old.join(stars, on=stars.columns, how="semi")
                self.tables[name].append(table)
        new = (~visits["star_id"].is_in(kept["star_id"].implode())).to_numpy()
        if new.any():
            self._do_new(group, visits.filter(new), _trimmed(spectra[new]))
        lost = pl.col("star_id").is_in(list(self.lost))
        self.tables["keys"].append(keys.filter(~lost))

    def _do_new(self, group: str, visits: pl.DataFrame, spectra: Spectra) -> None:
        """Measure; if that fails, halve the stars until the one is found that does it."""
        if self.failure:
            self._give_up(group, visits, self.failure)
            return
        try:
            self.measure(group, visits, spectra)
            self.measured += visits["star_id"].n_unique()
        except Exception as error:  # noqa: BLE001 - one star must not end a survey
            stars = visits["star_id"].unique().sort()
            if len(stars) == 1:
                why = f"{first_line(error)}\n{traceback.format_exc()}"
                self._give_up(group, visits, why)
                return
            first = visits["star_id"].is_in(stars[: len(stars) // 2].implode())
            for half in (first, ~first):
                self._do_new(group, visits.filter(half), spectra[half.to_numpy()])

    def _give_up(self, group: str, visits: pl.DataFrame, why: str) -> None:
        self.lost |= dict.fromkeys(visits["star_id"].unique(), why)
        for name, table in self.failed(visits).items():
            self.add(group, name, table)


_NO_KEYS = pl.DataFrame(
    schema={"star_id": pl.String, "_group": pl.String, "key": pl.String}
)


def _load(job: ShardJob) -> dict[str, tuple[pl.DataFrame, Spectra]]:
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
