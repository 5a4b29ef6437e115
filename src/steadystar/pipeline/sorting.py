"""Who is who, and where it goes: visits get their stars, spectra get their shards.

A star keeps its identifier when files are added: the register of known stars is part of
the match's record, and new spectra join known stars first. A shard holds all spectra of
its stars, which a hash of the identifier chooses; each batch adds a part file to every
shard that it has stars for, so that a new night appends. The number of shards is a
power of two and grows with the survey: the stars of a new shard all come from one old
one.
"""

__all__ = ["Part", "match_stars", "parts", "plan_match", "plan_shards", "write_parts"]

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadystar.data.match import assign_stars
from steadystar.data.schema import conform
from steadystar.pipeline.inputs import link_or_copy
from steadystar.pipeline.ledger import Ledger, atomic, fingerprint
from steadystar.pipeline.reading import NO_VISITS, known_files
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables
from steadystar.survey.shards import (
    SPECTRA_PER_SHARD,
    number_of_shards,
    read_shard,
    read_shard_visits,
    shard_of,
    write_shard,
)

_GROWTH = 4
"""Shards are divided further when they hold this many times what they should."""


@dataclass(frozen=True)
class _MatchJob:
    visits: tuple[tuple[str, Path], ...]
    live: tuple[tuple[str, int], ...]
    radius_arcsec: float
    shards: int
    before: tuple[Path, Path] | None
    facts_before: dict


def plan_match(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all visits of the files that count now."""
    batches = run.ledger.records("read")
    files = known_files(run, batches.values()).values()
    live = sorted((file.name, file.batch, file.index, file.sha256) for file in files)
    old = run.ledger.record(stage.name, "all")
    old = run.ledger.intact(old) if old else None
    job = _MatchJob(
        visits=tuple((n, run.ledger.path(r, "visits")) for n, r in batches.items()),
        live=tuple((batch, index) for _, batch, index, _ in live),
        radius_arcsec=run.configuration.match.radius_arcsec,
        shards=run.configuration.run.shards,
        before=(run.ledger.path(old, "assigned"), run.ledger.path(old, "stars"))
        if old
        else None,
        facts_before=old.facts if old else {},
    )
    return [Unit("all", [job.radius_arcsec, job.shards, fingerprint(live)], job)]


def match_stars(job: _MatchJob, prefix: Path) -> Result:
    """Give every visit its star; set aside the second spectrum of the same name."""
    visits, duplicates = _without_duplicates(_live_visits(job))
    same_radius = job.facts_before.get("radius_arcsec") == job.radius_arcsec
    before = known = visits.clear()
    if job.before:
        before, known = (pl.read_parquet(path) for path in job.before)
    remembered = before if same_radius else before.clear()
    register = _register(
        known.select("star_id", "ra", "dec") if same_radius else None,
        visits.filter(pl.col("star_id").is_not_null()),
    )
    visits = visits.join(
        remembered.select("visit_id", "_source", _was="star_id"),
        on=["visit_id", "_source"],
        how="left",
        maintain_order="left",
    ).with_columns(star_id=pl.coalesce("star_id", "_was"))
    visits = assign_stars(visits, register, job.radius_arcsec)
    shards = _number_of_shards(job, len(visits))
    numbers = [shard_of(star, shards) for star in visits["star_id"]]
    frames = {
        "assigned": visits.select(
            "visit_id", "star_id", "arm", "_batch", "_group", "_row", "_source"
        )
        .with_columns(shard=pl.Series(numbers, dtype=pl.Int64))
        .sort("shard", maintain_order=True),
        "stars": _register(register, visits),
        "duplicates": duplicates,
    }
    moved = visits.join(
        before.select("visit_id", _old="star_id"), on="visit_id", maintain_order="left"
    )
    facts = {
        "radius_arcsec": job.radius_arcsec,
        "shards": shards,
        "visits": len(visits),
        "stars": visits["star_id"].n_unique(),
        "duplicates": len(duplicates),
        "moved": int((moved["star_id"] != moved["_old"]).sum()),
    }
    return Result(write_tables(frames, prefix), facts)


def _live_visits(job: _MatchJob) -> pl.DataFrame:
    """Read the visits of the files that count, in order of files and rows."""
    live = pl.DataFrame(
        job.live, schema={"_batch": pl.String, "_file": pl.Int64}, orient="row"
    ).with_row_index("_order")
    wanted = ["visit_id", "star_id", "ra", "dec", "arm", "path"]
    wanted += ["_file", "_group", "_row", "_source"]
    tables = [NO_VISITS.select(pl.lit("").alias("_batch"), *wanted)]
    for batch, path in job.visits:
        table = pl.read_parquet(path, columns=wanted)
        tables.append(table.select(pl.lit(batch).alias("_batch"), *wanted))
    visits = pl.concat(tables).join(
        live, on=["_batch", "_file"], how="inner", maintain_order="left"
    )
    given = pl.col("star_id").replace({"": None})
    return visits.sort("_order", "_group", "_row").with_columns(star_id=given)


def _without_duplicates(visits: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    first = visits["visit_id"].is_first_distinct()
    kept = visits.filter(first)
    extra = visits.filter(~first).join(
        kept.select("visit_id", _held="path"),
        on="visit_id",
        how="left",
        maintain_order="left",
    )
    reason = "The spectrum {} was read already, from {}."
    rejected = extra.select(
        "path",
        reader=pl.lit(""),
        reason=pl.format(reason, "visit_id", "_held"),
        remedy=pl.lit("If the two are the same, keep one of the files."),
    )
    return kept, conform(rejected, "rejected")


def _register(known: pl.DataFrame | None, visits: pl.DataFrame) -> pl.DataFrame:
    """Add stars with a position to the known ones: the first visit by name gives it."""
    placed = visits.filter(pl.col("ra").is_finite() & pl.col("dec").is_finite())
    stars = (
        placed.sort("visit_id")
        .unique("star_id", keep="first", maintain_order=True)
        .select("star_id", "ra", "dec")
    )
    if known is not None:
        stars = pl.concat([known, stars.join(known, on="star_id", how="anti")])
    return stars.sort("star_id")


def _number_of_shards(job: _MatchJob, spectra: int) -> int:
    if job.shards:
        return job.shards
    before = job.facts_before.get("shards", 0)
    if before and spectra <= _GROWTH * SPECTRA_PER_SHARD * before:
        return before
    return number_of_shards(spectra)


@dataclass(frozen=True)
class _PartsJob:
    batch: str
    assigned: Path
    groups: tuple[tuple[str, str, Path], ...]


@dataclass(frozen=True)
class Part:
    """What one batch has for one shard, of one survey and frame: its ``number``-th."""

    shard: int
    survey: str
    frame: str
    batch: str
    number: int
    path: Path
    sha256: str


def plan_shards(run: Run, stage: Stage) -> list[Unit]:
    """One unit for every batch that holds visits which count now."""
    match = run.ledger.records("match")["all"]
    path = run.ledger.path(match, "assigned")
    batches = run.ledger.records("read")
    units = []
    assigned = pl.read_parquet(path).partition_by("_batch", as_dict=True)
    for (batch,), rows in sorted(assigned.items()):
        record = batches[str(batch)]
        groups = tuple(
            (survey, frame, run.ledger.path(record, f"spectra-{number}"))
            for number, (survey, frame) in enumerate(record.facts["groups"])
        )
        text = rows.select("star_id", "shard", "_group", "_row").write_csv()
        where = hashlib.sha256(text.encode()).hexdigest()
        inputs = [record.sha256(), where]
        units.append(Unit(record.unit, inputs, _PartsJob(record.unit, path, groups)))
    return units


def write_parts(job: _PartsJob, prefix: Path) -> Result:
    """Write what a batch has for each shard, with the stars filled in."""
    mine = pl.scan_parquet(job.assigned).filter(pl.col("_batch") == job.batch).collect()
    outputs, places = {}, {}
    for number, (survey, frame, path) in enumerate(job.groups):
        rows = mine.filter(pl.col("_group") == number).sort("_row")
        name = f"{rows['shard'].first() or 0:05d}-{number}"
        if _is_one_shard(path, rows):
            outputs[name] = prefix.with_name(f"{prefix.name}-{name}.parquet")
            places[name] = [rows["shard"][0], survey, frame]
            with atomic(outputs[name]) as part:
                link_or_copy(path, part)
            continue
        visits, spectra = read_shard(path)
        for (shard,), chosen in rows.partition_by("shard", as_dict=True).items():
            index = chosen["_row"].to_numpy()
            name = f"{shard:05d}-{number}"
            outputs[name] = prefix.with_name(f"{prefix.name}-{name}.parquet")
            places[name] = [shard, survey, frame]
            starred = visits[index].with_columns(chosen["star_id"])
            with atomic(outputs[name]) as part:
                write_shard(part, starred, spectra[index])
    return Result(outputs, {"places": places})


def _is_one_shard(path: Path, rows: pl.DataFrame) -> bool:
    """Whether a batch's spectra are all of one shard, with the names of their stars."""
    if rows["shard"].n_unique() != 1:
        return False
    visits, _ = read_shard_visits(path)
    in_order = (rows["_row"] == pl.int_range(len(rows), eager=True)).all()
    return (
        len(visits) == len(rows)
        and bool(in_order)
        and visits["star_id"].equals(rows["star_id"])
    )


def parts(ledger: Ledger) -> dict[int, list[Part]]:
    """Return the part files of every shard, in a fixed order."""
    found: dict[int, list[Part]] = {}
    for record in ledger.records("shard").values():
        for name, (shard, survey, frame) in record.facts["places"].items():
            path, sha256 = ledger.path(record, name), record.outputs[name].sha256
            number = int(name.split("-")[1])
            part = Part(shard, survey, frame, record.unit, number, path, sha256)
            found.setdefault(shard, []).append(part)
    return {
        shard: sorted(found[shard], key=lambda p: p.sha256) for shard in sorted(found)
    }
