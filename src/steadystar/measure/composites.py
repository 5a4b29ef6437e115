"""Two stars in one spectrum: what their sum says of the first.

Spectra of single stars are added on a common flux scale, as if the two stood at the same
distance without dust, and the sum is looked at as if it were one star (Xiang et al. 2021,
section 6, figure 9). Its magnitude should be that of the brighter one, or a little
fainter, for equal pairs and for very unequal ones.
"""

__all__ = ["composite_test", "summed"]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.spectra import Spectra
from steadystar.measure.luminosity import LuminosityModel
from steadystar.models.hot_grid import bundled_hot

_KS_STAND_IN = 17_500.0
"""A: the models' continua end before Ks; between here and there hot stars differ little."""
_PAIRS = 600
_LEAST_SNR = 80.0


def summed(
    spectra: Spectra,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    labels: NDArray[np.float64],
    light: NDArray[np.float64],
) -> Spectra:
    """Add pairs of spectra that were divided by their levels (`rest_frame.to_rest`).

    Arguments:
        spectra: at rest on one grid.
        first, second: rows of the pairs, ``(pair,)``.
        labels: ``(spectrum, 3)``, Teff (K), log g, [Fe/H]: which continua they had.
        light: Ks light of the second over that of the first, ``(pair,)``.
    """
    share = light[:, None] * _color(spectra.wave, labels[first], labels[second])
    flux = (spectra.flux[first] + share * spectra.flux[second]) / (1 + share)
    one, two = spectra.ivar[first], spectra.ivar[second]
    both = (one > 0) & (two > 0)
    noise = 1 / np.where(both, one, 1) + share**2 / np.where(both, two, 1)
    ivar = np.where(both, (1 + share) ** 2 / noise, 0)
    return Spectra(
        spectra.wave,
        np.where(both, flux, 1).astype(np.float32),
        ivar.astype(np.float32),
        spectra.resolution[first],
        frame=spectra.frame,
    )


def _color(wave, first, second) -> NDArray[np.float64]:
    """Ratio of the continua, second over first, with equal light in Ks."""
    return _continua(wave, second) / _continua(wave, first)


def _continua(wave, labels) -> NDArray[np.float64]:
    models = bundled_hot()
    low, high = models.domain.limits
    terms = models.terms(np.clip(labels, low, high))
    logs = terms @ models.continuum_theta
    at = np.append(wave, _KS_STAND_IN)
    value = np.stack([np.interp(at, models.continuum_wave, row) for row in logs])
    return 10 ** (value[:, :-1] - value[:, -1:])


def composite_test(
    spectra: Spectra,
    table: pl.DataFrame,
    model: LuminosityModel,
    seed: int = 1,
) -> pl.DataFrame:
    """Sum single stars to pairs and look at them as if each were one star.

    Arguments:
        spectra: of stars without emission, at rest.
        table: aligned: ``teff, logg, feh, snr``.
        model: what tells magnitudes.
        seed: of the drawing of pairs.

    Returns:
        One row a pair: ``teff_1, teff_2`` (K), ``m_ks_1, m_ks_2`` (of the single
        spectra), ``m_ks_pair`` (of the sum), ``flux_ratio`` (Ks light, second over
        first). Empty where fewer than 20 spectra are good enough.
    """
    labels = table.select("teff", "logg", "feh").to_numpy().astype(float)
    snr = table["snr"].to_numpy()
    alone = model.apply(spectra, snr, np.zeros(len(spectra), bool))
    m_ks = alone["m_ks"].to_numpy()
    good = np.isfinite(labels).all(axis=1) & np.isfinite(m_ks) & (snr >= _LEAST_SNR)
    rows = np.flatnonzero(good)
    none = np.zeros(0, int)
    first, second = none, none
    if len(rows) >= 20:
        rng = np.random.default_rng(seed)
        drawn = rng.choice(rows, (_PAIRS, 2))
        drawn = drawn[drawn[:, 0] != drawn[:, 1]]
        order = np.argsort(m_ks[drawn], axis=1)
        first, second = np.take_along_axis(drawn, order, axis=1).T
    light = 10 ** (-0.4 * (m_ks[second] - m_ks[first]))
    told = np.zeros(0)
    if len(first):
        pairs = summed(spectra, first, second, labels, light)
        both = np.minimum(snr[first], snr[second])
        told = model.apply(pairs, both, np.zeros(len(first), bool))["m_ks"].to_numpy()
    return pl.DataFrame(
        {
            "teff_1": labels[first, 0],
            "teff_2": labels[second, 0],
            "m_ks_1": m_ks[first],
            "m_ks_2": m_ks[second],
            "m_ks_pair": told,
            "flux_ratio": light,
        }
    )
