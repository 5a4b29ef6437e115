"""Which number to call the signal-to-noise ratio of a spectrum.

With photon noise alone the root mean square over pixels is the one that predicts the
photon limit exactly. Read noise, sky and detectors of unequal gain break that, and what
comes nearest is a question to the data: `compare_snr` asks it (Saydjari et al. 2025,
appendix B; for APOGEE the median over all pixels did best).
"""

__all__ = ["compare_snr", "snr_definitions"]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.numbers import Numbers
from steadystar.measure.information import photon_limit, quality_factor


def snr_definitions(
    flux: Numbers, ivar: Numbers, detector: Numbers | None = None
) -> pl.DataFrame:
    """Return the single numbers that are called the S/N of a spectrum.

    Arguments:
        flux: ``(spectrum, pixel)`` or ``(pixel,)``.
        ivar: same shape; pixels where it is not positive and finite do not count.
        detector: number or name of each pixel's detector, ``(pixel,)``.

    Returns:
        One row a spectrum: ``snr_rms``, root mean square over pixels; ``snr_median``,
        median per pixel; ``snr_median_NAME`` for each detector. NaN without pixels. In a
        recorded flux the noise itself adds one to the mean square: ``snr_rms`` is
        too large by 5% at 3, by 0.5% at 10.

    Source: Saydjari et al. 2025, appendix B.
    """
    flux = np.atleast_2d(np.asarray(flux, float))
    ivar = np.atleast_2d(np.asarray(ivar, float))
    if flux.shape != ivar.shape:
        raise ValueError(
            f"Flux has shape {flux.shape} and ivar {ivar.shape}: give one for each pixel."
        )
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    ratio = np.where(good, flux, np.nan) * np.sqrt(np.where(good, ivar, 0))
    columns = {
        "snr_rms": np.sqrt(_without_gaps(np.nanmean, ratio**2)),
        "snr_median": _without_gaps(np.nanmedian, ratio),
    }
    if detector is not None:
        names = np.asarray(detector)
        if names.shape != flux.shape[1:]:
            raise ValueError(
                f"There are {names.size} detector names for {flux.shape[1]} pixels: "
                "give one for each."
            )
        for name in np.unique(names):
            columns[f"snr_median_{name}"] = _without_gaps(
                np.nanmedian, ratio[:, names == name]
            )
    return pl.DataFrame(columns)


def compare_snr(
    wave: Numbers, flux: Numbers, ivar: Numbers, detector: Numbers | None = None
) -> pl.DataFrame:
    """Say how well each definition of S/N predicts the photon limit.

    Arguments as of `photon_limit` without a model, and of `snr_definitions`.

    Returns:
        The columns of `snr_definitions`; ``limit``, from the errors themselves, km/s;
        and for each ``snr_X`` a column ``limit_over_X``, the limit from the quality
        factor and that S/N over the true one: one where the definition is right.

    Source: Saydjari et al. 2025, appendix B, figure 13.
    """
    flux = np.atleast_2d(np.asarray(flux, float))
    weight = np.atleast_2d(np.asarray(ivar, float))
    table = snr_definitions(flux, weight, detector)
    limit = photon_limit(wave, flux, weight)
    good = np.isfinite(weight) & (weight > 0)
    quality = quality_factor(wave, flux, good)
    predicted = {}
    for column in table.columns:
        total = quality * np.sqrt(good.sum(axis=1)) * table[column].to_numpy()
        ratio = np.full(len(total), np.nan)
        np.divide(C_KMS, total * limit, out=ratio, where=total > 0)
        predicted[column.replace("snr_", "limit_over_", 1)] = ratio
    return table.with_columns(limit=limit, **predicted)


def _without_gaps(function, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply a nan-function along pixels; NaN where there are none."""
    some = np.isfinite(values).any(axis=1)
    result = np.full(len(values), np.nan)
    if some.any():
        result[some] = function(values[some], axis=1)
    return result
