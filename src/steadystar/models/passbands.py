"""Passbands of photometric surveys, and how strongly dust dims a star in each.

The responses are published ones, thinned to 40 or 60 nodes a band (a least-squares
fit by straight lines, with the integral kept to 2e-4 and the mean wavelength to 0.6 A):
Gaia DR3 G, BP, RP (Riello et al. 2021, A&A 649, A3); 2MASS J, H, Ks (Cohen et al. 2003,
AJ 126, 1090); SDSS ugriz (Doi et al. 2010, AJ 139, 1628, airmass 1.3, as distributed in
2001 by J. Gunn); Pan-STARRS1 grizy (Tonry et al. 2012, ApJ 750, 99); Johnson B and V
(Bessell 1990, PASP 102, 1181). They are signal per photon that arrives; the largest
value is near 1.

`steadystar.models.dust` puts dust in front of them.
"""

__all__ = [
    "BANDS",
    "Passband",
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
