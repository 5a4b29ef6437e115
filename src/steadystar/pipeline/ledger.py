"""What has been done, so that a run that was killed goes on where it stopped.

The work of a stage is cut into units. A unit is done if, and only if, the ledger holds
a record of it whose fingerprint equals the present one (the configuration it depends
on, its inputs, the version of the stage) and its outputs are there as recorded. Outputs
come first, each under a temporary name in its own folder, synced and renamed; the
record is written last, in the same way. So at every moment each unit is either done or
not begun, whatever happened to the process or to the machine.

One small JSON file a unit. Only here, and in the log, are there times and host names:
tables must not differ between equal runs.
"""

__all__ = ["Ledger", "Output", "Record", "atomic", "content_hash", "fingerprint"]

import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from steadystar.pipeline.faults import name_culprit

_PART = ".part-"


def fingerprint(*parts: Any) -> str:
    """Hash of anything JSON can hold; equal values in equal order, equal hash."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def content_hash(path: Path) -> str:
    """SHA-256 of a file; for a folder, of the names and contents of all files in it."""
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file())
        return fingerprint(
            [[str(p.relative_to(path)), content_hash(p)] for p in inside]
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; move it to ``path`` if all went well.

    The temporary name keeps the suffix. What was written may be a file or a folder; a
    folder takes the place of the one before it. Parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}{_PART}{secrets.token_hex(6)}{path.suffix}")
    try:
        yield part
        for written in [part] if part.is_file() else part.rglob("*"):
            if written.is_file():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
        if part.is_dir():
            _replace_folder(part, path)
        else:
            part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        name_culprit(error, path)
        raise
    finally:
        _remove(part)


def _replace_folder(part: Path, path: Path) -> None:
    # Two renames: between them a killed run leaves no folder, which reads as not done.
    old = path.with_name(f".{path.name}{_PART}old-{secrets.token_hex(6)}")
    if path.exists():
        path.replace(old)
    part.replace(path)
    _remove(old)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets folders be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Output:
    """A file or folder that a unit wrote, and how to tell that it is still the same."""

    path: str
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, base: Path) -> "Output":
        """Describe ``path``, which lies below ``base``; the outputs move with it."""
        size, mtime_ns = _extent(path)
        relative = path.relative_to(base).as_posix()
        return cls(relative, size, mtime_ns, content_hash(path))

    def checked(self, base: Path) -> "Output | None":
        """Return this output if it is there unchanged, else None.

        Size and time of modification answer in nearly all cases; where only the time
        differs (a copied folder) the content decides.
        """
        path = base / self.path
        try:
            size, mtime_ns = _extent(path)
            if size != self.size:
                return None
            if mtime_ns == self.mtime_ns:
                return self
            same = content_hash(path) == self.sha256
        except OSError:
            return None
        return replace(self, mtime_ns=mtime_ns) if same else None


def _extent(path: Path) -> tuple[int, int]:
    """Bytes and latest modification of a file, or of the files in a folder."""
    if not path.is_dir():
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    stats = [p.stat() for p in path.rglob("*") if p.is_file()]
    latest = max((s.st_mtime_ns for s in stats), default=0)
    return sum(s.st_size for s in stats), latest


@dataclass(frozen=True)
class Record:
    """One unit of work that is done."""

    stage: str
    unit: str
    fingerprint: str
    outputs: dict[str, Output] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""
    host: str = ""

    def sha256(self) -> dict[str, str]:
        """Contents of the outputs, by name: what the next stage depends on."""
        return {name: output.sha256 for name, output in sorted(self.outputs.items())}


class Ledger:
    """The records of a run, below ``work/ledger`` in its directory."""

    def __init__(
        self, directory: Path, check: Callable[[], object] = lambda: None
    ) -> None:
        """Open a ledger; ``check`` raises if the directory is not to be written to."""
        self.directory, self._check = directory, check
        self.folder = directory / "work" / "ledger"
        self.unreadable: list[Path] = []

    def record(self, stage: str, unit: str) -> Record | None:
        """Return what is known of a unit, whether or not it still holds."""
        return self._load(self.folder / stage / f"{unit}.json")

    def records(self, stage: str) -> dict[str, Record]:
        """Return all records of a stage by unit, in order of their names."""
        paths = sorted((self.folder / stage).glob("[!.]*.json"))
        found = {path.stem: self._load(path) for path in paths}
        return {unit: record for unit, record in found.items() if record}

    def done(self, stage: str, unit: str, mark: str) -> Record | None:
        """Return the record of a unit that need not be done again, else None."""
        record = self.record(stage, unit)
        return self.intact(record) if record and record.fingerprint == mark else None

    def intact(self, record: Record) -> Record | None:
        """Return a record whose outputs are all there as they were written, else None.

        Its mark may be an old one: this asks whether what it remembers can be used.
        """
        checked = {n: o.checked(self.directory) for n, o in record.outputs.items()}
        outputs = {name: output for name, output in checked.items() if output}
        if len(outputs) < len(checked):
            return None
        if outputs != record.outputs:
            record = replace(record, outputs=outputs)
            self._write(record)
        return record

    def commit(self, record: Record) -> Record:
        """Write down that a unit is done; its outputs must be in place already."""
        self._check()
        stamped = replace(
            record,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
        )
        self._write(stamped)
        return stamped

    def forget(self, stage: str, unit: str) -> None:
        """Drop a record; `sweep` then removes what it alone referred to."""
        (self.folder / stage / f"{unit}.json").unlink(missing_ok=True)

    def path(self, record: Record, output: str) -> Path:
        """Where an output of a record lies."""
        return self.directory / record.outputs[output].path

    def sweep(self, *stages: str) -> int:
        """Remove what interrupted runs left, and work files that no record names.

        Returns how many were removed. Only files below ``work`` in folders of the
        given stages, and temporary names in the run directory, are ever touched.
        """
        named = {
            output.path
            for stage in stages
            for record in self.records(stage).values()
            for output in record.outputs.values()
        }
        left = {*self.directory.glob(f".*{_PART}*")}
        left.update((self.directory / "work").rglob(f".*{_PART}*"))
        for stage in stages:
            for path in (self.directory / "work" / stage).rglob("*"):
                inside = path.relative_to(self.directory)
                holders = {p.as_posix() for p in (inside, *inside.parents)}
                if not path.is_dir() and not holders & named:
                    left.add(path)
        for path in left:
            _remove(path)
        return len(left)

    def _write(self, record: Record) -> None:
        path = self.folder / record.stage / f"{record.unit}.json"
        with atomic(path) as part:
            part.write_text(json.dumps(asdict(record), indent=1), encoding="ascii")

    def _load(self, path: Path) -> Record | None:
        try:
            values = json.loads(path.read_bytes())
            outputs = {n: Output(**o) for n, o in values.pop("outputs").items()}
            return Record(**values, outputs=outputs)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            # Never written by us in this state: a damaged disk, or an editor. The unit
            # is done again, and the run says so.
            self.unreadable.append(path)
            return None
