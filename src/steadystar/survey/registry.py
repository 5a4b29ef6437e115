"""Readers, in the order in which they are asked, and the one call that reads a file.

Surveys come first, readers of other packages next, general formats last; the first
reader that recognizes a file reads it. `read` raises `UnreadableFile` and nothing else,
whatever a file holds.

Another package offers a reader through the entry-point group ``steadystar.readers``: an
instance, or a class or function that makes one without arguments, of what `Reader`
describes. One that cannot be loaded is listed with the reason; one that fails on a file
is reported as an unreadable file.
"""

__all__ = [
    "GROUP",
    "ReadOptions",
    "Reader",
    "UnreadableFile",
    "formats",
    "read",
    "readers",
]

import difflib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from steadystar.survey.apogee import ApogeeReader
from steadystar.survey.files import describe_content, load, peek
from steadystar.survey.generic import FitsReader, TextReader
from steadystar.survey.lamost import LamostReader
from steadystar.survey.observation import Observation, ReadOptions, UnreadableFile
from steadystar.survey.shards import ShardReader
from steadystar.survey.specutils_reader import SpecutilsReader

GROUP = "steadystar.readers"
"""The entry-point group of readers from other packages."""

_logger = logging.getLogger(__name__)


@runtime_checkable
class Reader(Protocol):
    """What reads one kind of file.

    ``name`` is short and unique; ``description`` says in half a sentence which files it
    reads. ``matches`` looks at the file (not only at its name) and is quick; ``read``
    returns an observation, or raises `UnreadableFile`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def description(self) -> str: ...  # noqa: D102

    def matches(self, path: str | Path) -> bool: ...  # noqa: D102

    def read(self, path: str | Path, options: ReadOptions) -> Observation: ...  # noqa: D102


def readers() -> list[Reader]:
    """Return all readers that can be used, in the order in which they are asked."""
    return [*_SURVEYS, *_plugins()[0], *_GENERAL]


_DEFAULTS = ReadOptions()


def read(path: str | PathLike[str], options: ReadOptions = _DEFAULTS) -> Observation:
    """Read the spectra of one file.

    Raises:
        UnreadableFile: whatever is wrong with the file; it says which reader declined
            it, and why.
        ValueError: ``options.reader`` is not the name of a reader.
    """
    path = Path(path)
    if options.reader:
        return _read(_named(options.reader), path, options)
    # A missing or unreadable file is the same to all readers.
    head = peek(path, 512)
    tried = []
    for reader in readers():
        if reader.matches(path):
            try:
                return _read(reader, path, options)
            except UnreadableFile as error:
                if error.tried:
                    raise
                sentence = f"{reader.name} ({error.reason})"
                raise UnreadableFile(
                    error.path, error.reason, error.remedy, (*tried, sentence)
                ) from error
        tried.append(f"{reader.name} (it reads {reader.description})")
    # A damaged gzip shows only when it is read to its end.
    load(path, options.max_bytes)
    raise UnreadableFile(
        path,
        f"no reader recognizes it; it looks {_like(head)}",
        "Convert it to one of the formats that `steadystar formats` lists.",
        tried,
    )


def _read(reader: Reader, path: Path, options: ReadOptions) -> Observation:
    # Damaged numbers overflow on their way; what they become is checked at its end.
    with np.errstate(all="ignore"):
        return reader.read(path, options)


def formats() -> pl.DataFrame:
    """Return the readers as a table: ``name, description, source, problem``.

    ``source`` is "steadystar" or the package of a plug-in; ``problem`` says why a
    plug-in cannot be used, and is empty otherwise.
    """
    good, problems = _plugins()
    rows = [
        *((r.name, r.description, "steadystar", "") for r in _SURVEYS),
        *((r.name, r.description, r.source, "") for r in good),
        *((r.name, r.description, "steadystar", "") for r in _GENERAL),
        *problems,
    ]
    names = ("name", "description", "source", "problem")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


_SURVEYS: tuple[Reader, ...] = (ShardReader(), LamostReader(), ApogeeReader())
_GENERAL: tuple[Reader, ...] = (FitsReader(), TextReader(), SpecutilsReader())


def _like(head: bytes) -> str:
    kind = describe_content(head)
    return (
        kind if kind.startswith(("empty", "binary", "compressed")) else f"like {kind}"
    )


def _named(name: str) -> Reader:
    known = {reader.name: reader for reader in readers()}
    if name in known:
        return known[name]
    for broken, _, _, problem in _plugins()[1]:
        if broken == name:
            raise ValueError(f"The reader {name!r} cannot be used: {problem}.")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"There is no reader {name!r}. {hint}There are: {', '.join(known)}."
    )


@dataclass(frozen=True)
class _Plugin:
    """A reader of another package, whose failures become ours."""

    reader: Any
    name: str
    description: str
    source: str

    def matches(self, path: str | Path) -> bool:
        try:
            return bool(self.reader.matches(path))
        except Exception as error:
            # Not ours to repair, and no reason to keep other readers from the file.
            _logger.exception("Reader %s of %s failed", self.name, self.source)
            raise self._failed(path, error) from error

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        try:
            observation = self.reader.read(path, options)
        except UnreadableFile:
            raise
        except Exception as error:
            raise self._failed(path, error) from error
        if not isinstance(observation, Observation):
            raise UnreadableFile(
                path,
                f"the reader {self.name} returned {type(observation).__name__} instead "
                "of an observation",
                f"Tell the authors of {self.source}.",
            )
        return observation

    def _failed(self, path: str | Path, error: Exception) -> UnreadableFile:
        why = " ".join(str(error).split())[:200]
        return UnreadableFile(
            path,
            f"the reader {self.name} failed ({type(error).__name__}: {why})",
            f"Tell the authors of {self.source}, or name another reader.",
        )


@lru_cache(maxsize=1)
def _plugins() -> tuple[tuple[_Plugin, ...], tuple[tuple[str, str, str, str], ...]]:
    """Return the plug-ins that can be used, and a row of `formats` for the others."""
    good: list[_Plugin] = []
    bad: list[tuple[str, str, str, str]] = []
    taken = {reader.name for reader in (*_SURVEYS, *_GENERAL)}
    for point in _entry_points():
        source = point.dist.name if point.dist else "an unknown package"
        try:
            plugin = _load(point, source)
        except _Unusable as error:
            bad.append((point.name, "", source, str(error)))
            continue
        if plugin.name in taken:
            why = f"there is another reader of the name {plugin.name}"
            bad.append((plugin.name, plugin.description, source, why))
            continue
        taken.add(plugin.name)
        good.append(plugin)
    for name, _, source, why in bad:
        _logger.warning("The reader %s of %s is not used: %s.", name, source, why)
    return tuple(good), tuple(bad)


def _entry_points() -> Iterator[EntryPoint]:
    # Installation order differs between machines; names do not.
    return iter(sorted(entry_points(group=GROUP), key=lambda point: point.name))


class _Unusable(Exception):
    """A plug-in that is no reader."""


def _load(point: EntryPoint, source: str) -> _Plugin:
    try:
        reader: Any = point.load()
        if isinstance(reader, type) or not _is_reader(reader):
            reader = reader()
        plugin = _Plugin(reader, reader.name, reader.description, source)
        usable = _is_reader(reader)
    except Exception as error:
        raise _Unusable(f"{type(error).__name__}: {error}") from error
    if not usable:
        raise _Unusable("it lacks name, description, matches or read")
    return plugin


def _is_reader(value: Any) -> bool:
    return (
        isinstance(getattr(value, "name", None), str)
        and isinstance(getattr(value, "description", None), str)
        and callable(getattr(value, "matches", None))
        and callable(getattr(value, "read", None))
    )
