"""What a run says of itself while it works: ``work/progress.json``, every second.

The main process writes it from a thread, whole or not at all; `state` reads it. Nothing
depends on it: where it cannot be written, the run goes on. Durations are those of a clock
that nobody sets. After the end it tells what was done, in what time, stage by stage; so
do the next run's numbers of "the last time".

It is of one machine and one moment, as the log is: no table knows it.
"""

__all__ = ["Counter", "Progress", "StageProgress", "progress_path", "read_progress"]

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from steadystar.pipeline.faults import explain_os_error, machine_error
from steadystar.pipeline.lock import Hold, LostDirectory
from steadystar.pipeline.stopping import in_emergency

_ENOUGH = 3
"""Units that must be done before a time left is said."""

_BLOCK = 4096

BEAT = 1.0
"""Seconds between two writings. One takes 0.7 ms of a processor, with workers 2.4 ms."""


@dataclass
class StageProgress:
    """One stage of a run: units to do, done before and done now, and how long it took.

    ``first``: seconds from the stage's beginning to the first unit that was done. It has to
    wait for what is made once, as compiled programs, so that the rate is that of the
    others, and of the wait since.
    ``state``: "waits", "plans" until its units are known, "runs", or "done".
    """

    name: str
    says: str
    units: int = 0
    before: int = 0
    done: int = 0
    spectra: int = 0
    rejected: int = 0
    failed: int = 0
    again: int = 0
    seconds: float = 0.0
    first: float = 0.0
    state: str = "waits"

    def is_on(self) -> bool:
        """Whether it is this stage that the run is at."""
        return self.state in ("plans", "runs")

    def rate(self) -> float | None:
        """Units a second, if two or more were done."""
        if self.done > 1 and self.seconds > self.first:
            return (self.done - 1) / (self.seconds - self.first)
        return self.done / self.seconds if self.done and self.seconds else None

    def spectra_rate(self) -> float | None:
        """Spectra a second."""
        rate = self.rate()
        return rate * self.spectra / self.done if rate and self.spectra else None

    def seconds_left(self) -> float | None:
        """Seconds that the rest of the stage takes at this rate; None if not known."""
        rate, left = self.rate(), self.units - self.done
        if self.state == "plans":
            return None
        if not left:
            return 0.0
        return left / rate if self.done >= _ENOUGH and rate else None


def progress_path(directory: Path) -> Path:
    """Where a run says how far it is."""
    return directory / "work" / "progress.json"


def read_progress(directory: Path) -> tuple[dict[str, Any], list[StageProgress]] | None:
    """Return what a run last said of itself, and its stages; None if it said nothing."""
    try:
        told = json.loads(progress_path(directory).read_bytes())
        known = {field.name for field in fields(StageProgress)}
        stages = [
            StageProgress(**{n: value for n, value in one.items() if n in known})
            for one in told.pop("stages")
        ]
        return {**told, "pid": int(told["pid"]), "host": str(told["host"])}, stages
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


@dataclass(frozen=True)
class Counter:
    """Counts the units of one stage."""

    stage: StageProgress
    began: float
    moved: Callable[[], object]

    def add(self, units: int) -> None:
        """Take note of more units: one was cut into several."""
        self.stage.units += units

    def advance(self, facts: Mapping[str, Any], again: bool = False) -> None:
        """Count a unit that is done; ``again`` if it failed and will be tried again."""
        stage = self.stage
        stage.done += 1
        stage.first = stage.first or time.monotonic() - self.began
        stage.spectra += _spectra(facts)
        stage.rejected += _number(facts.get("rejected"))
        stage.failed += (
            len(lost) if isinstance(lost := facts.get("failed"), list) else 0
        )
        stage.again += again
        self.moved()


class Progress:
    """What a run has done; inside of `told` it is written down every second."""

    def __init__(
        self, hold: Hold, stages: Sequence[tuple[str, str]], workers: str
    ) -> None:
        """Begin; ``stages``: the name of each and what it does.

        ``workers``: who works, if this is not the only process.
        """
        self._hold, self._path = hold, progress_path(hold.directory)
        self._lock = threading.Lock()
        self._last_time = _last_time(hold.directory)
        self._began = time.monotonic()
        self._stage_began = self._began
        self._process, self._peak, self._children = psutil.Process(), 0, workers != ""
        self.stages = [StageProgress(name, says) for name, says in stages]
        self._told: dict[str, Any] = {
            "state": "runs",
            "because": "",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "workers": workers,
            "command": _command(),
            "folder": str(Path.cwd()),
            "started": _now(),
        }

    @contextmanager
    def told(self) -> Iterator["Progress"]:
        """Write every second, and at the end how it ended."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        closing = None  # of what ends a process without a word, status finds out itself
        self._write()
        thread.start()
        try:
            with in_emergency(lambda why: self._close("stopped", why)):
                yield self
            closing = ("ended", "")
        except KeyboardInterrupt as error:
            closing = ("stopped", str(error) or "Stopped by Ctrl-C")
            raise
        except Exception as error:
            closing = ("failed", _because(error))
            raise
        finally:
            ended.set()
            thread.join(5.0)
            if closing:
                self._close(*closing)

    def begin(self, name: str) -> None:
        """Begin a stage; its units are planned next."""
        self._stage_began = time.monotonic()
        self._stage(name).state = "plans"
        self._write()

    def counter(
        self, name: str, units: int, before: int, moved: Callable[[], object]
    ) -> Counter:
        """Return what counts so many units, where others were done before.

        ``moved`` is called for each.
        """
        stage = self._stage(name)
        stage.units, stage.before = units, before
        stage.state = "runs"
        self._write()
        return Counter(stage, self._stage_began, moved)

    def end(self, name: str) -> None:
        """End a stage."""
        stage = self._stage(name)
        stage.seconds = time.monotonic() - self._stage_began
        stage.state = "done"

    def found(self, lines: Sequence[str]) -> None:
        """Keep what the run says at its end."""
        self._told["found"] = [line for line in lines if line]

    def describe_times(self) -> str:
        """Say what took how long, the longest first, with spectra a second."""
        worked = [stage for stage in self.stages if stage.seconds >= 0.05]
        each = []
        for stage in sorted(worked, key=lambda stage: -stage.seconds):
            text = f"{stage.name} {stage.seconds:.1f} s"
            if stage.spectra:
                text += f" ({stage.spectra / stage.seconds:.3g} spectra/s)"
            each.append(text)
        total = sum(stage.seconds for stage in self.stages)
        return f"{total:.1f} s: {', '.join(each) or 'nothing was to be done'}"

    def _stage(self, name: str) -> StageProgress:
        return next(stage for stage in self.stages if stage.name == name)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            self._write()

    def _close(self, state: str, because: str) -> None:
        self._told |= {"state": state, "because": because}
        self._write()

    def _write(self) -> None:
        memory, processes = self._memory()
        # Two threads write: what is said last must be the newest.
        with self._lock, suppress(OSError, LostDirectory):
            now, began = time.monotonic(), self._stage_began
            for stage in self.stages:
                if stage.is_on():
                    stage.seconds = max(0.0, now - began)
            told = self._told | {
                "said": _now(),
                "seconds": round(now - self._began, 3),
                "memory_bytes": memory,
                "peak_memory_bytes": self._peak,
                "processes": processes,
                "last_time": self._last_time,
                "stages": [asdict(stage) for stage in self.stages],
            }
            # A full disk, or a directory that has gone, is for others to tell.
            self._hold.check()
            _overwrite(self._path, json.dumps(told).encode())

    def _memory(self) -> tuple[int, int]:
        """Return the memory of this process and of its children, and how many they are."""
        total, processes = 0, 0
        with suppress(psutil.Error, OSError):
            family = [self._process]
            if self._children:
                family += self._process.children(recursive=True)
            for process in family:
                with suppress(psutil.Error, OSError):
                    total += process.memory_info().rss
                    processes += 1
        self._peak = max(self._peak, total, _own_peak())
        return total, processes


def _overwrite(path: Path, content: bytes) -> None:
    """Write whole or not at all; in place where the disk is full, in the same blocks."""
    content = content.ljust(-(-len(content) // _BLOCK) * _BLOCK)
    part = path.with_name(".progress.json")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        if path.stat().st_size < len(content):
            raise
        with path.open("r+b", buffering=0) as file:
            file.write(content)
            file.truncate()


def _own_peak() -> int:
    """Return the most memory that this process has had, where the system tells."""
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _last_time(directory: Path) -> dict[str, float]:
    """Return how long each stage took when it last had something to do."""
    before = read_progress(directory)
    if before is None:
        return {}
    told, stages = before
    known = told.get("last_time")
    known = dict(known) if isinstance(known, dict) else {}
    done = {s.name: s.seconds for s in stages if s.done and s.state == "done"}
    return known | done


def _command() -> str:
    """Return the command line, if this is one of ours."""
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else ""
    if name != "steadystar":
        return ""
    return shlex.join(["steadystar", *sys.argv[1:]])


def _because(error: Exception) -> str:
    if (fault := machine_error(error)) or isinstance(fault := error, OSError):
        return explain_os_error(fault)
    said = next(iter(str(error).strip().splitlines()), "")
    return said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _spectra(facts: Mapping[str, Any]) -> int:
    """Return how many spectra a unit was about, as far as its facts tell."""
    rows = facts.get("rows")
    known = [facts.get(name) for name in ("spectra", "visits")]
    known += (
        [facts.get("measured")] if "base" in facts else []
    )  # of a shard, the new ones
    known += [rows.get("velocities")] if isinstance(rows, Mapping) else []
    return next((value for value in known if isinstance(value, int)), 0)
