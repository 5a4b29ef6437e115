"""Hot stars, shard by shard: spectra at rest with velocities and labels; magnitudes."""

__all__ = [
    "magnitudes_of_shard",
    "plan_magnitudes",
    "plan_rest",
    "read_rest",
    "rest_shard",
    "without_labels",
]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import polars as pl

from steadystar.data.doppler import composed, known_motion
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status, explain
from steadystar.measure.emission import EmissionModel
from steadystar.measure.hot_labels import measure_hot
from steadystar.measure.luminosity import LuminosityModel
from steadystar.measure.rest_frame import HOT_GRID, to_rest
from steadystar.pipeline.ledger import atomic
from steadystar.pipeline.shardwork import shard_spectra
from steadystar.pipeline.sorting import Part, parts
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables

_G_BAND = (4750.0, 5550.0)
"""Wavelengths (A) of the signal-to-noise ratio that LAMOST calls that in g."""

LABELS = ("teff", "teff_err", "logg", "logg_err", "feh", "feh_err")


def plan_rest(run: Run, stage: Stage) -> list[Unit]:
    """One unit a shard."""
    return [
        Unit(f"{shard}", [part.sha256 for part in held], tuple(held))
        for shard, held in sorted(parts(run.ledger).items())
    ]


def rest_shard(job: tuple[Part, ...], prefix: Path) -> Result:
    """Measure the spectra of a shard and bring them to rest, on one grid."""
    tables, batches = [], []
    groups: dict[str, list[Part]] = {}
    for part in job:
        groups.setdefault(f"{part.frame} {part.survey}", []).append(part)
    for key in sorted(groups):
        visits, spectra = shard_spectra(groups[key])
        found = measure_hot(spectra)
        batches.append(to_rest(spectra, found["rv_obs"].to_numpy()))
        tables.append(_rows(visits, spectra, found))
    return _write(pl.concat(tables, how="diagonal_relaxed"), batches, prefix)


def without_labels(job: tuple[Part, ...], prefix: Path, reason: str) -> Result:
    """Keep the rows of a shard that could not be measured."""
    tables, batches = [], []
    for part in job:
        visits, spectra = shard_spectra([part])
        names = ("rv_obs", "rv_obs_err", *LABELS, "status")
        found = pl.DataFrame({name: np.full(len(visits), np.nan) for name in names})
        flags = int(Status.INTERNAL_ERROR)
        found = found.with_columns(status=pl.lit(flags, pl.Int64))
        batches.append(to_rest(spectra, np.zeros(len(visits))))
        tables.append(_rows(visits, spectra, found))
    result = _write(pl.concat(tables, how="diagonal_relaxed"), batches, prefix)
    note = f"{result.facts['spectra']} spectra were not measured. {reason}"
    return Result(result.outputs, result.facts, (note,))


def _rows(visits: pl.DataFrame, spectra: Spectra, found: pl.DataFrame) -> pl.DataFrame:
    """One row a spectrum: who, when, how bright, velocity, labels, problems."""
    snr = spectra.window(*_G_BAND).snr()
    rv = found["rv_obs"].to_numpy()
    if spectra.frame == "observatory":
        rv = composed(rv, known_motion(visits["bary_corr"].to_numpy(), len(rv)))
    flags = found["status"].to_numpy() & ~int(Status.COADD)
    return visits.select(
        "visit_id", "star_id", "ra", "dec", "snr", "path"
    ).with_columns(
        found.select(LABELS),
        specid=_specids(visits),
        fitsname=pl.Series([_file(path) for path in visits["path"]], dtype=pl.String),
        snr_g=pl.Series(np.where(np.isfinite(snr), snr, visits["snr"].to_numpy())),
        rv=pl.Series(rv),
        rv_err=found["rv_obs_err"],
        problems=pl.Series([_problem(int(flag)) for flag in flags], dtype=pl.String),
    )


def _specids(visits: pl.DataFrame) -> pl.Series:
    """Night, plan, spectrograph and fiber, as LAMOST names spectra; else the visit."""
    out = []
    for row in visits.iter_rows(named=True):
        whole = [row[name] for name in ("night", "field", "spectrograph", "fiber")]
        if None in whole:
            out.append(row["visit_id"])
        else:
            night, field, spectrograph, fiber = whole
            out.append(f"{night}-{field}-sp{spectrograph:02d}-{fiber:03d}")
    return pl.Series(out, dtype=pl.String)


def _file(path: str | None) -> str | None:
    return PurePath(path.partition("[")[0]).name if path else None


def _problem(flags: int) -> str | None:
    return " ".join(explain(flags)) or None if flags else None


def _write(rows: pl.DataFrame, batches: Sequence[Spectra], prefix: Path) -> Result:
    outputs = write_tables({"rows": rows}, prefix)
    outputs["rest"] = prefix.with_name(f"{prefix.name}-rest.npz")
    with atomic(outputs["rest"]) as part, part.open("wb") as file:
        np.savez(
            file,
            flux=np.concatenate([one.flux for one in batches]),
            ivar=np.concatenate([one.ivar for one in batches]),
        )
    measured = int(rows["teff"].is_finite().sum())
    return Result(outputs, {"spectra": len(rows), "measured": measured})


def read_rest(path: Path, rows: np.ndarray | None = None) -> Spectra:
    """Read what `rest_shard` wrote, or some rows of it."""
    with np.load(path) as held:
        flux, ivar = held["flux"], held["ivar"]
    pick = slice(None) if rows is None else rows
    return Spectra.from_arrays(HOT_GRID.wave, flux[pick], ivar[pick])


@dataclass(frozen=True)
class _MagnitudeJob:
    rows: Path
    rest: Path
    emission: Path
    luminosity: Path | None


def plan_magnitudes(run: Run, stage: Stage) -> list[Unit]:
    """One unit a shard: what the models say of its spectra."""
    learned = run.ledger.records("learn").get("all")
    if learned is None or "emission" not in learned.outputs:
        return []
    units = []
    luminosity = learned.outputs.get("luminosity")
    for name, record in sorted(run.ledger.records("rest").items()):
        job = _MagnitudeJob(
            run.ledger.path(record, "rows"),
            run.ledger.path(record, "rest"),
            run.ledger.path(learned, "emission"),
            run.ledger.path(learned, "luminosity") if luminosity else None,
        )
        models = [learned.outputs["emission"].sha256]
        models += [luminosity.sha256] if luminosity else []
        units.append(Unit(name, [record.sha256(), *models], job))
    return units


def magnitudes_of_shard(job: _MagnitudeJob, prefix: Path) -> Result:
    """Find emission lines and absolute magnitudes."""
    rows, spectra = pl.read_parquet(job.rows), read_rest(job.rest)
    table = EmissionModel.load(job.emission).apply(spectra)
    table = _moving(table, rows["rv"].is_finite().not_())
    table = rows.select("visit_id").hstack(table)
    if job.luminosity is not None:
        model = LuminosityModel.load(job.luminosity)
        snr = rows["snr_g"].fill_null(np.nan).to_numpy()
        told = model.apply(spectra, snr, (table["em_flag"] == 1).to_numpy())
        unusable = table["broken"].is_not_null().to_numpy()
        numbers = ("m_ks", "m_ks_err", "m_ks_meas_err")
        told = told.with_columns(
            pl.when(pl.Series(unusable))
            .then(np.nan)
            .otherwise(pl.col(name))
            .alias(name)
            for name in numbers
        ).with_columns(
            warning=pl.when(pl.Series(unusable)).then(None).otherwise("warning")
        )
        table = table.hstack(told)
    found = {"table": table}
    emitters = int((table["em_flag"] == 1).sum())
    return Result(write_tables(found, prefix), {"emitters": emitters})


def _moving(table: pl.DataFrame, unknown: pl.Series) -> pl.DataFrame:
    """Set spectra aside whose velocity is not known: they are not at rest."""
    sentence = "Its velocity is not known, so that it cannot be brought to rest."
    return table.with_columns(
        em_flag=pl.when(unknown).then(-1).otherwise("em_flag").cast(pl.Int64),
        broken=pl.when(unknown & pl.col("broken").is_null())
        .then(pl.lit(sentence))
        .otherwise("broken"),
    )
