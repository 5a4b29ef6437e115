"""One run at a time in one directory.

The lock is the operating system's, on the file ``work/lock``: it vanishes with the
process that holds it, however that ends, so that a lock is never stale. The file says
who holds it, for people; nothing depends on its being written. Where the system or the
file system has no such locks, the process number in the file decides. Some file systems
of clusters keep locks to each machine: then what a run on another machine says of
itself every second (`progress`) shows that it is there.

A run directory may be removed, or replaced by another, under a run that works in it:
the run asks now and then whether the lock that it holds is still the one in the directory.
"""

__all__ = ["AlreadyRunning", "Hold", "LostDirectory", "holder", "only_run"]

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from steadystar.pipeline.inputs import printable

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_FAR = 1 << 30
_WATCH = 5.0
"""Seconds in which a run that lives says something; it does so every second."""


class AlreadyRunning(ValueError):
    """Another run holds the directory; the message says which."""


class LostDirectory(ValueError):
    """The directory of a run was removed or replaced while it was at work."""


class Hold:
    """The lock on a run directory, for as long as it is held."""

    def __init__(self, file: FileIO, directory: Path) -> None:
        self._file, self._directory = file, directory

    @property
    def directory(self) -> Path:
        """What is held."""
        return self._directory

    def check(self) -> None:
        """Make sure that the directory is still the one that was locked.

        Raises:
            LostDirectory: it was removed, moved or replaced.
        """
        same = _lies_at(self._file, _lock_path(self._directory))
        if not same:
            raise LostDirectory(
                f"{printable(str(self._directory))} was removed, moved or replaced while "
                "the run was at work in it. Run the same command again, with -o where it "
                "is now: what is still there is not done again."
            )

    def forget(self) -> None:
        """Leave no file behind: the directory is not one of runs that are resumed."""
        path = _lock_path(self._directory)
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()


@contextmanager
def only_run(directory: Path) -> Iterator[Hold]:
    """Hold the run directory for as long as the block lasts.

    Raises:
        AlreadyRunning: another process holds it.
    """
    with _locked(directory) as file:
        if _of_another_host(file) and _speaks(directory):
            raise AlreadyRunning(_refusal(directory, file))
        started = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        _note(file, json.dumps(who))
        try:
            yield Hold(file, directory)
        finally:
            _note(file, "")


def _locked(directory: Path) -> FileIO:
    """Open the file of the lock and lock it, if nobody else has."""
    path, why = _lock_path(directory), ""
    for _ in range(4):  # who only looks (`holder`) holds it for a moment as well
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+", buffering=0)
        # What another one has removed (`Hold.forget`) is no lock any more.
        if (taken := _take(file)) and _lies_at(file, path):
            return file
        why = "" if taken else _refusal(directory, file)
        file.close()
        time.sleep(0.05)
    raise AlreadyRunning(why or f"{printable(str(path))} vanishes again and again.")


def _lies_at(file: FileIO, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        there, held = path.stat(), os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def holder(directory: Path) -> str | None:
    """Say which process holds the run directory, or None if none does."""
    path = _lock_path(directory)
    if not path.exists():
        return None
    with path.open("rb", buffering=0) as file:
        return None if _take(file, alone=False) else _describe(file)


def _lock_path(directory: Path) -> Path:
    return directory / "work" / "lock"


def _note(file: FileIO, text: str) -> None:
    """Write who holds the lock; on a full disk the lock is held all the same."""
    with suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        file.write(text.encode())


def _take(file: FileIO, alone: bool = True) -> bool:
    """Lock the file against all others, or against those who want it alone."""
    try:
        if sys.platform == "win32":
            file.seek(_FAR)  # Windows locks bytes, and forbids reading them
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            fcntl.flock(file, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return not _may_live(file)
    return True


def _may_live(file: FileIO) -> bool:
    """Whether the process that the file names may be at work."""
    who = _who(file)
    if not who:
        return False
    if who["host"] != socket.gethostname():
        return True
    if sys.platform == "win32" or who["pid"] == os.getpid():
        return False
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _of_another_host(file: FileIO) -> bool:
    who = _who(file)
    return who is not None and who["host"] != socket.gethostname()


def _speaks(directory: Path) -> bool:
    """Whether another run says something of itself meanwhile; no clock is asked."""
    path, until = directory / "work" / "progress.json", time.monotonic() + _WATCH
    first = _version(path)
    while first is not None and time.monotonic() < until:
        time.sleep(0.25)
        if _version(path) != first:
            return True
    return False


def _version(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _who(file: FileIO) -> dict | None:
    file.seek(0)
    try:
        who = json.loads(file.read())
        return {**who, "pid": int(who["pid"]), "host": str(who["host"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _describe(file: FileIO) -> str:
    who = _who(file)
    if who is None:
        return "another run"
    started = printable(str(who.get("started", "at an unknown time")))
    return f"another run (process {who['pid']} on {printable(who['host'])}, started {started})"


def _refusal(directory: Path, file: FileIO) -> str:
    path = _lock_path(directory)
    who, stale = _who(file), ""
    stop = "stop it"
    if who:
        host, here = printable(who["host"]), socket.gethostname()
        stop = f"stop it (`kill {who['pid']}`{'' if host == here else f' on {host}'})"
        if host != here:
            stale = (
                " If that process is not there any more, remove the file "
                f"{printable(str(path))}."
            )
    return (
        f"{printable(str(directory))} is in use by {_describe(file)}. Wait until it has "
        f"ended, or {stop}, or choose another directory with -o.{stale}"
    )
