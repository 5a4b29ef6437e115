"""Hot stars: error budget, distances, the catalog and its report."""

__all__ = [
    "budget_and_distances",
    "plan_hot_catalog",
    "plan_hot_report",
    "plan_results",
    "rewrite_hot_report",
    "write_hot_catalog",
    "write_hot_pages",
]

import json
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from steadystar.data.schema import conform
from steadystar.data.tables import write_parquet
from steadystar.infer.distance import infer_distances
from steadystar.infer.distance_options import DistanceOptions
from steadystar.infer.luminosity_errors import ErrorBudgetOptions, fit_luminosity_errors
from steadystar.measure.emission import EmissionModel
from steadystar.measure.luminosity import LuminosityModel, geometric_magnitude
from steadystar.pipeline.answers import write_summary
from steadystar.pipeline.hot_learning import held_out
from steadystar.pipeline.hot_options import extinction_ratio
from steadystar.pipeline.hot_spectra import read_rest
from steadystar.pipeline.ledger import Ledger, atomic, fingerprint
from steadystar.pipeline.reading import known_files
from steadystar.pipeline.rejections import (
    Rejections,
    counts,
    sentence_counts,
    sentences,
)
from steadystar.pipeline.units import Result, Run, Stage, Unit, write_tables
from steadystar.publish.catalog import described
from steadystar.publish.inputs import ReportOptions

_GALLERY = 8
_PERHAPS = ("emission.zip", "luminosity.zip", "budget.parquet", "composites.parquet")
_SECTIONS = (
    *("read", "match", "hot", "extinction", "emission", "luminosity"),
    *("budget", "distances"),
)


@dataclass(frozen=True)
class _ResultsJob:
    table: Path
    magnitudes: tuple[Path, ...]
    luminosity: Path | None
    held_out: float
    budget: ErrorBudgetOptions
    distances: DistanceOptions


def plan_results(run: Run, stage: Stage) -> list[Unit]:
    """One unit: everything that is known of every spectrum."""
    ledger, configuration = run.ledger, run.configuration
    extinction = ledger.records("extinction")["all"]
    learned = ledger.records("learn")["all"]
    magnitudes = [r for _, r in sorted(ledger.records("magnitudes").items())]
    ratio = extinction_ratio(configuration.hot, configuration.extinction.r_v)
    there = "luminosity" in learned.outputs
    job = _ResultsJob(
        ledger.path(extinction, "table"),
        tuple(ledger.path(record, "table") for record in magnitudes),
        ledger.path(learned, "luminosity") if there else None,
        configuration.hot.held_out,
        replace(configuration.budget, a_ks=ratio),
        replace(configuration.distances, a_ks_per_ebv=ratio),
    )
    inputs = [extinction.sha256(), learned.sha256(), *(m.sha256() for m in magnitudes)]
    return [Unit("all", inputs, job)]


def budget_and_distances(job: _ResultsJob, prefix: Path) -> Result:
    """Sample the error budget; estimate distances; find what is over-luminous."""
    table = pl.read_parquet(job.table)
    told = [pl.read_parquet(path) for path in job.magnitudes]
    if told:
        found = pl.concat(told, how="diagonal_relaxed")
        table = table.join(found, on="visit_id", how="left", maintain_order="left")
    absent: dict[str, pl.Expr] = {
        **dict.fromkeys(("m_ks", "m_ks_err", "m_ks_meas_err"), pl.lit(np.nan)),
        **dict.fromkeys(("broken", "warning"), pl.lit(None, pl.String)),
        "em_flag": pl.lit(-1, pl.Int64),
    }
    table = table.with_columns(
        value.alias(name) for name, value in absent.items() if name not in table.columns
    )
    aside = pl.Series(held_out(table["star_id"], job.held_out))
    table = table.with_columns(held_out=aside)
    notes, facts, outputs = [], {}, {}
    if job.luminosity is not None:
        table, more = _budget(table, job, notes, prefix)
        outputs |= more[0]
        facts |= more[1]
    corrected = table.with_columns(
        parallax=pl.col("parallax") - pl.col("parallax_offset").fill_null(0.0)
    )
    m_geo, m_geo_err = geometric_magnitude(corrected, job.distances.a_ks_per_ebv)
    distances = infer_distances(table, job.distances)
    notes += distances.notes
    table = distances.table.with_columns(
        m_ks_geo=pl.Series(m_geo), m_ks_geo_err=pl.Series(m_geo_err)
    )
    reasons = [
        name
        for name in ("problems", "broken", "extinction_status", "warning")
        if name in table.columns
    ]
    said = table.select(*reasons, "distance_status").cast(pl.String).iter_rows()
    problems = [" ".join(sentences(*texts)) or None for texts in said]
    table = table.with_columns(problems=pl.Series(problems, dtype=pl.String))
    outputs |= write_tables({"hot": conform(table, "hot")}, prefix)
    return Result(outputs, facts | {"notes": notes, "rows": len(table)})


def _budget(table: pl.DataFrame, job: _ResultsJob, notes: list[str], prefix: Path):
    """Sample the error budget on stars that taught nothing; use it where it is the error."""
    best = table.filter(
        (pl.col("uniqflag") == 1) & (pl.col("em_flag") == 0) & pl.col("held_out")
    ).with_columns(
        snr=pl.col("snr_g"),
        parallax=pl.col("parallax") - pl.col("parallax_offset").fill_null(0.0),
    )
    try:
        budget = fit_luminosity_errors(best, job.budget)
    except ValueError as error:
        notes.append(f"No error budget was sampled: {error}")
        return table, ({}, {})
    notes += budget.notes
    samples = write_tables({"budget": pl.DataFrame(budget.samples)}, prefix)
    assert job.luminosity is not None
    if LuminosityModel.load(job.luminosity).method == "published":
        # The published method has one error for all, and this is where it comes from.
        noise = budget.interval("sigma_100")[0] * 100 / pl.col("snr_g")
        total = (noise**2 + budget.interval("sigma_int")[0] ** 2).sqrt()
        table = table.with_columns(
            m_ks_meas_err=noise,
            m_ks_err=pl.when(pl.col("m_ks").is_finite()).then(total).otherwise(np.nan),
        )
    return table, (samples, {"budget": budget.summary()})


@dataclass(frozen=True)
class _CatalogJob:
    directory: Path
    hot: Path
    tables: dict[str, Path]
    models: dict[str, Path]
    shards: tuple[tuple[Path, Path], ...]
    rejections: Rejections
    origin: dict[str, str]
    facts: dict[str, Any]


def plan_hot_catalog(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the tables as they stand now."""
    ledger = run.ledger
    results, learned = (ledger.records(n)["all"] for n in ("results", "learn"))
    extinction = ledger.records("extinction")["all"]
    models = {
        f"{name}.zip": ledger.path(learned, name)
        for name in ("emission", "luminosity")
        if name in learned.outputs
    }
    tables = {
        f"{name}.parquet": ledger.path(record, name)
        for record, name in ((results, "budget"), (learned, "composites"))
        if name in record.outputs
    }
    live = known_files(run, ledger.records("read").values()).values()
    chosen = run.configuration.section_hash(*_SECTIONS)
    names = sorted((file.name, file.sha256) for file in live)
    origin = {
        "steadystar.version": version("steadystar"),
        "steadystar.configuration": fingerprint(chosen)[:16],
        "steadystar.inputs": fingerprint(names, extinction.sha256())[:16],
    }
    notes = [
        *extinction.facts["notes"],
        *learned.facts["notes"],
        *results.facts["notes"],
    ]
    facts = {
        **{k: v for k, v in learned.facts.items() if k in ("emission", "luminosity")},
        **{k: v for k, v in results.facts.items() if k == "budget"},
        "notes": list(dict.fromkeys(notes)),
    }
    shards = [r for _, r in sorted(ledger.records("rest").items())]
    job = _CatalogJob(
        run.directory,
        ledger.path(results, "hot"),
        tables,
        models,
        tuple((ledger.path(r, "rows"), ledger.path(r, "rest")) for r in shards),
        Rejections.of(run),
        origin,
        facts,
    )
    inputs = [origin, results.sha256(), learned.sha256(), run.found.rejected]
    return [Unit("all", inputs, job)]


def write_hot_catalog(job: _CatalogJob, prefix: Path) -> Result:
    """Write the catalog, the models, the gallery of spectra, and the summary."""
    hot, rejected = pl.read_parquet(job.hot), job.rejections.table()
    frames = {"hot.parquet": hot, "rejected.parquet": rejected}
    frames |= {name: pl.read_parquet(path) for name, path in job.tables.items()}
    gallery = _gallery(job, hot)
    outputs = {} if gallery is None else write_tables({"examples": gallery}, prefix)
    for name, frame in frames.items():
        outputs[name] = job.directory / name
        said = described(frame, name.partition(".")[0], job.origin)
        with atomic(outputs[name]) as part:
            write_parquet(frame, part, job.origin | said)
    for name, path in job.models.items():
        outputs[name] = job.directory / name
        with atomic(outputs[name]) as part:
            shutil.copyfile(path, part)
    summary = _summary(hot) | {
        "files": job.rejections.files,
        "rejected": len(rejected),
        "rejected_because": counts(rejected["reason"]),
        **job.facts,
    }
    outputs["summary.json"] = job.directory / "summary.json"
    write_summary(outputs["summary.json"], "hot", summary, job.origin)
    for name in _PERHAPS:
        if name not in outputs:
            (job.directory / name).unlink(missing_ok=True)
    rows = {name: len(frame) for name, frame in frames.items()}
    return Result(outputs, {"summary": summary, "rows": rows})


def _summary(hot: pl.DataFrame) -> dict[str, Any]:
    best = hot.filter(pl.col("uniqflag") == 1)
    relative = (best["dis_high"] - best["dis_low"]) / (2 * best["dis"])
    parallax = best["parallax"] - best["parallax_offset"].fill_null(0.0)
    alone = (best["parallax_error"] / parallax).filter(parallax > 0)

    def known(column: str) -> int:
        return int(best[column].is_finite().sum())

    def middle(values: pl.Series) -> float | None:
        found = values.filter(values.is_finite()).median()
        return round(float(found), 4) if isinstance(found, float) else None

    return {
        "spectra": len(hot),
        "stars": len(best),
        "with_labels": known("teff"),
        "with_extinction": known("ebv"),
        "with_magnitude": known("m_ks"),
        "with_parallax": known("parallax"),
        "with_distance": known("dis"),
        "emission_stars": int((best["em_flag"] == 1).sum()),
        "emission_unknown": int((best["em_flag"] == -1).sum()),
        "over_luminous": int((best["binary_flag"] == 1).sum()),
        "not_over_luminous": int((best["binary_flag"] == 0).sum()),
        "binary_unknown": int((best["binary_flag"] == -1).sum()),
        "median_distance_error": middle(relative),
        "median_parallax_error": middle(alone),
        "problems": sentence_counts(best["problems"]),
    }


def _gallery(job: _CatalogJob, hot: pl.DataFrame) -> pl.DataFrame | None:
    """Choose spectra to be shown, with their reconstructions."""
    if "emission.zip" not in job.models:
        return None
    best = hot.filter(pl.col("uniqflag") == 1)
    broken = pl.col("recon_chi2").is_finite() & (pl.col("em_flag") == -1)
    kinds = {
        "ordinary": best.filter(em_flag=0).sort("teff", "specid"),
        "emission": best.filter(em_flag=1).sort("em_snr", "specid"),
        "broken": best.filter(broken).sort("recon_chi2", "specid"),
        "over-luminous": best.filter(binary_flag=1).sort("snr_dparallax", "specid"),
    }
    chosen: dict[str, tuple[str, str | None]] = {}
    for kind, frame in kinds.items():
        spread = np.linspace(0, len(frame) - 1, min(_GALLERY, len(frame))).astype(int)
        for row in frame[spread].iter_rows(named=True):
            chosen.setdefault(row["visit_id"], (kind, row["problems"]))
    model = EmissionModel.load(job.models["emission.zip"])
    rows = []
    for rows_path, rest_path in job.shards:
        visits = pl.read_parquet(rows_path, columns=["visit_id", "specid"])
        pick = np.flatnonzero([one in chosen for one in visits["visit_id"]])
        if not len(pick):
            continue
        spectra = read_rest(rest_path, pick)
        told = model.bases.rebuild(model.bases.coefficients(spectra).value)
        for i, (visit, specid) in enumerate(visits[pick].iter_rows()):
            kind, reason = chosen[visit]
            good = spectra.ivar[i] > 0
            rows.append(
                {
                    "specid": specid,
                    "kind": kind,
                    "reason": reason,
                    "wave": spectra.wave.astype(np.float32).tolist(),
                    "flux": np.where(good, spectra.flux[i], np.nan).tolist(),
                    "model": told[i].tolist(),
                    "clean": model.bases.clean.tolist(),
                }
            )
    return pl.DataFrame(rows).sort("kind", "specid") if rows else None


@dataclass(frozen=True)
class _ReportJob:
    directory: Path
    examples: Path | None
    truth: Path | None
    options: ReportOptions


def plan_hot_report(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the report of the catalog."""
    catalog = run.ledger.records("catalog")["all"]
    truth = str(run.truth) if run.truth else ""
    job = _report_job(run.ledger, run.truth, run.configuration.report)
    return [Unit("all", [catalog.sha256(), version("steadystar"), truth], job)]


def _report_job(
    ledger: Ledger, truth: Path | None, options: ReportOptions
) -> _ReportJob:
    catalog = ledger.record("catalog", "all")
    examples = None
    if catalog is not None and "examples" in catalog.outputs:
        examples = ledger.path(catalog, "examples")
    return _ReportJob(ledger.directory, examples, truth, options)


def rewrite_hot_report(ledger: Ledger, options: ReportOptions) -> None:
    """Write the report of a run on hot stars anew, from its tables."""
    old = ledger.record("report", "all")
    truth = old.facts.get("truth") if old else None
    job = _report_job(ledger, Path(truth) if truth else None, options)
    write_hot_pages(job, ledger.directory)


def write_hot_pages(job: _ReportJob, prefix: Path) -> Result:
    """Write the report into the run directory, in place of the one before."""
    from steadystar.publish.hot_report import HotReportInputs, write_hot_report

    def there(path: Path | None) -> pl.DataFrame | None:
        return pl.read_parquet(path) if path is not None and path.exists() else None

    summary = json.loads((job.directory / "summary.json").read_text(encoding="utf-8"))
    truth = job.truth / "spectra.parquet" if job.truth else None
    inputs = HotReportInputs(
        hot=pl.read_parquet(job.directory / "hot.parquet"),
        summary=summary,
        budget=there(job.directory / "budget.parquet"),
        examples=there(job.examples),
        composites=there(job.directory / "composites.parquet"),
        truth=there(truth),
    )
    with atomic(job.directory / "report") as part:
        write_hot_report(part, inputs, job.options)
    facts = {"truth": str(job.truth) if job.truth else ""}
    return Result({"report": job.directory / "report"}, facts)
