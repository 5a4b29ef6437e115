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

import numpy as np
import polars as pl

from steadystar.data.hot_columns import HOT, HOT_BANDS
from steadystar.data.spectra import Spectra
from steadystar.data.tables import TableError, write_parquet
from steadystar.infer.extinction import ExtinctionOptions, estimate_extinction
from steadystar.measure.composites import composite_test
from steadystar.measure.emission import EmissionModel, EmissionOptions, fit_emission
from steadystar.measure.luminosity import LuminosityModel, LuminosityOptions
from steadystar.measure.luminosity_training import fit_luminosity
from steadystar.models.intrinsic_colors import IntrinsicColors
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.hot_options import HotOptions, extinction_ratio
from steadystar.pipeline.hot_spectra import read_rest
from steadystar.pipeline.inputs import InputError
from steadystar.pipeline.ledger import atomic, content_hash
from steadystar.pipeline.rejections import Rejections
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables
from steadystar.survey.parallax_offset import parallax_offsets
from steadystar.survey.photometry import open_photometry
from steadystar.survey.photometry_match import matched_photometry

_MODELS = ("emission", "luminosity")
_GIVEN = {
    *("gaia_id", "parallax", "parallax_error", "parallax_offset", "ruwe"),
    *("pmra", "pmra_error", "pmdec", "pmdec_error"),
    *(name for band in HOT_BANDS for name in (band, f"{band}_err")),
}
_OURS = {column.name for column in HOT} - _GIVEN | {
    *("visit_id", "snr", "path", "n_colors", "extinction_status", "ebv_chi2"),
    *("broken", "outside", "warning", "held_out", "distance_status"),
}
"""What the pipeline finds itself: columns of the photometry must not have these names."""


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
        source = open_photometry(Path(hot.photometry), hot.photometry_columns or None)
    except (TableError, ValueError) as error:
        raise ConfigurationError(f"--photometry: {error}") from error
    if not {"ra", "dec"} <= set(source.frame.columns):
        raise ConfigurationError(
            f"--photometry: {hot.photometry} has no positions, by which it is matched to "
            "the spectra: add ra and dec in degrees, or say which columns they are, as in "
            "--columns ra=RAJ2000,dec=DEJ2000."
        )
    if colors := configuration.extinction.colors:
        try:
            IntrinsicColors.load(colors)
        except ValueError as error:
            raise ConfigurationError(f"extinction.colors: {error}") from error
    if hot.model:
        _check_models(Path(hot.model))


def _check_models(folder: Path) -> None:
    models = {"emission.zip": EmissionModel, "luminosity.zip": LuminosityModel}
    for name, kind in models.items():
        why = "is not there"
        if (folder / name).is_file():
            try:
                kind.load(folder / name)
                continue
            except ValueError:
                why = "is damaged, or of another version"
        raise ConfigurationError(
            f"--model: {folder / name} {why}. Name the directory of a run of `steadystar "
            "hot` that learned its own models."
        )


@dataclass(frozen=True)
class _ExtinctionJob:
    rows: tuple[Path, ...]
    photometry: Path
    hot: HotOptions
    extinction: ExtinctionOptions


def plan_extinction(run: Run, stage: Stage) -> list[Unit]:
    """One unit: all spectra with the photometry of their stars."""
    records = [record for _, record in sorted(run.ledger.records("rest").items())]
    if not records:
        raise InputError(_nothing(run))
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


def _nothing(run: Run) -> str:
    """List why each file is of no use; say the first reason."""
    reasons = Rejections.of(run).table()
    path = run.directory / "rejected.parquet"
    with atomic(path) as part:
        write_parquet(reasons, part)
    return (
        "There is no spectrum to measure. "
        f"{reasons['path'][0]}: {reasons['reason'][0]} See {path} for each."
    )


def photometry_and_dust(job: _ExtinctionJob, prefix: Path) -> Result:
    """Match photometry, correct parallaxes, and estimate the reddening of every star."""
    rows = pl.concat(
        [pl.read_parquet(path) for path in job.rows], how="diagonal_relaxed"
    )
    source = open_photometry(job.photometry, job.hot.photometry_columns or None)
    matched, notes = matched_photometry(rows, source.frame, job.hot.match_radius)
    offsets = parallax_offsets(matched, job.hot.zero_point)
    matched = matched.drop("ra", "dec").with_columns(
        parallax_offset=pl.Series(offsets.offset)
    )
    computed = {name for name in matched.columns if name.casefold() in _OURS}
    if computed:
        notes.append(
            f"Columns {', '.join(sorted(computed))} of the photometry are NAME_photometry "
            "in the catalog, where these names are those of what is found here."
        )
        matched = matched.rename({name: f"{name}_photometry" for name in computed})
    without = [name for name in sorted(_GIVEN) if name not in matched.columns]
    empty = [pl.lit(None, pl.Float64).alias(name) for name in without]
    table = _ranked(rows.hstack(matched.with_columns(empty)))
    # The best spectrum speaks for the star; its reddening is that of all its rows.
    best = table.filter(pl.col("uniqflag") == 1)
    try:
        best = estimate_extinction(best, job.extinction)
    except ValueError as error:
        notes.append(f"No reddening was estimated: {error}")
        best = best.with_columns(
            pl.lit(np.nan).alias("ebv"),
            pl.lit(np.nan).alias("ebv_err"),
            n_colors=pl.lit(0, pl.Int64),
            bands_rejected=pl.lit(""),
            extinction_status=pl.lit("Too few bands have a magnitude in the survey."),
        )
    known = ("ebv", "ebv_err", "n_colors", "bands_rejected", "extinction_status")
    table = table.join(
        best.select("star_id", *known), on="star_id", how="left", maintain_order="left"
    )
    table = table.sort("star_id", "uniqflag")
    facts = {
        "spectra": len(table),
        "stars": len(best),
        "with_ebv": int(best["ebv"].is_finite().sum()),
        "notes": [*source.notes, *notes, *offsets.notes],
    }
    return Result(write_tables({"table": table}, prefix), facts)


def _ranked(table: pl.DataFrame) -> pl.DataFrame:
    """Number the spectra of each star, the best signal-to-noise ratio first."""
    # A ratio that is not a number is the worst, not the best.
    order = pl.col("snr_g").fill_nan(None).fill_null(-1.0)
    table = table.sort("star_id", order, "visit_id", descending=[False, True, False])
    rank = pl.int_range(pl.len()).over("star_id") + 1
    return table.with_columns(uniqflag=rank.cast(pl.Int64))


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
        inputs = [content_hash(folder / f"{name}.zip") for name in _MODELS]
    return [Unit("all", inputs, job)]


def learn(job: _LearningJob, prefix: Path) -> Result:
    """Learn what spectra look like without emission, and their absolute magnitudes."""
    outputs = {name: prefix.with_name(f"{prefix.name}-{name}.zip") for name in _MODELS}
    if job.hot.model:
        for name, path in outputs.items():
            with atomic(path) as part:
                shutil.copyfile(Path(job.hot.model) / f"{name}.zip", part)
        return Result(outputs, {"given": job.hot.model, "notes": []})
    found = _sample(job)
    if found is None:
        why = "no spectrum has a velocity"
        return Result({}, {"notes": [f"Emission lines were not looked for: {why}."]})
    table, spectra = found
    try:
        emission = fit_emission(spectra, table["snr"].to_numpy(), job.emission)
    except ValueError as error:
        _only_refusals(error)
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
        _only_refusals(error)
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


def _only_refusals(error: ValueError) -> None:
    """Raise again what is no refusal in words, but a fault: JAX's and numpy's own kinds."""
    if type(error) is not ValueError:
        raise error


def _sample(job: _LearningJob) -> tuple[pl.DataFrame, Spectra] | None:
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
    if not tables:
        return None
    table = pl.concat(tables).join(best, on="visit_id", maintain_order="left")
    return table, Spectra.concatenate(batches)


def _hash(star_id: str) -> int:
    return zlib.crc32(f"hot {star_id}".encode())


def held_out(star_ids: pl.Series, share: float) -> np.ndarray:
    """Stars that teach nothing, by a hash of their names: the same in every run."""
    return np.array([_hash(one) % 10_000 < share * 10_000 for one in star_ids], bool)
