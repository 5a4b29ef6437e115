"""The value of a comparison of two catalogs, and its options."""

__all__ = ["CompareOptions", "Comparison"]

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl

from steadystar.data.archive import pack, unpack
from steadystar.infer.core import Core
from steadystar.infer.residuals import Residuals
from steadystar.infer.trends import Line, Polynomial
from steadystar.survey.columns import CatalogError


@dataclass(frozen=True)
class CompareOptions:
    """How two catalogs are compared."""

    by: Annotated[
        str,
        "How stars are matched: auto (identifiers, then positions), position, or the "
        "name of a column of identifiers.",
    ] = "auto"
    radius_arcsec: Annotated[
        float, "How far apart both positions of a star may be, arcsec."
    ] = 3.0
    quantities: Annotated[
        tuple[str, ...], "Columns of numbers to compare besides the usual ones."
    ] = ()
    color: Annotated[
        str | None, "A third quantity, of A or else of B, with which to color."
    ] = None
    n_sigma: Annotated[float, "Where clipping is, in standard deviations."] = 3.0
    outlier: Annotated[
        float, "How many robust widths from the median make an outlier."
    ] = 5.0
    min_visits: Annotated[
        int, "Stars with fewer visits are set aside before velocities are compared."
    ] = 2
    max_scatter: Annotated[
        float,
        "Stars whose velocities scatter by more are set aside before velocities are "
        "compared, km/s.",
    ] = 0.5
    high_velocity: Annotated[
        float, "Candidates for high velocity are faster, km/s."
    ] = 300.0
    against: Annotated[
        str, "Structure of differences is looked for against a, b, or their mean."
    ] = "mean"
    significance: Annotated[
        float, "Probability by chance below which differences have structure."
    ] = 1e-3
    ranges: Annotated[
        Mapping[str, tuple[float, float]],
        "Limits of a quantity within which stars shape its line and polynomial.",
    ] = field(default_factory=dict)
    correct: Annotated[
        tuple[str, ...], "Quantities of A from which the polynomial is taken off."
    ] = ()

    def __post_init__(self) -> None:
        for name, low in (
            *(("radius_arcsec", 0), ("n_sigma", 1), ("outlier", 0)),
            *(("max_scatter", 0), ("high_velocity", 0), ("significance", 0)),
        ):
            if not low < getattr(self, name) < np.inf:
                raise CatalogError(
                    f"{name} = {getattr(self, name)}: give a number above {low}."
                )
        for name, (low, high) in self.ranges.items():
            if not low < high:
                raise CatalogError(
                    f"The range {name} = {low:g}:{high:g} holds nothing: give the lower "
                    "limit first."
                )
        if self.against not in ("mean", "a", "b"):
            raise CatalogError(
                f"Structure is looked for against mean, a or b, not {self.against!r}."
            )

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns that are wanted where a table has them."""
        color = (self.color,) if self.color is not None else ()
        return tuple(dict.fromkeys((*self.quantities, *color)))

    @property
    def key(self) -> str | None:
        """The column that identifies stars, if it is not a usual one."""
        return None if self.by in ("auto", "position", "star_id") else self.by


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two catalogs say of the same stars.

    ``matches``: one row a star in both (schema "compare"); ``statistics``: by quantity;
    ``unmatched``: stars in one table only, with the reason; ``fast``: candidates for high
    velocity; ``bins``: bias and scatter in parts of equal number by the third quantity.
    ``names`` of both tables, ``columns`` that were compared, ``notes``: sentences.
    ``corrected``: statistics once the polynomial is taken off, where that was asked for.
    """

    names: tuple[str, str]
    matches: pl.DataFrame
    statistics: Mapping[str, Residuals]
    unmatched: pl.DataFrame
    fast: pl.DataFrame
    bins: pl.DataFrame
    columns: pl.DataFrame
    n_stars: tuple[int, int]
    options: CompareOptions
    notes: tuple[str, ...] = ()
    corrected: Mapping[str, Residuals] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return all numbers as plain values, None for what is unknown."""
        lost = self.unmatched.group_by("table", "reason", maintain_order=True).len()
        matched = self.matches["matched"]
        return _plain(
            {
                "a": {"name": self.names[0], "stars": self.n_stars[0]},
                "b": {"name": self.names[1], "stars": self.n_stars[1]},
                "matched": len(self.matches),
                "matched_by_identifier": int((matched == "identifier").sum()),
                "matched_by_position": int((matched == "position").sum()),
                "ambiguous": int(self.matches["ambiguous"].sum()),
                "unmatched": lost.to_dicts(),
                "quantities": {n: s.as_dict() for n, s in self.statistics.items()},
                "corrected": {n: s.as_dict() for n, s in self.corrected.items()},
                "bins": self.bins.to_dicts(),
                "high_velocity": self.fast.to_dicts(),
                "columns": self.columns.to_dicts(),
                "notes": list(self.notes),
            }
        )

    def apply(self, table: pl.DataFrame, quantity: str) -> pl.DataFrame:
        """Bring the column ``quantity`` of A's table to the scale of B.

        The polynomial is taken off, where there is structure and ``correct`` asked for
        it; else the bias.

        Raises:
            CatalogError: the quantity was not compared, or is not in the table.
        """
        if quantity not in self.statistics or quantity not in table.columns:
            raise CatalogError(
                f"{quantity} is not both in the table and among what was compared: "
                f"choose among {', '.join(self.statistics)}."
            )
        value = table[quantity].cast(pl.Float64).fill_null(np.nan).to_numpy()
        found = self.statistics[quantity]
        off = found.bias
        if quantity in self.options.correct and found.polynomial is not None:
            off = found.polynomial.at(value)
        return table.with_columns(pl.Series(quantity, value - off))

    def save(self, path: str | PathLike[str]) -> None:
        """Write to one file, whole or not at all; equal values give equal bytes."""
        meta = {
            "names": list(self.names),
            "n_stars": list(self.n_stars),
            "options": asdict(self.options),
            "notes": list(self.notes),
            "statistics": {n: s.as_dict() for n, s in self.statistics.items()},
            "corrected": {n: s.as_dict() for n, s in self.corrected.items()},
        }
        pack(Path(path), _KIND, json.loads(json.dumps(meta)), self._tables(), {})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Comparison":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds no comparison.
        """
        meta, tables, _ = unpack(Path(path), _KIND)
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in meta["options"].items()
        }
        options["ranges"] = {n: tuple(v) for n, v in options["ranges"].items()}
        first, second = meta["names"]
        return cls(
            names=(first, second),
            **tables,
            statistics={n: _restored(s) for n, s in meta["statistics"].items()},
            corrected={n: _restored(s) for n, s in meta["corrected"].items()},
            n_stars=(meta["n_stars"][0], meta["n_stars"][1]),
            options=CompareOptions(**options),
            notes=tuple(meta["notes"]),
        )

    def _tables(self) -> dict[str, pl.DataFrame]:
        names = ("matches", "unmatched", "fast", "bins", "columns")
        return {name: getattr(self, name) for name in names}


_KIND = "comparison of catalogs"


def _restored(values: dict[str, Any]) -> Residuals:
    """Return the statistics that `Residuals.as_dict` took apart."""
    line, polynomial = values["line"], values["polynomial"]
    whole: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
    if polynomial is not None:
        pairs = {n: tuple(polynomial[n]) for n in ("coefficients", "errors")}
        polynomial = Polynomial(**(polynomial | pairs))
    return Residuals(
        **whole
        | {
            "core": Core(**values["core"]),
            "line": None if line is None else Line(**line),
            "polynomial": polynomial,
        }
    )


def _plain(value: Any) -> Any:
    """NaN and infinities become None, tuples lists: what JSON can say."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
