"""A survey that never was: files as LAMOST would write them, and the truth.

`simulate_survey` invents stars, nights and instruments, writes one file per star and
night under ``spectra`` and four tables under ``truth``:

- ``stars``: what every star is and how it moves;
- ``exposures``: a row per spectrograph, arm and exposure, with the parts of its zero
  point;
- ``visits``: a row per spectrum, with the columns of the schema's visits (as far as a
  reader can know them) and the truth in columns that end in ``_true``;
- ``offsets``: the zero points of exposures and of fibers, by family.

The convention is that of the whole package: a line at rest wavelength ``w`` appears in
a file at ``w (1 + rv_raw_true/c)``, and ``rv_raw_true = rv_true + correction_true``, the
sum of everything that a calibration should find and subtract.
"""

__all__ = ["Survey", "SurveyOptions", "simulate_survey"]

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.models.library import ModelSpectra, bundled
from steadystar.simulate import instrument, sky, stars
from steadystar.simulate.instrument import Arm, FineSpectrum
from steadystar.simulate.lamost_files import (
    Layout,
    Recorded,
    StarNight,
    write_star_night,
)

_SC_LAMP, _ALTERNATE_LAMP = "lampsc_med.dat", "lampthar.dat"


@dataclass(frozen=True)
class SurveyOptions:
    """What to simulate."""

    n_fields: Annotated[int, "Number of fields, each with stars of its own."] = 1
    n_spectrographs: Annotated[int, "Spectrographs in use, 1 to 16."] = 1
    n_stars: Annotated[int, "Stars per field and spectrograph, at most 250."] = 130
    n_nights: Annotated[int, "Nights on which each field is observed."] = 3
    n_exposures: Annotated[int, "Exposures of a field in a night."] = 3
    first_night: Annotated[int, "First night, local modified Julian day."] = 58408
    exptime: Annotated[float, "Exposure time, s."] = 1200.0
    magnitudes: Annotated[
        tuple[float, float], "Brightest and faintest magnitude of the stars."
    ] = (10.0, 14.0)

    giants: Annotated[float, "Fraction of G and K giants."] = 0.3
    hot_stars: Annotated[float, "Fraction of A stars."] = 0.06
    cool_stars: Annotated[float, "Fraction of M dwarfs."] = 0.04
    single_lined: Annotated[float, "Fraction of single-lined binaries."] = 0.12
    double_lined: Annotated[float, "Fraction of double-lined binaries."] = 0.04
    pulsators: Annotated[float, "Fraction of pulsating stars."] = 0.03

    night_drift: Annotated[
        float, "Scatter of the zero point from night to night (Gaussian sigma), km/s."
    ] = 1.0
    night_range: Annotated[
        float,
        "If positive, zero points of nights are uniform within plus and minus this "
        "instead, km/s.",
    ] = 0.0
    exposure_drift: Annotated[
        float, "Scatter of the zero point from exposure to exposure in a night, km/s."
    ] = 0.5
    fiber_offset: Annotated[float, "Scatter of the zero points of fibers, km/s."] = 0.1
    alternate_lamp: Annotated[
        float, "Fraction of exposures calibrated with the alternate lamp."
    ] = 0.05
    alternate_lamp_offset: Annotated[
        float, "What velocities of the alternate lamp read too large, km/s."
    ] = 6.5

    noise: Annotated[bool, "Add photon and read noise, cosmic rays and defects."] = True
    layout: Annotated[Layout, "Table layout: old (to DR7) or new."] = "old"
    gzip: Annotated[bool, "Compress the files."] = True


@dataclass(frozen=True)
class Survey:
    """What was written: the folder of spectra and the tables of truth."""

    spectra: Path
    stars: pl.DataFrame
    exposures: pl.DataFrame
    visits: pl.DataFrame
    offsets: pl.DataFrame


def simulate_survey(
    directory: Path | str, options: SurveyOptions | None = None, seed: int = 1
) -> Survey:
    """Write a simulated survey into ``directory`` and return its truth.

    The same options and seed give the same bytes.

    Raises:
        ValueError: an option has a value that cannot be simulated.
    """
    options = options or SurveyOptions()
    _check(options)
    directory = Path(directory)
    spectra = directory / "spectra"
    spectra.mkdir(parents=True, exist_ok=True)
    models = {arm.name: bundled(arm.models) for arm in _ARMS}
    exposures = _draw_exposures(options, seed)
    fibers = _draw_fibers(options, seed)
    star_tables, visit_rows = [], []
    for field in range(options.n_fields):
        for spectrograph in range(1, options.n_spectrographs + 1):
            group = _draw_group(options, seed, field, spectrograph)
            star_tables.append(group)
            planned = exposures.filter(
                (pl.col("field") == _plan(field))
                & (pl.col("spectrograph") == spectrograph)
            )
            for star in group.iter_rows(named=True):
                observer = _Observer(options, seed, models, spectra)
                visit_rows += observer.observe(star, planned, fibers)
    survey = Survey(
        spectra=spectra,
        stars=pl.concat(star_tables),
        exposures=exposures,
        visits=pl.DataFrame(visit_rows, infer_schema_length=None),
        offsets=_offsets(exposures, fibers),
    )
    truth = directory / "truth"
    truth.mkdir(exist_ok=True)
    for field in fields(survey):
        table = getattr(survey, field.name)
        if isinstance(table, pl.DataFrame):
            table.write_parquet(truth / f"{field.name}.parquet")
    return survey


_ARMS: tuple[Arm, ...] = (instrument.BLUE, instrument.RED)


def _rng(seed: int, *key: int) -> np.random.Generator:
    """Return a generator of its own for every purpose, so that none disturbs another."""
    return np.random.default_rng([seed, *key])


def _check(options: SurveyOptions) -> None:
    if not 1 <= options.n_spectrographs <= 16:
        raise ValueError(
            f"n_spectrographs is {options.n_spectrographs}: LAMOST has 16; choose 1 to 16."
        )
    if not 1 <= options.n_stars <= 250:
        raise ValueError(
            f"n_stars is {options.n_stars}: a spectrograph has 250 fibers; choose 1 to "
            "250, and more spectrographs or fields for more stars."
        )


def _center(field: int) -> tuple[float, float]:
    return (30.0 + 25.0 * field) % 360, 32.0


def _plan(field: int) -> str:
    ra, dec = _center(field)
    hours = ra / 15
    minutes = round((hours % 1) * 60)
    return f"TD{int(hours):02d}{minutes:02d}00N{int(dec):02d}0000T{field + 1:02d}"


def _draw_group(options: SurveyOptions, seed: int, field: int, spectrograph: int):
    """Draw the stars of one spectrograph in one field, with their fibers."""
    rng = _rng(seed, 1, field, spectrograph)
    ra, dec = _center(field)
    angle = 2 * np.pi * spectrograph / 16
    table = stars.draw_stars(
        rng,
        options.n_stars,
        center=(ra + 1.6 * np.sin(angle), dec + 1.4 * np.cos(angle)),
        radius=0.5,
        fractions={
            "giant": options.giants,
            "hot": options.hot_stars,
            "cool": options.cool_stars,
            "sb1": options.single_lined,
            "sb2": options.double_lined,
            "pulsator": options.pulsators,
        },
        magnitudes=options.magnitudes,
        epoch=2_400_000.5 + options.first_night,
    )
    fibers = np.sort(rng.permutation(250)[: options.n_stars]) + 1
    return table.with_columns(
        pl.lit(_plan(field)).alias("field"),
        pl.lit(spectrograph, pl.Int64).alias("spectrograph"),
        pl.Series("fiber", fibers, pl.Int64),
    )


def _draw_exposures(options: SurveyOptions, seed: int) -> pl.DataFrame:
    """Draw times, weather and zero points; a row per spectrograph, arm and exposure."""
    rows = []
    for field in range(options.n_fields):
        rng = _rng(seed, 2, field)
        nights = (
            options.first_night + np.cumsum(rng.integers(1, 9, options.n_nights)) - 1
        )
        for night in nights:
            # The plan starts between 19:30 and 23:00 local time; reading out and moving
            # on take four minutes.
            minute = int((night - 1) * 1440 + rng.integers(1170, 1380))
            for _ in range(options.n_exposures):
                alternate = bool(rng.uniform() < options.alternate_lamp)
                clear = float(np.clip(rng.normal(0.85, 0.15), 0.05, 1.0))
                for spectrograph in range(1, options.n_spectrographs + 1):
                    for index, arm in enumerate(_ARMS):
                        own = _rng(seed, 3, minute, spectrograph, index)
                        rows.append(
                            {
                                "field": _plan(field),
                                "night": int(night),
                                "exposure_id": str(minute),
                                "minute": minute,
                                "spectrograph": spectrograph,
                                "arm": arm.name,
                                "exptime": options.exptime,
                                "lamp": _ALTERNATE_LAMP if alternate else _SC_LAMP,
                                "transparency_true": clear,
                                "offset_night_true": _night_offset(
                                    options, seed, int(night), spectrograph, index
                                ),
                                "offset_exposure_true": float(
                                    own.normal(0, options.exposure_drift)
                                ),
                                "offset_lamp_true": options.alternate_lamp_offset
                                * alternate,
                            }
                        )
                minute += round(options.exptime / 60) + 4
    return pl.DataFrame(rows).with_columns(
        pl.sum_horizontal(
            "offset_night_true", "offset_exposure_true", "offset_lamp_true"
        ).alias("offset_true")
    )


def _night_offset(options: SurveyOptions, seed: int, *key: int) -> float:
    rng = _rng(seed, 4, *key)
    if options.night_range > 0:
        return float(rng.uniform(-options.night_range, options.night_range))
    return float(rng.normal(0, options.night_drift))


def _draw_fibers(options: SurveyOptions, seed: int) -> pl.DataFrame:
    rows = []
    for spectrograph in range(1, options.n_spectrographs + 1):
        for index, arm in enumerate(_ARMS):
            offsets = _rng(seed, 5, spectrograph, index).normal(
                0, options.fiber_offset, 250
            )
            rows += [
                {
                    "spectrograph": spectrograph,
                    "arm": arm.name,
                    "fiber": fiber,
                    "offset_true": float(offset),
                }
                for fiber, offset in enumerate(offsets, start=1)
            ]
    return pl.DataFrame(rows)


def _offsets(exposures: pl.DataFrame, fibers: pl.DataFrame) -> pl.DataFrame:
    names = ("family", "spectrograph", "arm", "exposure_id", "fiber", "offset_true")
    return pl.concat(
        [
            exposures.with_columns(
                pl.lit("spectrograph+arm+exposure_id").alias("family"),
                pl.lit(None, pl.Int64).alias("fiber"),
            ).select(names),
            fibers.with_columns(
                pl.lit("spectrograph+arm+fiber").alias("family"),
                pl.lit(None, pl.String).alias("exposure_id"),
            ).select(names),
        ]
    )


class _Observer:
    """Observes one star: remembers its finely sampled spectra between exposures."""

    def __init__(
        self,
        options: SurveyOptions,
        seed: int,
        models: dict[str, ModelSpectra],
        spectra: Path,
    ) -> None:
        self.options, self.seed = options, seed
        self.models, self.spectra = models, spectra
        self.fine: dict[tuple, tuple[FineSpectrum, NDArray, NDArray]] = {}

    def observe(self, star: dict, exposures: pl.DataFrame, fibers: pl.DataFrame):
        """Write a file per night and return the rows of the truth."""
        rows = []
        offset_of_fiber = dict(
            fibers.filter(
                (pl.col("spectrograph") == star["spectrograph"])
                & (pl.col("fiber") == star["fiber"])
            )
            .select("arm", "offset_true")
            .iter_rows()
        )
        for (night,), planned in exposures.group_by("night", maintain_order=True):
            recorded, night_rows = [], []
            for arm in _ARMS:
                in_arm = planned.filter(pl.col("arm") == arm.name)
                for exposure in in_arm.iter_rows(named=True):
                    spectrum, row = self._expose(
                        arm, star, exposure, offset_of_fiber[arm.name]
                    )
                    recorded.append(spectrum)
                    night_rows.append(row)
            path = self._write(star, int(night), recorded, night_rows)  # pyright: ignore[reportArgumentType]
            for spectrum, row in zip(recorded, night_rows, strict=True):
                row["path"] = (
                    f"spectra/{path.name}[{spectrum.arm_letter}-{row['exposure_id']}]"
                )
            rows += night_rows
        return rows

    def _expose(self, arm: Arm, star: dict, exposure: dict, fiber_offset: float):
        mid = sky.minute_to_utc(exposure["minute"]) + exposure["exptime"] / 2 / 86_400
        bjd, correction = (
            float(v) for v in sky.barycentric(mid, star["ra"], star["dec"])
        )
        offset = exposure["offset_true"] + fiber_offset
        states = stars.states(star, bjd)
        log_edges = np.log(instrument.pixel_edges(arm)) + np.log1p(correction / C_KMS)
        wave = np.exp((log_edges[1:] + log_edges[:-1]) / 2)

        light, continuum = np.zeros(arm.pixels), np.zeros(arm.pixels)
        shares = []
        for state in states:
            fine, broad, smooth = self._spectrum(arm, state)
            pixels = fine.pixels(broad, log_edges, float(state.rv) + offset)
            level = state.area * np.interp(wave, self.models[arm.name].wave, smooth)
            light += level * pixels
            continuum += level
            shares.append(float(np.mean(level)))
        scale = self._counts(arm, star, exposure) / np.mean(continuum)
        x = np.linspace(-1, 1, arm.pixels)
        scale = scale * np.exp(np.polynomial.polynomial.polyval(x, arm.vignetting))
        variance = scale * continuum * 0.85 + arm.background
        rng = _rng(
            self.seed,
            6,
            star["spectrograph"],
            star["fiber"],
            exposure["minute"],
            ord(arm.letter),
        )
        flux = scale * light
        snr = float(np.median(flux / np.sqrt(variance)))
        if self.options.noise:
            flux = flux + rng.normal(size=arm.pixels) * np.sqrt(variance)
        spectrum = Recorded(
            arm_letter=arm.letter,
            exposures=(exposure["minute"],),
            exptime=exposure["exptime"],
            snr=snr,
            lamp=exposure["lamp"],
            wave=wave,
            flux=flux,
            ivar=1 / variance,
            mask=np.zeros(arm.pixels, np.int16),
        )
        minute, spid, fiber = exposure["minute"], star["spectrograph"], star["fiber"]
        row = {
            "visit_id": f"lamost-{minute}-sp{spid:02d}-{fiber:03d}-{arm.name}",
            "star_id": star["star_id"],
            "ra": star["ra"],
            "dec": star["dec"],
            "survey": "lamost-mrs",
            "field": exposure["field"],
            "night": exposure["night"],
            "exposure_id": exposure["exposure_id"],
            "telescope": "lamost",
            "spectrograph": spid,
            "fiber": fiber,
            "arm": arm.name,
            "bjd": bjd,
            "exptime": exposure["exptime"],
            "snr": snr,
            "bary_corr": correction,
            "lamp": exposure["lamp"],
            "rv_true": float(states[0].rv),
            "rv_2_true": float(states[1].rv) if len(states) > 1 else float("nan"),
            "light_ratio_true": shares[1] / shares[0] if len(states) > 1 else 0.0,
            "teff_true": float(states[0].teff),
            "offset_exposure_true": exposure["offset_true"],
            "offset_fiber_true": fiber_offset,
            "correction_true": offset,
            "rv_raw_true": float(states[0].rv) + offset,
        }
        return spectrum, row

    def _spectrum(self, arm: Arm, state: stars.StarState):
        """Return the fine grid, the broadened spectrum and the continuum."""
        key = (arm.name, float(state.teff), state.area, state.logg)
        if key not in self.fine:
            model = self.models[arm.name]([float(state.teff), state.logg, state.feh])
            fine = FineSpectrum(self.models[arm.name].wave, model.flux)
            broad = fine.broadened(arm.resolution, state.vsini)
            self.fine[key] = fine, broad, model.continuum
        return self.fine[key]

    def _counts(self, arm: Arm, star: dict, exposure: dict) -> float:
        brightness = 10 ** (-0.4 * (star["magnitude"] - 11.4))
        clear = exposure["transparency_true"]
        return arm.counts * brightness * clear * exposure["exptime"] / 1200

    def _write(self, star: dict, night: int, recorded: list, rows: list[dict]) -> Path:
        start = sky.minute_to_utc(int(rows[0]["exposure_id"]))
        cards = {
            "RA": star["ra"],
            "DEC": star["dec"],
            "RA_OBS": star["ra"],
            "DEC_OBS": star["dec"],
            "DESIG": f"LAMOST {star['star_id']}",
            "OBJNAME": star["star_id"],
            "MAG1": round(star["magnitude"], 2),
            # LAMOST writes the velocity of the observatory away from the star.
            "HELIO_RV": round(-float(np.mean([row["bary_corr"] for row in rows])), 5),
            "DATE-BEG": _local_time(start),
            "DATE-END": _local_time(start + rows[0]["exptime"] / 86_400),
            "DATE-OBS": _utc_time(start + rows[0]["exptime"] / 2 / 86_400),
        }
        night_of_star = StarNight(
            night=night,
            plan=star["field"],
            spectrograph=star["spectrograph"],
            fiber=star["fiber"],
            cards=cards,
            exposures=recorded,
        )
        return write_star_night(
            self.spectra,
            night_of_star,
            layout=self.options.layout,
            gzip=self.options.gzip,
        )


def _utc_time(mjd: float) -> str:
    # MJD 0 is 1858-11-17.
    seconds = np.datetime64("1858-11-17T00:00:00") + np.timedelta64(
        round(float(mjd) * 86_400), "s"
    )
    return str(seconds)


def _local_time(mjd_utc: float) -> str:
    return _utc_time(mjd_utc + sky.SITE.utc_offset / 24) + ".0"
