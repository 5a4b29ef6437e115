"""One visit taken apart: the star's continuum, its lines, and what is left as noise.

The components are those that a velocity is measured with (`measure.velocities`), here at
the velocity that was found and in the unit of the spectrum: a smooth continuum, about the
pseudo-continuum that the measurement divides by, and the lines of a star of unknown type,
learned from templates and moved. They sum to the spectrum; what neither explains is the
residual.
"""

__all__ = ["CONTINUUM", "STAR_LINES", "taken_apart"]

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from steadystar.data.component import RESIDUAL, Component
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.measure.components import Separation, separate_components
from steadystar.measure.normalize import Window, grid_for, template_level
from steadystar.measure.prior import (
    lines_of,
    orders_of,
    rounded_resolution,
    window_of,
)
from steadystar.models.lowrank import PHASES, StarLines
from steadystar.models.templates import Templates

CONTINUUM, STAR_LINES = "continuum", "star lines"

_ROOM_KMS, _MARGIN = 600.0, 50.0
_RANK = 20
_CONTINUUM_WIDTH = 0.1
_HALF_WAVE = 60.0  # Angstrom
_HIT = 8.0


def taken_apart(
    spectrum: Spectra,
    templates: Templates,
    rv: Numbers,
    window: tuple[float, float] | None = None,
) -> Separation:
    """Take spectra apart into continuum, star's lines at ``rv``, and residual.

    Arguments:
        spectrum: one or more, as recorded; one resolution (the median of theirs).
        templates: normalized spectra at rest, of all types that the star may be.
        rv: velocity of each in km/s, in the frame of the spectra's wavelengths
            (``rv_obs``, or ``rv_raw`` where they are barycentric); ``(spectrum,)`` or one.
        window: where to look, Angstrom; None for all that the templates cover.

    Returns:
        Components ``"continuum"``, ``"star lines"`` and ``"residual"`` on the pixels of
        the spectra, in the unit of their flux. Pixels outside of the window count as not
        seen, and mean nothing there. Single pixels far off (cosmic rays) take no part
        either; the residual shows them.

    Raises:
        ValueError: a velocity is not finite; the templates do not reach over the window,
            or are less sharp than the spectra; no pixel is usable.

    Source: Saydjari et al. 2025 (arXiv 2408.07126), section 3.1.
    """
    rv = np.broadcast_to(np.asarray(rv, float), (len(spectrum),))
    if not np.isfinite(rv).all():
        raise ValueError(
            "A velocity is not finite: only spectra whose velocity is known can be taken "
            "apart."
        )
    room = max(_ROOM_KMS, 1.1 * float(np.abs(rv).max(initial=0.0)))
    chosen = window_of(spectrum, templates, window, _MARGIN, room)
    wave = spectrum.wave_2d
    inside = (wave >= chosen.low) & (wave <= chosen.high)
    seen = replace(spectrum, ivar=np.where(inside, spectrum.ivar, np.float32(0)))
    if not (seen.ivar > 0).any(axis=1).all():
        raise ValueError(
            f"A spectrum has no usable pixel between {chosen.low:.1f} and "
            f"{chosen.high:.1f} A: there is nothing to take apart."
        )
    lines = _lines(templates, chosen, *_grid(seen, chosen, room))
    level = _levels(spectrum, chosen)
    shapes = np.stack(
        [_moved(lines, w, v) for w, v in zip(wave, rv, strict=True)]
    )  # (spectrum, 1 + rank, pixel)
    smooth = _CONTINUUM_WIDTH * _cosines(wave, chosen)
    # The continuum multiplies the lines: it is found first, then they once more.
    first = separate_components(seen, _priors(level, level, shapes, smooth))
    found = first.components[CONTINUUM]
    clean = replace(seen, ivar=_without_hits(seen.ivar, first.components[RESIDUAL]))
    return separate_components(clean, _priors(level, found, shapes, smooth))


def _grid(spectra: Spectra, window: Window, room_kms: float) -> tuple[LogGrid, float]:
    """The grid of the lines, and the resolution, rounded so that visits share them."""
    known = spectra.resolution[np.isfinite(spectra.resolution)]
    sharp = rounded_resolution(float(np.median(known)) if len(known) else np.nan)
    alike = replace(spectra, resolution=np.full(len(spectra), sharp))
    return grid_for(alike, window, room_kms), sharp


@lru_cache(maxsize=16)
def _lines(
    templates: Templates, window: Window, grid: LogGrid, resolution: float
) -> StarLines:
    return StarLines.learn(*lines_of(templates, window, resolution), grid, rank=_RANK)


def _levels(spectrum: Spectra, window: Window) -> NDArray[np.float64]:
    """The pseudo-continuum of each spectrum, ``(spectrum, pixel)``."""
    rows = []
    for index in range(len(spectrum)):
        wave = spectrum.wave_2d[index]
        flux = spectrum.flux[index].astype(np.float64)
        good = spectrum.ivar[index] > 0
        # The fits want numbers near one, and no holes.
        typical = max(float(np.median(np.abs(flux[good]))), 1e-30)
        whole = np.interp(wave, wave[good], flux[good]) / typical
        row = template_level(np.log(wave), whole[None, :], window)[0]
        rows.append(typical * np.maximum(row, 0.05))
    return np.stack(rows)


def _moved(lines: StarLines, wave: NDArray, rv: float) -> NDArray[np.float64]:
    """Mean and components of the lines at ``rv``, at the pixels, ``(1 + rank, pixel)``."""
    shift = float(lines.grid.shift(rv))
    tenths = round(PHASES * shift)
    whole, phase = divmod(tenths, PHASES)
    at = lines.grid.position(wave) - whole - (shift - tenths / PHASES)
    # Beyond the ends of the grid there are no lines.
    rows = np.pad(lines.coefficients[phase].astype(np.float64), ((0, 0), (3, 3)))
    knots = np.arange(rows.shape[1] + 4) - 5.0
    inside = (at > -2) & (at < lines.grid.size + 1)
    return np.where(inside, BSpline(knots, rows.T, 3)(at).T, 0)


def _cosines(wave: NDArray, window: Window) -> NDArray[np.float64]:
    """Half waves over the window, the constant first, ``(spectrum, order, pixel)``."""
    orders = orders_of(window, _HALF_WAVE)
    x = np.clip((wave - window.low) / (window.high - window.low), 0, 1)
    return np.cos(np.pi * np.arange(orders)[:, None] * x[:, None, :])


def _without_hits(ivar: NDArray[np.float32], residual: NDArray) -> NDArray[np.float32]:
    """Take the weight of pixels that lie far beyond the scatter of the others."""
    pull = residual * np.sqrt(ivar)
    kept = ivar.copy()
    for row, values in zip(kept, pull, strict=True):
        width = 1.4826 * np.median(np.abs(values[row > 0]))
        row[np.abs(values) > _HIT * max(width, 1e-30)] = 0
    return kept


def _priors(level, continuum, shapes, smooth) -> tuple[Component, Component]:
    lines = shapes * continuum[:, None, :]
    return (
        Component(CONTINUUM, mean=level, basis=smooth * level[:, None, :]),
        Component(STAR_LINES, mean=lines[:, 0], basis=lines[:, 1:]),
    )
