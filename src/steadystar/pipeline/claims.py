"""Whose a directory is: nothing that a command did not write is written over.

Commands that answer one question write several tables, a summary and a report under ``-o``.
Before any work they ask here whether they may.
"""

__all__ = ["claim_directory", "command_of"]

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from steadystar.pipeline.inputs import printable
from steadystar.survey.catalogs import CatalogError


def claim_directory(
    directory: Path,
    command: str,
    family: Collection[str],
    tables: Sequence[Path],
    names: Collection[str],
) -> None:
    """Refuse a directory that holds what is not this command's to replace.

    Arguments:
        directory: where results are to go; it need not exist.
        command: who asks, and ``family``: commands whose results it may replace.
        tables: what is read, ``names``: the files that will be written.

    Raises:
        CatalogError: the directory is a file, holds the results of another command or a
            run that has not ended, a foreign report, or the very table that is read.
    """
    other = "name another directory with -o."
    shown = printable(str(directory))
    if directory.exists() and not directory.is_dir():
        raise CatalogError(f"{shown} is a file: {other}")
    for name in sorted(names):
        path = directory / name
        if path.exists() and any(map(path.samefile, tables)):
            raise CatalogError(f"{shown}/{name} is the table to be read: {other}")
        if path.is_dir():
            raise CatalogError(f"{shown}/{name} is a folder: {other}")
    summary = directory / "summary.json"
    if summary.exists() and command_of(directory) not in {command, *family}:
        raise CatalogError(
            f"{shown} holds the results of another command, which {command} would "
            f"replace: {other}"
        )
    if (directory / "work" / "ledger").is_dir():
        raise CatalogError(f"{shown} holds a run that can be resumed: {other}")
    report = directory / "report"
    if (report.exists() or report.is_symlink()) and not (
        report / "files.json"
    ).exists():
        raise CatalogError(f"{shown}/report is none of steadystar's: {other}")


def command_of(directory: Path) -> str | None:
    """Return which command wrote the summary in a directory, if it says so."""
    try:
        text = (directory / "summary.json").read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError):
        return None
    return found.get("command") if isinstance(found, dict) else None
