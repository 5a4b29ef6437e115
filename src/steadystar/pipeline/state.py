"""How far the run in a directory is, whether it lives, and what it has found so far.

The run's own words (`progress`) tell the moment, the ledger what is done and what failed,
the lock whether a process of this machine holds the directory. On another machine nobody
can be asked: then all that can be said is when it last said something.
"""

__all__ = ["NoResults", "RunState", "look", "no_results"]

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import Ledger, Record
from steadystar.pipeline.lock import holder
from steadystar.pipeline.progress import StageProgress, read_progress

Condition = Literal[
    "running", "elsewhere", "ended", "stopped", "failed", "died", "written", "unknown"
]
"""``elsewhere``: on a machine that cannot be asked. ``died``: ended without a word.
``written``: results of a command that keeps no ledger. ``unknown``: a run of an older
version, of which only the ledger is known."""

_SILENT = 30.0
"""A run that has said nothing for this long, s, has probably ended."""


class NoResults(ValueError):
    """A directory without results; the message says what to do."""


def no_results(directory: Path) -> NoResults:
    """Return the error that says that there is nothing."""
    shown = printable(str(directory))
    if (directory / "run" / "work").is_dir():
        inside = printable(str(directory / "run"))
        return NoResults(
            f"There are no results in {shown}, but in {inside}: name that."
        )
    return NoResults(
        f"There are no results in {shown}. Name the directory that was given to "
        "`steadystar run`, `hot`, `calibrate` or `distances` with -o."
    )


@dataclass(frozen=True)
class RunState:
    """What can be known of a run directory now.

    ``told`` is what the run last said of itself, ``stages`` its stages; ``records`` those
    of the ledger by stage; ``busy`` who holds the lock; ``summary`` the summary.json of
    the last run that ended.
    """

    directory: Path
    condition: Condition
    told: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[StageProgress, ...] = ()
    records: Mapping[str, Mapping[str, Record]] = field(default_factory=dict)
    busy: str | None = None
    damaged: tuple[Path, ...] = ()
    summary: Mapping[str, Any] | None = None

    @property
    def current(self) -> StageProgress | None:
        """The stage at work, or at which the run ended too early."""
        return next((stage for stage in self.stages if stage.is_on()), None)

    @property
    def silent(self) -> float | None:
        """Seconds since the run said something, by the clocks of its machine and ours."""
        try:
            said = datetime.fromisoformat(self.told["said"])
            return (datetime.now(UTC) - said).total_seconds()
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def probably_ended(self) -> bool:
        """Whether a run elsewhere has been silent for too long."""
        return (self.silent or 0.0) > _SILENT

    def last_time(self) -> float | None:
        """Seconds that the stages after the present one took the last time, if known."""
        known = self.told.get("last_time") or {}
        later = [stage.name for stage in self.stages if stage.state == "waits"]
        if not later or not all(name in known for name in later):
            return None
        return float(sum(known[name] for name in later))

    def seconds_left(self) -> float | None:
        """Seconds to the end; known where earlier runs tell of all later stages."""
        current = self.current
        if current is None or self.condition not in ("running", "elsewhere"):
            return None
        later = any(stage.state == "waits" for stage in self.stages)
        here, after = current.seconds_left(), self.last_time() if later else 0.0
        return None if here is None or after is None else here + after

    @cached_property
    def rejected(self) -> int:
        """Files, or parts of files, that could not be read."""
        facts = [record.facts for record in self.records.get("read", {}).values()]
        return sum(int(one.get("rejected", 0)) for one in facts)

    @cached_property
    def rejected_because(self) -> dict[str, int]:
        """The most frequent reasons, as far as they are on the disk."""
        found: dict[str, int] = {}
        for record in self.records.get("read", {}).values():
            if not record.facts.get("rejected") or "rejected" not in record.outputs:
                continue
            path = self.directory / record.outputs["rejected"].path
            try:
                reasons = pl.read_parquet(path, columns=["reason"])["reason"]
            except (OSError, pl.exceptions.PolarsError):  # replaced at this moment
                continue
            for reason in reasons:
                found[reason] = found.get(reason, 0) + 1
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:5])

    @cached_property
    def failed(self) -> dict[str, int]:
        """Stars whose measuring failed, by stage."""
        counts = {
            name: sum(_length(one.facts.get("failed")) for one in records.values())
            for name, records in self.records.items()
        }
        return {name: count for name, count in counts.items() if count}

    @cached_property
    def again(self) -> dict[str, int]:
        """Units that failed as a whole and will be tried again, by stage."""
        counts = {
            name: sum(not record.fingerprint for record in records.values())
            for name, records in self.records.items()
        }
        return {name: count for name, count in counts.items() if count}

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        names = ("host", "pid", "workers", "command", "folder", "started", "said")
        more = ("seconds", "memory_bytes", "peak_memory_bytes", "processes", "because")
        current = self.current
        return {
            "directory": str(self.directory),
            "condition": self.condition,
            **{name: self.told.get(name) for name in (*names, *more)},
            "seconds_silent": self.silent,
            "stage": current.name if current else None,
            "seconds_left_of_stage": current.seconds_left() if current else None,
            "seconds_left": self.seconds_left(),
            "stages": [_stage_facts(stage) for stage in self.stages],
            "ledger": {
                name: {
                    "units": len(records),
                    "seconds": round(sum(one.seconds for one in records.values()), 3),
                    "finished": max(
                        (one.finished for one in records.values()), default=""
                    ),
                }
                for name, records in self.records.items()
            },
            "rejected": self.rejected,
            "rejected_because": self.rejected_because,
            "failed": self.failed,
            "tried_again": self.again,
            "damaged": [str(path) for path in self.damaged],
            "summary": self.summary,
        }


def _stage_facts(stage: StageProgress) -> dict[str, Any]:
    known = {name: value for name, value in vars(stage).items() if name != "says"}
    return known | {
        "units_per_second": stage.rate(),
        "spectra_per_second": stage.spectra_rate(),
    }


def look(directory: Path) -> RunState:
    """Find out how far the run in ``directory`` is.

    Raises:
        NoResults: there was no run in it.
    """
    directory = directory.absolute()
    ledger, summary = Ledger(directory), _summary(directory)
    found = read_progress(directory)
    if found is None and not ledger.folder.is_dir():
        if summary is None:
            raise no_results(directory)
        return RunState(directory, "written", summary=summary)
    told, stages = found or ({}, [])
    busy = holder(directory)
    names = [stage.name for stage in stages] or _names(ledger)
    records = {name: ledger.records(name) for name in names}
    return RunState(
        directory,
        _condition(told, busy),
        told,
        tuple(stages),
        records,
        busy,
        tuple(ledger.unreadable),
        summary,
    )


def _condition(told: Mapping[str, Any], busy: str | None) -> Condition:
    if busy:
        return "running"
    if not told:
        return "unknown"
    state = told.get("state")
    for known in ("ended", "stopped", "failed"):
        if state == known:
            return known
    return "died" if told["host"] == socket.gethostname() else "elsewhere"


def _names(ledger: Ledger) -> list[str]:
    """Stages of which there are records, the earliest first."""
    folders = [path.name for path in ledger.folder.glob("*") if path.is_dir()]
    last = {
        name: max((one.finished for one in ledger.records(name).values()), default="")
        for name in folders
    }
    return sorted(folders, key=lambda name: last[name])


def _summary(directory: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0
