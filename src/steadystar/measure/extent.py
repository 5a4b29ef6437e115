"""What a batch of spectra has at most: wavelengths, resolving power.

Grids and templates are chosen by it, and what is measured of a spectrum must not depend
on the last digit of its neighbors' wavelengths.
"""

__all__ = ["alike", "recorded", "sharpest", "span", "stretch"]

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

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
    low, high = _percent(*recorded(spectra))
    return float(low), float(high)


def _percent(low, high):
    first, last = np.floor(100 * np.log(low)), np.ceil(100 * np.log(high))
    return np.exp(first / 100), np.exp(last / 100)


def alike(
    spectra: Spectra, arm: str, windows: Mapping[str, Ends]
) -> Iterator[tuple[Ends, NDArray[np.intp]]]:
    """Yield windows, and the rows of the spectra that have them.

    That of an arm in ``windows`` is the same for all. Elsewhere it is what a spectrum
    spans itself, whatever others do: orders of an echelle, and both arms of an
    instrument whose files name none, are measured each in its own.
    """
    if arm in windows:
        yield windows[arm], np.arange(len(spectra))
        return
    used = spectra.ivar > 0
    used[~used.any(axis=1)] = True
    wave = spectra.wave_2d
    low = np.where(used, wave, np.inf).min(axis=1)
    high = np.where(used, wave, -np.inf).max(axis=1)
    own = np.stack(_percent(low, high), axis=1)
    for ends in np.unique(own, axis=0):
        yield (
            (float(ends[0]), float(ends[1])),
            np.flatnonzero((own == ends).all(axis=1)),
        )


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
