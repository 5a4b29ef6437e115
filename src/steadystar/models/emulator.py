"""Model spectra ready for a fit: labels in, spectrum and derivatives out, on one grid.

`emulators` takes a source of polynomial model spectra (`models.library`), which is exact
in the labels, and puts its coefficients on a logarithmic grid fine enough for the line
spread function of the spectra that are to be fitted. Nothing is interpolated between grid
points of labels, and flux is clipped to the range of 0 to 1 before any broadening, as
the source itself does.
"""

__all__ = ["Pieces", "emulators", "grid_of_emulators"]

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.spectra import LogGrid
from steadystar.kernels.emulation import Emulator
from steadystar.models.library import CUBIC, PolynomialModels, StackedModels

_FINE = 3.4
"""Steps of the fine grid in a standard deviation of the line spread function,"""
_COARSE = 0.7
"""and the step of the coarse grid in standard deviations."""
_TAPS, _WITHIN = 4, 40
_ALIKE, _KNOTS = 2048, 256


@dataclass(frozen=True, eq=False)
class Pieces:
    """Emulators of one stretch of wavelength, one a piece of the labels' domain.

    ``grid``: on which spectra are compared.
    """

    grid: LogGrid
    emulators: tuple[Emulator, ...]


def grid_of_emulators(
    low: float, high: float, resolution: float, spacing: float
) -> tuple[LogGrid, int, float]:
    """Return the coarse grid, the number of fine points, and the fine step in km/s.

    Both grids begin at ``low`` Angstrom and have the same period, up to ``high``.
    ``spacing`` (km/s) is that of the model's own wavelengths.
    """
    sigma = C_KMS / resolution / FWHM_PER_SIGMA
    span = C_KMS * np.log(high / low)
    # Numbers that transforms like, and that arms share.
    knots = _KNOTS * int(np.ceil(span / (_COARSE * sigma) / _KNOTS))
    fine = knots * int(np.ceil(span / min(sigma / _FINE, spacing) / knots))
    step = span / fine
    grid = LogGrid(float(low), float(span / knots / C_KMS), knots)
    return grid, fine, step


def emulators(
    models: StackedModels | PolynomialModels,
    low: float,
    high: float,
    resolution: float,
) -> Pieces:
    """Return ``models`` as emulators from ``low`` to ``high`` Angstrom.

    Arguments:
        models: the source; each of its parts is a piece.
        low, high: of the grid, vacuum Angstrom: the window of the fit with room for
            velocity, rotation and line spread.
        resolution: ``lambda / FWHM`` of the spectra.

    Raises:
        ValueError: the models do not reach so far.
    """
    parts = models.parts if isinstance(models, StackedModels) else (models,)
    spacing = C_KMS * float(np.diff(np.log(models.wave)).min())
    grid, fine, step = grid_of_emulators(low, high, resolution, spacing)
    wave = low * np.exp(np.arange(fine) * step / C_KMS)
    if models.wave[0] > wave[0] or models.wave[-1] < wave[-1]:
        raise ValueError(
            f"The models {models.name} span {models.wave[0]:.1f} to "
            f"{models.wave[-1]:.1f} A, but {wave[0]:.1f} to {wave[-1]:.1f} A are needed: "
            "use a narrower window, or other models."
        )
    used = slice(
        max(int(np.searchsorted(models.wave, wave[0])) - _TAPS, 0),
        int(np.searchsorted(models.wave, wave[-1])) + _TAPS,
    )
    first, taps = _averages(np.log(models.wave[used]), np.log(wave), step / C_KMS)
    frequency = 2 * np.pi * np.arange(grid.size // 2 + 1) / (fine * step)
    # A cubic spline's value at a knot is (a[-1] + 4 a[0] + a[1]) / 6.
    knot = 2 * np.pi * np.arange(grid.size // 2 + 1) / grid.size
    sharpness = grid.size / fine * 6 / (4 + 2 * np.cos(knot))
    # What averaging by a triangle has smoothed.
    sharpness /= np.sinc(frequency * step / (2 * np.pi)) ** 2
    made = [
        Emulator(
            theta=jnp.asarray(_padded(part.theta[:, used]), jnp.float32),
            first=jnp.asarray(first, jnp.int32),
            taps=jnp.asarray(taps, jnp.float32),
            powers=jnp.asarray(CUBIC, jnp.float32),
            frequency=jnp.asarray(frequency, jnp.float32),
            sharpness=jnp.asarray(sharpness, jnp.float32),
            floor=0.0,
            top=1.0,
            knots=grid.size,
        )
        for part in parts
    ]
    return Pieces(grid, tuple(made))


def _padded(theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengthen the models with points that no average takes: arms share what is compiled."""
    more = -theta.shape[1] % _ALIKE
    return np.pad(theta, ((0, 0), (0, more)), mode="edge")


def _averages(
    own: NDArray[np.float64], at: NDArray[np.float64], step: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return how means of a curve around ``at`` are made of its points ``own``.

    The curve is linear between its points, and weighed by a triangle that reaches one
    ``step`` to either side: what is too fine for the grid falls on zeros of its
    transform. Returns the first point that enters, and the weights of ``_TAPS``.
    """
    offset = (np.arange(-_WITHIN, _WITHIN) + 0.5) / _WITHIN
    weight = (1 - np.abs(offset)) / (1 - np.abs(offset)).sum()
    first = np.searchsorted(own, at - step, side="right") - 1
    first = np.clip(first, 0, len(own) - _TAPS)
    taps = np.zeros((_TAPS, len(at)))
    for move, share in zip(offset * step, weight, strict=True):
        moved = np.clip(at + move, own[0], own[-1])
        below = np.clip(np.searchsorted(own, moved, side="right") - 1, 0, len(own) - 2)
        part = (moved - own[below]) / (own[below + 1] - own[below])
        for index, value in ((below, 1 - part), (below + 1, part)):
            np.add.at(taps, (index - first, np.arange(len(at))), share * value)
    return first, taps
