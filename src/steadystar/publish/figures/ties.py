"""What ties offsets to each other: stars in common, and what errors have in common.

Saydjari et al. (2025), figure 4: the adjacency matrix of fibers, and the inverse of the
curvature matrix. Two groups that share many constant stars are known well against each
other; groups that only a few stars tie to the rest go up and down together.
"""

__all__ = ["shared_stars", "ties"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadystar.calibrate.covariance import DENSE_LIMIT
from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.publish.facts import Facts, usable
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.naming import group_names, short_names, spoken
from steadystar.publish.numbers import Array, counted, finite, percent, significant
from steadystar.publish.plot import Axis, Figure, Matrix, Missing, Panel

_MOST = 300
"""Rows of a map; neighbors share one where there are more."""
_MOST_SETS = 30


def ties(facts: Facts, inputs: ReportInputs) -> list[Figure | Missing]:
    """Two maps a family of offsets: constant stars in common, and correlated errors."""
    made = [_family(facts, inputs, name) for name in sorted(inputs.offsets)]
    return [figure for figure in made if figure]


def shared_stars(
    star: NDArray[np.intp], group: NDArray[np.intp], size: int
) -> NDArray[np.int64]:
    """Count the stars that two groups share, ``(size, size)``; on the diagonal, all.

    ``star`` and ``group`` (visit,): who was seen where; -1 for neither.
    """
    good = (star >= 0) & (group >= 0)
    n_stars = int(star.max(initial=-1)) + 1
    ones = np.ones(int(good.sum()), np.int64)
    seen = csr_array((ones, (star[good], group[good])), shape=(n_stars, size))
    # A star with several visits in a group is one star.
    seen.sum_duplicates()
    seen.data[:] = 1
    return np.asarray((seen.T @ seen).todense(), np.int64)


@dataclass(frozen=True)
class _Cells:
    """Determined offsets in the order of the map: ``rows`` of the table, ``cell`` each.

    Cells are groups, or neighbors within one connected set where there are many.
    """

    rows: NDArray[np.intp]
    cell: NDArray[np.intp]
    size: int
    starts: tuple[int, ...]
    per_cell: int
    n_sets: int
    n_known: int


def _family(facts: Facts, inputs: ReportInputs, family: str) -> Figure | None:
    table = inputs.offsets[family]
    columns = [c for c in family.split("+") if c in table.columns]
    if "offset" not in table.columns or not columns:
        return None
    cells = _cells(table)
    if len(cells.rows) < 3:
        return None
    place = np.full(len(table) + 1, -1)
    place[cells.rows] = cells.cell
    drawn = ("star_id", "reference_visit_id", "steady", "measured", "status")
    visits = facts.visits.select(drawn).with_columns(
        _cell=pl.Series(place[facts.groups[family]])
    )
    visits = usable(visits).filter("steady", pl.col("_cell") >= 0)
    # Velocities against different references, as in two arms, have different zeros.
    zero = pl.struct("star_id", "reference_visit_id")
    star = visits.select(zero.rank("dense")).to_series().cast(pl.Int64).to_numpy() - 1
    shared = shared_stars(star, visits["_cell"].to_numpy(), cells.size)
    names = _names(table, columns, cells)
    where = Axis(spoken(family))
    across = Axis("in the same order")
    maps = [Matrix(names, shared.astype(float), "stars", True, cells.starts)]
    titles = ["Constant stars in common"]
    correlation = _correlation(inputs.zeropoints, family, cells)
    if correlation is not None:
        hidden = np.where(np.eye(cells.size, dtype=bool), np.nan, correlation)
        maps.append(Matrix(names, hidden, "correlation", starts=cells.starts))
        titles.append("Correlation of the errors")
    panels = tuple(
        Panel(across, where, (one,), title=title, tall=1.25)
        for one, title in zip(maps, titles, strict=True)
    )
    return Figure(
        name=f"ties-{family}",
        title=f"What ties the zero points of {spoken(family)} to each other",
        panels=panels,
        columns=2,
        wide=True,
        shows="Left, how many constant stars any two groups have in common (on the "
        "diagonal, all that were seen there)"
        + (
            "; right, how the errors of their zero points are correlated: the inverse "
            "of the curvature matrix, scaled (Saydjari et al. 2025, figure 4)."
            if correlation is not None
            else " (Saydjari et al. 2025, figure 4)."
        )
        + _aggregated(cells),
        good="No group is an island: stars in common with many others, and errors that "
        "are hardly correlated. Blocks of strong correlation are groups that are known "
        "well against each other, but together only poorly against the rest.",
        here=_sentence(table, columns, cells, shared, correlation),
    )


def _cells(table: pl.DataFrame) -> _Cells:
    known = np.isfinite(table["offset"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    component = np.zeros(len(table), np.int64)
    if "component" in table.columns:
        component = table["component"].fill_null(-1).to_numpy().astype(np.int64)
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(component[rows], kind="stable")]
    n_known, n_sets = rows.size, np.unique(component[rows]).size
    rows = _largest_sets(rows, component)
    label = component[rows]
    first = np.r_[True, label[1:] != label[:-1]] if rows.size else np.zeros(0, bool)
    begin = np.flatnonzero(first)
    within = np.arange(rows.size) - begin[np.cumsum(first) - 1]
    per = 1
    while True:
        # A new cell at the start of every set, and after every so many neighbors.
        cell = np.cumsum(first | (within % per == 0)) - 1
        size = int(cell.max(initial=-1)) + 1
        if size <= _MOST:
            break
        per += 1
    starts = tuple(int(c) for c in cell[begin][1:])
    return _Cells(rows, cell, size, starts, per, n_sets, n_known)


def _largest_sets(
    rows: NDArray[np.intp], component: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Keep the largest connected sets, if the map cannot show all of them whole.

    As many as fit; where the largest alone does not, it and a few more in shared rows.
    """
    sets, size = np.unique(component[rows], return_counts=True)
    if rows.size <= _MOST:
        return rows
    order = np.argsort(-size, kind="stable")
    fits = np.cumsum(size[order]) <= _MOST
    kept = order[fits] if fits[0] else order[:_MOST_SETS]
    return rows[np.isin(component[rows], sets[kept])]


def _names(table: pl.DataFrame, columns: list[str], cells: _Cells) -> tuple[str, ...]:
    each = short_names(table, columns)
    order = np.arange(cells.rows.size)
    low = np.full(cells.size, cells.rows.size)
    high = np.zeros(cells.size, np.int64)
    np.minimum.at(low, cells.cell, order)
    np.maximum.at(high, cells.cell, order)
    return tuple(
        each[cells.rows[a]]
        if a == b
        else f"{each[cells.rows[a]]} to {each[cells.rows[b]]}"
        for a, b in zip(low, high, strict=True)
    )


def _correlation(zero: ZeroPoints | None, family: str, cells: _Cells) -> Array | None:
    """Correlation of the cells' offsets (their means, if they hold several), or None."""
    if zero is None or family not in zero.offsets or not zero.covariance.size:
        return None
    if cells.per_cell == 1 or cells.rows.size <= DENSE_LIMIT:
        covariance = np.nan_to_num(zero.covariance_of(family, cells.rows.tolist()))
        members = np.bincount(cells.cell, minlength=cells.size)
        shape = (cells.size, cells.rows.size)
        share = 1 / members[cells.cell]
        average = csr_array((share, (cells.cell, np.arange(cells.rows.size))), shape)
        covariance = average @ (average @ covariance).T
    else:
        chosen = np.unique(cells.cell, return_index=True)[1]
        covariance = zero.covariance_of(family, cells.rows[chosen].tolist())
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return covariance / np.outer(error, error)


def _aggregated(cells: _Cells) -> str:
    said = ""
    if cells.rows.size < cells.n_known:
        shown = len(cells.starts) + 1
        said = f" Of {cells.n_sets:,} sets the {shown} largest are drawn."
    if cells.per_cell > 1:
        exact = cells.rows.size <= DENSE_LIMIT
        what = "their means" if exact else "the first of each"
        said += (
            f" A row is {cells.per_cell} neighbors: stars are counted for all of them, "
            f"errors are those of {what}."
        )
    return said


def _sentence(
    table: pl.DataFrame,
    columns: list[str],
    cells: _Cells,
    shared: NDArray[np.int64],
    correlation: Array | None,
) -> str:
    sets = (
        "one connected set" if cells.n_sets == 1 else f"{cells.n_sets:,} connected sets"
    )
    said = f"Here: {counted(cells.n_known, 'zero point')} in {sets}"
    if cells.size > 1:
        pairs = shared[np.triu_indices(cells.size, 1)]
        said += (
            f"; {percent(int((pairs > 0).sum()), pairs.size)} of the pairs of rows have "
            "constant stars in common"
        )
        if (pairs > 0).any():
            said += f", typically {np.median(pairs[pairs > 0]):,.0f} of them"
    said += "."
    if correlation is not None and "offset_err" in table.columns:
        error = table["offset_err"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        error = error[cells.rows]
        if finite(error).size:
            worst = int(np.nanargmax(error))
            name = group_names(table[[int(cells.rows[worst])]], columns)[0]
            middle = 1000 * float(np.nanmedian(error))
            said += (
                f" The median error is {significant(middle, 2)} m/s; least is known of "
                f"{name}: {significant(1000 * float(error[worst]), 2)} m/s."
            )
    return said
