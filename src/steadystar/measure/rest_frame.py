"""Spectra of many stars side by side: at rest, on one grid, without their continuum.

What compares spectra pixel by pixel (principal components, networks) wants all of them on
the same wavelengths. `to_rest` moves each to its star's frame, resamples it, and divides it
by its smoothed self, a Gaussian average over clean stretches only, so that an emission line
does not lift the level next to it. The resampling is a windowed sinc: it keeps waves
longer than three pixels, and so a spectrograph's lines, to 1% of their depth. Noise is
white beyond that: it loses 7% of its variance, and neighbors are correlated by 4%; a
linear interpolation would take a third, and correlate neighbors by a quarter.
"""

__all__ = [
    "EMISSION",
    "HOT_GRID",
    "SKY_WINDOWS",
    "clean_pixels",
    "outside_emission",
    "to_rest",
    "without_sky",
]

import numpy as np
from numpy.typing import NDArray

from steadystar.data.air import air_to_vacuum
from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.data.spectra import LogGrid, Spectra

HOT_GRID = LogGrid(3800.0, float(np.log(10.0) * 1e-4), 3696)
"""3800 to 8899 A in the steps of LAMOST's low-resolution files, 1e-4 in log10."""

SKY_WINDOWS = (
    *((5720.0, 6050.0), (6270.0, 6380.0), (6800.0, 6990.0)),
    *((7100.0, 7320.0), (7520.0, 7740.0), (8050.0, 8350.0)),
)
"""Absorption by the Earth's atmosphere and Na D (Xiang et al. 2021, section 5.1), A."""

EMISSION = (
    *((3721.0, 3737.0), (4088.0, 4118.0), (4326.0, 4358.0), (4832.0, 4893.0)),
    *((4918.0, 4932.0), (4952.0, 4968.0), (5000.0, 5028.0), (5163.0, 5177.0)),
    *((5310.0, 5325.0), (6515.0, 6615.0), (6672.0, 6688.0), (6710.0, 6740.0)),
    *((7056.0, 7078.0), (7760.0, 7792.0), (8350.0, 8900.0)),
)
"""Where hot stars and the gas around them emit, vacuum A: the Balmer lines, [O II],
[O III], [S II], He I, Fe II, O I, and all from the first Paschen lines on."""

_SMOOTH_KMS = 3000.0
_EVERY = 16
_TAPS, _FRACTIONS = 12, 512
_CHUNK = 512


def _outside(
    wave: NDArray[np.float64], windows: tuple[tuple[float, float], ...]
) -> NDArray[np.bool_]:
    out = np.ones(len(wave), bool)
    for low, high in windows:
        out &= (wave < low) | (wave > high)
    return out


def without_sky(wave: Numbers) -> NDArray[np.bool_]:
    """Say which vacuum wavelengths the atmosphere and Na D leave alone."""
    # The shift between air and vacuum, 2 A, is less than what velocities move.
    windows = [
        tuple(air_to_vacuum(np.array(window)).tolist()) for window in SKY_WINDOWS
    ]
    return _outside(np.asarray(wave, float), tuple(windows))


def outside_emission(wave: Numbers) -> NDArray[np.bool_]:
    """Say which vacuum wavelengths are free of emission lines, and before Paschen's."""
    return _outside(np.asarray(wave, float), EMISSION)


def clean_pixels(wave: Numbers) -> NDArray[np.bool_]:
    """Say which vacuum wavelengths are free of emission, atmosphere and Na D."""
    return without_sky(wave) & outside_emission(wave)


def to_rest(spectra: Spectra, rv: Numbers, grid: LogGrid = HOT_GRID) -> Spectra:
    """Return the spectra at rest, on ``grid``, divided by their smoothed selves.

    Arguments:
        spectra: as recorded, in any frame, any spacing near that of ``grid``.
        rv: velocity of each star in the frame of the wavelengths, km/s, ``(spectrum,)``;
            NaN counts as zero.
        grid: where to.

    Returns:
        ``flux`` near one and ``ivar``, float32, ``(spectrum, grid.size)``. Pixels next to
        unusable ones, outside of the spectrum, or on a level that is not positive have
        ``ivar = 0`` and ``flux = 1``.

    Raises:
        ValueError: ``rv`` is not one number a spectrum.
    """
    rv = np.nan_to_num(np.asarray(rv, float))
    if rv.shape != (len(spectra),):
        raise ValueError(
            f"There are {len(spectra)} spectra but velocities of shape {rv.shape}: give "
            "one a spectrum."
        )
    flux = np.ones((len(spectra), grid.size), np.float32)
    ivar = np.zeros((len(spectra), grid.size), np.float32)
    smooth = _Smoother(grid)
    for begin in range(0, len(spectra), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        moved = _resampled(spectra[rows], rv[rows], grid)
        flux[rows], ivar[rows] = smooth.divide(*moved)
    return Spectra(grid.wave, flux, ivar, spectra.resolution, frame=spectra.frame)


def _lanczos() -> NDArray[np.float32]:
    """Weights of the taps for each fraction of a pixel, ``(fraction, tap)``."""
    half = _TAPS // 2
    offset = np.arange(-half + 1, half + 1)
    distance = offset - (np.arange(_FRACTIONS + 1) / _FRACTIONS)[:, None]
    weights = np.sinc(distance) * np.sinc(distance / half)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


_WEIGHTS = _lanczos()


def _resampled(
    spectra: Spectra, rv: NDArray[np.float64], grid: LogGrid
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return flux and ivar on the grid at rest."""
    flux = np.zeros((len(spectra), grid.size), np.float32)
    ivar = np.zeros_like(flux)
    half = _TAPS // 2
    aim = np.log(grid.wave)
    # No faster than light: such velocities lead out of every spectrum.
    moved = np.log1p(np.clip(rv / C_KMS, -1 + 1e-6, 1e6))
    for i, wave in enumerate(spectra.wave_2d):
        usable = spectra.ivar[i] > 0
        if usable.sum() < 2 * _TAPS:
            continue
        own = np.log(wave)
        steps = np.arange(len(own), dtype=float)
        filled = np.interp(steps, steps[usable], spectra.flux[i][usable])
        at = np.interp(aim + moved[i], own, steps, -1.0, -1.0)
        below = np.floor(at).astype(np.intp)
        inside = (below >= half - 1) & (below < len(own) - half)
        # Beyond the ends nothing is recorded; the index only has to be one.
        first = np.clip(below, half - 1, len(own) - half - 1) - half + 1
        weights = _WEIGHTS[np.rint((at - below) * _FRACTIONS).astype(np.intp)]
        taken = first[:, None] + np.arange(_TAPS)
        flux[i] = np.einsum("pt,pt->p", filled.astype(np.float32)[taken], weights)
        near = np.stack([first + half - 1, first + half])
        good = inside & usable[near].all(axis=0)
        share = (at - below).astype(np.float32)
        mixed = (1 - share) * spectra.ivar[i][near[0]] + share * spectra.ivar[i][
            near[1]
        ]
        ivar[i] = np.where(good, mixed, 0)
    return flux, ivar


class _Smoother:
    """Averages over neighbors in clean stretches, weighed by a Gaussian."""

    def __init__(self, grid: LogGrid):
        knots = np.arange(0, grid.size + _EVERY, _EVERY)
        pixels = np.arange(grid.size)
        width = _SMOOTH_KMS / grid.step_kms
        nearness = np.exp(-0.5 * ((pixels[:, None] - knots) / width) ** 2)
        self.average = nearness.astype(np.float32)
        share = pixels / _EVERY
        low = np.minimum(share.astype(int), len(knots) - 2)
        self.low = low
        between = np.zeros((len(knots), grid.size), np.float32)
        between[low, pixels] = 1 - (share - low)
        between[low + 1, pixels] = share - low
        self.between = between
        self.clean = clean_pixels(grid.wave)

    def divide(
        self, flux: NDArray[np.float32], ivar: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return flux over its level, and the inverse variance of that."""
        weight = ((ivar > 0) & self.clean).astype(np.float32)
        total = weight @ self.average
        level = (np.where(weight > 0, flux, 0) @ self.average) / np.maximum(total, 1e-6)
        # Where no clean pixel is near there is no level, nor between there and the next.
        known = total > 1.0
        both = known[:, self.low] & known[:, self.low + 1]
        level = np.where(both, level @ self.between, 0)
        good = (ivar > 0) & (level > 0)
        divided = np.where(good, flux / np.where(good, level, 1), 1)
        return (
            divided.astype(np.float32),
            np.where(good, ivar * level**2, 0).astype(np.float32),
        )
