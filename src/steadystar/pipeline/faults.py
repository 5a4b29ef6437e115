"""What the machine refuses: space, rights, memory, open files, a disk that answers.

Such a fault is nobody's spectrum and nobody's star. It must end a run with a sentence, and
must not be written into a table as if a file were bad; the run goes on when the machine
is well again.
"""

__all__ = [
    "explain_os_error",
    "machine_error",
    "name_culprit",
    "out_of_memory",
    "refused",
]

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from steadystar.pipeline.inputs import printable

_AGAIN = "Then run the same command again: it goes on where it stopped"
_SHORT = {
    errno.ENOSPC: (
        "The disk is full",
        f"Make room there, or move the directory to another disk. {_AGAIN}",
    ),
    errno.EDQUOT: (
        "Your quota of disk space is used up",
        f"Make room there, or ask for a larger quota. {_AGAIN}",
    ),
    errno.EFBIG: (
        "The file would be larger than the system allows",
        f"Raise the limit (`ulimit -f unlimited`). {_AGAIN}",
    ),
    errno.EMFILE: (
        "This process may not open more files",
        f"Raise the limit (`ulimit -n 4096`). {_AGAIN}",
    ),
    errno.ENFILE: (
        "This machine cannot open more files",
        f"Close what holds them, or ask its administrator. {_AGAIN}",
    ),
    errno.ENOMEM: (
        "The machine is out of memory",
        f"Use fewer --workers, or a larger machine. {_AGAIN}",
    ),
}
_GONE_WRONG = {
    errno.EROFS: (
        "Its file system can only be read",
        "Make it writable, or choose another directory with -o",
    ),
    errno.EACCES: (
        "You have no right to it",
        "Give yourself the right, or choose another directory with -o",
    ),
    errno.EIO: (
        "The disk, or the network to it, fails",
        f"See that it works. {_AGAIN}",
    ),
    errno.ESTALE: (
        "The network file system has lost it",
        f"See that it is there. {_AGAIN}",
    ),
    errno.ENOENT: (
        "It is not there",
        "Check its name; if something removed it meanwhile, run the same command again",
    ),
}
_SAID = {**_SHORT, **_GONE_WRONG}
_WORDS = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Too many open files": errno.EMFILE,
    "Not enough space on disk": errno.ENOSPC,  # astropy
    " requested and ": errno.ENOSPC,  # NumPy: "100 requested and 64 written"
}


def machine_error(error: BaseException) -> OSError | None:
    """Return the fault of the machine behind ``error``, None if there is none.

    Space, quotas, memory and open files, which no single file is to blame for. Libraries
    wrap such errors in their own; the chain of causes and their words are looked through.
    """
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _SHORT:
            return cause
        for words, number in _WORDS.items():
            if words in str(cause):
                return OSError(number, os.strerror(number))
    return None


def refused(error: BaseException) -> OSError | None:
    """Return what the operating system refused behind ``error``, whatever it was."""
    found = (one for one in _chain(error) if isinstance(one, OSError) and one.errno)
    return next(found, None)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was not enough, that of the machine or of its accelerator."""
    return any(
        isinstance(one, MemoryError) or "RESOURCE_EXHAUSTED" in str(one)
        for one in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def name_culprit(error: OSError, path: Path) -> None:
    """Give an error of writing, which the system raises without a name, that of a file."""
    if error.filename is None and error.errno in _SAID:
        error.filename = str(path)


def explain_os_error(error: OSError, directory: Path | None = None) -> str:
    """Return culprit, reason and remedy of what the operating system refuses.

    ``directory``: where the results go, named where the system names nothing.
    """
    culprit = error.filename if error.filename is not None else directory
    name = printable(os.fsdecode(culprit)) if culprit is not None else "A file"
    if isinstance(error, NotADirectoryError | FileExistsError) and culprit is not None:
        path = Path(os.fsdecode(culprit))
        files = [part for part in (path, *path.parents) if part.is_file()]
        if files:
            return (
                f"{printable(str(files[0]))} is a file, so nothing can be written into "
                "it. Name a folder, or move the file out of the way."
            )
    if error.errno in _SAID:
        reason, remedy = _SAID[error.errno]
        return f"{name}: {reason}. {remedy}."
    reason = error.strerror or type(error).__name__
    return f"{name}: {reason}. Check the name, your rights, and the space on the disk."
