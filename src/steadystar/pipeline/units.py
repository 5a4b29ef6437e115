"""What a stage is, and what it is done to.

A stage plans its units of work in the main process, cheaply, from what the ledger says
of the stages before it. Each unit's work is a function of its job alone: it writes
files whose names begin with a given prefix, and returns where they are with a few facts
about them. It may run here or on another machine. What a later run must find unchanged
(identifiers of stars, reference templates) comes in the job as files of the record that
this unit is about to replace; they are not part of its mark, so that they never ask for
new work themselves.
"""

__all__ = [
    "Finished",
    "Pipeline",
    "Result",
    "Run",
    "Stage",
    "Unit",
    "first_line",
    "perform",
    "write_tables",
]

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from steadystar.data.tables import write_parquet
from steadystar.pipeline.compiled import publish_programs
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import Found
from steadystar.pipeline.ledger import Ledger, Output, Record, atomic, fingerprint


@dataclass(frozen=True)
class Run:
    """One run: where it writes, how it is configured, what it reads and remembers.

    ``truth`` is the folder of the tables of a simulation, if this is one. ``news`` are
    sentences that planning a stage wants to be said of it.
    """

    directory: Path
    configuration: Configuration
    found: Found
    ledger: Ledger
    truth: Path | None = None
    news: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unit:
    """A piece of a stage that is done as a whole or not at all.

    ``inputs`` is anything JSON can hold: when it changes, the unit is done again.
    """

    name: str
    inputs: Any
    job: Any


@dataclass(frozen=True)
class Result:
    """What a unit's work returns: files by name, facts to remember, notes to say."""

    outputs: dict[str, Path] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One line of the pipeline.

    ``says`` is what a progress bar shows, ``tells`` the line of the log afterwards.
    ``sections`` are those of the configuration that change its results; ``version``
    goes up when its code does. Where ``spread`` is true its units may go to workers.
    If a unit fails as a whole, ``split`` cuts it into smaller ones, and ``rescue``
    gives the rows that say so for one that cannot be cut; it is tried again next time.
    """

    name: str
    says: str
    sections: tuple[str, ...]
    version: int
    plan: Callable[[Run, "Stage"], list[Unit]]
    work: Callable[[Any, Path], Result]
    tells: Callable[[Mapping[str, Record]], str]
    spread: bool = False
    split: Callable[[Unit], list[Unit]] | None = None
    rescue: Callable[[Any, Path, str], Result] | None = None

    def mark(self, configuration: Configuration, inputs: Any) -> str:
        """Fingerprint of a unit with these inputs."""
        section = configuration.section_hash(*self.sections)
        return fingerprint(self.name, self.version, section, inputs)


@dataclass(frozen=True)
class Pipeline:
    """Stages in their order, with what frames them.

    ``check`` refuses, by an error with a sentence, options that name what is not there;
    ``conclude`` says at the end what was found, from the records by stage, how many
    units were done this time, and how long that took, in words.
    """

    stages: tuple[Stage, ...]
    check: Callable[[Configuration], None]
    conclude: Callable[
        [
            Run,
            Mapping[str, Mapping[str, Record]],
            Mapping[str, int],
            str,
        ],
        list[str],
    ]


@dataclass(frozen=True)
class Finished:
    """A unit's result, measured and ready for the ledger."""

    outputs: dict[str, Output]
    facts: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


def perform(
    work: Callable[[Any, Path], Result], job: Any, prefix: Path, base: Path
) -> Finished:
    """Do the work of one unit and describe what it wrote, relative to ``base``."""
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        result = work(job, prefix)
    publish_programs()
    said = dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught)
    outputs = {name: Output.of(path, base) for name, path in result.outputs.items()}
    seconds = round(time.perf_counter() - began, 3)
    return Finished(outputs, result.facts, result.notes, tuple(said), seconds)


def write_tables(frames: Mapping[str, pl.DataFrame], prefix: Path) -> dict[str, Path]:
    """Write each table to ``PREFIX-NAME.parquet`` and return the paths by name."""
    outputs = {n: prefix.with_name(f"{prefix.name}-{n}.parquet") for n in frames}
    for name, frame in frames.items():
        with atomic(outputs[name]) as part:
            write_parquet(frame, part)
    return outputs


def first_line(error: BaseException) -> str:
    """Return what went wrong in one line: the kind of error and its first sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
