"""Templates of stars, kept so that a star's zero stays what it was."""

__all__ = ["TEMPLATE_COLUMNS", "StarTemplates"]

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadystar.data.tables import read_metadata, read_table, write_parquet

TEMPLATE_COLUMNS = {
    "star_id": pl.String,
    "arm": pl.String,
    "reference_visit_id": pl.String,
    "start": pl.Float64,
    "step": pl.Float64,
    "zero_shift": pl.Float64,
    "template": pl.List(pl.Float32),
}


@dataclass(frozen=True)
class StarTemplates:
    """Templates of stars, one row a star and arm: what later exposures are measured on.

    Columns: ``star_id, arm, reference_visit_id, start, step`` (the grid), ``zero_shift``
    (grid steps) and ``template`` (spline coefficients, float32).
    """

    table: pl.DataFrame

    def save(self, path: Path) -> None:
        """Write the templates to a Parquet file."""
        write_parquet(self.table, path, {"kind": "star templates"})

    @classmethod
    def load(cls, path: Path) -> "StarTemplates":
        """Read what `save` wrote; raises ValueError for any other file."""
        if read_metadata(path).get("kind") != "star templates":
            raise ValueError(
                f"{path} does not hold star templates: pass the file that "
                "StarTemplates.save wrote."
            )
        return cls(read_table(path))

    def merged_with(self, other: "StarTemplates") -> "StarTemplates":
        """Return both; where both have a star and arm, the one here stays."""
        new = other.table.join(self.table, on=["star_id", "arm"], how="anti")
        return StarTemplates(pl.concat([self.table, new]).sort("star_id", "arm"))
