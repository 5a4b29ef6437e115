"""What can be done with the directory of a run later: look, export, report again."""

__all__ = [
    "NoResults",
    "describe_formats",
    "describe_state",
    "export_tables",
    "rewrite_report",
]

import json
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from steadystar.data.schema import Column
from steadystar.data.tables import read_metadata
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import Ledger, atomic
from steadystar.pipeline.lock import holder, only_run
from steadystar.pipeline.publishing import (
    report_inputs,
    spectra_of_run,
    targets_hash,
)
from steadystar.pipeline.stages import STAGES
from steadystar.pipeline.summary import describe_results
from steadystar.publish.catalog import FORMATS, columns_of, export
from steadystar.publish.relative_catalog import constant_candidates, relative_catalog
from steadystar.publish.report import write_report
from steadystar.survey.registry import formats


class NoResults(ValueError):
    """A directory without results; the message says what to do."""


def describe_state(directory: Path) -> list[str]:
    """Say how far the run in ``directory`` is, and what it found.

    Raises:
        NoResults: there was no run in it.
    """
    ledger = Ledger(directory)
    lines = []
    if ledger.folder.is_dir():
        busy = holder(directory)
        lines.append(f"In use by {busy}." if busy else "No run is at work here.")
        for stage in STAGES:
            records = ledger.records(stage.name)
            if not records:
                lines.append(f"{stage.name:<11}not done")
                continue
            last = max(record.finished for record in records.values())
            seconds = sum(record.seconds for record in records.values())
            again = sum(not record.fingerprint for record in records.values())
            text = f"{len(records)} done, {seconds:.1f} s of work, last at {last}"
            failed = f"; {again} failed and will be tried again" if again else ""
            lines.append(f"{stage.name:<11}{text}{failed}")
        lines += [f"Damaged: {printable(str(path))}" for path in ledger.unreadable]
    elif not (directory / "summary.json").exists():
        raise _none(directory)
    if (directory / "summary.json").exists():
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        lines += ["", *describe_results(summary)]
    return lines


def export_tables(directory: Path, format: str, table: str | None = None) -> list[Path]:
    """Write the tables of a run in another format into ``directory/export``.

    Beside the tables themselves: the catalog of relative velocities in the layout of
    Xiong et al. (2021), where there are blue or red spectra, and the constant stars.

    Arguments:
        directory: of a run or of `calibrate`.
        format: fits, votable, csv or parquet.
        table: the name of one table (as ``velocities``); all if None.

    Raises:
        NoResults: there are no tables.
        ValueError: there is no table of that name.
    """
    frames: dict[str, tuple[str, pl.DataFrame]] = {}
    columns: dict[str, list[Column]] = {}
    for path in sorted(directory.glob("*.parquet")):
        kind = path.stem.partition("-")[0]
        frames[path.stem] = (kind, frame := pl.read_parquet(path))
        # Of columns that were brought along, only the file itself knows units.
        columns[path.stem] = columns_of(read_metadata(path), frame)
    if "velocities" not in frames:
        raise _none(directory)
    origin = {
        name: text
        for name, text in read_metadata(directory / "velocities.parquet").items()
        if name.startswith("steadystar.")
    }
    velocities, stars = frames["velocities"][1], frames["stars"][1]
    if velocities["arm"].is_in(["blue", "red"]).any():
        frames["relative"] = ("relative", relative_catalog(velocities))
    frames["constant-stars"] = ("stars", constant_candidates(stars))
    if table is not None and table not in frames:
        raise NoResults(f"There is no table {table}: choose {', '.join(frames)}.")
    written = []
    for name, (kind, frame) in frames.items():
        if table in (None, name):
            path = directory / "export" / f"{name}{FORMATS[format]}"
            export(
                frame,
                path,
                format=format,
                table=kind,
                provenance=origin,
                columns=columns.get(name, ()),
            )
            written.append(path)
    return written


def describe_formats() -> list[str]:
    """List what can be read as spectra or as tables, and what can be written."""
    lines = ["Spectra, in the order in which readers are asked:"]
    for row in formats().iter_rows(named=True):
        source = "" if row["source"] == "steadystar" else f" (from {row['source']})"
        broken = f"; cannot be used: {row['problem']}" if row["problem"] else ""
        lines.append(f"  {row['name']:<12}{row['description']}{source}{broken}")
    lines.append(
        "Tables: Parquet, FITS, VOTable, ECSV, CSV and plain text, by content."
    )
    lines.append(f"Exports: {', '.join(FORMATS)}.")
    return lines


def rewrite_report(directory: Path, configuration: Configuration) -> Path:
    """Write the report anew from the tables of a run, and return its first page.

    Raises:
        NoResults: there are no tables.
        AlreadyRunning: a run is at work in the directory.
    """
    if not (directory / "summary.json").exists():
        raise _none(directory)
    ledger = Ledger(directory)
    windows = dict(configuration.measure.windows)
    old = ledger.record("report", "all")
    truth = Path(old.facts["truth"]) if old and old.facts["truth"] else None
    with only_run(directory) if ledger.folder.is_dir() else nullcontext():
        targets_hash(configuration)
        inputs = report_inputs(
            directory,
            spectra_of_run(ledger),
            windows,
            truth,
            configuration.report.targets,
        )
        with atomic(directory / "report") as part:
            write_report(part, inputs, configuration.report)
    return directory / "report" / "index.html"


def _none(directory: Path) -> NoResults:
    return NoResults(
        f"There are no results in {printable(str(directory))}. Name the directory that "
        "was given to `steadystar run` or `steadystar calibrate` with -o."
    )
