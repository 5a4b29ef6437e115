"""What a person sees of a run: lines in a log, and progress on a terminal.

The log file gets everything, with times, as far as the disk takes it: a log that cannot
be written is said once and ends no run. The console gets one line a step, or a progress
bar where it is a terminal, or nothing where quiet is asked for. Text that may
come from a file is made printable first, so that no name can steer a terminal.
"""

__all__ = ["RunLog", "Step", "open_log"]

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from steadystar.pipeline.inputs import printable


@contextmanager
def open_log(path: Path, quiet: bool = False) -> Iterator["RunLog"]:
    """Open a log for as long as the block lasts; it also takes Python's warnings."""
    log = RunLog(path, quiet)
    loggers = [logging.getLogger(name) for name in ("steadystar", "py.warnings")]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(log)
        logger.propagate = False
    try:
        yield log
    finally:
        for logger in loggers:
            logger.removeHandler(log)
            logger.propagate = True
        logging.captureWarnings(False)
        log.close()


class RunLog(logging.Handler):
    """Writes to a log file and to the console; also takes what libraries log."""

    def __init__(self, path: Path, quiet: bool = False) -> None:
        super().__init__(logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.quiet = path, quiet
        # Unbuffered: what a full disk refuses must not come back when the log is closed.
        self._file: FileIO = path.open("ab", buffering=0)
        self._refused = False
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Write no more."""
        self._file.close()
        super().close()

    def say(self, text: str) -> None:
        """Write lines to the log and to the console."""
        self.detail(text)
        if not self.quiet:
            self._console.print(_safe(text), markup=False)

    def detail(self, text: str) -> None:
        """Write lines to the log only."""
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        lines = [f"{now}  {line}\n" for line in _safe(text).splitlines() or [""]]
        try:
            self._file.write("".join(lines).encode(errors="replace"))
        except OSError as error:
            self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        if not self._refused:
            self._refused = True
            name, why = printable(str(self.path)), error.strerror
            self._console.print(f"{name} is not complete: {why}.", markup=False)

    def emit(self, record: logging.LogRecord) -> None:
        """Take what a library wants to say; it goes to the log only."""
        self.detail(f"({record.name}) {record.getMessage()}")

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator["Step"]:
        """Show how far a step is, where the console is a terminal."""
        if self.quiet or not self._console.is_terminal or not total:
            yield Step(None, None)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield Step(bar, bar.add_task(title, total=total))


class Step:
    """Counts the units of one stage, on a progress bar if there is one."""

    def __init__(self, bar: Progress | None, task) -> None:
        self._bar, self._task = bar, task

    def advance(self) -> None:
        """Count one more unit."""
        if self._bar is not None:
            self._bar.advance(self._task)


def _safe(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())
