"""A survey that never was: files as LAMOST would write them, and the truth.

`simulate_survey` invents stars, nights and instruments, writes one file per star and
night under ``spectra`` and four tables under ``truth``:

- ``stars``: what every star is and how it moves;
- ``exposures``: a row per spectrograph, arm and exposure, with the parts of its zero
  point;
- ``visits``: a row per spectrum, with what a reader can know under the names of the
  schema's visits, and the truth in columns that end in ``_true``;
- ``offsets``: the zero points of exposures and of fibers, by family.

The convention is that of the whole package: a line at rest wavelength ``w`` appears in
a file at ``w (1 + rv_raw_true/c)``, and ``rv_raw_true = rv_true + correction_true``,
the sum of everything that a calibration should find and subtract.
"""

__all__ = ["Survey", "SurveyOptions", "simulate_survey"]

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.models.library import ModelSpectra, bundled
from steadystar.simulate import instrument, plan, sky
from steadystar.simulate.lamost_files import StarNight, coadd, write_star_night
from steadystar.simulate.observe import Observer, Seen
from steadystar.simulate.options import SurveyOptions


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

    The same options and seed give the same bytes. Files of an earlier survey in the
    same place are overwritten if they have the same names, and otherwise left.

    Raises:
        ValueError: an option has a value that cannot be simulated.
    """
    options = options or SurveyOptions()
    directory = Path(directory)
    for folder in ("spectra", "truth"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    models = {arm.name: bundled(arm.models) for arm in instrument.ARMS}
    exposures = plan.draw_exposures(options, seed)
    fibers = plan.draw_fibers(options, seed)
    groups, visits = [], []
    for field in range(options.n_fields):
        for spectrograph in range(1, options.n_spectrographs + 1):
            group = plan.draw_group(options, seed, field, spectrograph)
            mine = pl.col("spectrograph") == spectrograph
            planned = exposures.filter(mine & (pl.col("field_number") == field))
            rows = _observe_group(
                directory / "spectra",
                _Task(options, seed, models, planned, fibers.filter(mine)),
                group,
            )
            groups.append(group)
            visits.append(pl.DataFrame(rows, infer_schema_length=None))
    survey = Survey(
        spectra=directory / "spectra",
        stars=_with_scatter(pl.concat(groups), pl.concat(visits)),
        exposures=exposures,
        visits=pl.concat(visits),
        offsets=plan.offsets(exposures, fibers),
    )
    for table in fields(survey):
        value = getattr(survey, table.name)
        if isinstance(value, pl.DataFrame):
            value.write_parquet(directory / "truth" / f"{table.name}.parquet")
    return survey


@dataclass(frozen=True)
class _Task:
    """What is the same for all stars of a group."""

    options: SurveyOptions
    seed: int
    models: Mapping[str, ModelSpectra]
    exposures: pl.DataFrame
    fibers: pl.DataFrame


def _observe_group(folder: Path, task: _Task, group: pl.DataFrame) -> list[dict]:
    """Write the files of a group of stars and return their rows of truth."""
    fibers = {
        (row["arm"], row["fiber"]): row for row in task.fibers.iter_rows(named=True)
    }
    nights: dict[int, list[dict]] = {}
    for exposure in task.exposures.iter_rows(named=True):
        nights.setdefault(exposure["night"], []).append(exposure)
    rows = []
    for star in group.iter_rows(named=True):
        observer = Observer(task.options, task.seed, task.models, star)
        for night in nights.values():
            number = star["fibers"][night[0]["plan_number"]]
            rows += _observe_night(folder, observer, night, number, fibers)
    return rows


def _observe_night(
    folder: Path, observer: Observer, night: list[dict], number: int, fibers: dict
) -> list[dict]:
    """Write the file of a star's night and return its rows of truth."""
    seen = [
        (exposure, observer.expose(arm, exposure, fibers[arm.name, number]))
        for arm in instrument.ARMS
        for exposure in night
        if exposure["arm"] == arm.name
    ]
    spectra = [one.spectrum for _, one in seen]
    options, star, first = observer.options, observer.star, night[0]
    star_night = StarNight(
        night=first["night"],
        plan=first["field"],
        spectrograph=star["spectrograph"],
        fiber=number,
        cards=_cards(star, first, seen),
        exposures=spectra,
        coadds=coadd(spectra) if options.coadds else [],
    )
    path = write_star_night(
        folder, star_night, layout=options.layout, gzip=options.gzip
    )
    return [_row(star, number, exposure, one, path.name) for exposure, one in seen]


def _row(star: dict, fiber: int, exposure: dict, seen: Seen, file: str) -> dict:
    minute, spectrograph, arm = (
        exposure["minute"],
        star["spectrograph"],
        exposure["arm"],
    )
    extension = f"{seen.spectrum.arm_letter}-{minute}"
    return {
        "visit_id": f"lamost-{minute}-sp{spectrograph:02d}-{fiber:03d}-{arm}",
        "star_id": star["star_id"],
        "ra": star["ra"],
        "dec": star["dec"],
        "survey": "lamost-mrs",
        "field": exposure["field"],
        "night": exposure["night"],
        "exposure_id": exposure["exposure_id"],
        "telescope": "lamost",
        "spectrograph": spectrograph,
        "fiber": fiber,
        "arm": arm,
        "bjd": seen.bjd,
        "exptime": exposure["exptime"],
        "snr": seen.snr,
        "bary_corr": seen.bary_corr,
        "lamp": exposure["lamp"],
        "path": f"spectra/{file}[{extension}]",
    } | seen.truth


def _cards(star: dict, exposure: dict, seen: list[tuple[dict, Seen]]) -> dict:
    start = exposure["start"]
    length = exposure["exptime"] / 86_400
    correction = float(np.mean([one.bary_corr for _, one in seen]))
    longitude, latitude = sky.galactic(star["ra"], star["dec"])
    spectrograph = plan.center_of(star["field_number"], star["spectrograph"])
    return {
        "RA": star["ra"],
        "DEC": star["dec"],
        "RA_OBS": star["ra"],
        "DEC_OBS": star["dec"],
        "GL": round(longitude, 6),
        "GB": round(latitude, 6),
        "SPRA": round(spectrograph[0], 7),
        "SPDEC": round(spectrograph[1], 7),
        "DESIG": f"LAMOST {star['star_id']}",
        "OBJNAME": star["star_id"],
        "MAG1": round(star["magnitude"], 2),
        # LAMOST writes the velocity of the observatory away from the star.
        "HELIO_RV": round(-correction, 5),
        "DATE-BEG": sky.local_time(start),
        "DATE-END": sky.local_time(start + length),
        "DATE-OBS": sky.utc_time(start + length / 2),
    }


def _with_scatter(stars: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Add the standard deviation of each star's true velocity over its exposures."""
    scatter = (
        visits.group_by("star_id", "exposure_id")
        .agg(pl.col("rv_true").mean())
        .group_by("star_id")
        .agg(pl.col("rv_true").std(ddof=0).alias("rv_scatter_true"))
    )
    return stars.join(scatter, on="star_id", how="left", maintain_order="left")
