"""From recorded spectra to lines on a grid: continuum out, cosmic rays out, pixels placed.

One arm at a time. Every spectrum is divided by its pseudo-continuum over a wide window
and then cut to the narrow one in which velocities are measured; its pixels stay where
they are and get a position on the arm's `LogGrid`, whose step is a fraction of the line
spread function. Wavelengths recorded at the observatory are first moved to the barycenter
(``1 + bary_corr / c``), so that the star's own lines are what stands still.
"""

__all__ = [
    "PixelBatch",
    "Prepared",
    "Window",
    "grid_for",
    "pixel_spacing",
    "prepare",
    "template_level",
]

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.data.status import Status
from steadystar.kernels.continuum import polynomial_continuum, spline_continuum
from steadystar.kernels.cosmic import cosmic_rays
from steadystar.measure.batches import by_groups

_STEP_PER_SIGMA = 0.7
_FEW, _BATCH = 8, 64
_FIRST = 512
_ALIKE, _POINTS = 64, 3000
_PAD = 512
_ALIKE_SPACING = 0.02


@dataclass(frozen=True)
class Window:
    """Where to measure, ``low`` to ``high`` Angstrom, and the margin for the continuum."""

    low: float
    high: float
    margin: float = 50.0


class PixelBatch(NamedTuple):
    """The fields of `kernels.spline.Pixels` for many spectra: ``(spectrum, ...)``.

    Arrays of NumPy or of JAX: ``index`` int32, the others float32.
    """

    index: Any
    fraction: Any
    inverse: Any
    value: Any
    weight: Any

    def take(self, members: NDArray[np.intp], size: int) -> "PixelBatch":
        """Return the spectra ``members``, filled up to ``size`` with weightless ones."""
        at = np.pad(members, (0, size - len(members)), mode="edge")
        taken = PixelBatch(*(values[at] for values in self))
        taken.weight[len(members) :] = 0
        return taken


@dataclass(frozen=True)
class Prepared:
    """Normalized spectra of one arm on a common grid, ready for the kernels.

    ``slots`` is how many pixels one interval of the grid can hold, ``line_width`` the
    standard deviation of the line spread function in grid steps. ``flags`` has one
    status a spectrum; those with a fatal flag must not be measured.
    """

    grid: LogGrid
    pixels: PixelBatch
    slots: int
    line_width: float
    flags: NDArray[np.int64]
    n_good: NDArray[np.int64]


def grid_for(spectra: Spectra, window: Window, search_kms: float) -> LogGrid:
    """Return the grid for one arm: 0.7 of the line spread function's sigma a step.

    At that spacing a cubic spline reproduces a Gaussian line to 0.2% of its depth.
    Where no resolution is known, a step is two pixels. The grid reaches beyond the
    window by ``search_kms`` on either side.
    """
    known = spectra.resolution[np.isfinite(spectra.resolution)]
    if len(known):
        sigma_kms = C_KMS / float(np.median(known)) / FWHM_PER_SIGMA
        step = _STEP_PER_SIGMA * sigma_kms
    else:
        step = 2 * C_KMS * float(np.median(pixel_spacing(spectra)))
    # Six steps more: the spline needs four terms, and the ends are left out.
    margin = 1 + (search_kms + 6 * step) / C_KMS
    grid = LogGrid.covering(window.low / margin, window.high * margin, step)
    # Windows of nearly the same width, as arms have, share what is compiled.
    return replace(grid, size=-(-grid.size // _ALIKE) * _ALIKE)


def pixel_spacing(spectra: Spectra) -> NDArray[np.float64]:
    """Return a typical ``ln(wavelength)`` from pixel to pixel, ``(spectrum,)``, to 2%."""
    first = np.log(spectra.wave_2d[:, :_FIRST])
    apart = np.median(np.diff(first, axis=1), axis=1)
    return np.exp(_ALIKE_SPACING * np.round(np.log(apart) / _ALIKE_SPACING))


def prepare(
    spectra: Spectra,
    bary_corr: NDArray[np.float64],
    window: Window,
    grid: LogGrid,
    continuum: str = "spline",
    min_good_fraction: float = 0.3,
) -> Prepared:
    """Normalize and place the spectra of one arm.

    ``bary_corr`` (km/s, one a spectrum) is used only where ``spectra`` are in the
    observatory's frame; NaN counts as zero there. ``continuum`` is "spline" or
    "polynomial". A spectrum with a smaller share of the window's pixels than
    ``min_good_fraction`` is flagged NO_DATA.
    """
    wide = spectra.window(window.low - window.margin, window.high + window.margin)
    if not wide.flux.shape[1]:
        # No spectrum has a pixel there; what is placed only keeps the shapes.
        wide = replace(
            spectra,
            wave=spectra.wave[..., :2],
            flux=spectra.flux[:, :2],
            ivar=np.zeros_like(spectra.ivar[:, :2]),
        )
    size = max(_PAD, -(-wide.flux.shape[1] // _PAD) * _PAD)
    wide = wide.pad(size)
    log_wave = np.log(wide.wave_2d)
    if spectra.frame == "observatory":
        log_wave = log_wave + np.log1p(np.nan_to_num(bary_corr) / C_KMS)[:, None]
    inside = (log_wave >= np.log(window.low)) & (log_wave <= np.log(window.high))

    apart = np.median(np.diff(log_wave, axis=1), axis=1)
    value, weight, hit = _normalize(wide, continuum, apart / grid.step)
    weight = np.where(inside, weight, np.float32(0))
    position = (log_wave - np.log(grid.start)) / grid.step
    index = np.floor(position)
    n_good = (weight > 0).sum(axis=1)
    expected = np.log(window.high / window.low) / apart
    few = n_good < np.maximum(min_good_fraction * expected, 1)
    flags = np.where(few, int(Status.NO_DATA), 0)
    flags |= np.where((hit & inside).any(axis=1), int(Status.COSMIC_RAYS), 0)
    sigma = (
        C_KMS / np.nanmedian(spectra.resolution) / FWHM_PER_SIGMA
        if np.isfinite(spectra.resolution).any()
        else grid.step_kms / _STEP_PER_SIGMA
    )
    return Prepared(
        grid=grid,
        pixels=PixelBatch(
            index=index.astype(np.int32),
            fraction=(position - index).astype(np.float32),
            inverse=_inverse(position, grid.size),
            value=value,
            weight=weight,
        ),
        slots=_slots(position, inside),
        line_width=float(sigma / grid.step_kms),
        flags=flags,
        n_good=n_good.astype(np.int64),
    )


def _slots(position: NDArray[np.float64], inside: NDArray[np.bool_]) -> int:
    """Return how many pixels an interval of the grid can hold, at most."""
    apart = np.diff(position, axis=1)[inside[:, 1:]]
    if not apart.size:
        return 1
    bound = int(1 / max(apart.min(), 1e-3)) + 1
    if bound <= 2 / apart.mean() + 2:
        return bound
    # Some pixels are much closer than others: orders that overlap, sorted together.
    held = (
        (np.searchsorted(row, row + 1) - np.arange(row.size)).max()
        for row in (row[used] for row, used in zip(position, inside, strict=True))
        if row.size
    )
    return min(bound, int(max(held)) + 1)


def template_level(
    log_wave: NDArray[np.float64], flux: NDArray[np.float64], window: Window
) -> NDArray[np.float64]:
    """Return the level by which templates are to be divided, ``(template, point)``.

    It is what `prepare` would find for spectra that look like them: the pseudo-continuum
    of a star rich in lines lies below the true one, for its template as well. Beyond the
    window and its margin the level goes on as it ends.
    """
    wave = np.exp(log_wave)
    low = max(window.low - window.margin, wave[0])
    high = min(window.high + window.margin, wave[-1])
    segments = max(1, round((high - low) / 100))
    # A continuum needs no more than a few thousand points.
    used = np.linspace(low, high, _POINTS)
    batch = _batch(len(flux))
    size = -(-len(flux) // batch) * batch
    chosen = np.stack([np.interp(used, wave, row) for row in flux])
    chosen = np.pad(chosen, ((0, size - len(flux)), (0, 0)), mode="edge")
    x = jnp.linspace(0, 1, _POINTS, dtype=jnp.float32)
    parts = [
        np.asarray(_levels(x, jnp.asarray(rows, jnp.float32), segments))
        for rows in np.split(chosen, size // batch)
    ]
    coarse = np.concatenate(parts)[: len(flux)]
    return np.stack([np.interp(wave, used, row) for row in coarse])


@partial(jax.jit, static_argnums=2)
def _levels(x, flux, segments: int):
    usable = jnp.ones_like(x)
    return jax.vmap(lambda f: spline_continuum(x * segments, f, usable, segments))(flux)


def _inverse(position: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Pixel number at every grid point, beyond the ends the first or last pixel's."""
    number = np.arange(position.shape[1], dtype=float)
    knots = np.arange(size, dtype=float)
    rows = [
        np.interp(knots, row, number, left=0, right=len(number)) for row in position
    ]
    return np.stack(rows).astype(np.float32)


def _batch(number: int) -> int:
    """Return how many are normalized at once: one of two sizes, each compiled once."""
    return _FEW if number <= _FEW else _BATCH


def _normalize(wide: Spectra, continuum: str, pixel: NDArray[np.float64]):
    """Continuum and cosmic rays in batches; returns lines, weights, pixels that were hit.

    ``pixel`` is the width of one in grid steps, ``(spectrum,)``. Spectra that are alike in
    it and in their length share what is compiled, and none depends on the others.
    """
    wave = wide.wave_2d
    first, last = wave[:, :1], wave[:, -1:]
    used = wide.ivar > 0
    # The scale of the continuum's coordinate is the part of the spectrum that has data.
    low = np.where(used, wave, np.inf).min(axis=1, keepdims=True)
    high = np.where(used, wave, -np.inf).max(axis=1, keepdims=True)
    empty = ~used.any(axis=1, keepdims=True)
    low, high = np.where(empty, first, low), np.where(empty, last, high)
    x = np.clip((wave - low) / np.maximum(high - low, 1e-3), 0, 1)
    segments = np.maximum(1, np.round((high - low)[:, 0] / 100)).astype(int)
    if continuum == "polynomial":
        segments[:] = 1  # has none, and need not be compiled for each number
    reach = np.maximum(1, np.round(0.8 / _STEP_PER_SIGMA / pixel)).astype(int)

    value, weight = np.empty_like(wide.flux), np.empty_like(wide.ivar)
    hit = np.empty(wide.flux.shape, bool)
    for kind in np.unique(np.stack([segments, reach], axis=1), axis=0):
        members = np.flatnonzero((segments == kind[0]) & (reach == kind[1]))
        batch = _batch(len(members))
        for begin in range(0, len(members), batch):
            rows = members[begin : begin + batch]
            filled = np.pad(rows, (0, batch - len(rows)), mode="edge")
            block = (x[filled].astype(np.float32), wide.flux[filled], wide.ivar[filled])
            arrays = [jnp.asarray(a) for a in block]
            out = _normalize_batch(*arrays, continuum, int(kind[0]), int(kind[1]))
            for whole, part in zip((value, weight, hit), out, strict=True):
                whole[rows] = np.asarray(part)[: len(rows)]
    return value, weight, hit


@partial(jax.jit, static_argnums=(3, 4, 5))
def _normalize_batch(x, flux, ivar, continuum: str, segments: int, reach: int):
    def one(x, flux, ivar):
        usable = (ivar > 0).astype(flux.dtype)
        # Counts, or 1e-17 erg: the fits want numbers near one.
        typical = jnp.abs(flux * usable).sum() / jnp.maximum(usable.sum(), 1)
        typical = jnp.where(typical > 0, typical, 1)
        flux, ivar = flux / typical, (ivar * typical) * typical
        if continuum == "polynomial":
            level = polynomial_continuum(2 * x - 1, flux, usable)
        else:
            level = spline_continuum(x * segments, flux, usable, segments)
        # Where the level comes near zero, or below, there is no spectrum to speak of.
        solid = level > 0.05
        level = jnp.where(solid, level, 1)
        value = jnp.where(solid, flux / level - 1, 0)
        weight = jnp.where(solid, ivar * level**2, 0)
        hit = cosmic_rays(value, weight, reach)
        return value, jnp.where(hit, 0, weight), hit

    return by_groups(jax.vmap(one), x, flux, ivar, (ivar > 0).any(axis=1))
