"""Invented stars: who they are, and how fast and how hot they are at any time.

A population is drawn as one table, a row a star: FGK dwarfs and giants with some A and
M stars, singles, binaries whose lines of one or of both stars show, and pulsators that
change their temperature. `states` then says, for a star and an array of times, the
velocities, labels and light of everything in its spectrum.

Velocities follow ``v = gamma + K (cos(nu + omega) + e cos(omega))`` with the true
anomaly ``nu`` from Kepler's equation ``M = E - e sin E``.
"""

__all__ = ["StarState", "draw_stars", "kepler", "orbital_velocity", "states"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from steadystar.data.match import name_from_position

# Effective temperature (K), mass and radius (solar) of main-sequence stars, rounded
# from Pecaut & Mamajek (2013, ApJS 208, 9).
_DWARF_TEFF = np.array([3500, 3850, 4400, 5000, 5770, 6200, 6600, 7200, 8000, 9700])
_DWARF_MASS = np.array([0.43, 0.57, 0.70, 0.82, 1.00, 1.18, 1.38, 1.60, 1.85, 2.30])
_DWARF_RADIUS = np.array([0.43, 0.59, 0.70, 0.79, 1.00, 1.17, 1.47, 1.60, 1.80, 2.20])
_SOLAR_LOGG = 4.438


@dataclass(frozen=True)
class StarState:
    """One component of a star's light at given times, each of shape ``(time,)``.

    ``rv`` is the barycentric velocity in km/s, ``teff, logg, feh`` the labels, ``vsini``
    (one number, km/s) the rotation and ``area`` the disk's area over that of the first
    component.
    """

    rv: NDArray[np.float64]
    teff: NDArray[np.float64]
    logg: float
    feh: float
    vsini: float
    area: float


def kepler(mean_anomaly: ArrayLike, eccentricity: ArrayLike) -> NDArray[np.float64]:
    """Solve Kepler's equation ``M = E - e sin(E)`` for the eccentric anomaly E.

    Newton's iteration from ``E = M + 0.85 e sign(sin M)`` (Danby 1987) converges for
    every ``0 <= e < 1``; M in radians, any revolution.
    """
    mean, e = np.broadcast_arrays(
        np.asarray(mean_anomaly, float), np.asarray(eccentricity, float)
    )
    turns = np.floor(mean / (2 * np.pi) + 0.5) * 2 * np.pi
    mean = mean - turns
    anomaly = mean + 0.85 * e * np.sign(np.sin(mean))
    for _ in range(50):
        step = (anomaly - e * np.sin(anomaly) - mean) / (1 - e * np.cos(anomaly))
        anomaly = anomaly - step
        if np.max(np.abs(step), initial=0.0) < 1e-13:
            break
    return anomaly + turns


def orbital_velocity(
    time: ArrayLike,
    *,
    period: float,
    semi_amplitude: float,
    eccentricity: float = 0.0,
    omega: float = 0.0,
    periastron: float = 0.0,
) -> NDArray[np.float64]:
    """Return the velocity about the center of mass, in the unit of the amplitude.

    ``time``, ``period`` and ``periastron`` (a time of periastron) share a unit;
    ``omega`` is the argument of periastron in radians.
    """
    phase = 2 * np.pi * (np.asarray(time, float) - periastron) / period
    half = kepler(phase, eccentricity) / 2
    nu = 2 * np.arctan2(
        np.sqrt(1 + eccentricity) * np.sin(half),
        np.sqrt(1 - eccentricity) * np.cos(half),
    )
    return semi_amplitude * (np.cos(nu + omega) + eccentricity * np.cos(omega))


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

    ``fractions`` are those of ``giant, hot, cool`` (by kind of star; the rest are F, G
    and K dwarfs) and of ``sb1, sb2, pulsator`` (by kind of motion; the rest are
    constant). ``magnitudes`` are the limits of brightness, ``epoch`` a time (BJD) near
    the observations.
    """
    ra, dec = _positions(rng, n_stars, center, radius)
    kinds = _choose(rng, n_stars, fractions, ("giant", "hot", "cool"), "fgk")
    motions = _choose(rng, n_stars, fractions, ("sb1", "sb2", "pulsator"), "constant")
    rows = []
    for index in range(n_stars):
        motion = str(motions[index])
        # A giant outshines a dwarf companion and a pulsator sits in the strip.
        kind = "fgk" if motion == "sb2" else str(kinds[index])
        star = _atmosphere(rng, kind)
        if motion == "pulsator":
            star |= _pulsator(rng, epoch)
        elif motion in ("sb1", "sb2"):
            star |= _binary(rng, star, motion, epoch)
        spread = 60.0 if kind == "giant" else 35.0
        rows.append(
            {
                "star_id": name_from_position(ra[index], dec[index]),
                "ra": ra[index],
                "dec": dec[index],
                "kind": kind,
                "motion": motion,
                "magnitude": _magnitude(rng, *magnitudes),
                "rv_mean_true": rng.normal(-10.0, spread),
                "constant_true": motion == "constant",
                "variable_true": motion != "constant",
                "double_lined_true": motion == "sb2",
            }
            | star
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


_FLOATS = (
    "teff_true logg_true feh_true vsini_true period_true semi_amplitude_true "
    "eccentricity_true omega_true periastron_true semi_amplitude_2_true teff_2_true "
    "logg_2_true vsini_2_true area_2_true teff_amplitude_true"
).split()
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
} | {name: pl.Float64 for name in _FLOATS}


def states(star: dict, time: ArrayLike) -> list[StarState]:
    """Return the components of ``star`` (a row of the table) at ``time`` (BJD)."""
    time = np.asarray(time, float)
    steady = np.full(time.shape, star["teff_true"])
    still = np.full(time.shape, star["rv_mean_true"])
    first = StarState(
        still, steady, star["logg_true"], star["feh_true"], star["vsini_true"], 1.0
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
    if star["motion"] == "pulsator":
        # Hottest at rising light, a quarter of a cycle from the highest velocity.
        phase = 2 * np.pi * (time - star["periastron_true"]) / star["period_true"]
        heat = star["teff_amplitude_true"] * np.sin(phase + omega)
        return [_moved(first, motion, heat)]
    components = [_moved(first, motion, 0.0)]
    if star["motion"] == "sb2":
        against = orbital_velocity(
            time,
            semi_amplitude=star["semi_amplitude_2_true"],
            omega=omega + np.pi,
            **orbit,
        )
        components.append(
            StarState(
                still + against,
                np.full(time.shape, star["teff_2_true"]),
                star["logg_2_true"],
                star["feh_true"],
                star["vsini_2_true"],
                star["area_2_true"],
            )
        )
    return components


def _moved(state: StarState, motion, heat) -> StarState:
    return StarState(
        state.rv + motion,
        state.teff + heat,
        state.logg,
        state.feh,
        state.vsini,
        state.area,
    )


def _choose(rng, n_stars: int, fractions: dict, names: tuple[str, ...], rest: str):
    shares = [fractions[name] for name in names]
    if min(shares) < 0 or sum(shares) > 1:
        raise ValueError(
            f"The fractions of {', '.join(names)} are {shares}: each must be at least "
            "0 and their sum at most 1."
        )
    return rng.choice([*names, rest], n_stars, p=[*shares, 1 - sum(shares)])


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
        logg = _dwarf_logg(teff) - float(rng.exponential(0.08))
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
    period = float(10 ** rng.uniform(-1.1, -0.15))
    return {
        "teff_true": float(rng.uniform(6300, 7300)),
        "logg_true": float(rng.uniform(2.5, 4.0)),
        "vsini_true": float(rng.uniform(5, 15)),
        "period_true": period,
        "semi_amplitude_true": float(rng.uniform(4, 30)),
        "eccentricity_true": 0.0,
        "omega_true": float(rng.uniform(0, 2 * np.pi)),
        "periastron_true": epoch,
        "teff_amplitude_true": float(rng.uniform(100, 500)),
    }


def _binary(rng, star: dict, motion: str, epoch: float) -> dict[str, float]:
    """Draw an orbit, with amplitudes from the masses by Kepler's third law."""
    giant = star["logg_true"] < 3.6
    mass = (
        1.2 if giant else float(np.interp(star["teff_true"], _DWARF_TEFF, _DWARF_MASS))
    )
    ratio = rng.uniform(0.75, 1.0) if motion == "sb2" else rng.uniform(0.15, 0.55)
    # A giant of 10 to 30 solar radii leaves no room for a short period.
    period = float(10 ** (rng.uniform(1.5, 2.7) if giant else rng.uniform(-0.2, 2.0)))
    # Tides make orbits shorter than about 8 days circular.
    eccentricity = 0.0 if period < 8 else float(rng.uniform(0.0, 0.6))
    sin_i = float(np.sqrt(1 - rng.uniform(0.0, 0.9) ** 2))
    # 212.9 km/s is the relative speed of two bodies of one solar mass in all at P = 1 d.
    relative = 212.9 * (mass * (1 + ratio) / period) ** (1 / 3)
    relative *= sin_i / np.sqrt(1 - eccentricity**2)
    orbit = {
        "period_true": period,
        "semi_amplitude_true": float(relative * ratio / (1 + ratio)),
        "eccentricity_true": eccentricity,
        "omega_true": float(rng.uniform(0, 2 * np.pi)),
        "periastron_true": epoch + float(rng.uniform(0, period)),
    }
    if motion == "sb1":
        return orbit
    teff = float(np.interp(mass * ratio, _DWARF_MASS, _DWARF_TEFF))
    radii = np.interp([mass * ratio, mass], _DWARF_MASS, _DWARF_RADIUS)
    return orbit | {
        "semi_amplitude_2_true": float(relative / (1 + ratio)),
        "teff_2_true": teff,
        "logg_2_true": _dwarf_logg(teff),
        "vsini_2_true": star["vsini_true"],
        "area_2_true": float((radii[0] / radii[1]) ** 2),
    }
