"""Spectra on a common grid, with flux and variance carried over exactly.

Each pixel is taken as an interval of wavelength that holds its flux evenly; a pixel of
the grid gets the mean flux density over its own interval,

    f_j = sum_i P_ji f_i,    P_ji = overlap(i, j) / (good width of j),

so that flux times width is conserved. The variance is ``sum_i P_ji^2 var_i``. Neighbors
share input pixels, and the matrix that says how is ``P diag(var) P.T``
(`overlap_matrix`): who fits a model to resampled pixels as if they were independent gets
error bars that are too small. Velocities are therefore measured on the pixels as
recorded, and this is for plots, stacks and exchange.
"""

__all__ = ["overlap_matrix", "resample"]

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from steadystar.data.spectra import LogGrid, Spectra


def _edges(log_wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders half way between pixels, in ``ln(wavelength)``; the ends mirror theirs."""
    middle = (log_wave[1:] + log_wave[:-1]) / 2
    first, last = 2 * log_wave[0] - middle[0], 2 * log_wave[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def overlap_matrix(
    wave: NDArray[np.float64], grid: LogGrid, good: NDArray[np.bool_]
) -> csr_array:
    """Return ``P`` of one spectrum, shape ``(grid.size, pixel)``.

    ``wave``: increasing wavelengths (Angstrom); ``good``: which pixels count. A pixel of
    the grid of which less than half is covered by good pixels gets an empty row.
    """
    inner = np.exp(_edges(np.log(wave)))
    outer = np.exp(_edges(np.log(grid.wave)))
    # All borders together cut the wavelengths into pieces that lie in one pixel of each.
    cuts = np.unique(np.concatenate([inner, outer]))
    cuts = cuts[(cuts >= max(inner[0], outer[0])) & (cuts <= min(inner[-1], outer[-1]))]
    if len(cuts) < 2:
        return csr_array((grid.size, len(wave)))
    middle, width = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    source = np.searchsorted(inner, middle) - 1
    target = np.searchsorted(outer, middle) - 1
    used = good[source]
    source, target, width = source[used], target[used], width[used]
    covered = np.bincount(target, width, grid.size).astype(np.float64)
    enough = covered >= 0.5 * np.diff(outer)
    share = np.where(enough, _inverse(covered), 0)[target] * width
    return csr_array((share, (target, source)), shape=(grid.size, len(wave)))


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One over, and zero of zero."""
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)


def resample(spectra: Spectra, grid: LogGrid) -> Spectra:
    """Return ``spectra`` on ``grid``; pixels without data there have ``ivar = 0``.

    Flux is taken as a density (per Angstrom, or normalized): its integral over
    wavelength is conserved.
    """
    flux = np.zeros((len(spectra), grid.size), np.float32)
    ivar = np.zeros_like(flux)
    for i, wave in enumerate(spectra.wave_2d):
        good = spectra.ivar[i] > 0
        share = overlap_matrix(wave, grid, good)
        variance = _inverse(spectra.ivar[i].astype(np.float64))
        flux[i] = share @ spectra.flux[i].astype(np.float64)
        ivar[i] = _inverse(share.power(2) @ variance)
    return Spectra(grid.wave, flux, ivar, spectra.resolution.copy(), spectra.frame)
