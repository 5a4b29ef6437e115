"""What can be done with the directory of a run later: export, report again."""

__all__ = [
    "NoResults",
    "describe_formats",
    "export_tables",
    "rewrite_report",
]

from pathlib import Path

import polars as pl

from steadystar.data.schema import TABLES, Column
from steadystar.data.tables import read_metadata
from steadystar.pipeline.claims import command_of
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import Ledger, atomic
from steadystar.pipeline.lock import only_run
from steadystar.pipeline.publishing import (
    report_inputs,
    spectra_of_run,
    targets_hash,
)
from steadystar.pipeline.state import NoResults, no_results
from steadystar.publish.catalog import FORMATS, columns_of, export
from steadystar.publish.relative_catalog import constant_candidates, relative_catalog
from steadystar.publish.report import write_report
from steadystar.survey.registry import formats

_MAIN = ("velocities", "hot", "distances", "variables")
"""The main tables: of `run` and `calibrate`, `hot`, `distances`, `variables`, `orbits`."""


def export_tables(directory: Path, format: str, table: str | None = None) -> list[Path]:
    """Write the tables of a run in another format into ``directory/export``.

    Beside the tables themselves: the catalog of relative velocities in the layout of
    Xiong et al. (2021), where there are blue or red spectra, and the constant stars.

    Arguments:
        directory: of a run of any kind, of `calibrate` or of `distances`.
        format: fits, votable, csv or parquet.
        table: the name of one table (as ``velocities``); all if None.

    Raises:
        NoResults: there are no tables.
        ValueError: there is no table of that name.
    """
    frames: dict[str, tuple[str, pl.DataFrame]] = {}
    columns: dict[str, list[Column]] = {}
    for path in sorted(directory.glob("*.parquet")):
        kind = path.stem if path.stem in TABLES else path.stem.partition("-")[0]
        frames[path.stem] = (kind, frame := pl.read_parquet(path))
        # Of columns that were brought along, only the file itself knows units.
        columns[path.stem] = columns_of(read_metadata(path), frame)
    main = next((name for name in _MAIN if name in frames), None)
    if main is None:
        raise no_results(directory)
    origin = {
        name: text
        for name, text in read_metadata(directory / f"{main}.parquet").items()
        if name.startswith("steadystar.")
    }
    if main == "velocities":
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
        raise no_results(directory)
    command = command_of(directory)
    if command not in ("run", "calibrate", "hot"):
        named = f"`steadystar {printable(command)}`" if command else "another version"
        raise NoResults(
            f"The report in {printable(str(directory))} is that of {named}: give that "
            "command again to write it anew."
        )
    ledger = Ledger(directory)
    if command == "hot":
        from steadystar.pipeline.hot_results import rewrite_hot_report

        with only_run(directory):
            rewrite_hot_report(ledger, configuration.report)
        return directory / "report" / "index.html"
    windows = dict(configuration.measure.windows)
    old = ledger.record("report", "all")
    truth = Path(old.facts["truth"]) if old and old.facts["truth"] else None
    with only_run(directory) as hold:
        targets_hash(configuration)
        inputs = report_inputs(
            directory,
            spectra_of_run(ledger),
            windows,
            truth,
            configuration.report.targets,
            configuration.periods,
        )
        with atomic(directory / "report") as part:
            write_report(part, inputs, configuration.report)
        if not ledger.folder.is_dir():
            hold.forget()
    return directory / "report" / "index.html"
