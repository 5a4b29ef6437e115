"""One run at a time in one directory.

The lock is the operating system's, on the file ``work/lock``: it vanishes with the
process that holds it, however that ends, so that a lock is never stale. The file says
who holds it, for people. Where the system or the file system has no such locks, the
process number in the file decides.
"""

__all__ = ["AlreadyRunning", "holder", "only_run"]

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_FAR = 1 << 30


class AlreadyRunning(ValueError):
    """Another run holds the directory; the message says which."""


@contextmanager
def only_run(directory: Path) -> Iterator[None]:
    """Hold the run directory for as long as the block lasts.

    Raises:
        AlreadyRunning: another process holds it.
    """
    path = _lock_path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _take(file):
            raise AlreadyRunning(
                f"{directory} is in use by {_describe(path)}. Wait until it has ended, "
                "or choose another directory with -o."
            )
        file.seek(0)
        file.truncate()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        file.write(json.dumps(who))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def holder(directory: Path) -> str | None:
    """Say which process holds the run directory, or None if none does."""
    path = _lock_path(directory)
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        return None if _take(file) else _describe(path)


def _lock_path(directory: Path) -> Path:
    return directory / "work" / "lock"


def _take(file) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(_FAR)  # Windows locks bytes, and forbids reading them
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return not _lives(file)
    return True


def _lives(file) -> bool:
    """Whether the process that the file names runs on this machine."""
    file.seek(0)
    who = _parse(file.read())
    if sys.platform == "win32" or not who or who["host"] != socket.gethostname():
        return False
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return who["pid"] != os.getpid()


def _parse(text: str) -> dict | None:
    try:
        who = json.loads(text)
        return {"pid": int(who["pid"]), "host": str(who["host"]), **who}
    except (ValueError, TypeError, KeyError):
        return None


def _describe(path: Path) -> str:
    who = _parse(path.read_text(encoding="utf-8", errors="replace"))
    if who is None:
        return "another run"
    return (
        f"another run (process {who['pid']} on {who['host']}, started "
        f"{who.get('started', 'at an unknown time')})"
    )
