"""What could not be used, of all files of a run, with the reason."""

__all__ = ["Rejections", "counts"]

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
