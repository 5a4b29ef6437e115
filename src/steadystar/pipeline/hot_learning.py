"""Hot stars, the survey as a whole: photometry and dust; what spectra teach."""

__all__ = [
    "check_hot",
    "held_out",
    "learn",
    "photometry_and_dust",
    "plan_extinction",
    "plan_learning",
]

import shutil
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import polars as pl

from steadystar.data.spectra import Spectra
from steadystar.data.tables import TableError
from steadystar.infer.extinction import ExtinctionOptions, estimate_extinction
from steadystar.measure.composites import composite_test
from steadystar.measure.emission import EmissionModel, EmissionOptions, fit_emission
from steadystar.measure.luminosity import (
    LuminosityModel,
    LuminosityOptions,
    fit_luminosity,
)
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.hot_options import HotOptions, extinction_ratio
from steadystar.pipeline.hot_spectra import read_rest
from steadystar.pipeline.ledger import atomic, content_hash
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables
from steadystar.survey.parallax_offset import parallax_offsets
from steadystar.survey.photometry import open_photometry
from steadystar.survey.photometry_match import matched_photometry

_MODELS = ("emission", "luminosity")


def check_hot(configuration: Configuration) -> None:
    """Refuse a table of photometry or models that are not there, before all reading.

    Raises:
        ConfigurationError: what cannot be used, and what to do.
    """
    hot = configuration.hot
    if not hot.photometry:
        raise ConfigurationError(
            "A run on hot stars needs a table of photometry: give --photometry TABLE "
            "(Gaia, 2MASS and optical magnitudes, parallaxes)."
        )
    try:
        open_photometry(Path(hot.photometry), hot.photometry_columns or None)
    except (TableError, ValueError) as error:
        raise ConfigurationError(f"--photometry: {error}") from error
    if hot.model:
        try:
            EmissionModel.load(Path(hot.model) / "emission.npz")
            LuminosityModel.load(Path(hot.model) / "luminosity.npz")
        except (ValueError, BadZipFile) as error:
            raise ConfigurationError(
                f"--model {hot.model}: {error} Name the directory of a run of `steadystar "
                "hot` that learned its own models."
            ) from error


@dataclass(frozen=True)
class _ExtinctionJob:
    rows: tuple[Path, ...]
    photometry: Path
    hot: HotOptions
    extinction: ExtinctionOptions


def plan_extinction(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all spectra with the photometry of their stars."""
    records = [record for _, record in sorted(run.ledger.records("rest").items())]
    hot = run.configuration.hot
    job = _ExtinctionJob(
        tuple(run.ledger.path(record, "rows") for record in records),
        Path(hot.photometry),
        hot,
        run.configuration.extinction,
    )
    inputs = [record.outputs["rows"].sha256 for record in records]
    inputs.append(content_hash(Path(hot.photometry)))
    if Path(hot.zero_point).is_file():
        inputs.append(content_hash(Path(hot.zero_point)))
    return [Unit("all", inputs, job)]


def photometry_and_dust(job: _ExtinctionJob, prefix: Path) -> Result:
    """Match photometry, correct parallaxes, and estimate the reddening of every star."""
    tables = [pl.read_parquet(path) for path in job.rows]
    rows = pl.concat(tables, how="diagonal_relaxed")
    rows = rows.sort("star_id", "snr_g", "visit_id", descending=[False, True, False])
    rank = pl.int_range(pl.len()).over("star_id") + 1
    rows = rows.with_columns(uniqflag=rank.cast(pl.Int64))
    source = open_photometry(job.photometry, job.hot.photometry_columns or None)
    matched, notes = matched_photometry(rows, source.frame, job.hot.match_radius)
    offsets = parallax_offsets(matched, job.hot.zero_point)
    matched = matched.with_columns(parallax_offset=pl.Series(offsets.offset))
    own = [name for name in matched.columns if name not in rows.columns]
    table = rows.hstack(matched.select(own))
    # The best spectrum speaks for the star; its reddening is that of all its rows.
    best = estimate_extinction(table.filter(pl.col("uniqflag") == 1), job.extinction)
    known = ("ebv", "ebv_err", "n_colors", "bands_rejected", "extinction_status")
    table = table.join(best.select("star_id", *known), on="star_id", how="left")
    table = table.sort("star_id", "uniqflag")
    without = int(best["ebv"].is_nan().sum())
    facts = {
        "spectra": len(table),
        "stars": len(best),
        "with_ebv": len(best) - without,
        "notes": [*source.notes, *notes, *offsets.notes],
    }
    return Result(write_tables({"table": table}, prefix), facts)


@dataclass(frozen=True)
class _LearningJob:
    table: Path
    shards: tuple[tuple[Path, Path], ...]
    hot: HotOptions
    emission: EmissionOptions
    luminosity: LuminosityOptions


def plan_learning(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the survey's own models, or those that were given."""
    extinction = run.ledger.records("extinction")["all"]
    records = [record for _, record in sorted(run.ledger.records("rest").items())]
    configuration = run.configuration
    hot = configuration.hot
    ratio = extinction_ratio(hot, configuration.extinction.r_v)
    job = _LearningJob(
        run.ledger.path(extinction, "table"),
        tuple(
            (run.ledger.path(record, "rows"), run.ledger.path(record, "rest"))
            for record in records
        ),
        hot,
        configuration.emission,
        replace(configuration.luminosity, a_ks=ratio),
    )
    inputs = [extinction.sha256(), *(record.sha256() for record in records)]
    if hot.model:
        folder = Path(hot.model)
        inputs = [content_hash(folder / f"{name}.npz") for name in _MODELS]
    return [Unit("all", inputs, job)]


def learn(job: _LearningJob, prefix: Path) -> Result:
    """Learn what spectra look like without emission, and their absolute magnitudes."""
    outputs = {name: prefix.with_name(f"{prefix.name}-{name}.npz") for name in _MODELS}
    if job.hot.model:
        for name, path in outputs.items():
            with atomic(path) as part:
                shutil.copyfile(Path(job.hot.model) / f"{name}.npz", part)
        return Result(outputs, {"given": job.hot.model, "notes": []})
    table, spectra = _sample(job)
    try:
        emission = fit_emission(spectra, table["snr"].to_numpy(), job.emission)
    except ValueError as error:
        return Result({}, {"notes": [f"Emission lines were not looked for: {error}"]})
    with atomic(outputs["emission"]) as part:
        emission.save(part)
    facts = {
        "emission": {**emission.summary, "threshold": round(emission.threshold, 3)}
    }
    found = emission.apply(spectra)
    whole = found["broken"].is_null().to_numpy()
    teaching = whole & ~held_out(table["star_id"], job.hot.held_out)
    try:
        model = fit_luminosity(
            spectra[np.flatnonzero(teaching)],
            table.filter(teaching),
            emission.bases,
            (found["em_flag"] == 1).to_numpy()[teaching],
            job.luminosity,
        )
    except ValueError as error:
        del outputs["luminosity"]
        note = f"Absolute magnitudes were not learned: {error}"
        return Result(outputs, facts | {"notes": [note]})
    with atomic(outputs["luminosity"]) as part:
        model.save(part)
    plain = whole & (found["em_flag"] == 0).to_numpy()
    pairs = composite_test(spectra[np.flatnonzero(plain)], table.filter(plain), model)
    outputs |= write_tables({"composites": pairs}, prefix)
    facts |= {"luminosity": dict(model.summary), "notes": []}
    return Result(outputs, facts)


def _sample(job: _LearningJob) -> tuple[pl.DataFrame, Spectra]:
    """The best spectrum of each star, of as many stars as may be learned from.

    Spectra without a velocity are not at rest, and teach nothing.
    """
    best = pl.read_parquet(job.table).filter(
        (pl.col("uniqflag") == 1) & pl.col("rv").is_finite()
    )
    if len(best) > job.hot.learn_from:
        chosen = best["star_id"].map_elements(_hash, return_dtype=pl.Int64)
        best = best.with_columns(_hash=chosen).sort("_hash").head(job.hot.learn_from)
    best = best.with_columns(
        parallax=pl.col("parallax") - pl.col("parallax_offset").fill_null(0.0),
        snr=pl.col("snr_g"),
    )
    wanted = set(best["visit_id"])
    tables, batches = [], []
    for rows_path, rest_path in job.shards:
        visits = pl.read_parquet(rows_path, columns=["visit_id"])
        pick = np.flatnonzero([one in wanted for one in visits["visit_id"]])
        if len(pick):
            batches.append(read_rest(rest_path, pick))
            tables.append(visits[pick])
    table = pl.concat(tables).join(best, on="visit_id", maintain_order="left")
    return table, Spectra.concatenate(batches)


def _hash(star_id: str) -> int:
    return zlib.crc32(f"hot {star_id}".encode())


def held_out(star_ids: pl.Series, share: float) -> np.ndarray:
    """Stars that teach nothing, by a hash of their names: the same in every run."""
    return np.array([_hash(one) % 10_000 < share * 10_000 for one in star_ids], bool)
