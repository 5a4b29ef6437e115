"""What a command that answers one question leaves under ``-o``.

`steadystar calibrate`, `compare`, `distances` and others like them read tables and write
tables, a summary and a report. They do so one at a time in a directory, and none replaces
what another command wrote (`claims`).
"""

__all__ = ["Answer", "write_summary"]

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from steadystar.data.tables import write_parquet
from steadystar.pipeline.claims import claim_directory
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import atomic
from steadystar.pipeline.lock import only_run
from steadystar.pipeline.log import RunLog, open_log


class Answer:
    """The directory of one command, and what it has written there so far.

    Arguments:
        directory: where the results go; it need not exist.
        command: whose they are.
        reads: tables that are read, which must not be written over.
        writes: names of the tables to be written, those always written.
        family: other commands whose results it may replace.

    Raises:
        CatalogError: the directory is not this command's to write in.
    """

    def __init__(
        self,
        directory: Path,
        command: str,
        reads: Sequence[Path],
        writes: Collection[str],
        family: Collection[str] = (),
    ) -> None:
        self.directory, self.command = directory.absolute(), command
        self._written: list[str] = []
        names = {f"{name}.parquet" for name in writes} | {"summary.json"}
        claim_directory(self.directory, command, family, reads, names)

    @contextmanager
    def begun(self, quiet: bool) -> Iterator[RunLog]:
        """Keep others out of the directory while the block lasts, and log to it.

        Raises:
            AlreadyRunning: another process is at work there.
        """
        with only_run(self.directory) as hold:
            try:
                with open_log(self.directory / "run.log", quiet) as log:
                    yield log
            finally:
                hold.forget()

    def table(
        self, name: str, frame: pl.DataFrame, metadata: Mapping[str, str]
    ) -> None:
        """Write ``NAME.parquet``."""
        with atomic(self.directory / f"{name}.parquet") as part:
            write_parquet(frame, part, metadata)
        self._written.append(f"{name}.parquet ({len(frame)} rows)")

    def file(self, name: str, save: Callable[[Path], object]) -> None:
        """Let ``save`` write another file."""
        with atomic(self.directory / name) as part:
            save(part)
        self._written.append(name)

    def summary(self, facts: Mapping[str, Any], origin: Mapping[str, str]) -> None:
        """Write ``summary.json``; see `write_summary`."""
        write_summary(self.directory / "summary.json", self.command, facts, origin)
        self._written.append("summary.json")

    def report(self, write: Callable[[Path], object]) -> None:
        """Let ``write`` make the folder of the report."""
        with atomic(self.directory / "report") as part:
            write(part)

    def lines(self) -> list[str]:
        """Say what was written, and where the report is."""
        page = printable(str(self.directory / "report" / "index.html"))
        return [f"Written     {', '.join(self._written)}", f"Report      {page}"]


def write_summary(
    path: Path, command: str, facts: Mapping[str, Any], origin: Mapping[str, str]
) -> None:
    """Write what a command found as JSON, with its name and the origin of the tables.

    Numbers that are not finite become null.
    """
    own = {name.removeprefix("steadystar."): text for name, text in origin.items()}
    summary = _plain({"command": command, **facts, **own})
    with atomic(path) as part:
        text = json.dumps(summary, indent=1, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
