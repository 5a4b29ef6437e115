"""A survey of hot stars that never was: spectra, photometry, parallaxes, and the truth.

`simulate_hot_stars` keeps all of it in memory; `write_hot_survey` writes

- ``spectra/``: files as LAMOST's low-resolution survey has them, a share of them in the
  layout of its first releases;
- ``photometry.parquet``: a row a star, under the names of Gaia's and 2MASS's archives;
- ``truth/stars.parquet`` and ``truth/spectra.parquet``: everything that was put in.

A pair's spectrum is the sum of two at one distance. Neither its intrinsic scatter in
M_Ks nor its true distance shows in a star's spectrum: flux scales are those of fibers.
"""

__all__ = [
    "HotSurvey",
    "HotSurveyOptions",
    "hot_flux",
    "simulate_hot_stars",
    "write_hot_survey",
]

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.simulate import hot_defects as defects
from steadystar.simulate.hot_files import LAYOUTS, write_spectrum
from steadystar.simulate.hot_options import HotSurveyOptions
from steadystar.simulate.hot_photometry import archive_names, observe_photometry
from steadystar.simulate.hot_relations import Masses
from steadystar.simulate.hot_spectra import (
    WAVE,
    absolute_light,
    hot_flux,
    passed_by_dust,
    smooth_light,
)
from steadystar.simulate.hot_stars import draw_hot_stars, draw_snr

_BLOCK = 256
_FLUX_UNIT = 1e17  # a star of g = 15 has some 400 counts, as LAMOST's have
_SPECTROGRAPHS, _FIBERS, _PER_PLAN = 16, 250, 40
_FIRST_NIGHTS = (55_900, 57_000, 58_500)  # of data releases 1, 5 and 8


@dataclass(frozen=True, eq=False)
class HotSurvey:
    """Spectra of hot stars with everything that is known about them.

    ``wave``: vacuum Angstrom, ``(pixel,)``; ``flux``, ``ivar``: float32, ``(spectrum,
    pixel)``; ``truth``: a row a spectrum; ``photometry``: a row a star, with its
    ``star_id`` and ``gaia_id``, under steadystar's names of bands.
    """

    wave: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    truth: pl.DataFrame
    photometry: pl.DataFrame


def simulate_hot_stars(
    options: HotSurveyOptions | None = None, masses: Masses | None = None
) -> HotSurvey:
    """Return a simulated survey; the same options give the same numbers.

    ``masses`` replaces the mass-luminosity relation, for example by a `MassTable`.

    Raises:
        ValueError: an option cannot be simulated.
    """
    options = options or HotSurveyOptions()
    _, photometry, visits = _plan(options, masses)
    flux = np.empty((len(visits), len(WAVE)), np.float32)
    ivar = np.empty_like(flux)
    measured = []
    for rows, block, numbers in _observed(visits, options):
        flux[rows], ivar[rows] = block
        measured.append(numbers)
    truth = pl.concat([visits, pl.concat(measured)], how="horizontal")
    return HotSurvey(WAVE, flux, ivar, _ordered(truth), photometry)


def write_hot_survey(
    directory: Path | str,
    options: HotSurveyOptions | None = None,
    masses: Masses | None = None,
) -> pl.DataFrame:
    """Write a simulated survey into ``directory`` and return its truth, by spectrum.

    The same options give the same bytes. Only some 256 spectra are in memory at a time.

    Raises:
        ValueError: an option cannot be simulated.
    """
    options = options or HotSurveyOptions()
    directory = Path(directory)
    for folder in ("spectra", "truth"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    stars, photometry, visits = _plan(options, masses)
    measured = []
    for rows, block, numbers in _observed(visits, options):
        for k, row in enumerate(visits[rows].iter_rows(named=True)):
            write_spectrum(
                directory / "spectra",
                row,
                block[0][k],
                block[1][k],
                gzip=options.gzip,
            )
        measured.append(numbers)
    truth = _ordered(pl.concat([visits, pl.concat(measured)], how="horizontal"))
    archive_names(photometry).write_parquet(directory / "photometry.parquet")
    stars.write_parquet(directory / "truth" / "stars.parquet")
    truth.write_parquet(directory / "truth" / "spectra.parquet")
    return truth


def _plan(options: HotSurveyOptions, masses: Masses | None):
    """Return the stars, their photometry, and a row for each spectrum to be taken."""
    stars = draw_hot_stars(options, masses)
    photometry = observe_photometry(stars, options)
    stars = stars.with_columns(photometry["gaia_id"], photometry["ruwe"])
    rng = np.random.default_rng([options.seed, 74])
    size = len(stars)
    repeated = rng.uniform(size=size) < options.repeats
    times = np.where(repeated, rng.integers(2, 5, size), 1)
    star = np.repeat(np.arange(size), times)
    visit = np.arange(len(star)) - np.repeat(np.cumsum(times) - times, times)
    plan = _nights(star, visit, options)
    broken = rng.uniform(size=len(star)) < options.broken
    fault = rng.integers(0, len(defects.FAULTS), len(star))
    snr = draw_snr(rng, stars["g_true"].to_numpy()[star], options.snr)
    place_name = pl.format(
        "sp{}-{}",
        pl.col("spectrograph").cast(pl.String).str.zfill(2),
        pl.col("fiber").cast(pl.String).str.zfill(3),
    )
    plan = plan.with_columns(
        rv_header=stars["rv"].to_numpy()[star] + rng.normal(0, 8, len(star)),
        broken=pl.Series(
            [
                defects.FAULTS[f] if b else None
                for f, b in zip(fault, broken, strict=True)
            ],
            dtype=pl.String,
        ),
        snr_drawn=snr,
        visit_id=pl.format("lamost-lrs-{}-{}-{}", "night", "plan", place_name),
        specid=pl.format("{}-{}-{}", "night", "plan", place_name),
    )
    return stars, photometry, pl.concat([plan, stars[star]], how="horizontal")


def _nights(star: NDArray, visit: NDArray, options: HotSurveyOptions) -> pl.DataFrame:
    """Return when and through which fiber each spectrum is taken, and its file's layout.

    Hot stars are rare: a plan has `_PER_PLAN` of them, scattered over the fibers. Every
    visit of a plan is a night, and the file's layout is that of the night's data release.
    """
    group, place = np.divmod(star, _PER_PLAN)
    rng = np.random.default_rng([options.seed, 75])
    # Four visits at most.
    old, table = rng.uniform(size=(2, int(group.max()) + 1, 4))
    release = np.where(old < options.old_layout, 0, np.where(table < 0.5, 1, 2))
    release = release[group, visit]
    return pl.DataFrame(
        {
            "visit": visit + 1,
            "night": np.array(_FIRST_NIGHTS)[release] + group + 7 * visit,
            "plan": [f"HOT{g:04d}N{v:02d}" for g, v in zip(group, visit, strict=True)],
            "spectrograph": place % _SPECTROGRAPHS + 1,
            "fiber": 1 + (place * 37 + group * 11) % _FIBERS,
            "layout": [LAYOUTS[k] for k in release],
        }
    )


def _observed(visits: pl.DataFrame, options: HotSurveyOptions) -> Iterator[tuple]:
    """Yield slices of rows with their flux and ivar, and numbers known only then."""
    for number, first in enumerate(range(0, len(visits), _BLOCK)):
        rows = slice(first, min(first + _BLOCK, len(visits)))
        rng = np.random.default_rng([options.seed, 76, number])
        yield rows, *_expose(visits[rows], options, rng)


def _expose(visits: pl.DataFrame, options: HotSurveyOptions, rng):
    stars = {
        name: visits[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in _NUMBERS
    }
    size = len(visits)
    light, smooth = _sources(stars)
    # A Be star's disk changes from visit to visit.
    stars["emission_ew"] = stars["emission_ew"] * np.exp(rng.normal(0, 0.15, size))
    added = defects.hydrogen(stars, smooth)
    lost = passed_by_dust(WAVE, stars["ebv"])
    lost *= (100 / stars["distance_pc"][:, None] ** 2) * _FLUX_UNIT
    # How much of the light falls into a fiber, and into those of the flux standards.
    lost *= np.exp(rng.normal(0, 0.2, (size, 1)))
    lost *= defects.calibration_shape(rng, size, options.flux_calibration)
    noise = defects.noise_of(smooth * lost, stars["snr_drawn"])
    flux = (light + added) * lost * defects.sodium(stars["ebv"])
    flux *= defects.telluric(rng, size, options.tellurics)
    ivar = 1 / noise**2
    significance = defects.emission_significance(added * lost, ivar)
    for row, fault in enumerate(visits["broken"]):
        if fault is not None:
            flux[row] = defects.break_spectrum(rng, flux[row], fault)
    if options.noise:
        flux += options.ivar_scale * noise * rng.standard_normal(flux.shape, np.float32)
    defects.spoil_pixels(rng, flux, ivar, options.bad_pixels)
    blue = (WAVE > 4000) & (WAVE < 5500)
    numbers = pl.DataFrame(
        {
            "snr": np.median(flux[:, blue] / noise[:, blue], axis=1),
            "emission_ew_seen": stars["emission_ew"],
            "emission_snr": significance,
        }
    )
    return (flux.astype(np.float32), ivar.astype(np.float32)), numbers


_NUMBERS = (
    *("teff", "logg", "feh", "vsini", "rv", "m_ks"),
    *("teff_2", "logg_2", "vsini_2", "rv_2", "m_ks_2", "distance_pc", "ebv"),
    *("emission_ew", "emission_fwhm", "emission_split", "emission_decrement"),
    "snr_drawn",
)


def _sources(stars: dict[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Return the light of stars or pairs at 10 pc, with lines and without."""
    light, smooth = None, None
    for end in ("", "_2"):
        rows = np.flatnonzero(np.isfinite(stars[f"m_ks{end}"]))
        some = {name: stars[name + end][rows] for name in ("teff", "logg", "m_ks")}
        labels = np.stack([some["teff"], some["logg"], stars["feh"][rows]], axis=-1)
        speed, velocity = stars[f"vsini{end}"][rows], stars[f"rv{end}"][rows]
        one = absolute_light(labels, some["m_ks"], speed, velocity)
        flat = smooth_light(labels, some["m_ks"])
        if light is None or smooth is None:
            light, smooth = one, flat
        else:
            light[rows] += one
            smooth[rows] += flat
    assert light is not None
    assert smooth is not None
    return light, smooth


def _ordered(truth: pl.DataFrame) -> pl.DataFrame:
    """Put the columns that are looked at most first."""
    first = ("visit_id", "star_id", "gaia_id", "specid", "visit", "snr", "broken")
    return truth.select(*first, pl.exclude(*first, "snr_drawn", "rv_header"))
