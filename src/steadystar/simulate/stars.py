"""Invented stars: who they are, and how fast and how hot they are at any time.

A population is drawn as one table, a row a star: FGK dwarfs and giants with some A and
M stars, singles, binaries whose lines of one or of both stars show, and pulsators that
change their temperature. `states` then says, for a star and an array of times, the
velocities, labels and light of everything in its spectrum.

Orbits are those of `steadystar.simulate.orbits`.
"""

__all__ = ["StarState", "draw_stars", "states"]

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.match import name_from_position
from steadystar.data.numbers import Numbers
from steadystar.simulate.orbits import covered, orbital_velocity, true_anomaly

# Effective temperature (K), mass and radius (solar) of main-sequence stars, rounded
# from Pecaut & Mamajek (2013, ApJS 208, 9).
_DWARF_TEFF = np.array([3500, 3850, 4400, 5000, 5770, 6200, 6600, 7200, 8000, 9700])
_DWARF_MASS = np.array([0.43, 0.57, 0.70, 0.82, 1.00, 1.18, 1.38, 1.60, 1.85, 2.30])
_DWARF_RADIUS = np.array([0.43, 0.59, 0.70, 0.79, 1.00, 1.17, 1.47, 1.60, 1.80, 2.20])
_SOLAR_LOGG = 4.438


@dataclass(frozen=True)
class StarState:
    """One component of a star's light at given times, each of shape ``(time,)``.

    ``rv`` is the barycentric velocity in km/s; ``teff, logg, feh`` are the labels,
    ``vsini`` (km/s) is the rotation and ``area`` the visible part of the disk, in units
    of the whole disk of the first component.
    """

    rv: NDArray[np.float64]
    teff: NDArray[np.float64]
    logg: float
    feh: float
    vsini: float
    area: NDArray[np.float64]


def states(star: dict, time: Numbers) -> list[StarState]:
    """Return the components of ``star`` (a row of the table) at each ``time`` (BJD)."""
    time = np.atleast_1d(np.asarray(time, float))
    still = np.full(time.shape, star["rv_mean_true"])
    first = StarState(
        rv=still,
        teff=np.full(time.shape, star["teff_true"]),
        logg=star["logg_true"],
        feh=star["feh_true"],
        vsini=star["vsini_true"],
        area=np.ones(time.shape),
    )
    if star["motion"] == "constant":
        return [first]
    orbit = {
        "period": star["period_true"],
        "eccentricity": star["eccentricity_true"],
        "periastron": star["periastron_true"],
    }
    omega = star["omega_true"]
    motion = orbital_velocity(
        time, semi_amplitude=star["semi_amplitude_true"], omega=omega, **orbit
    )
    first = replace(first, rv=still + motion)
    if star["motion"] == "pulsator":
        # Hottest at rising light, a quarter of a cycle from the highest velocity.
        phase = 2 * np.pi * (time - star["periastron_true"]) / star["period_true"]
        heat = star["teff_amplitude_true"] * np.sin(phase + omega)
        return [replace(first, teff=first.teff + heat)]
    if star["motion"] == "sb1":
        return [first]
    against = orbital_velocity(
        time, semi_amplitude=star["semi_amplitude_2_true"], omega=omega + np.pi, **orbit
    )
    hidden, hidden_2 = _eclipsed(star, time)
    second = StarState(
        rv=still + against,
        teff=np.full(time.shape, star["teff_2_true"]),
        logg=star["logg_2_true"],
        feh=star["feh_true"],
        vsini=star["vsini_2_true"],
        area=star["area_2_true"] * (1 - hidden_2),
    )
    return [replace(first, area=1 - hidden), second]


def _eclipsed(star: dict, time: NDArray) -> tuple[NDArray, NDArray]:
    """Return the hidden parts of both disks of a double-lined binary."""
    nu, distance = true_anomaly(
        time, star["period_true"], star["eccentricity_true"], star["periastron_true"]
    )
    angle = nu + star["omega_true"]
    sin_i = np.sin(np.radians(star["inclination_true"]))
    # In units of the first star's radius.
    separation = (
        star["axis_true"] * distance * np.sqrt(1 - (np.sin(angle) * sin_i) ** 2)
    )
    radius_2 = float(np.sqrt(star["area_2_true"]))
    # Velocity away from us is positive, so the first star is behind when sin > 0.
    behind = np.sin(angle) > 0
    return (
        np.where(behind, covered(separation, 1.0, radius_2), 0.0),
        np.where(behind, 0.0, covered(separation, radius_2, 1.0)),
    )


def draw_stars(
    rng: np.random.Generator,
    n_stars: int,
    *,
    center: tuple[float, float],
    radius: float,
    fractions: dict[str, float],
    magnitudes: tuple[float, float],
    epoch: float,
) -> pl.DataFrame:
    """Draw ``n_stars`` within ``radius`` degrees of ``center`` (ra, dec).

    ``fractions``: of ``giant, hot, cool`` (kinds of stars; the rest are F, G and K
    dwarfs), of ``sb1, sb2, pulsator`` (kinds of motion; the rest are constant) and of
    double-lined binaries that are ``eclipsing``. ``magnitudes`` are the limits of
    brightness, ``epoch`` a time (BJD) near the observations.
    """
    ra, dec = _positions(rng, n_stars, center, radius)
    kinds = _choose(rng, n_stars, fractions, ("giant", "hot", "cool"), "fgk")
    motions = _choose(rng, n_stars, fractions, ("sb1", "sb2", "pulsator"), "constant")
    rows = []
    for index in range(n_stars):
        motion = str(motions[index])
        # A giant would drown a companion's lines, and the instability strip has its
        # own temperatures.
        kind = "fgk" if motion in ("sb2", "pulsator") else str(kinds[index])
        star = _atmosphere(rng, kind)
        if motion == "pulsator":
            star |= _pulsator(rng, epoch)
        elif motion in ("sb1", "sb2"):
            edge_on = motion == "sb2" and rng.uniform() < fractions["eclipsing"]
            star |= _binary(rng, star, epoch, double=motion == "sb2", edge_on=edge_on)
        rows.append(
            {
                "star_id": name_from_position(ra[index], dec[index]),
                "ra": ra[index],
                "dec": dec[index],
                "kind": kind,
                "motion": motion,
                "magnitude": _magnitude(rng, *magnitudes),
                "rv_mean_true": rng.normal(-10.0, 60.0 if kind == "giant" else 35.0),
                "constant_true": motion == "constant",
                "variable_true": motion != "constant",
                "double_lined_true": motion == "sb2",
            }
            | star
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "star_id": pl.String,
    "ra": pl.Float64,
    "dec": pl.Float64,
    "kind": pl.String,
    "motion": pl.String,
    "magnitude": pl.Float64,
    "rv_mean_true": pl.Float64,
    "constant_true": pl.Boolean,
    "variable_true": pl.Boolean,
    "double_lined_true": pl.Boolean,
    "teff_true": pl.Float64,
    "logg_true": pl.Float64,
    "feh_true": pl.Float64,
    "vsini_true": pl.Float64,
    "period_true": pl.Float64,
    "semi_amplitude_true": pl.Float64,
    "eccentricity_true": pl.Float64,
    "omega_true": pl.Float64,
    "periastron_true": pl.Float64,
    "teff_amplitude_true": pl.Float64,
    "inclination_true": pl.Float64,
    "axis_true": pl.Float64,
    "semi_amplitude_2_true": pl.Float64,
    "teff_2_true": pl.Float64,
    "logg_2_true": pl.Float64,
    "vsini_2_true": pl.Float64,
    "area_2_true": pl.Float64,
}


def _choose(rng, n_stars: int, fractions: dict, names: tuple[str, ...], rest: str):
    shares = [fractions[name] for name in names]
    return rng.choice([*names, rest], n_stars, p=[*shares, max(0.0, 1 - sum(shares))])


def _positions(rng, n_stars: int, center: tuple[float, float], radius: float):
    """Positions over a disk on the sky, rounded as file headers round them."""
    distance = radius * np.sqrt(rng.uniform(size=n_stars))
    angle = rng.uniform(0, 2 * np.pi, n_stars)
    dec = center[1] + distance * np.cos(angle)
    ra = center[0] + distance * np.sin(angle) / np.cos(np.radians(dec))
    return np.round(ra % 360, 6), np.round(dec, 6)


def _magnitude(rng, bright: float, faint: float) -> float:
    # Star counts grow as 10**(0.3 m) at these magnitudes.
    low, high = 10 ** (0.3 * bright), 10 ** (0.3 * faint)
    return float(np.log10(rng.uniform(low, high)) / 0.3)


def _atmosphere(rng, kind: str) -> dict[str, float]:
    feh = float(np.clip(rng.normal(-0.15, 0.25), -1.5, 0.4))
    if kind == "giant":
        teff = float(rng.uniform(4200, 5100))
        logg = float(np.clip(2.4 + (teff - 4800) / 350 + rng.normal(0, 0.2), 0.8, 3.3))
        vsini = rng.uniform(2, 5)
    else:
        low, high = {"hot": (7500, 9700), "cool": (3550, 4000), "fgk": (4400, 6900)}[
            kind
        ]
        teff = float(rng.uniform(low, high))
        logg = max(_dwarf_logg(teff) - float(rng.exponential(0.08)), 3.7)
        # Stars hotter than the Kraft break (6250 K) are not braked and rotate fast.
        fast = np.interp(teff, [6000, 6500, 7500, 9700], [5, 18, 80, 110])
        vsini = rng.uniform(0.3, 1.5) * fast
    return {
        "teff_true": teff,
        "logg_true": logg,
        "feh_true": feh,
        "vsini_true": float(vsini),
    }


def _dwarf_logg(teff: float) -> float:
    mass = np.interp(teff, _DWARF_TEFF, _DWARF_MASS)
    radius = np.interp(teff, _DWARF_TEFF, _DWARF_RADIUS)
    return float(_SOLAR_LOGG + np.log10(mass) - 2 * np.log10(radius))


def _pulsator(rng, epoch: float) -> dict[str, float]:
    """RR Lyrae and delta Scuti stars in the instability strip."""
    return {
        "teff_true": float(rng.uniform(6300, 7300)),
        "logg_true": float(rng.uniform(2.5, 4.0)),
        "vsini_true": float(rng.uniform(5, 15)),
        "period_true": float(10 ** rng.uniform(-1.1, -0.15)),
        "semi_amplitude_true": float(rng.uniform(4, 30)),
        "eccentricity_true": 0.0,
        "omega_true": float(rng.uniform(0, 2 * np.pi)),
        "periastron_true": epoch,
        "teff_amplitude_true": float(rng.uniform(100, 500)),
    }


def _binary(
    rng, star: dict, epoch: float, *, double: bool, edge_on: bool
) -> dict[str, float]:
    """Draw an orbit, with amplitudes from the masses by Kepler's third law."""
    giant = star["logg_true"] < 3.6
    mass = (
        1.2 if giant else float(np.interp(star["teff_true"], _DWARF_TEFF, _DWARF_MASS))
    )
    ratio = float(rng.uniform(0.75, 1.0) if double else rng.uniform(0.15, 0.55))
    # A giant of 10 to 30 solar radii leaves no room for a short period.
    decades = (1.5, 2.7) if giant else (-0.2, 0.7) if edge_on else (-0.2, 2.0)
    period = float(10 ** rng.uniform(*decades))
    # Tides make orbits shorter than about 8 days circular.
    eccentricity = 0.0 if period < 8 else float(rng.uniform(0.0, 0.6))
    cos_i = float(rng.uniform(0.0, 0.05 if edge_on else 0.9))
    # 212.9 km/s is the relative speed of two bodies of one solar mass in all at P = 1 d.
    relative = 212.9 * (mass * (1 + ratio) / period) ** (1 / 3)
    relative *= np.sqrt(1 - cos_i**2) / np.sqrt(1 - eccentricity**2)
    orbit = {
        "period_true": period,
        "semi_amplitude_true": float(relative * ratio / (1 + ratio)),
        "eccentricity_true": eccentricity,
        "omega_true": float(rng.uniform(0, 2 * np.pi)),
        "periastron_true": epoch + float(rng.uniform(0, period)),
        "inclination_true": float(np.degrees(np.arccos(cos_i))),
    }
    if not double:
        return orbit
    teff = float(np.interp(mass * ratio, _DWARF_MASS, _DWARF_TEFF))
    radius = float(np.interp(mass, _DWARF_MASS, _DWARF_RADIUS))
    radius_2 = float(np.interp(mass * ratio, _DWARF_MASS, _DWARF_RADIUS))
    # 4.208 solar radii separate two bodies of one solar mass in all at P = 1 d. Tides
    # make close stars turn once an orbit: 50.6 km/s for one solar radius in a day.
    axis = 4.208 * (mass * (1 + ratio) * period**2) ** (1 / 3)
    tidal = 50.6 * np.sqrt(1 - cos_i**2) / period if period < 8 else 0.0
    return orbit | {
        "vsini_true": max(tidal * radius, 3.0),
        "vsini_2_true": max(tidal * radius_2, 3.0),
        "axis_true": float(axis / radius),
        "semi_amplitude_2_true": float(relative / (1 + ratio)),
        "teff_2_true": teff,
        "logg_2_true": _dwarf_logg(teff),
        "area_2_true": (radius_2 / radius) ** 2,
    }
