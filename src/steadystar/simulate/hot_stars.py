"""Invented hot stars: labels, magnitudes, companions, places and dust.

`draw_hot_stars` returns one row a star. Masses follow a power law; the main sequence
gives each a temperature, and gravities spread over the width of the main sequence, with
a share of stars below it. Absolute magnitudes are those of `hot_relations` and of the
bundled colors, scattered by ``sigma_int``, which no spectrum shows. Distances fill a
cone toward the outer disk, out of which a survey takes what is bright enough. A companion
is a main-sequence star of its mass.
"""

__all__ = ["absolute_ks", "draw_hot_stars"]

import erfa
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import truncnorm

from steadystar.data.match import name_from_position
from steadystar.models.intrinsic_colors import intrinsic_colors
from steadystar.simulate.hot_options import HotSurveyOptions
from steadystar.simulate.hot_photometry import dimming, intrinsic
from steadystar.simulate.hot_relations import (
    Masses,
    MassLuminosity,
    bolometric_magnitude,
    main_sequence,
)

_ATTEMPTS = 60
_SMALLEST = 0.3  # solar masses; a companion of less is not seen beside a hot star
_DUST_HEIGHT = 120.0  # pc
_STAR_HEIGHT = 90.0  # pc, of young stars (about that of Reed 2000 and others)
_CELL = 3.0  # degrees over which dust is alike


def absolute_ks(
    teff: NDArray, logg: NDArray, feh: NDArray, masses: Masses | None = None
) -> NDArray[np.float64]:
    """Return mean absolute Ks magnitudes of single stars with these labels.

    K, cgs, dex; ``masses`` takes the place of the mass-luminosity relation.
    """
    mass = (masses or MassLuminosity())(teff, logg, feh)
    return bolometric_magnitude(teff, logg, mass) - _correction(teff, logg, feh)


def draw_hot_stars(
    options: HotSurveyOptions, masses: Masses | None = None
) -> pl.DataFrame:
    """Return the stars of a survey, one row each, all of it truth.

    ``m_ks_mean`` follows from the labels, ``m_ks`` is the (primary) star's own and
    ``m_ks_system`` that of a pair together; ``delta_mag`` is how much brighter a pair is.
    ``*_2`` are labels of companions, null for single stars.

    Raises:
        ValueError: hardly any star that the options allow would be seen.
    """
    masses = masses or MassLuminosity()
    rng = np.random.default_rng([options.seed, 71])
    found: list[dict[str, NDArray]] = []
    wanted = options.n_stars
    for attempt in range(1, _ATTEMPTS + 1):
        batch = _batch(rng, options, masses, 2 * options.n_stars + 500)
        found.append(batch)
        wanted -= len(batch["teff"])
        if wanted <= 0:
            break
        if attempt == _ATTEMPTS:
            raise ValueError(
                f"Only {options.n_stars - wanted} of {_ATTEMPTS} times {2 * options.n_stars + 500} "
                f"stars have magnitudes within {options.magnitudes}: widen the options "
                "magnitudes or distances."
            )
    stars = {
        name: np.concatenate([batch[name] for batch in found])[: options.n_stars]
        for name in found[0]
    }
    stars |= _emission(rng, stars["teff"], options)
    return _table(stars)


def _correction(teff: NDArray, logg: NDArray, feh: NDArray) -> NDArray[np.float64]:
    """Return M_bol - M_Ks; below the bundled colors that of K and M dwarfs."""
    sequence = intrinsic_colors()
    lowest = np.array([sequence.teff_range[0]])
    found = sequence.bolometric_correction("ks", np.maximum(teff, lowest), logg, feh)
    edge = sequence.bolometric_correction("ks", lowest).item()
    # M_bol - M_Ks of M0 V and K5 V in the table of Pecaut & Mamajek (2013).
    cool = np.interp(teff, [3850.0, 4440.0, lowest.item()], [2.50, 2.25, edge])
    return np.where(teff < lowest, cool, found)


def _batch(
    rng, options: HotSurveyOptions, masses: Masses, size: int
) -> dict[str, NDArray]:
    """Draw ``size`` stars and keep those that the survey sees."""
    stars = _labels(rng, options, size)
    size = len(stars["teff"])
    teff, logg, feh = stars["teff"], stars["logg"], stars["feh"]
    stars["mass"] = masses(teff, logg, feh)
    stars["m_ks_mean"] = absolute_ks(teff, logg, feh, masses)
    stars["m_ks"] = stars["m_ks_mean"] + rng.normal(0, options.sigma_int, size)
    stars["vsini"] = 300 * rng.beta(1.6, 2.2, size)
    stars["rv"] = rng.normal(0, 30, size)
    stars |= _companions(rng, stars, options)
    stars |= _places(rng, options, size)
    magnitude = intrinsic(stars, ("g",))["g"]
    modulus = 5 * np.log10(stars["distance_pc"] / 10)
    apparent = magnitude + modulus + dimming("g", teff, stars["ebv"])
    low, high = options.magnitudes
    seen = (apparent > low) & (apparent < high)
    stars["g_true"] = apparent
    return {name: values[seen] for name, values in stars.items()}


def _labels(rng, options: HotSurveyOptions, size: int) -> dict[str, NDArray]:
    """Draw labels: a power law in mass, then gravity within what stars can have."""
    low, high = _mass_range(options.temperatures)
    power = 1 - options.mass_slope
    u = rng.uniform(size=size)
    if abs(power) < 1e-6:
        mass = low * (high / low) ** u
    else:
        mass = (low**power + u * (high**power - low**power)) ** (1 / power)
    dwarf = main_sequence(mass=mass)
    # A few percent: stars of one mass are not all of one age.
    teff = dwarf.teff * np.exp(rng.normal(0, 0.04, size))
    logg = main_sequence(teff=teff).logg
    old = rng.uniform(size=size) < options.evolved
    logg = logg + np.where(
        old, -0.2 - rng.exponential(0.4, size), rng.uniform(-0.3, 0.15, size)
    )
    feh = np.clip(rng.normal(-0.2, 0.2, size), -1.0, 0.5)
    inside = (logg > lowest_gravity(teff)) & (logg < 5)
    inside &= (teff > options.temperatures[0]) & (teff < options.temperatures[1])
    return {name: v[inside] for name, v in zip(_NAMES, (teff, logg, feh), strict=True)}


_NAMES = ("teff", "logg", "feh")


def lowest_gravity(teff: NDArray) -> NDArray[np.float64]:
    """Return the lowest log g of the simulated stars at temperatures in K.

    The models reach 2.5, but have nothing below 3 above 18 000 K; and no star has less
    flux-weighted gravity than 1.45, that of 35 solar masses.
    """
    models = np.interp(teff, [17_000.0, 18_000.0], [2.55, 3.0])
    return np.maximum(models, 1.45 + 4 * np.log10(np.asarray(teff) / 1e4))


def _mass_range(temperatures: tuple[float, float]) -> tuple[float, float]:
    grid = np.geomspace(1.3, 39.0, 400)
    teff = main_sequence(mass=grid).teff
    # Wider by the spread of temperatures at a mass.
    return tuple(np.interp(np.array(temperatures) * [0.9, 1.1], teff, grid).tolist())


def _companions(rng, stars: dict, options: HotSurveyOptions) -> dict[str, NDArray]:
    size = len(stars["teff"])
    double = rng.uniform(size=size) < options.pairs
    ratio = rng.uniform(*options.mass_ratios, size)
    mass = np.maximum(ratio * stars["mass"], _SMALLEST)
    dwarf = main_sequence(mass=np.minimum(mass, 31.0))
    hot = dwarf.teff >= 8000
    logg = np.where(hot, dwarf.logg, 4.3)
    light = 4.74 - 2.5 * MassLuminosity().luminosity(mass)
    magnitude = light - _correction(dwarf.teff, logg, stars["feh"])
    magnitude = magnitude + rng.normal(0, options.sigma_int, size)
    together = -2.5 * np.log10(10 ** (-0.4 * stars["m_ks"]) + 10 ** (-0.4 * magnitude))
    columns = {
        "q": ratio,
        "teff_2": dwarf.teff,
        "logg_2": logg,
        "m_ks_2": magnitude,
        "vsini_2": 300 * rng.beta(1.6, 2.2, size),
        "rv_2": stars["rv"] + rng.normal(0, 25, size),
    }
    out = {name: np.where(double, v, np.nan) for name, v in columns.items()}
    system = np.where(double, together, stars["m_ks"])
    return out | {"double": double, "m_ks_system": system}


def _places(rng, options: HotSurveyOptions, size: int) -> dict[str, NDArray]:
    """Draw distances, directions toward the outer Galaxy, and the dust in front."""
    low, high = options.distances
    # A cone through a disk: the volume grows as the square, the part of it within the
    # disk falls as 1/distance, and stars thin out outward.
    grid = np.linspace(low, high, 2000)
    weight = np.cumsum(grid * np.exp(-grid / 2500))
    distance = np.interp(rng.uniform(size=size), weight / weight[-1], grid)
    height = rng.laplace(0, _STAR_HEIGHT, size)
    b = np.arcsin(np.clip(height / distance, -0.9, 0.9))
    longitude = np.radians(rng.uniform(80, 215, size))
    ra, dec = erfa.g2icrs(longitude, b)
    path = np.minimum(distance, _DUST_HEIGHT / np.maximum(np.abs(np.sin(b)), 1e-3))
    cells = np.round(np.degrees(longitude) / _CELL).astype(int)
    near = np.random.default_rng([options.seed, 72]).normal(size=(360, 4))
    shell = np.minimum((distance / 1500).astype(int), 3)
    spread = options.patchiness / np.sqrt(2)
    patchy = np.exp(spread * (near[cells % 360, shell] + rng.normal(size=size)))
    return {
        "ra": np.round(np.degrees(ra) % 360, 6),
        "dec": np.round(np.degrees(dec), 6),
        "b": np.degrees(b),
        "distance_pc": distance,
        "ebv": options.reddening * path / 1000 * patchy,
    }


def _emission(rng, teff: NDArray, options: HotSurveyOptions) -> dict[str, NDArray]:
    """Draw which stars have H alpha emission, how strong and of what shape."""
    size = len(teff)
    # Be stars are B stars; a few A and O stars have it as well.
    weight = np.where((teff > 10_000) & (teff < 30_000), 1.0, 0.35)
    order = np.argsort(rng.exponential(size=size) / weight)
    chosen = np.zeros(size, bool)
    chosen[order[: round(options.emission * size)]] = True
    low, high = np.log(options.emission_widths)
    width = np.where(chosen, np.exp(rng.uniform(low, high, size)), 0.0)
    double = chosen & (rng.uniform(size=size) < 0.5)
    return {
        "emission_ew": width,
        "emission_fwhm": rng.uniform(120, 450, size),
        "emission_split": np.where(double, rng.uniform(150, 450, size), 0.0),
        "emission_decrement": rng.uniform(0.05, 0.25, size),
        # A magnitude per 100 A, at most 0.4 mag, is what the simulation takes.
        "disk_ks": np.minimum(0.01 * width, 0.4) * options.disk,
    }


def _table(stars: dict[str, NDArray]) -> pl.DataFrame:
    names = [
        name_from_position(ra, dec)
        for ra, dec in zip(stars["ra"].tolist(), stars["dec"].tolist(), strict=True)
    ]
    table = pl.DataFrame({"star_id": names} | stars).fill_nan(None)
    return table.with_columns(
        delta_mag=pl.col("m_ks") - pl.col("m_ks_system"),
        emission=pl.col("emission_ew") > 0,
        parallax_true=1000 / pl.col("distance_pc"),
    )


def draw_snr(rng, magnitude: NDArray, limits: tuple[float, float]) -> NDArray:
    """Draw signal-to-noise ratios: log-normal, brighter stars better, within limits."""
    low, high = np.log10(limits)
    middle = np.clip(1.95 - 0.08 * (magnitude - 12.5), low, high)
    width = 0.25
    return 10 ** truncnorm.rvs(
        (low - middle) / width, (high - middle) / width, middle, width, random_state=rng
    )
