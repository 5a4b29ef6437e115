"""What is left for people: catalogs, a summary, the report.

These are the files of the run directory itself. They carry the version, the hash of the
configuration and that of the inputs, and nothing that differs between equal runs.
"""

__all__ = [
    "describe_errors",
    "offsets_name",
    "plan_catalog",
    "plan_report",
    "provenance",
    "report_inputs",
    "spectra_of_run",
    "summarize",
    "targets_hash",
    "write_catalog",
    "write_pages",
]

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from steadystar.calibrate.errors import ErrorModel
from steadystar.calibrate.visits import methods_of, of_leading_method
from steadystar.data.schema import TABLES, Column
from steadystar.data.spectra import Spectra
from steadystar.data.status import SENTENCES, Status
from steadystar.data.tables import TableError, read_table, write_parquet
from steadystar.infer.period_options import PeriodOptions
from steadystar.pipeline.answers import write_summary
from steadystar.pipeline.config import Configuration, ConfigurationError
from steadystar.pipeline.kept import kept_comparison, kept_zeropoints
from steadystar.pipeline.ledger import Ledger, atomic, content_hash, fingerprint
from steadystar.pipeline.reading import known_files
from steadystar.pipeline.rejections import Rejections, counts
from steadystar.pipeline.shardwork import shard_spectra
from steadystar.pipeline.sorting import Part, parts
from steadystar.pipeline.units import Result, Run, Stage, Unit
from steadystar.publish.catalog import described
from steadystar.publish.facts import drawn_columns
from steadystar.publish.inputs import ReportInputs, ReportOptions

_RESULT_SECTIONS = (
    *("read", "match", "measure", "absolute", "labels", "zeropoints", "errors"),
    *("stars", "variables", "periods", "orbits", "catalogs"),
)
"""Sections of the configuration that change a number in a table."""


_FOUND = ("variables", "periods", "orbits", "orbit-samples")
"""Tables on stars that vary."""


_PASSING = ("offsets-", "label", "orbit")
"""Beginnings of the names of tables that a run may have no longer."""


def provenance(configuration: Configuration, inputs: Any) -> dict[str, str]:
    """Return what every table says of its origin."""
    chosen = [
        configuration.section_hash(*_RESULT_SECTIONS),
        configuration.run.references,
        configuration.run.velocities,
    ]
    return {
        "steadystar.version": version("steadystar"),
        "steadystar.configuration": fingerprint(chosen)[:16],
        "steadystar.inputs": fingerprint(inputs)[:16],
    }


def offsets_name(family: str) -> str:
    """Return the name of the table of a family, whatever its columns are called."""
    return "offsets-" + "".join("_" if c in "/\\\0" else c for c in family)


@dataclass(frozen=True)
class _CatalogJob:
    directory: Path
    velocities: Path
    errors: Path
    stars: Path
    labels: Path | None
    label_errors: Path | None
    offsets: dict[str, Path]
    variables: dict[str, Path]
    rejections: Rejections
    earlier: tuple[str, ...]
    origin: dict[str, str]
    zeropoints: dict[str, Any]


def plan_catalog(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the tables as they stand now."""
    ledger = run.ledger
    batches = ledger.records("read")
    files = known_files(run, batches.values()).values()
    live = sorted((file.name, file.sha256) for file in files)
    zero, errors, stars, found = (
        ledger.records(name)["all"]
        for name in ("zeropoints", "errors", "stars", "variables")
    )
    labels = ledger.records("parameters").get("all")
    match = ledger.records("match")["all"]
    old = ledger.record(stage.name, "all")
    origin = provenance(run.configuration, live)
    job = _CatalogJob(
        directory=run.directory,
        velocities=ledger.path(errors, "velocities"),
        errors=ledger.path(errors, "model"),
        stars=ledger.path(found, "stars"),
        labels=ledger.path(labels, "labels") if labels else None,
        label_errors=ledger.path(labels, "errors") if labels else None,
        offsets={f: ledger.path(zero, offsets_name(f)) for f in zero.facts["families"]},
        variables={
            name: ledger.path(found, name) for name in _FOUND if name in found.outputs
        },
        rejections=Rejections.of(run),
        earlier=tuple(o.path for o in old.outputs.values()) if old else (),
        origin=origin,
        zeropoints=zero.facts
        | {"errors": errors.facts, "stars": stars.facts, "variables": found.facts}
        | ({"labels": labels.facts} if labels else {}),
    )
    inputs = [origin, zero.sha256(), errors.sha256(), stars.sha256(), found.sha256()]
    inputs += [labels.sha256()] if labels else []
    inputs += [run.found.rejected]
    inputs += [match.outputs["duplicates"].sha256]
    return [Unit("all", inputs, job)]


def write_catalog(job: _CatalogJob, prefix: Path) -> Result:
    """Write the tables and the summary into the run directory."""
    velocities = pl.read_parquet(job.velocities)
    stars = pl.read_parquet(job.stars)
    rejected = job.rejections.table()
    frames = {
        "velocities.parquet": velocities,
        "stars.parquet": stars,
        "rejected.parquet": rejected,
    }
    if job.labels is not None:
        frames["labels.parquet"] = pl.read_parquet(job.labels)
    for family, path in job.offsets.items():
        frames[f"{offsets_name(family)}.parquet"] = pl.read_parquet(path)
    for name, path in job.variables.items():
        frames[f"{name}.parquet"] = pl.read_parquet(path)
    brought = job.zeropoints["stars"]["columns"]
    columns = [
        Column(**{**column, "dtype": stars.schema[column["name"]]})
        for column in brought
        if column["name"] in stars.columns
    ]
    outputs = {}
    for name, frame in frames.items():
        outputs[name] = job.directory / name
        stem = name.removesuffix(".parquet")
        kind = stem if stem in TABLES else stem.partition("-")[0]
        said = described(frame, kind, job.origin, columns)
        with atomic(outputs[name]) as part:
            write_parquet(frame, part, job.origin | said)
    summary = summarize(velocities, stars, job.zeropoints) | {
        "files": job.rejections.files,
        "rejected": len(rejected),
        "rejected_because": counts(rejected["reason"]),
    }
    outputs["errors.json"] = job.directory / "errors.json"
    with atomic(outputs["errors.json"]) as part:
        shutil.copyfile(job.errors, part)
    if job.label_errors is not None:
        outputs["label-errors.zip"] = job.directory / "label-errors.zip"
        with atomic(outputs["label-errors.zip"]) as part:
            shutil.copyfile(job.label_errors, part)
    outputs["summary.json"] = job.directory / "summary.json"
    write_summary(outputs["summary.json"], "run", summary, job.origin)
    for name in job.earlier:
        path = job.directory / name
        if path not in outputs.values() and path.name.startswith(_PASSING):
            path.unlink(missing_ok=True)
    rows = {name: len(frame) for name, frame in frames.items()}
    return Result(outputs, {"summary": summary, "rows": rows})


def describe_errors(model: ErrorModel) -> dict[str, str]:
    """Say what was found of the errors, by group of visits."""
    said = {}
    for row in model.table.iter_rows(named=True):
        name = ", ".join(f"{column} {row[column]}" for column in model.by) or "all"
        said[name] = f"scale {row['scale']:.2f}, floor {row['floor']:.3f} km/s"
    return said


def summarize(
    velocities: pl.DataFrame, stars: pl.DataFrame, zeropoints: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the facts of a run that a person or a program wants to know first.

    Where spectra were measured by several methods, they are counted by the leading one;
    ``also_measured`` has the number of velocities by the others, and why some have none.
    """
    also = {}
    for name in methods_of(velocities)[1:]:
        rows = velocities.filter(method=name)
        found = rows["rv_raw"].is_finite()
        also[name] = {
            "velocities": int(found.sum()),
            "statuses_without": _statuses(rows.filter(~found)),
        }
    velocities = of_leading_method(velocities)
    measured = velocities["rv_raw"].is_finite()
    status = velocities["status"]
    arms = velocities.filter(measured).drop_nulls("arm").group_by("arm").len()
    return {
        "spectra": len(velocities),
        "velocities": int(measured.sum()),
        "velocities_by_arm": dict(sorted(arms.iter_rows())),
        "also_measured": also,
        "uncalibrated": int(
            (measured & (status & int(Status.UNCALIBRATED) != 0)).sum()
        ),
        "statuses": _statuses(velocities),
        "stars": len(stars),
        "constant_stars": int(stars["constant"].sum() or 0),
        "variable_stars": int(stars["variable"].sum() or 0),
        "double_lined_stars": int(stars["double_lined"].sum() or 0),
        "zero_point_method": zeropoints["method"],
        "zero_points": zeropoints["families"],
        "errors": zeropoints["errors"]["groups"],
        **_label_facts(zeropoints.get("labels")),
        **_variable_facts(zeropoints.get("variables")),
        "notes": [
            *zeropoints["notes"],
            *zeropoints["errors"]["notes"],
            *zeropoints.get("labels", {}).get("notes", ()),
            *zeropoints.get("stars", {}).get("notes", ()),
            *zeropoints.get("variables", {}).get("notes", ()),
        ],
    }


def _label_facts(facts: Mapping[str, Any] | None) -> dict[str, int]:
    if facts is None:
        return {}
    return {"label_fits": facts["fits"], "fits_with_labels": facts["measured"]}


def _variable_facts(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is known of stars that vary, under one name."""
    if facts is None:
        return {}
    return {"variability": {n: fact for n, fact in facts.items() if n != "notes"}}


def _statuses(rows: pl.DataFrame) -> dict[str, int]:
    """Count the flags that occur, by their sentences."""
    status = rows["status"]
    counts = {flag: int((status & int(flag) != 0).sum()) for flag in Status}
    return {SENTENCES[flag]: n for flag, n in counts.items() if n and flag in SENTENCES}


@dataclass(frozen=True)
class _ReportJob:
    directory: Path
    windows: dict[str, tuple[float, float]]
    options: ReportOptions
    truth: Path | None
    periods: PeriodOptions


def plan_report(run: Run, stage: Stage) -> list[Unit]:
    """One unit: the report of the catalog, with the spectra behind it."""
    catalog = run.ledger.records("catalog")["all"]
    windows = dict(run.configuration.measure.windows)
    configuration = run.configuration
    job = _ReportJob(
        run.directory, windows, configuration.report, run.truth, configuration.periods
    )
    truth = str(run.truth) if run.truth else ""
    inputs = [catalog.sha256(), version("steadystar"), truth]
    inputs += targets_hash(run.configuration)
    return [Unit("all", inputs, job)]


def targets_hash(configuration: Configuration) -> list[str]:
    """Hash of the content of the input catalog, if one is to be drawn.

    Raises:
        ConfigurationError: it cannot be read.
    """
    path = configuration.report.targets
    if not path:
        return []
    try:
        read_table(Path(path))
    except TableError as error:
        raise ConfigurationError(f"Option report.targets: {error}") from error
    return [content_hash(Path(path))]


def write_pages(job: _ReportJob, prefix: Path) -> Result:
    """Write the report into the run directory, in place of the one before."""
    # Matplotlib and plotly take seconds to load; most runs that resume need neither.
    from steadystar.publish.report import write_report

    with atomic(job.directory / "report") as part:
        spectra = spectra_of_run(Ledger(job.directory))
        # Not named here, so that what is not drawn can be let go.
        write_report(part, _inputs_of(job, spectra), job.options)
    truth = str(job.truth) if job.truth else None
    return Result({"report": job.directory / "report"}, {"truth": truth})


def _inputs_of(job: _ReportJob, spectra: Any) -> ReportInputs:
    return report_inputs(
        job.directory,
        spectra,
        job.windows,
        job.truth,
        job.options.targets,
        job.periods,
    )


def report_inputs(
    directory: Path,
    spectra: Callable[[str], tuple[pl.DataFrame, Spectra] | None] | None = None,
    windows: Mapping[str, tuple[float, float]] | None = None,
    truth: Path | None = None,
    targets: str = "",
    periods: PeriodOptions | None = None,
) -> ReportInputs:
    """Collect what a report is made from: the tables that lie in ``directory``.

    ``targets``: file of the input catalog, if there is one; ``periods``: how periods
    were searched for.
    """
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    offsets = {
        path.stem.removeprefix("offsets-"): pl.read_parquet(path)
        for path in sorted(directory.glob("offsets-*.parquet"))
    }
    notes = list(summary.pop("notes", []))
    zeropoints = kept_zeropoints(directory, offsets, notes)
    compared, refused = kept_comparison(directory, summary.pop("compared", {}), notes)
    errors = directory / "errors.json"
    error_model = ErrorModel.load(errors) if errors.exists() else None
    by = error_model.by if error_model else ()
    velocities = directory / "velocities.parquet"
    drawn = drawn_columns(pl.read_parquet_schema(velocities), [*offsets, *by])
    return ReportInputs(
        velocities=pl.read_parquet(velocities, columns=drawn),
        stars=pl.read_parquet(directory / "stars.parquet"),
        labels=_if_there(directory / "labels.parquet"),
        variables=_if_there(directory / "variables.parquet"),
        periods=_if_there(directory / "periods.parquet"),
        orbits=_if_there(directory / "orbits.parquet"),
        orbit_samples=_if_there(directory / "orbit-samples.parquet"),
        period_options=periods or PeriodOptions(),
        targets=read_table(Path(targets)) if targets else None,
        offsets=offsets,
        rejected=_if_there(directory / "rejected.parquet"),
        notes=notes,
        summary={key.replace("_", " "): value for key, value in summary.items()},
        spectra=spectra,
        windows=windows or {},
        truth=_truth(truth) if truth else None,
        zeropoints=zeropoints,
        error_model=error_model,
        compared=compared,
        not_compared=refused,
    )


def _if_there(path: Path) -> pl.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        remedy = "remove it, and run again to have it written anew"
        raise TableError(path, "it is damaged", remedy) from error


def spectra_of_run(
    ledger: Ledger,
) -> Callable[[str], tuple[pl.DataFrame, Spectra] | None] | None:
    """Return a function that finds the visits and spectra of a star in its shard.

    None where a run has no spectra: a table was calibrated.
    """
    match = ledger.record("match", "all")
    if match is None:
        return None
    path = ledger.path(match, "assigned")
    shard_of = dict(pl.read_parquet(path, columns=["star_id", "shard"]).unique().rows())
    parts_of = parts(ledger)

    @lru_cache(maxsize=4)
    def load(shard: int) -> list[tuple[pl.DataFrame, Spectra]]:
        groups: dict[tuple[str, str], list[Part]] = {}
        for part in parts_of.get(shard, []):
            groups.setdefault((part.survey, part.frame), []).append(part)
        return [shard_spectra(groups[key]) for key in sorted(groups)]

    def find(star_id: str) -> tuple[pl.DataFrame, Spectra] | None:
        best = None
        for visits, spectra in load(shard_of[star_id]) if star_id in shard_of else []:
            mine = (visits["star_id"] == star_id).to_numpy()
            if mine.any() and (best is None or mine.sum() > len(best[0])):
                best = visits.filter(mine), spectra[mine]
        return best

    return find


def _truth(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the tables of a simulation by name, which a report compares with."""
    return {
        path.stem: pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))
    }
