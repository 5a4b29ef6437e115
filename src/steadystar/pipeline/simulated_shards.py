"""A simulated survey of any size on the disk: shards of spectra, tables of the truth.

The plan is drawn at once, spectra are made shard by shard, by as many processes as
wished: what is held at a time is the plan and one shard a process. Stars are assigned
to shards as `steadystar run` assigns them, so that all spectra of a star are in one
file. Each file appears whole or not at all, and one that is there is not made again:
an interrupted simulation goes on where it stopped, and ends with the same bytes.
"""

__all__ = ["simulate_shards"]

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree

import polars as pl
import pyarrow.parquet as pq

from steadystar.data.tables import write_parquet
from steadystar.pipeline.config import ConfigurationError
from steadystar.pipeline.ledger import atomic, fingerprint
from steadystar.pipeline.simulated_pieces import (
    keep,
    shard_file,
    truth_file,
    write_kept,
    write_piece,
)
from steadystar.pipeline.workers import ONE_THREAD
from steadystar.simulate.large_survey import LargePlan, LargeSurveyOptions, draw_plan
from steadystar.survey.shards import number_of_shards, shard_of

_VERSION = 1


def simulate_shards(
    directory: Path | str,
    options: LargeSurveyOptions | None = None,
    seed: int = 1,
    workers: int = 1,
    say: Callable[[str], object] = lambda _: None,
) -> bool:
    """Write a simulated survey into ``directory``; return whether any of it was missing.

    ``spectra`` gets the shards, ``truth`` the tables ``stars``, ``exposures``,
    ``offsets`` and ``visits`` (a row a spectrum, in order of shards). The same options
    and seed give the same bytes with any number of ``workers`` (processes). ``say`` is
    called with a sentence after every twentieth part.

    Raises:
        ValueError: an option cannot be simulated.
        ConfigurationError: the directory holds something else, or a process ended.
    """
    options, directory = options or LargeSurveyOptions(), Path(directory)
    mark = fingerprint("shards", _VERSION, asdict(options), seed)
    if not _begun(directory, mark):
        return False
    plan = draw_plan(options, seed)
    shards = number_of_shards(options.spectra)
    numbers = [shard_of(star, shards) for star in plan.stars["star_id"]]
    stars = plan.stars.with_columns(shard=pl.Series(numbers, dtype=pl.Int64))
    members = {
        int(number): rows.drop("shard")
        for (number,), rows in stars.partition_by("shard", as_dict=True).items()
    }
    wanted = [n for n in sorted(members) if not _there(directory, n)]
    bare = replace(plan, stars=plan.stars.clear())
    done = len(members) - len(wanted)
    for _ in _made(directory, bare, {n: members[n] for n in wanted}, workers):
        done += 1
        if done * 20 // len(members) > (done - 1) * 20 // len(members):
            say(f"{done} of {len(members)} shards are written.")
    truth = directory / "truth"
    write_parquet(stars, truth / "stars.parquet")
    write_parquet(plan.exposures, truth / "exposures.parquet")
    write_parquet(plan.offsets(), truth / "offsets.parquet")
    _join([truth_file(directory, n) for n in sorted(members)], truth / "visits.parquet")
    _note(directory, mark, complete=True)
    rmtree(truth / "visits", ignore_errors=True)
    return True


def _begun(directory: Path, mark: str) -> bool:
    """Prepare the directory; return whether anything is left to do.

    Raises:
        ConfigurationError: it holds something else.
    """
    note, spectra = directory / "simulation.json", directory / "spectra"
    try:
        known = json.loads(note.read_text(encoding="ascii"))
    except FileNotFoundError:
        known = {}
        if spectra.is_dir() and any(spectra.iterdir()):
            known = {"mark": ""}
    except (OSError, ValueError):
        known = {"mark": ""}
    if not isinstance(known, dict) or known.get("mark", mark) != mark:
        raise ConfigurationError(
            f"{directory} holds spectra already, not of this simulation. Choose another "
            "directory, or remove it first."
        )
    if known.get("complete"):
        kept = sum(1 for _ in spectra.glob("shard-*.parquet"))
        if kept == known["shards"]:
            return False
    (directory / "truth" / "visits").mkdir(parents=True, exist_ok=True)
    spectra.mkdir(exist_ok=True)
    _note(directory, mark, complete=False)
    return True


def _note(directory: Path, mark: str, *, complete: bool) -> None:
    shards = sum(1 for _ in (directory / "spectra").glob("shard-*.parquet"))
    with atomic(directory / "simulation.json") as part:
        content = {"mark": mark, "complete": complete, "shards": shards}
        part.write_text(json.dumps(content), encoding="ascii")


def _there(directory: Path, number: int) -> bool:
    shard, truth = shard_file(directory, number), truth_file(directory, number)
    return shard.exists() and truth.exists()


def _made(
    directory: Path, plan: LargePlan, members: dict[int, pl.DataFrame], workers: int
) -> Iterator[None]:
    """Make shards, in this process or in several; yield after each.

    Raises:
        ConfigurationError: a process ended.
    """
    if workers <= 1:
        for number, stars in members.items():
            write_piece(directory, plan, stars, number)
            yield
        return
    # Processes are started afresh: a fork would copy the locks of polars' threads.
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread(),
        ProcessPoolExecutor(workers, context, keep, (directory, plan)) as pool,
    ):
        futures = [
            pool.submit(write_kept, stars, number) for number, stars in members.items()
        ]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BrokenProcessPool as error:
            raise ConfigurationError(
                "A process that made spectra ended, perhaps for want of memory. Run the "
                "same command again, with fewer workers: what is written is kept."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are started now compute with one thread each."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _join(pieces: list[Path], path: Path) -> None:
    """Join tables of one form, one in memory at a time."""
    with atomic(path) as part:
        schema = pq.read_schema(pieces[0])
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for piece in pieces:
                writer.write_table(pq.read_table(piece))
