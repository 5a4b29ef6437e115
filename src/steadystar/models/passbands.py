"""Passbands of photometric surveys, and how strongly dust dims a star in each.

The responses are published ones, thinned to 40 or 60 nodes a band (a least-squares
fit by straight lines, with the integral kept to 2e-4 and the mean wavelength to 0.6 A):
Gaia DR3 G, BP, RP (Riello et al. 2021, A&A 649, A3); 2MASS J, H, Ks (Cohen et al. 2003,
AJ 126, 1090); SDSS ugriz (Doi et al. 2010, AJ 139, 1628, airmass 1.3, as distributed in
2001 by J. Gunn); Pan-STARRS1 grizy (Tonry et al. 2012, ApJ 750, 99); Johnson B and V
(Bessell 1990, PASP 102, 1181). They are signal per photon that arrives; the largest
value is near 1.

`extinction_coefficients` integrates a hot star's spectrum behind dust over them, with
the law of Fitzpatrick (1999) from the package ``dust_extinction``:

    A_band = -2.5 log10 ( int f 10^(-0.4 A(wave)) R wave dwave / int f R wave dwave )

with A(wave) = E(B-V) R_V k(wave). ``E(B-V)`` is that of the law (monochromatic, at 4400
and 5500 A), not a difference of the B and V band for some star.
"""

__all__ = [
    "BANDS",
    "Passband",
    "extinction_coefficients",
    "passband",
]

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from steadystar.data.numbers import Numbers

_RV_RANGE = (2.0, 6.0)
_HC_K = 1.438776877e8
"""Second radiation constant, Angstrom Kelvin (CODATA 2018)."""


@dataclass(frozen=True, eq=False)
class Passband:
    """A band's response per photon on wavelengths (Angstrom), both ``(node,)``."""

    name: str
    wave: NDArray[np.float64]
    response: NDArray[np.float64]

    def __call__(self, wave: Numbers) -> NDArray[np.float64]:
        """Return the response at ``wave`` (Angstrom), zero outside the band."""
        wave = np.asarray(wave, float)
        return np.asarray(np.interp(wave, self.wave, self.response, 0.0, 0.0))

    @property
    def pivot(self) -> float:
        """Pivot wavelength, Angstrom: what turns f_lambda into f_nu for the band."""
        fine = self.grid()
        response = self(fine)
        top = np.trapezoid(response * fine, fine)
        return float(np.sqrt(top / np.trapezoid(response / fine, fine)))

    def grid(self, step: float = 2.0) -> NDArray[np.float64]:
        """Return wavelengths that cover the band every ``step`` Angstrom or less."""
        first, last = self.wave[0], self.wave[-1]
        return np.linspace(first, last, int(np.ceil((last - first) / step)) + 1)


@cache
def _passbands() -> MappingProxyType[str, Passband]:
    path = resources.files("steadystar.models") / "passbands.csv"
    nodes: dict[str, list[tuple[float, float]]] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        pair = float(row["wave"]), float(row["response"])
        nodes.setdefault(row["band"], []).append(pair)
    out = {}
    for name, pairs in nodes.items():
        table = np.array(pairs)
        table.setflags(write=False)
        out[name] = Passband(name, table[:, 0], table[:, 1])
    return MappingProxyType(out)


BANDS = (
    *("g", "bp", "rp", "j", "h", "ks", "b", "v"),
    *("u_sdss", "g_sdss", "r_sdss", "i_sdss", "z_sdss"),
    *("g_ps", "r_ps", "i_ps", "z_ps", "y_ps"),
)
"""Names of the bands: Gaia, 2MASS, Johnson, SDSS, Pan-STARRS1."""


def passband(name: str) -> Passband:
    """Return a band by its name.

    Raises:
        ValueError: there is no such band.
    """
    try:
        return _passbands()[name]
    except KeyError:
        raise ValueError(
            f"{name!r} is no band that is known: choose one of {', '.join(BANDS)}."
        ) from None


def extinction_coefficients(
    teff: float = 20_000.0,
    r_v: float = 3.1,
    ebv: float = 0.3,
    spectrum: tuple[Numbers, Numbers] | None = None,
) -> dict[str, float]:
    """Return A_band / E(B-V) of every band behind dust of one kind.

    Arguments:
        teff: temperature (K) of the Planck function that stands for the star, where no
            ``spectrum`` is given.
        r_v: A_V / E(B-V) of the law, 2 to 6.
        ebv: reddening at which the coefficients hold, mag; wide bands see a redder star
            the more dust there is, so that theirs fall with it.
        spectrum: wavelengths (Angstrom, vacuum, increasing) and flux per wavelength of
            a model, both ``(pixel,)``; beyond its last pixel a Planck function of
            ``teff`` continues it.

    Raises:
        ValueError: a number out of its range.
    """
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
    # Below a hundredth of a magnitude the ratio is its limit, to 0.1 percent.
    amount = max(ebv, 0.01)
    return {
        name: _dimming(passband(name), teff, r_v, amount, spectrum) / amount
        for name in BANDS
    }


def _dimming(band: Passband, teff, r_v, ebv, spectrum) -> float:
    wave = band.grid()
    flux = _flux(wave, teff, spectrum) * band(wave) * wave
    dust = 10 ** (-0.4 * ebv * r_v * _law(r_v)(wave))
    seen, sent = (np.trapezoid(f, wave) for f in (flux * dust, flux))
    return float(-2.5 * np.log10(seen / sent))


def _flux(wave, teff, spectrum) -> NDArray[np.float64]:
    planck = 1 / (wave**5 * np.expm1(_HC_K / wave / teff))
    if spectrum is None:
        return planck
    grid, flux = (np.asarray(part, float) for part in spectrum)
    out = np.interp(wave, grid, flux)
    beyond = wave > grid[-1]
    scale = flux[-1] * grid[-1] ** 5 * np.expm1(_HC_K / grid[-1] / teff)
    return np.where(beyond, planck * scale, out)


@cache
def _law(r_v: float):
    """Return k(wave) = A(wave) / A_V, after Fitzpatrick (1999)."""
    # The package takes a moment to import, so it is imported when dust is asked for.
    from astropy import units
    from dust_extinction.parameter_averages import F99

    law = F99(Rv=r_v)
    return lambda wave: np.asarray(law(wave * units.AA), float)
