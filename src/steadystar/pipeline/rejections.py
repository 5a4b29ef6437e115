"""What could not be used, of all files of a run, with the reason."""

__all__ = ["Rejections", "counts", "sentence_counts", "sentences"]

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadystar.data.schema import conform, empty
from steadystar.pipeline.reading import known_files
from steadystar.pipeline.units import Run


@dataclass(frozen=True)
class Rejections:
    """Where the rows are: of files that were read, of none, and of double ones."""

    refused: tuple[tuple[Path, tuple[int, ...]], ...]
    duplicates: Path
    not_files: tuple[dict[str, str], ...]
    files: int

    @classmethod
    def of(cls, run: Run) -> "Rejections":
        """Collect those of the files that count now."""
        batches = run.ledger.records("read")
        files = known_files(run, batches.values()).values()
        by_batch: dict[str, list[int]] = {}
        for file in files:
            by_batch.setdefault(file.batch, []).append(file.index)
        refused = tuple(
            (run.ledger.path(batches[name], "rejected"), tuple(sorted(index)))
            for name, index in sorted(by_batch.items())
        )
        return cls(
            refused,
            run.ledger.path(run.ledger.records("match")["all"], "duplicates"),
            tuple(run.found.rejected),
            len(files) + len(run.found.rejected),
        )

    def table(self) -> pl.DataFrame:
        """Return them as a table (schema "rejected"), sorted."""
        tables = [empty("rejected"), pl.read_parquet(self.duplicates)]
        if self.not_files:
            tables.append(conform(pl.DataFrame(list(self.not_files)), "rejected"))
        for path, files in self.refused:
            live = pl.read_parquet(path).filter(pl.col("_file").is_in(files))
            tables.append(live.drop("_file"))
        return pl.concat(tables).sort("path", "reason")


def counts(values: pl.Series) -> dict[str, int]:
    """Count the most frequent values, at most 20 of them."""
    found = values.value_counts(sort=True).sort(
        "count", values.name, descending=[True, False]
    )
    return {str(value): n for value, n in found.head(20).iter_rows()}


_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)")


def sentences(*texts: str | None) -> list[str]:
    """Split texts into their sentences, each once, in the order of the texts."""
    said = (one for text in texts if text for one in _END.split(text.strip()))
    return list(dict.fromkeys(one for one in said if one))


def sentence_counts(texts: Iterable[str | None]) -> dict[str, int]:
    """Count the kinds of sentences in ``texts``, the most frequent 20, each once a text.

    Sentences that differ in their numbers only are of one kind, told by its range: "12%
    of its pixels are damaged" and "29% of ..." count as "12 to 29% of ...".
    """
    numbers: dict[str, list[list[str]]] = {}
    for text in texts:
        own = {_NUMBER.sub("{}", one): _NUMBER.findall(one) for one in sentences(text)}
        for kind, values in own.items():
            numbers.setdefault(kind, []).append(values)
    ranked = sorted(numbers.items(), key=lambda item: (-len(item[1]), item[0]))
    return {_told(kind, found): len(found) for kind, found in ranked[:20]}


def _told(kind: str, found: list[list[str]]) -> str:
    pieces = kind.split("{}")
    text = pieces[0]
    for values, piece in zip(zip(*found, strict=True), pieces[1:], strict=True):
        low, high = min(values, key=float), max(values, key=float)
        text += (low if low == high else f"{low} to {high}") + piece
    return text
