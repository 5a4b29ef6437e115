"""Spectra beside their reconstructions: ordinary, with emission, broken, over-luminous.

Counterparts of figures 2, 15 and 16 of Xiang et al. (2021).
"""

__all__ = ["gallery", "lines_close"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.numbers import DASH, Array, counted, significant
from steadystar.publish.plot import Axis, Figure, Line, Mark, Missing, Panel

_MOST = 8
_PIXELS = 1250
"""Points of a drawn spectrum: what a panel resolves; more only cost space."""
_H_ALPHA = 6564.614
_HALF = 60.0


@dataclass(frozen=True)
class _Example:
    name: str
    kind: str
    reason: str
    wave: Array
    flux: Array
    model: Array
    clean: np.ndarray


def gallery(
    facts: HotFacts, kind: str, name: str, title: str, shows: str, good: str
) -> Figure | Missing:
    """Whole spectra of one kind, two beside each other, with what was foretold."""
    found = list(_examples(facts.inputs.examples, kind))
    if not found:
        return _none(facts, kind, name, title)
    panels = tuple(_whole(one) for one in found)
    return Figure(
        name,
        title,
        panels,
        shows=shows,
        good=good,
        here=f"Here: {counted(len(found), 'spectrum', 'spectra')}; {_residuals(found)}.",
        columns=2,
        wide=True,
    )


def lines_close(facts: HotFacts, kind: str, name: str, title: str) -> Figure | Missing:
    """H alpha alone, three beside each other."""
    found = list(_examples(facts.inputs.examples, kind))
    panels = tuple(panel for one in found for panel in _close(one))
    if not panels:
        return _none(facts, kind, name, title)
    return Figure(
        name,
        title,
        panels,
        shows="The surroundings of H alpha in the same spectra: observed, and as the rest "
        "of the spectrum foretells it.",
        good="An excess that is wider than a pixel, with one peak or two. A spike of one "
        "pixel is a cosmic ray, and a dip beside it an error of the sky.",
        here=f"Here: {counted(len(panels), 'spectrum', 'spectra')}.",
        columns=3,
        wide=True,
    )


def _none(facts: HotFacts, kind: str, name: str, title: str) -> Missing:
    if facts.inputs.examples is None:
        return Missing(name, title, "The run kept no example spectra.")
    return Missing(name, title, f"No example of the kind “{kind}” was kept.")


def _examples(table: pl.DataFrame | None, kind: str) -> Iterator[_Example]:
    """The first few of a kind; those whose arrays cannot be used are left out."""
    if table is None or not {"kind", "wave", "flux"} <= set(table.columns):
        return
    for row in table.filter(pl.col("kind") == kind).head(_MOST).iter_rows(named=True):
        wave, flux = _array(row["wave"]), _array(row["flux"])
        size = len(wave)
        if size < 2 or len(flux) != size or not np.isfinite(wave).all():
            continue
        model = _array(row.get("model"))
        if len(model) != size:
            model = np.full(size, np.nan)
        clean = np.array(row.get("clean") or [], dtype=object)
        used = clean == True if len(clean) == size else np.zeros(size, bool)
        seen = np.flatnonzero(np.isfinite(flux))
        if seen.size < 2:
            continue
        # What lies beyond the first and last pixel with data is no spectrum.
        part = slice(int(seen[0]), int(seen[-1]) + 1)
        identity = row.get("specid")
        reason = row.get("reason")
        yield _Example(
            str(identity) if identity is not None else DASH,
            kind,
            str(reason) if reason is not None else "",
            *(wave[part], flux[part], model[part], used[part]),
        )


def _array(values: object) -> Array:
    if not isinstance(values, list):
        return np.zeros(0)
    return np.array([np.nan if v is None else v for v in values], float)


def _limits(one: _Example, values: Array) -> tuple[float, float]:
    """What holds nearly all of the flux, and the reconstruction with room."""
    known = values[np.isfinite(values)]
    told = one.model[np.isfinite(one.model)]
    low, high = np.quantile(known, [0.003, 0.997]) if known.size else (0.0, 1.0)
    if told.size:
        low, high = min(low, told.min()), max(high, told.max())
    line = one.flux[np.abs(one.wave - _H_ALPHA) < _HALF / 4]
    if np.isfinite(line).sum() > 4 and one.kind != "broken":
        # Emission is few pixels, and what the panel is for.
        high = max(high, float(np.nanquantile(line, 0.95)))
    room = 0.08 * max(high - low, 0.1)
    return float(low - room), float(high + 2 * room)


def _whole(one: _Example) -> Panel:
    wave = np.linspace(one.wave[0], one.wave[-1], min(_PIXELS, len(one.wave)))
    flux, model = (_drawn(one.wave, v, wave) for v in (one.flux, one.model))
    low, high = _limits(one, flux)
    marks: list[Mark] = [
        Line(wave, np.clip(flux, low, high), "muted", "observed", width=1)
    ]
    marks += _told(wave, model)
    if one.clean.any():
        x = _stretches(one.wave, one.clean)
        foot = np.where(np.isfinite(x), low, np.nan)
        marks.append(Line(x, foot, "green", "clean windows", width=5))
    return Panel(
        Axis("vacuum wavelength (Å)", low=float(wave[0]), high=float(wave[-1])),
        Axis("flux / continuum", low=low, high=high),
        tuple(marks),
        title=f"{one.name}: {one.reason}" if one.reason else one.name,
    )


def _told(wave: Array, model: Array) -> list[Mark]:
    if not np.isfinite(model).any():
        return []
    return [Line(wave, model, "red", "reconstructed", width=1.2)]


def _drawn(wave: Array, values: Array, at: Array) -> Array:
    """Values on a coarser, uniform grid: means of the pixels that belong to each point.

    A uniform grid takes a third of the space on the page.
    """
    size, step = len(at), at[1] - at[0]
    place = np.clip(np.rint((wave - at[0]) / step), 0, size - 1).astype(int)
    known = np.isfinite(values)
    count = np.bincount(place[known], minlength=size)
    total = np.bincount(place[known], values[known], minlength=size)
    out = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    # Points between two pixels that are both known are filled, gaps are not.
    empty = np.bincount(place, minlength=size) == 0
    near = np.interp(at[empty], wave, values)
    out[empty] = near
    return out


def _stretches(wave: Array, used: np.ndarray) -> Array:
    """Begin, end and NaN of each stretch of pixels that are used."""
    edge = np.diff(np.concatenate([[0], used.astype(int), [0]]))
    begin, end = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1) - 1
    gap = np.full(len(begin), np.nan)
    return np.column_stack([wave[begin], wave[end], gap]).ravel()


def _close(one: _Example) -> list[Panel]:
    near = np.abs(one.wave - _H_ALPHA) < _HALF
    if np.isfinite(one.flux[near]).sum() < 5:
        return []
    wave, flux, model = one.wave[near], one.flux[near], one.model[near]
    both = np.concatenate([flux, model])
    known = both[np.isfinite(both)]
    room = 0.08 * max(np.ptp(known), 0.1)
    low, high = float(known.min() - room), float(known.max() + room)
    marks: list[Mark] = [
        Line(np.full(2, _H_ALPHA), np.array([low, high]), "muted", dash="dot", width=1),
        Line(wave, flux, "ink", "observed"),
        *_told(wave, model),
    ]
    return [
        Panel(
            Axis("vacuum wavelength (Å)", low=_H_ALPHA - _HALF, high=_H_ALPHA + _HALF),
            Axis("flux / continuum", low=low, high=high),
            tuple(marks),
            title=one.name,
            tall=1.2,
        )
    ]


def _residuals(found: list[_Example]) -> str:
    """How far observed and foretold flux are apart in the clean windows."""
    width = []
    for one in found:
        off = (one.flux - one.model)[one.clean]
        if np.isfinite(off).sum() > 10:
            width.append(1.4826 * np.nanmedian(np.abs(off - np.nanmedian(off))))
    if not width:
        return "they have no reconstruction to be compared with"
    text = significant(100 * float(np.median(width)), 2)
    return (
        f"in the clean windows observed and reconstructed flux differ by {text}% of the "
        "continuum (median of the spectra)"
    )
