"""What a batch of spectra has at most: wavelengths, resolving power.

Grids and templates are chosen by it, and what is measured of a spectrum must not depend
on the last digit of its neighbors' wavelengths.
"""

__all__ = ["recorded", "sharpest", "span", "stretch"]

from collections.abc import Callable, Mapping

import numpy as np

from steadystar.data.spectra import Spectra

Ends = tuple[float, float]


def recorded(spectra: Spectra) -> Ends:
    """Return first and last wavelength that any spectrum has data at, Angstrom."""
    used = spectra.ivar > 0
    wave = spectra.wave_2d
    wave = wave[used] if used.any() else wave
    return float(wave.min()), float(wave.max())


def span(spectra: Spectra) -> Ends:
    """Return what is `recorded`, to the next percent outside."""
    low, high = np.log(recorded(spectra))
    first, last = np.floor(100 * low), np.ceil(100 * high)
    return float(np.exp(first / 100)), float(np.exp(last / 100))


def stretch(
    spectra: Spectra,
    arm: str,
    windows: Mapping[str, Ends],
    otherwise: Callable[[Spectra], Ends] = span,
) -> Ends:
    """Return the window of an arm; of one without, all that its spectra span."""
    return windows[arm] if arm in windows else otherwise(spectra)


def sharpest(spectra: Spectra) -> float:
    """Return the highest resolving power; NaN where none is known."""
    known = spectra.resolution[np.isfinite(spectra.resolution)]
    return float(known.max()) if len(known) else float("nan")
