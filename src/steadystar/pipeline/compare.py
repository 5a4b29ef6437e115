"""Compare two catalogs: from two tables to matched stars, statistics and a page."""

__all__ = ["compare_tables", "parse_range"]

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from steadystar.infer.catalog import read_catalog
from steadystar.infer.compare import compare_catalogs
from steadystar.infer.comparison import CompareOptions, Comparison
from steadystar.pipeline.answers import Answer
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import content_hash, fingerprint
from steadystar.publish.compare_page import write_compare_page
from steadystar.publish.figures.compare_quantity import plus_minus
from steadystar.survey.columns import CatalogError


def compare_tables(
    a: Path,
    b: Path,
    directory: Path,
    options: CompareOptions | None = None,
    *,
    columns_a: Mapping[str, str] | str | None = None,
    columns_b: Mapping[str, str] | str | None = None,
    quiet: bool = True,
) -> Comparison:
    """Compare two catalogs of stars, and write all results.

    Arguments:
        a, b: Parquet, FITS, VOTable, ECSV or CSV; or the directories of runs.
        directory: where the results go; made if need be.
        options: how.
        columns_a, columns_b: our names of the columns of both tables.
        quiet: write to ``run.log`` only.

    Writes ``compare.parquet`` (stars in both), ``unmatched.parquet``,
    ``high-velocity.parquet``, ``compare.zip`` (`Comparison.save`), ``summary.json`` and
    ``report/index.html``.

    Raises:
        ValueError: a table cannot be read, or there is nothing to compare; the message
            says what to do.
    """
    options = options or CompareOptions()
    also, key = options.wanted, options.key
    first = read_catalog(a, columns_a, also, key)
    second = read_catalog(b, columns_b, also, key)
    writes = ("compare", "unmatched", "high-velocity")
    answer = Answer(directory, "compare", [_file(a), _file(b)], writes)
    comparison = compare_catalogs(first, second, options)
    with answer.begun(quiet) as log:
        for letter, catalog, path in (("A", first, a), ("B", second, b)):
            log.say(
                f"{letter:<12}{len(catalog.frame):,} stars of {printable(str(path))}"
            )
        origin = _origin((a, b), [repr(options), str(columns_a), str(columns_b)])
        frames = (comparison.matches, comparison.unmatched, comparison.fast)
        for name, frame in zip(writes, frames, strict=True):
            answer.table(name, frame, origin)
        answer.file("compare.zip", comparison.save)
        answer.summary(comparison.summary(), origin)
        title = f"{first.name} against {second.name}"
        answer.report(lambda part: write_compare_page(part, comparison, title))
        for line in [*_lines(comparison), *answer.lines()]:
            log.say(line)
    return comparison


def _origin(paths: Sequence[Path], given: Sequence[str]) -> dict[str, str]:
    """Return what every table says of its origin."""
    content = [content_hash(_file(path)) for path in paths]
    return {
        "steadystar.version": version("steadystar"),
        "steadystar.configuration": fingerprint(list(given))[:16],
        "steadystar.inputs": fingerprint(content)[:16],
    }


def parse_range(words: str) -> tuple[str, tuple[float, float]]:
    """Read ``"teff=4000:7000"`` as a quantity and its limits; either may be left out.

    Raises:
        CatalogError: it is not of that form.
    """
    name, _, limits = (part.strip() for part in words.partition("="))
    low, colon, high = (part.strip() for part in limits.partition(":"))
    try:
        if not (name and colon and (low or high)):
            raise ValueError
        return name, (float(low or -np.inf), float(high or np.inf))
    except ValueError:
        raise CatalogError(
            f"{words!r} is no range: write QUANTITY=LOW:HIGH, such as teff=4000:7000 or "
            "feh=-1:."
        ) from None


def _file(path: Path) -> Path:
    """The file behind a catalog: of a directory, its stars."""
    if not path.is_dir():
        return path
    inside = path / "stars.parquet"
    return inside if inside.is_file() else path / "run" / "stars.parquet"


def _lines(comparison: Comparison) -> list[str]:
    """Say what was found, a line each."""
    lines = []
    for i, (quantity, s) in enumerate(comparison.statistics.items()):
        text = (
            f"{quantity}: {s.n:,} stars, A - B = "
            f"{plus_minus(s.bias, s.bias_err, s.unit)}"
        )
        if np.isfinite(s.scatter):
            text += f", scatter {plus_minus(s.scatter, s.scatter_err, s.unit)}"
        if s.n_outliers:
            text += f", {s.n_outliers:,} outliers"
        lines.append(f"{'' if i else 'Compared':<12}{text}")
    for i, note in enumerate(comparison.notes):
        lines.append(f"{'' if i else 'Notes':<12}{note}")
    return lines
