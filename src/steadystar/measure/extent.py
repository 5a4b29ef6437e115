"""What a batch of spectra has at most: wavelengths, resolving power.

Grids and templates are chosen by it, and what is measured of a spectrum must not depend
on the last digit of its neighbors' wavelengths.
"""

__all__ = ["sharpest", "span"]

import numpy as np

from steadystar.data.spectra import Spectra


def span(spectra: Spectra) -> tuple[float, float]:
    """Return first and last wavelength that is recorded, to the next percent outside."""
    used = spectra.ivar > 0
    wave = spectra.wave_2d
    wave = np.log(wave[used] if used.any() else wave)
    first, last = np.floor(100 * wave.min()), np.ceil(100 * wave.max())
    return float(np.exp(first / 100)), float(np.exp(last / 100))


def sharpest(spectra: Spectra) -> float:
    """Return the highest resolving power; NaN where none is known."""
    known = spectra.resolution[np.isfinite(spectra.resolution)]
    return float(known.max()) if len(known) else float("nan")
