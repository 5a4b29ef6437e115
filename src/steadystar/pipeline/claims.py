"""Whose a directory is: nothing that a command did not write is written over.

Commands that answer one question write several tables, a summary and a report under ``-o``.
Before any work they ask here whether they may.
"""

__all__ = ["claim_directory"]

import json
from collections.abc import Collection
from pathlib import Path

from steadystar.pipeline.inputs import printable
from steadystar.survey.catalogs import CatalogError


def claim_directory(
    directory: Path, command: str, family: Collection[str], table: Path, names: set[str]
) -> None:
    """Refuse a directory that holds what is not this command's to replace.

    Arguments:
        directory: where results are to go; it need not exist.
        command: who asks, and ``family``: commands whose results it may replace.
        table: what is read, ``names``: the files that will be written.

    Raises:
        CatalogError: the directory is a file, holds the results of another command, a
            foreign report, or the very table that is read.
    """
    other = "name another directory with -o."
    shown = printable(str(directory))
    if directory.exists() and not directory.is_dir():
        raise CatalogError(f"{shown} is a file: {other}")
    for name in sorted(names):
        path = directory / name
        if path.exists() and path.samefile(table):
            raise CatalogError(f"{shown}/{name} is the table to be read: {other}")
        if path.is_dir():
            raise CatalogError(f"{shown}/{name} is a folder: {other}")
    summary = directory / "summary.json"
    if summary.exists() and _command_of(summary) not in {command, *family}:
        raise CatalogError(
            f"{shown} holds the results of another command, which {command} would "
            f"replace: {other}"
        )
    report = directory / "report"
    if (report.exists() or report.is_symlink()) and not (
        report / "files.json"
    ).exists():
        raise CatalogError(f"{shown}/report is none of steadystar's: {other}")


def _command_of(summary: Path) -> str | None:
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("command") if isinstance(found, dict) else None
