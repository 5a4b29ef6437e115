"""Masses and absolute magnitudes of invented hot stars.

The gravity equation ties luminosity to what a spectrum shows,

    M_bol = 4.74 - 10 log(Teff / 5772 K) + 2.5 (log g - 4.438) - 2.5 log(M / Msun),

once the mass is known. There are no isochrones here. The mass is the one with which the
star obeys a single mass-luminosity relation, that of main-sequence stars in eclipsing
binaries (Eker et al. 2018, MNRAS 479, 5491, table 4): luminosity over mass follows from
the flux-weighted gravity, ``log(L/M) = 5.393 - (log g - 4 log(Teff/10^4 K))``, and the
relation then gives both. Stars that have left the main sequence are more luminous for
their mass than that; here they are not. Any table of isochrones can take the relation's
place: `MassTable`.

Where the main sequence lies in (Teff, log g) follows from luminosities of dwarfs (Pecaut
& Mamajek 2013, ApJS 208, 9, version 2022.04.16 of their table) and the same relation.
"""

__all__ = [
    "MassLuminosity",
    "MassTable",
    "Masses",
    "bolometric_magnitude",
    "main_sequence",
]

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, PchipInterpolator

from steadystar.data.numbers import Numbers

# Nominal solar values (IAU 2015 resolution B3): K, log g in cgs, M_bol.
_SUN_TEFF, _SUN_LOGG, _SUN_MBOL = 5772.0, 4.438, 4.74

# log L/Lsun at these masses (solar), from the six lines of Eker et al.; at 2.4 and 7 Msun
# the mean of the two that meet there, at 40 Msun the last line prolonged.
_MASS = (0.3, 0.5, 0.7, 0.9, 1.05, 1.4, 1.9, 2.4, 3.2, 4.2, 5.5, 7, 10, 15, 22, 31, 40)
_LUMINOSITY = (
    *(-2.036, -1.478, -0.810, -0.270, 0.115, 0.623, 1.197, 1.618, 2.097, 2.565),
    *(3.031, 3.486, 3.970, 4.474, 4.951, 5.378, 5.695),
)

# Effective temperature (K) and log L/Lsun of dwarfs.
_DWARF_TEFF = (
    *(3850, 4440, 5100, 5770, 6350, 6820, 7220, 7760, 8250, 8840, 9700, 10700, 12300),
    *(14000, 15700, 17000, 20600, 26000, 31400, 35100, 37900, 39800, 41400),
)
_DWARF_LUMINOSITY = (
    *(-1.164, -0.780, -0.428, 0.010, 0.432, 0.710, 0.864, 1.000, 1.128, 1.384, 1.584),
    *(1.864, 2.188, 2.476, 2.772, 2.992, 3.428, 4.128, 4.652, 4.992, 5.180, 5.364),
    5.540,
)


@runtime_checkable
class Masses(Protocol):
    """Whatever tells masses from labels."""

    def __call__(self, teff: Numbers, logg: Numbers, feh: Numbers) -> NDArray:
        """Return masses (solar) of stars with these labels, all ``(star,)``."""
        ...


@dataclass(frozen=True)
class MassLuminosity:
    """A mass-luminosity relation: solar masses and log10 of solar luminosities."""

    mass: tuple[float, ...] = _MASS
    log_luminosity: tuple[float, ...] = _LUMINOSITY

    def __post_init__(self) -> None:
        log_mass, light = np.log10(self.mass), np.asarray(self.log_luminosity)
        if (
            not (np.diff(log_mass) > 0).all()
            or not (np.diff(light - log_mass) > 0).all()
        ):
            raise ValueError(
                "A mass-luminosity relation must have rising masses, and rising "
                "luminosities per mass: else a spectrum belongs to two masses."
            )

    def luminosity(self, mass: Numbers) -> NDArray[np.float64]:
        """Return log10 of the luminosity (solar) at masses (solar)."""
        curve = PchipInterpolator(np.log10(self.mass), self.log_luminosity)
        return np.asarray(curve(np.log10(np.asarray(mass, float))))

    def mass_of_luminosity(self, log_luminosity: Numbers) -> NDArray[np.float64]:
        """Return masses (solar) at log10 of luminosities (solar)."""
        curve = PchipInterpolator(self.log_luminosity, np.log10(self.mass))
        return np.asarray(10 ** curve(np.asarray(log_luminosity, float)))

    def __call__(self, teff: Numbers, logg: Numbers, feh: Numbers) -> NDArray:
        """Return masses (solar) at effective temperatures (K) and log g (cgs)."""
        del feh  # the relation has none
        log_mass = np.log10(self.mass)
        fine = np.linspace(log_mass[0], log_mass[-1], 2000)
        per_mass = self.luminosity(10**fine) - fine
        wanted = _flux_weighted(_SUN_TEFF, _SUN_LOGG) - _flux_weighted(teff, logg)
        return np.asarray(10 ** np.interp(wanted, per_mass, fine))


@dataclass(frozen=True, eq=False)
class MassTable:
    """Masses from a table of isochrones or tracks, linear between its rows.

    All four columns ``(row,)``; beyond the rows the nearest inside counts for nothing:
    a star there is refused.
    """

    teff: NDArray[np.float64]
    logg: NDArray[np.float64]
    feh: NDArray[np.float64]
    mass: NDArray[np.float64]

    def __call__(self, teff: Numbers, logg: Numbers, feh: Numbers) -> NDArray:
        """Return masses (solar).

        Raises:
            ValueError: stars lie outside the table.
        """
        axes = [np.log10(self.teff), self.logg, self.feh]
        at = [np.log10(np.asarray(teff, float)), np.asarray(logg), np.asarray(feh)]
        varied = [k for k in range(3) if np.ptp(axes[k]) > 0]
        curve = LinearNDInterpolator(
            np.stack([axes[k] for k in varied], axis=-1), np.log10(self.mass)
        )
        mass = 10 ** curve(np.stack(np.broadcast_arrays(*(at[k] for k in varied)), -1))
        if not np.isfinite(mass).all():
            raise ValueError(
                f"{int((~np.isfinite(mass)).sum())} stars lie outside the table of "
                "masses: give one that covers 8000 to 40 000 K and log g 2.5 to 5."
            )
        return mass


def bolometric_magnitude(
    teff: Numbers, logg: Numbers, mass: Numbers
) -> NDArray[np.float64]:
    """Return M_bol by the gravity equation; K, cgs, solar masses."""
    weighted = _flux_weighted(teff, logg) - _flux_weighted(_SUN_TEFF, _SUN_LOGG)
    return np.asarray(_SUN_MBOL + 2.5 * (weighted - np.log10(np.asarray(mass, float))))


@dataclass(frozen=True)
class _Dwarf:
    """Where stars of a mass lie in the middle of the main sequence."""

    teff: NDArray[np.float64]
    logg: NDArray[np.float64]


def main_sequence(
    *, mass: Numbers | None = None, teff: Numbers | None = None
) -> _Dwarf:
    """Return effective temperature (K) and log g of dwarfs, by mass or by temperature."""
    relation = MassLuminosity()
    if teff is None:
        curve = PchipInterpolator(_DWARF_LUMINOSITY, np.log10(_DWARF_TEFF))
        light = relation.luminosity(np.asarray(mass, float))
        inside = np.clip(light, _DWARF_LUMINOSITY[0], _DWARF_LUMINOSITY[-1])
        teff = 10 ** curve(inside)
    kelvin = np.asarray(teff, float)
    curve = PchipInterpolator(np.log10(_DWARF_TEFF), _DWARF_LUMINOSITY)
    light = curve(
        np.clip(np.log10(kelvin), *np.log10([_DWARF_TEFF[0], _DWARF_TEFF[-1]]))
    )
    per_mass = light - np.log10(relation.mass_of_luminosity(light))
    weighted = _flux_weighted(_SUN_TEFF, _SUN_LOGG) - per_mass
    return _Dwarf(kelvin, weighted + 4 * np.log10(kelvin / 1e4))


def _flux_weighted(teff: Numbers, logg: Numbers) -> NDArray[np.float64]:
    """Return the flux-weighted gravity, log g - 4 log(Teff / 10^4 K)."""
    weighted = np.asarray(logg, float) - 4 * np.log10(np.asarray(teff, float) / 1e4)
    return np.asarray(weighted)
