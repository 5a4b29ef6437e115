"""The error model: what errors were given, what they became, and what is real.

Saydjari et al. (2025), section 6 and figure 7: ``(scale x given)^2 + floor^2``, a panel
for every group of visits that has its own scale and floor.
"""

__all__ = ["error_model_figure"]

import numpy as np
import polars as pl

from steadystar.calibrate.errors import ErrorModel
from steadystar.publish.facts import Facts, rows_of
from steadystar.publish.naming import group_names
from steadystar.publish.numbers import (
    Array,
    counted,
    finite,
    log_edges,
    median,
    positive,
    robust_width,
    significant,
)
from steadystar.publish.plot import Axis, Figure, Line, Missing, Panel, Points

_TITLE = "What the errors became"
_FEWEST = 30
_MOST_PANELS = 6


def error_model_figure(
    facts: Facts, model: ErrorModel | None
) -> Figure | Missing | None:
    """Given error, calibrated error and real scatter against S/N, by group."""
    if model is None:
        return None
    groups = _groups(facts, model)
    panels, said = [], []
    for name, row, rows in groups[:_MOST_PANELS]:
        panel = _panel(rows, name)
        if panel is None:
            continue
        panels.append(panel)
        said.append(f"{name + ': ' if name else ''}{_fitted(row)}")
    if not panels:
        reason = " ".join(model.notes) or (
            f"No group of visits has {_FEWEST} velocities of constant stars with repeats "
            "and errors."
        )
        return Missing("error-model", _TITLE, reason)
    snr = _has_snr(groups[0][2])
    against = "S/N" if snr else "the error as given, for want of a S/N"
    return Figure(
        name="error-model",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows=f"Medians of constant stars against {against}: the error as given (orange), "
        "the calibrated one (green), which contains a fitted scale, a floor and the "
        "error of the zero point, and how much velocities really scatter (dots; "
        "Saydjari et al. 2025, figure 7).",
        good="The dots lie on the calibrated line. A given error that is too small by a "
        "factor needs a scale above 1; one that is too small for bright stars only "
        "needs a floor.",
        here=f"Here: {'; '.join(said)}.",
    )  # fmt: skip


def _groups(facts: Facts, model: ErrorModel) -> list[tuple[str, dict, pl.DataFrame]]:
    """Name, fitted row and constant stars' visits of each group, the fullest first."""
    pull = pl.col("pull").is_finite() & pl.col("raw_error").is_finite()
    table, by = model.table, list(model.by)
    drawn = dict.fromkeys([*by, "snr", "raw_error", "error", "pull", "measured"])
    rows = facts.visits.select(n for n in drawn if n in facts.visits.columns)
    rows = rows.filter("measured", pull, pl.col("raw_error") > 0)
    if not by:
        return [("", table.row(0, named=True), rows)] if len(table) else []
    place = rows_of(rows, table, by)
    columns = [c for c in by if table[c].n_unique() > 1] or by
    columns = [c for c in columns if c != "method"] or columns
    names = group_names(table, columns)
    found = []
    for number, row in enumerate(table.iter_rows(named=True)):
        mine = rows.filter(pl.Series(place == number))
        if len(mine):
            found.append((names[number], row, mine))
    return sorted(found, key=lambda one: -len(one[2]))


def _has_snr(rows: pl.DataFrame) -> bool:
    return bool((rows["snr"].fill_nan(0.0) > 0).sum() > len(rows) / 2)


def _panel(rows: pl.DataFrame, name: str) -> Panel | None:
    column = "snr" if _has_snr(rows) else "raw_error"
    rows = rows.filter(positive(column))
    if len(rows) < _FEWEST:
        return None
    x = rows[column].to_numpy()
    edges = _bins(x)
    at, given, final, real, error, number = _medians(rows, x, edges)
    if not at.size:
        return None
    everything = np.concatenate([given, final, real])
    y_edges = log_edges(everything[everything > 0], 2)
    label = "S/N per pixel" if column == "snr" else "error as given (km/s)"
    return Panel(
        Axis(label, log=True, low=float(0.9 * at.min()), high=float(1.1 * at.max())),
        Axis("km/s", log=True, low=float(0.8 * y_edges[0]), high=float(1.25 * y_edges[-1])),
        (
            Line(at, given, "orange", "error as given", width=2),
            Line(at, final, "green", "error calibrated", width=2),
            Points(
                at,
                real,
                "ink",
                "real scatter",
                error=error,
                hover=[counted(int(n), "velocity", "velocities") for n in number],
                size=6,
                opacity=1.0,
            ),
        ),
        title=name,
        tall=1.1,
    )  # fmt: skip


def _bins(x: Array) -> Array:
    """Edges uniform in the logarithm, of as many bins as the values fill."""
    number = int(np.clip(x.size // (3 * _FEWEST), 1, 12))
    return log_edges(x, number, share=0.002)


def _medians(rows: pl.DataFrame, x: Array, edges: Array) -> tuple[Array, ...]:
    given, final = rows["raw_error"].to_numpy(), rows["error"].to_numpy()
    pull = rows["pull"].to_numpy()
    place = np.searchsorted(edges, x, side="right")
    found = []
    for number in range(1, len(edges)):
        inside = place == number
        count = int(inside.sum())
        if count < _FEWEST:
            continue
        middle = median(final[inside])
        # Pulls are freed of the mean that contains the velocity: their width times the
        # error is the scatter of one velocity about the truth.
        real = robust_width(pull[inside]) * middle
        found.append(
            (median(x[inside]), median(given[inside]), middle, real, 1.17 * real / np.sqrt(count), count)
        )  # fmt: skip
    return tuple(np.array(found, dtype=float).reshape(-1, 6).T)


def _fitted(row: dict) -> str:
    scale, floor = row["scale"], 1000 * row["floor"]
    scale_err, floor_err = (row.get(f"{name}_err") for name in ("scale", "floor"))
    amount = int(finite([row.get("n_visits") or 0]).sum())
    return (
        f"scale {_with_error(scale, scale_err)}, floor "
        f"{_with_error(floor, None if floor_err is None else 1000 * floor_err)} m/s from "
        f"{counted(amount, 'velocity', 'velocities')}"
    )


def _with_error(value: float, error: float | None) -> str:
    """Write both to the second digit of the error."""
    if error is None or not np.isfinite(error) or error <= 0:
        return significant(value, 3)
    places = int(np.clip(1 - np.floor(np.log10(error)), 0, 4))
    return f"{value:.{places}f} ± {error:.{places}f}"
