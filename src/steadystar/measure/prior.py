"""Templates made ready for a measurement: windows, grids, and priors of the lines on them.

Several stretches of wavelength, an arm each, can share one prior: a coefficient then
means the same star in all of them (`line_priors`).
"""

__all__ = [
    "Stretch",
    "grid_of",
    "line_priors",
    "lines_of",
    "orders_of",
    "reach_of",
    "rounded_resolution",
    "window_of",
]

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import LogGrid, Spectra
from steadystar.kernels import velocity
from steadystar.measure.normalize import Window, grid_for, template_level
from steadystar.measure.still import Standing
from steadystar.models.lowrank import learn_together, smoothed
from steadystar.models.templates import Templates

_CONTINUUM_WIDTH = 0.1


class Stretch(NamedTuple):
    """Where spectra of one resolution are measured, and against what."""

    templates: Templates
    grid: LogGrid
    window: Window
    resolution: float
    orders: int
    standing: Standing = Standing()


def window_of(
    spectra: Spectra,
    templates: Templates,
    given: tuple[float, float] | None,
    margin: float,
    search_kms: float,
) -> Window:
    """Return the window ``given``, or all there is, as far as the templates reach.

    Raises:
        ValueError: the templates reach over none of it with room for the search.
    """
    wave = spectra.wave_2d
    low, high = (wave.min(), wave.max()) if given is None else given
    room = 1 + search_kms / C_KMS
    first, last = templates.wave[0] * room, templates.wave[-1] / room
    window = Window(float(max(low, first)), float(min(high, last)), margin)
    if not window.low < window.high:
        raise ValueError(
            f"The templates span {templates.wave[0]:.1f} to {templates.wave[-1]:.1f} A "
            f"and the spectra {wave.min():.1f} to {wave.max():.1f} A (window {low:.1f} "
            f"to {high:.1f}): with room for {search_kms:.0f} km/s at either end nothing "
            "is left. Use templates of the spectra's wavelengths (vacuum)."
        )
    return window


def grid_of(
    spectra: Spectra, resolution: float, window: Window, search_kms: float
) -> LogGrid:
    """Return the grid; spectra of nearly the same resolution share it, and what is compiled."""
    resolution = rounded_resolution(resolution, 0.15)
    alike = replace(spectra, resolution=np.full(len(spectra), resolution))
    return grid_for(alike, window, search_kms)


def rounded_resolution(resolution: float, share: float = 0.02) -> float:
    """Return a resolution to a ``share`` of it, so that spectra alike have the same."""
    return float(np.exp(np.round(np.log(resolution) / share) * share))


def reach_of(grid: LogGrid, search_kms: float) -> int:
    """Return how many steps of ``grid`` a search of ``search_kms`` goes to either side."""
    return max(3, int(np.ceil(np.log1p(search_kms / C_KMS) / grid.step)))


def orders_of(window: Window, scale: float) -> int:
    """Return the number of half waves of about ``scale`` Angstrom in a window.

    A multiple of three: windows of nearly the same width share what is compiled.
    """
    number = 1 + round((window.high - window.low) / scale)
    return max(6, -(-number // 3) * 3)


def lines_of(
    templates: Templates, window: Window, resolution: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return templates as spectra of ``resolution`` would be normalized in ``window``.

    Logarithms of wavelengths ``(point,)`` and ``flux / continuum - 1``, ``(template,
    point)``.

    Raises:
        ValueError: the templates are less sharp than the spectra.
    """
    # Resolutions are known to 2 percent: that much less sharp is sharp enough.
    if templates.resolution is not None and templates.resolution > 0.98 * resolution:
        resolution = min(resolution, templates.resolution)
    log_wave, flux = smoothed(
        np.log(templates.wave),
        templates.flux.astype(np.float64),
        templates.resolution,
        resolution,
    )
    return log_wave, flux / template_level(log_wave, flux, window) - 1


@lru_cache(maxsize=32)
def line_priors(
    stretches: tuple[Stretch, ...], rank: int
) -> tuple[velocity.LinePrior, ...]:
    """Return templates as the kernel wants them, normalized as the spectra are.

    Row by row the templates of all stretches must be of the same stars.
    """
    learned = []
    for stretch in stretches:
        lines = lines_of(stretch.templates, stretch.window, stretch.resolution)
        learned.append((*lines, stretch.grid))
    return tuple(
        _prior(lines, stretch)
        for lines, stretch in zip(
            learn_together(learned, rank=rank), stretches, strict=True
        )
    )


def _prior(lines, stretch: Stretch) -> velocity.LinePrior:
    size, orders = stretch.grid.size, stretch.orders
    reach = size // 2
    padded = np.pad(lines.coefficients, ((0, 0), (0, 0), (reach, reach)))
    absorption, emission = stretch.standing.columns(stretch.grid)
    # Absorption multiplies the star's light as the continuum does.
    smooth = np.concatenate([velocity.cosines(size, orders), absorption])
    precision = np.ones(lines.rank + len(smooth) + len(emission))
    precision[lines.rank : lines.rank + orders] = _CONTINUUM_WIDTH**-2
    return velocity.LinePrior(
        lines=jnp.asarray(padded),
        anchors=jnp.asarray(lines.anchors),
        smooth=jnp.asarray(smooth, jnp.float32),
        still=jnp.asarray(emission),
        precision=jnp.asarray(precision, jnp.float32),
    )
