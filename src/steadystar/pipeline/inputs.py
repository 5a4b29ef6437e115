"""Which files a run is about.

The inputs named on the command line are the whole survey: folders are searched to any
depth, in sorted order, and every file that is seen gets rows in the tables or a row
among the rejected, also a README. Only hidden files and the directories of runs are
passed over, and counted.

A file is known by its absolute path, its size, and the times at which its content and
its entry were last changed, as Git knows it; where a time differs, or a file of the same
name and size lies elsewhere, its content decides. Tables call it by the name of its folder
and its path in it, so that a survey gives the same tables wherever it lies.
"""

__all__ = [
    "Found",
    "InputError",
    "InputFile",
    "find_files",
    "link_or_copy",
    "printable",
]

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class InputError(ValueError):
    """An input that is not there, or holds nothing; the message says what to do."""


@dataclass(frozen=True)
class InputFile:
    """A file to read: where it is, what tables call it, and how to tell a change."""

    path: str
    name: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0


@dataclass
class Found:
    """What the inputs hold: files to read, what cannot be a file, what was passed."""

    files: list[InputFile] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    hidden: int = 0
    run_directories: list[str] = field(default_factory=list)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, which costs no space; a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or not ours
        shutil.copyfile(source, target)


def printable(text: str) -> str:
    """Escape what no table or terminal should show: control bytes, broken Unicode."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def find_files(inputs: Sequence[str | Path], output: Path | None = None) -> Found:
    """List the files of all inputs, in order of their names.

    Directories of runs are passed over: this run's, ``output``, and those of others.

    Raises:
        InputError: an input does not exist or is the output, or there is no file in
            any of them.
    """
    found = Found()
    names: dict[Path, str] = {}
    for given in inputs:
        root = Path(os.path.normpath(Path(given).absolute()))
        if not os.path.lexists(root):
            raise InputError(
                f"There is no file or folder {printable(str(given))}. Check its name."
            )
        if output is not None and output.exists() and root.samefile(output):
            raise InputError(
                f"{printable(str(given))} is both input and output. Choose another "
                "directory for the results with -o, for example a new one inside it."
            )
        base = root.parent if root.is_dir() else root.parent.parent
        for path in _walk(root, found, output):
            name = printable(os.path.relpath(path, base))
            names[path] = max(names.get(path, ""), name, key=len)
    taken: set[str] = set()
    for path, name in sorted(names.items()):
        if name in taken:
            name = printable(str(path))
        if name in taken:
            name += f" [{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}]"
        taken.add(name)
        _classify(path, name, found)
    found.files.sort(key=lambda file: file.name)
    found.rejected.sort(key=lambda row: row["path"])
    if not taken:
        raise InputError(
            f"There is no file to read in {', '.join(printable(str(i)) for i in inputs)}"
            f"{_passed(found)}. Name a folder or files with spectra."
        )
    return found


def _walk(root: Path, found: Found, output: Path | None) -> Iterator[Path]:
    """Yield paths below ``root``, following links to folders once."""
    if not root.is_dir():
        yield root
        return
    pending, seen = [root], set()
    while pending:
        folder = pending.pop()
        try:
            here = folder.stat()
            entries = sorted(folder.iterdir())
        except OSError:
            yield folder  # it gets its row among the rejected
            continue
        if (here.st_dev, here.st_ino) in seen:
            continue
        seen.add((here.st_dev, here.st_ino))
        ours = output is not None and output.exists() and folder.samefile(output)
        if ours or (folder / "work" / "ledger").is_dir():
            found.run_directories.append(printable(str(folder)))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                found.hidden += 1
            elif entry.is_dir():
                pending.append(entry)
            else:
                yield entry


def _classify(path: Path, name: str, found: Found) -> None:
    remedy = "Repair it, or take it out of the input folder."
    try:
        info = path.stat()
        if stat.S_ISREG(info.st_mode):
            file = InputFile(
                str(path), name, info.st_size, info.st_mtime_ns, info.st_ctime_ns
            )
            found.files.append(file)
            return
        reason = "It is neither a file nor a folder."
        if stat.S_ISDIR(info.st_mode):
            reason = "The folder cannot be listed."
            remedy = "Give yourself the right to read it."
    except OSError as error:
        reason = f"It cannot be opened: {error.strerror}."
        if path.is_symlink():
            reason = f"The link leads nowhere: {error.strerror}."
    row = {"path": name, "reader": "", "reason": reason, "remedy": remedy}
    found.rejected.append(row)


def _passed(found: Found) -> str:
    passed = [f"{found.hidden} hidden ones"] if found.hidden else []
    if found.run_directories:
        passed.append(f"{len(found.run_directories)} directories of runs")
    return f" (passed over: {', '.join(passed)})" if passed else ""
