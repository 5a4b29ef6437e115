"""From files to batches: each file is read once, and ends in rows or is rejected.

A batch is the unit of work. It leaves a table of visits, a file of spectra for each
survey and frame in it, and a table of what was rejected. A shard of our own is a batch
already: it is linked, not read. Which of its files still count
is decided anew in every run: a file that was changed is read again into a new batch and
its old rows are left behind; one that is no longer among the inputs keeps its place,
in case it is named again.
"""

__all__ = [
    "NO_VISITS",
    "BatchFile",
    "known_files",
    "plan_reading",
    "read_batch",
    "reject_batch",
    "split_batch",
]

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from steadystar.data.schema import conform, empty
from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.faults import machine_error, out_of_memory, refused
from steadystar.pipeline.inputs import InputFile, link_or_copy, printable
from steadystar.pipeline.ledger import (
    Record,
    atomic,
    content_hash,
    fingerprint,
)
from steadystar.pipeline.units import Result, Run, Stage, Unit, first_line, write_tables
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    UnreadableFile,
    rejected_rows,
)
from steadystar.survey.registry import read, readers
from steadystar.survey.shards import read_shard_visits, write_shard

_SHARD = ".parquet"


@dataclass(frozen=True)
class BatchFile:
    """A file that was read: the batch it is in, its place there, and its content."""

    batch: str
    index: int
    name: str
    sha256: str


@dataclass(frozen=True)
class _Job:
    files: tuple[InputFile, ...]
    options: ReadOptions


def known_files(run: Run, batches: Iterable[Record]) -> dict[str, BatchFile]:
    """Return which of the present inputs are in ``batches``, unchanged, by path.

    A file whose times differ but whose content does not is the same file, and so is one of
    the same name, size and content in another folder; the ledger takes note.
    """
    batches = list(batches)
    present = {file.path: file for file in run.found.files}
    read_before = {info["path"] for record in batches for info in record.facts["files"]}
    moved = {
        (file.name, file.size): file
        for file in run.found.files
        if file.path not in read_before
    }
    known: dict[str, BatchFile] = {}
    for record in batches:
        touched = False
        for index, info in enumerate(record.facts["files"]):
            file = present.get(info["path"], moved.get((info["name"], info["size"])))
            if file is None or not _same(info, file):
                continue
            if not info["sha256"] and file.path in known:  # another time it was opened
                continue
            place = {n: getattr(file, n) for n in ("path", "mtime_ns", "ctime_ns")}
            touched |= info != info | place
            info |= place
            known[file.path] = BatchFile(
                record.unit, index, info["name"], info["sha256"]
            )
        if touched:
            run.ledger.commit(record)
    return known


def plan_reading(run: Run, stage: Stage) -> list[Unit]:
    """Keep the batches whose files are still on the disk; divide what is new."""
    names = sorted(reader.name for reader in readers())
    chosen = run.configuration.read.reader
    if chosen and chosen not in names:
        raise ConfigurationError(
            f"There is no reader {chosen!r} (option read.reader). There are: "
            f"{', '.join(names)}."
        )
    done = []
    for unit in run.ledger.records(stage.name):
        mark = stage.mark(run.configuration, [names, unit])
        record = run.ledger.done(stage.name, unit, mark)
        done += [record] if record else []
    known = {
        path: file
        for path, file in known_files(run, done).items()
        if file.sha256  # else it could not be opened then
    }
    live = {file.batch for file in known.values()}
    kept = [
        record
        for record in done
        if record.unit in live or any(_on_disk(info) for info in record.facts["files"])
    ]
    new = [file for file in run.found.files if file.path not in known]
    run.news.extend(_news(run, kept, known, new))
    groups = _batches(new, run.configuration.run.files_per_batch)
    return [
        *(Unit(record.unit, [names, record.unit], None) for record in kept),
        *(_unit(files, run.configuration.read, names) for files in groups),
    ]


def _batches(files: list[InputFile], size: int) -> Iterator[tuple[InputFile, ...]]:
    """Divide files into batches; what may be a shard stays alone, to be used as it is."""
    shards = [file for file in files if file.path.endswith(_SHARD)]
    others = [file for file in files if not file.path.endswith(_SHARD)]
    yield from ((file,) for file in shards)
    for first in range(0, len(others), size):
        yield tuple(others[first : first + size])


def _news(
    run: Run,
    kept: list[Record],
    known: Mapping[str, BatchFile],
    new: list[InputFile],
) -> Iterator[str]:
    """Say which files are not as the last run left them."""
    read_before = {info["path"] for record in kept for info in record.facts["files"]}
    changed = sum(file.path in read_before for file in new)
    present = {file.path for file in run.found.files}
    absent = [Path(path) for path in read_before - present]
    gone = sum(not path.exists() for path in absent)
    if changed:
        yield f"{changed} files have changed since they were read: they are read again."
    if known and len(new) > changed:
        yield f"{len(new) - changed} files are new."
    if gone:
        yield f"{gone} files that were read before are gone: their rows are left out."
    if len(absent) > gone:
        yield (
            f"{len(absent) - gone} files that were read before are not among the "
            "inputs: their rows are left out. Name them too if that is not meant; they "
            "will not be read again."
        )


def split_batch(unit: Unit) -> list[Unit]:
    """Cut a batch whose worker died into single files, to find the one that did it."""
    names = unit.inputs[0]
    return [_unit((file,), unit.job.options, names) for file in unit.job.files]


def _unit(files: tuple[InputFile, ...], options: ReadOptions, names: list[str]) -> Unit:
    name = fingerprint([asdict(file) for file in files])[:12]
    return Unit(name, [names, name], _Job(files, options))


def _same(info: Mapping[str, Any], file: InputFile) -> bool:
    if file.size != info["size"]:
        return False
    times = ("path", "mtime_ns", "ctime_ns")
    if all(getattr(file, name) == info.get(name) for name in times):
        return True
    try:
        return content_hash(Path(file.path)) == info["sha256"]
    except OSError:
        return False


def _on_disk(info: Mapping[str, Any]) -> bool:
    try:
        return Path(info["path"]).stat().st_size == info["size"]
    except OSError:
        return False


def read_batch(job: _Job, prefix: Path) -> Result:
    """Read every file of a batch; whatever a file holds, the others are read."""
    taken = _taken(job, prefix)
    if taken is not None:
        return taken
    groups: dict[tuple[str, str], list[Observation]] = {}
    rejected, infos, notes = [], [], []
    for index, file in enumerate(job.files):
        observation, rows, trouble, again = _read_file(file, job.options)
        if observation is not None and len(observation):
            survey = observation.visits["survey"].fill_null("").first()
            visits = observation.visits.with_columns(_file=pl.lit(index, pl.Int64))
            groups.setdefault((str(survey), observation.spectra.frame), []).append(
                Observation(visits, observation.spectra, observation.rejected)
            )
        rejected.append(rows.with_columns(_file=pl.lit(index, pl.Int64)))
        infos.append(asdict(file) | {"sha256": "" if again else _hash(file.path)})
        notes += trouble
    return _write(groups, pl.concat(rejected), infos, tuple(notes), prefix)


def _taken(job: _Job, prefix: Path) -> Result | None:
    """Take a shard as it is, pixels unread; None if it has to be read after all."""
    file, *others = job.files
    if others or not file.path.endswith(_SHARD) or job.options != ReadOptions():
        return None
    try:
        with _under_any_name(file) as path:
            visits, frame = read_shard_visits(path)
            named = _named_visits(visits, path, file)
    except UnreadableFile:
        return None  # another reader may know it, or has the sentence
    if not len(visits) or not named.equals(visits):
        return None
    spectra = prefix.with_name(f"{prefix.name}-spectra-0.parquet")
    with atomic(spectra) as part:
        link_or_copy(Path(file.path), part)
    survey = str(visits["survey"].fill_null("").first())
    infos = [asdict(file) | {"sha256": _hash(file.path)}]
    with suppress(OSError):  # a link is a change of the file's entry: of our making
        infos[0]["ctime_ns"] = Path(file.path).stat().st_ctime_ns
    rows = named.with_columns(_file=pl.lit(0, pl.Int64))
    return _finished(
        {"spectra-0": spectra},
        [_placed(rows, 0, infos)],
        conform(rejected_rows(), "rejected").with_columns(_file=pl.lit(0, pl.Int64)),
        infos,
        ((survey, frame),),
        (),
        prefix,
    )


def reject_batch(job: _Job, prefix: Path, reason: str) -> Result:
    """Say of a file that reading it ended its process: the row of last resort."""
    (file,) = job.files
    rows = [_row(file, "", f"Reading it ended the process: {reason}", _AGAIN)]
    rejected = pl.DataFrame(rows).with_columns(_file=pl.lit(0, pl.Int64))
    infos = [asdict(file) | {"sha256": ""}]
    return _write({}, rejected, infos, (f"{file.name}: {reason}",), prefix)


_AGAIN = "Run again to try it once more, or take it out of the input folder."
_REPORT = (
    "This is a fault of the program, not of yours: run.log has the details. Take the "
    "file out of the input folder to be rid of this row."
)


def _read_file(
    file: InputFile, options: ReadOptions
) -> tuple[Observation | None, pl.DataFrame, list[str], bool]:
    """Return what a file holds, what of it was rejected, what the log should say.

    Last, whether to try it again in the next run: what the disk or the system refused
    need not be refused for ever. What no file is to blame for, as a full disk, is raised.
    """
    try:
        with _under_any_name(file) as path:
            observation = read(path, options)
        visits = _named_visits(observation.visits, path, file)
        rejected = conform(_renamed(observation.rejected, path, file), "rejected")
        observation = Observation(visits, observation.spectra, rejected)
    except UnreadableFile as error:
        _raise_fault(error)
        tried = ", ".join(sentence.split(" ", 1)[0] for sentence in error.tried)
        row = _row(file, tried, error.reason, error.remedy)
        again = refused(error) is not None
        return None, conform(pl.DataFrame([row]), "rejected"), [], again
    except Exception as error:  # noqa: BLE001 - one file must not end a survey
        _raise_fault(error)
        reason = f"An unexpected error: {first_line(error)}"
        row = _row(file, "", reason, _REPORT)
        trouble = f"{file.name}: {reason}\n{traceback.format_exc()}"
        again = refused(error) is not None or out_of_memory(error)
        return None, conform(pl.DataFrame([row]), "rejected"), [trouble], again
    if not len(observation) and not len(rejected):
        row = _row(file, "", "It holds no spectrum", "Take it out of the input folder.")
        rejected = conform(pl.DataFrame([row]), "rejected")
    return observation, rejected, [], False


def _raise_fault(error: Exception) -> None:
    fault = machine_error(error)
    if fault is not None:
        raise fault from error


def _row(file: InputFile, reader: str, reason: str, remedy: str) -> dict[str, str]:
    reason = printable(reason.replace(file.path, file.name)).rstrip(".") + "."
    return {"path": file.name, "reader": reader, "reason": reason, "remedy": remedy}


@contextmanager
def _under_any_name(file: InputFile) -> Iterator[str]:
    """Give a path that is text: a link, where the file's own is not valid Unicode."""
    try:
        file.path.encode()
    except UnicodeEncodeError:
        with TemporaryDirectory() as folder:
            link = Path(folder) / printable(Path(file.path).name)
            link.symlink_to(file.path)
            yield str(link)
    else:
        yield file.path


def _renamed(frame: pl.DataFrame, read_as: str, file: InputFile) -> pl.DataFrame:
    """Write the file's name into ``path``, where a reader wrote where it lies."""
    paths = [
        file.name + path.removeprefix(read_as)
        if path and path.startswith(read_as)
        else path or file.name
        for path in frame["path"].to_list()
    ]
    return frame.with_columns(path=pl.Series(paths, dtype=pl.String))


def _named_visits(visits: pl.DataFrame, read_as: str, file: InputFile) -> pl.DataFrame:
    visits = conform(_renamed(visits, read_as, file), "visits")
    return visits.with_columns(visit_id=_named(visits["visit_id"], file))


def _named(visit_ids: pl.Series, file: InputFile) -> pl.Series:
    """Give spectra without an identifier the name of their file and their place in it."""
    names = [name or f"{file.name}#{n}" for n, name in enumerate(visit_ids.to_list())]
    return pl.Series("visit_id", names, dtype=pl.String)


def _hash(path: str) -> str:
    try:
        return content_hash(Path(path))
    except OSError:  # it went away while it was read; the next run sees it as changed
        return ""


NO_VISITS = empty("visits").with_columns(
    _file=pl.lit(0, pl.Int64),
    _source=pl.lit("", pl.String),
    _group=pl.lit(0, pl.Int64),
    _row=pl.lit(0, pl.Int64),
)


def _write(
    groups: Mapping[tuple[str, str], list[Observation]],
    rejected: pl.DataFrame,
    infos: list[dict[str, Any]],
    notes: tuple[str, ...],
    prefix: Path,
) -> Result:
    outputs, tables = {}, []
    for number, key in enumerate(sorted(groups)):
        observation = Observation.concatenate(groups[key])
        path = prefix.with_name(f"{prefix.name}-spectra-{number}.parquet")
        with atomic(path) as part:
            write_shard(part, observation.visits.drop("_file"), observation.spectra)
        outputs[f"spectra-{number}"] = path
        tables.append(_placed(observation.visits, number, infos))
    return _finished(outputs, tables, rejected, infos, sorted(groups), notes, prefix)


def _placed(
    visits: pl.DataFrame, group: int, infos: list[dict[str, Any]]
) -> pl.DataFrame:
    """Say of visits where their spectra are: the file's content, the group, the row."""
    return visits.with_columns(
        _source=pl.col("_file").replace_strict(
            range(len(infos)), [info["sha256"][:16] for info in infos]
        ),
        _group=pl.lit(group, pl.Int64),
        _row=pl.int_range(pl.len(), dtype=pl.Int64),
    )


def _finished(
    outputs: dict[str, Path],
    tables: list[pl.DataFrame],
    rejected: pl.DataFrame,
    infos: list[dict[str, Any]],
    groups: Iterable[tuple[str, str]],
    notes: tuple[str, ...],
    prefix: Path,
) -> Result:
    frames = {
        "visits": pl.concat([NO_VISITS, *tables], how="diagonal_relaxed"),
        "rejected": rejected,
    }
    outputs |= write_tables(frames, prefix)
    facts = {
        "files": infos,
        "groups": list(groups),
        "spectra": len(frames["visits"]),
        "rejected": len(rejected),
    }
    return Result(outputs, facts, notes)
