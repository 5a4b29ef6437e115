"""A survey that never was, from files to report, compared with what was put in."""

__all__ = ["run_demo", "shown_only", "simulate", "simulate_hot"]

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.ledger import atomic, fingerprint
from steadystar.pipeline.run import Outcome, run_pipeline
from steadystar.simulate.hot_survey import write_hot_survey
from steadystar.simulate.mock import simulate_survey

_VERSION = 1
_HOT_VERSION = 1


def simulate(directory: Path, configuration: Configuration, seed: int) -> bool:
    """Write a simulated survey into ``directory``, unless it is there already.

    Files go to ``spectra``, tables of the truth to ``truth``. Returns whether anything
    had to be written: a file beside them remembers what was simulated.

    Raises:
        ValueError: an option cannot be simulated, or the directory holds shards.
    """
    options = configuration.simulate
    return _once(
        directory,
        [_VERSION, asdict(options), seed],
        lambda: simulate_survey(directory, options, seed),
    )


def simulate_hot(directory: Path, configuration: Configuration, seed: int) -> bool:
    """Write a simulated survey of hot stars, unless it is there already.

    Beside ``spectra`` and ``truth`` there is ``photometry.parquet``, magnitudes and
    parallaxes as archives give them. Returns whether anything had to be written.

    Raises:
        ValueError: an option cannot be simulated.
    """
    options = replace(configuration.hot_survey, seed=seed)
    return _once(
        directory,
        ["hot", _HOT_VERSION, asdict(options)],
        lambda: write_hot_survey(directory, options),
    )


def shown_only(configuration: Configuration) -> Configuration:
    """Return the configuration without files of figures for papers: a demo is looked at."""
    report = replace(configuration.report, paper_figures=False)
    return configuration.model_copy(update={"report": report})


def _once(directory: Path, what: list, write: Callable[[], object]) -> bool:
    mark = fingerprint(*json.loads(json.dumps(what)))
    note = directory / "simulation.json"
    known = _noted(note)
    if known == [mark, _count(directory)]:
        return False
    if isinstance(known, dict):
        raise ConfigurationError(
            f"{directory} holds shards of another simulation. Choose another directory, "
            "or remove it first."
        )
    note.unlink(missing_ok=True)
    write()
    with atomic(note) as part:
        part.write_text(json.dumps([mark, _count(directory)]), encoding="ascii")
    return True


def run_demo(
    directory: Path,
    configuration: Configuration,
    seed: int = 1,
    *,
    workers: int = 1,
    quiet: bool = False,
) -> Outcome:
    """Simulate a small survey, run everything on its files, compare with the truth.

    The results are under ``directory/run``, the truth under ``directory/truth``.
    """
    simulate(directory, configuration, seed)
    return run_pipeline(
        [directory / "spectra"],
        directory / "run",
        configuration,
        workers=workers,
        quiet=quiet,
        truth=directory / "truth",
    )


def _noted(note: Path) -> list | dict | None:
    try:
        return json.loads(note.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _count(directory: Path) -> list[int]:
    """Return how many files of spectra and of truth there are, and their bytes."""
    files = [p for kind in ("spectra", "truth") for p in (directory / kind).rglob("*")]
    files += directory.glob("photometry.parquet")
    return [len(files), sum(path.stat().st_size for path in files)]
