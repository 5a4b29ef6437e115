"""Dust in front of a star: how many magnitudes it takes from each band.

`extinction_coefficients` integrates a star's spectrum behind dust over passbands, with
the law of Fitzpatrick (1999) from the package ``dust_extinction``:

    A_band = -2.5 log10 ( int f 10^(-0.4 A(wave)) R wave dwave / int f R wave dwave )

where A(wave) = E(B-V) R_V k(wave). ``E(B-V)`` is that of the law (monochromatic, near
4400 and 5500 A), not the difference of the B and V bands for some star; one magnitude of
the map of Schlegel et al. (1998) is 0.86 of it (Schlafly & Finkbeiner 2011, ApJ 737,
103), so that A_Ks = 0.35 E(B-V) here is the 0.30 that is often quoted with that map.

The star's spectrum is a Planck function times ``hot_shapes.csv``: model spectra (D.
Nidever's polynomial models, see `steadystar.models.doppler`; log g 4.1, 4.35 below 8000 K;
solar) over the Planck function of their temperature, from 5500 to 32 000 K in bins of 30
to 300 A; beyond 18 000 A and beyond these temperatures the last ratio is kept. Without
the ratio, a bare Planck function, A_BP changes by less than 0.6 percent from 12 000 K on
and 1.8 percent at 8000 K, A_G by 2.2 and 4.5 percent.

`Dust` holds the same on a grid of temperature and reddening, for many stars at once:
wide bands see a redder star the more dust there is (A_BP / E(B-V) falls by a tenth from
no dust to E(B-V) of 2).
"""

__all__ = ["Dust", "dust", "extinction_coefficients"]

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from steadystar.data.numbers import Numbers
from steadystar.models.passbands import BANDS, passband

_RV_RANGE = (2.0, 6.0)
_HC_K = 1.438776877e8
"""Second radiation constant, Angstrom Kelvin (CODATA 2018)."""

_TEFFS = np.geomspace(5000.0, 60_000.0, 13)
_EBVS = np.array([0.01, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0])


def extinction_coefficients(
    teff: float = 20_000.0,
    r_v: float = 3.1,
    ebv: float = 0.3,
    spectrum: tuple[Numbers, Numbers] | None = None,
) -> dict[str, float]:
    """Return A_band / E(B-V) of every band for one star behind dust.

    Arguments:
        teff: temperature of the star, K.
        r_v: A_V / E(B-V) of the law, 2 to 6.
        ebv: reddening at which the coefficients hold, mag.
        spectrum: wavelengths (Angstrom, vacuum, increasing) and flux per wavelength,
            both ``(pixel,)``, instead of the models that come along; past its ends it
            goes on as a Planck function of ``teff``.

    Raises:
        ValueError: a number out of its range.
    """
    _require(teff, r_v, ebv)
    # Below a hundredth of a magnitude the ratio is its limit, to 0.1 percent.
    amounts = np.array([max(ebv, _EBVS[0])])
    out = {}
    for name in BANDS:
        wave = passband(name).grid()
        flux = _flux(wave, teff) if spectrum is None else _given(wave, teff, spectrum)
        out[name] = float(_ratio(name, wave, flux, r_v, amounts)[0])
    return out


@dataclass(frozen=True, eq=False)
class Dust:
    """Extinction of many stars: A_band / E(B-V) on a grid of temperature and reddening.

    ``r_v``: of the law. ``ratios``: by band, ``(teff, ebv)``. Make it with `dust`.
    """

    r_v: float
    ratios: Mapping[str, NDArray[np.float64]]

    def magnitudes(self, band: str, teff: Numbers, ebv: Numbers) -> NDArray[np.float64]:
        """Return how much fainter dust makes stars in ``band``, mag.

        ``teff`` (K) and ``ebv`` (mag) have shapes that broadcast; beyond the grid (5000
        to 60 000 K, 0.01 to 5 mag) its edge's coefficient is taken, so that a negative
        E(B-V), as noise makes it, gives a negative extinction.

        Raises:
            ValueError: the band is not known.
        """
        passband(band)
        table = self.ratios[band]
        ebv = np.asarray(ebv, float)
        row, up = _place(np.log(np.asarray(teff, float)), np.log(_TEFFS))
        column, right = _place(ebv, _EBVS)
        low = table[row, column] * (1 - right) + table[row, column + 1] * right
        high = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
        return np.asarray(ebv * (low * (1 - up) + high * up))


@cache
def dust(r_v: float = 3.1) -> Dust:
    """Return the extinction by dust of one R_V in front of hot stars.

    Raises:
        ValueError: R_V is outside 2 to 6.
    """
    _require(20_000.0, r_v, 0.3)
    ratios = {}
    for name in BANDS:
        wave = passband(name).grid(10.0)
        rows = [_ratio(name, wave, _flux(wave, t), r_v, _EBVS) for t in _TEFFS]
        ratios[name] = np.stack(rows)
        ratios[name].setflags(write=False)
    return Dust(r_v, ratios)


def _require(teff: float, r_v: float, ebv: float) -> None:
    low, high = _RV_RANGE
    if not low <= r_v <= high:
        raise ValueError(
            f"r_v = {r_v} is outside Fitzpatrick's law: give a number from {low} to "
            f"{high}, 3.1 for the diffuse dust of the Galaxy."
        )
    if not (np.isfinite(teff) and teff > 1000):
        raise ValueError(f"teff = {teff} K is no hot star: give Kelvin, above 1000.")
    if not (np.isfinite(ebv) and ebv >= 0):
        raise ValueError(
            f"ebv = {ebv} is no amount of dust at which coefficients could hold: give "
            "a number of magnitudes, 0 or more."
        )


def _ratio(name: str, wave, flux, r_v, amounts) -> NDArray[np.float64]:
    """Return A / E(B-V) of a band for each amount of dust, ``(amount,)``."""
    weight = flux * passband(name)(wave) * wave
    dimming = 10 ** (-0.4 * r_v * amounts[:, None] * _law(r_v)(wave))
    seen = np.trapezoid(weight * dimming, wave, axis=-1)
    return -2.5 * np.log10(seen / np.trapezoid(weight, wave)) / amounts


def _planck(wave, teff) -> NDArray[np.float64]:
    return 1 / (wave**5 * np.expm1(_HC_K / wave / teff))


def _flux(wave, teff: float) -> NDArray[np.float64]:
    grid, teffs, ratios = _shapes()
    at, up = _place(np.log(np.asarray(teff, float)), np.log(teffs))
    ratio = ratios[:, at] * (1 - up) + ratios[:, at + 1] * up
    return _planck(wave, teff) * np.interp(wave, grid, ratio)


def _given(wave, teff: float, spectrum) -> NDArray[np.float64]:
    grid, flux = (np.asarray(part, float) for part in spectrum)
    ratio = np.interp(wave, grid, flux / _planck(grid, teff))
    return ratio * _planck(wave, teff)


def _place(values, nodes):
    """Return the interval of each value among nodes, and how far into it, 0 to 1."""
    index = np.clip(np.searchsorted(nodes, values) - 1, 0, len(nodes) - 2)
    fraction = (values - nodes[index]) / (nodes[index + 1] - nodes[index])
    return index, np.clip(fraction, 0, 1)


@cache
def _shapes():
    path = resources.files("steadystar.models") / "hot_shapes.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    table = np.array(rows[1:], float)
    return table[:, 0], np.array(rows[0][1:], float), table[:, 1:]


@cache
def _law(r_v: float):
    """Return k(wave) = A(wave) / A_V, after Fitzpatrick (1999)."""
    # Imported when dust is asked for: the package brings astropy's models along.
    from astropy import units
    from dust_extinction.parameter_averages import F99

    law = F99(Rv=r_v)
    return lambda wave: np.asarray(law(wave * units.AA), float)
