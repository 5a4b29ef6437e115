"""``steadystar hot``: from low-resolution spectra and photometry to distances.

Files are read, matched to stars and dealt out to shards as in any run. Then the spectra of
each shard are measured and brought to rest; the survey gets its photometry and reddening;
it learns what spectra look like without emission lines, and from parallaxes their absolute
magnitudes; each shard is told both; and the survey as a whole gets its error budget, its
distances and its over-luminous stars, a catalog and a report.
"""

__all__ = ["HOT", "HOT_STAGES", "describe_hot", "run_hot", "run_hot_demo"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from steadystar.pipeline.config import Configuration
from steadystar.pipeline.demo import simulate_hot
from steadystar.pipeline.hot_learning import (
    check_hot,
    learn,
    photometry_and_dust,
    plan_extinction,
    plan_learning,
)
from steadystar.pipeline.hot_results import (
    budget_and_distances,
    plan_hot_catalog,
    plan_hot_report,
    plan_results,
    write_hot_catalog,
    write_hot_pages,
)
from steadystar.pipeline.hot_spectra import (
    magnitudes_of_shard,
    plan_magnitudes,
    plan_rest,
    rest_shard,
    without_labels,
)
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.ledger import Record
from steadystar.pipeline.run import Outcome, run_pipeline
from steadystar.pipeline.stages import READING
from steadystar.pipeline.units import Pipeline, Run, Stage

Records = Mapping[str, Record]


def _rest(records: Records) -> str:
    spectra = sum(record.facts["spectra"] for record in records.values())
    measured = sum(record.facts["measured"] for record in records.values())
    return f"{measured} of {spectra} spectra have labels"


def _extinction(records: Records) -> str:
    facts = records["all"].facts
    return f"{facts['with_ebv']} of {facts['stars']} stars have E(B-V)"


def _learn(records: Records) -> str:
    facts = records["all"].facts
    if "given" in facts:
        return f"models of {printable(facts['given'])}"
    said = (
        [f"{facts['emission']['components']} components"] if "emission" in facts else []
    )
    if "luminosity" in facts:
        stars = facts["luminosity"]["full"]["stars"]
        said.append(f"magnitudes from {stars} stars without emission")
    return ", ".join(said) or "nothing: too few spectra"


def _magnitudes(records: Records) -> str:
    emitters = sum(record.facts["emitters"] for record in records.values())
    return f"{emitters} spectra with emission" if records else "no models"


def _results(records: Records) -> str:
    return f"{records['all'].facts['rows']} rows"


def _catalog(records: Records) -> str:
    return ", ".join(records["all"].facts["rows"])


def _report(records: Records) -> str:
    return "report/index.html"


HOT_STAGES = (
    *READING,
    Stage(
        "rest",
        "Measuring hot stars",
        (),
        3,
        plan_rest,
        rest_shard,
        _rest,
        spread=True,
        rescue=without_labels,
    ),
    Stage(
        "extinction",
        "Photometry and dust",
        ("hot", "extinction"),
        1,
        plan_extinction,
        photometry_and_dust,
        _extinction,
    ),
    Stage(
        "learn",
        "Learning from the survey",
        ("hot", "emission", "luminosity"),
        2,
        plan_learning,
        learn,
        _learn,
    ),
    Stage(
        "magnitudes",
        "Emission and magnitudes",
        (),
        1,
        plan_magnitudes,
        magnitudes_of_shard,
        _magnitudes,
        spread=True,
    ),
    Stage(
        "results",
        "Errors and distances",
        ("hot", "budget", "distances"),
        1,
        plan_results,
        budget_and_distances,
        _results,
    ),
    Stage(
        "catalog",
        "Writing the catalog",
        (),
        1,
        plan_hot_catalog,
        write_hot_catalog,
        _catalog,
    ),
    Stage(
        "report",
        "Writing the report",
        ("report",),
        1,
        plan_hot_report,
        write_hot_pages,
        _report,
    ),
)


def _conclude(
    run: Run,
    records: Mapping[str, Records],
    done: Mapping[str, int],
    times: str,
) -> list[str]:
    """Say what was found."""
    catalog = records["catalog"]["all"].facts
    facts = catalog["summary"]
    rejected = f"{facts['rejected']} files or parts of files were rejected"
    written = ", ".join(f"{name} ({n} rows)" for name, n in catalog["rows"].items())
    page = printable(str(run.directory / "report" / "index.html"))
    return [
        "",
        f"Read        {facts['files']} files, {facts['spectra']} spectra; {rejected}",
        *_counted([*facts["rejected_because"].items()][:5]),
        *describe_hot(facts),
        f"Written     {written}",
        f"Time        {times}",
        f"Report      {page}",
    ]


def describe_hot(facts: Mapping[str, Any]) -> list[str]:
    """Say what was found of the stars, a line each, from ``summary.json``."""
    kinds = (
        f"{facts['with_labels']} with labels, {facts['with_extinction']} with E(B-V), "
        f"{facts['with_magnitude']} with M_Ks, {facts['with_distance']} with a distance"
    )
    pairs = (
        f"{facts['over_luminous']} over-luminous, {facts['not_over_luminous']} not, "
        f"{facts['binary_unknown']} unknown"
    )
    errors = (
        f"median error {_percent(facts['median_distance_error'])}, of the parallaxes "
        f"alone {_percent(facts['median_parallax_error'])}"
    )
    return [
        f"Stars       {facts['stars']}: {kinds}",
        *_counted([*facts["problems"].items()][:8]),
        f"Emission    {facts['emission_stars']} stars; {facts['emission_unknown']} unknown",
        f"Pairs       {pairs}",
        f"Distances   {errors}",
        *(f"{'':<12}{note}" for note in facts["notes"]),
    ]


def _counted(items: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{'':<12}{n} x {sentence}" for sentence, n in items]


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


HOT = Pipeline(HOT_STAGES, check_hot, _conclude)
"""A survey of hot stars: ``steadystar hot``."""


def run_hot(
    inputs: Sequence[str | Path],
    photometry: Path,
    directory: Path,
    configuration: Configuration | None = None,
    *,
    columns: str | None = None,
    model: Path | None = None,
    workers: int = 1,
    quiet: bool = True,
    truth: Path | None = None,
) -> Outcome:
    """Do everything that can be done with hot stars' spectra and photometry.

    Arguments:
        inputs: files and folders of spectra.
        photometry: table of magnitudes, errors, parallaxes; any format.
        directory: where the results go: ``hot.parquet``, ``emission.zip``,
            ``luminosity.zip``, ``budget.parquet``, ``summary.json``, ``rejected.parquet``, ``report/index.html``.
        configuration: all options; the defaults if None.
        columns: our names of the photometry's columns, as ``ks=KMAG,ks_err=EK``.
        model: directory of a run whose models are used instead of learning anew.
        workers, quiet, truth: as for `run.run_pipeline`.

    Raises:
        InputError: an input is not there.
        ValueError: photometry or options cannot be used; the message says what to do.
    """
    configuration = configuration or Configuration()
    given = {"photometry": str(Path(photometry).absolute())}
    given |= {"photometry_columns": columns} if columns else {}
    given |= {"model": str(model.absolute())} if model else {}
    hot = replace(configuration.hot, **given)
    configuration = configuration.model_copy(update={"hot": hot})
    return run_pipeline(
        inputs,
        directory,
        configuration,
        workers=workers,
        quiet=quiet,
        truth=truth,
        pipeline=HOT,
    )


def run_hot_demo(
    directory: Path,
    configuration: Configuration,
    seed: int = 1,
    *,
    workers: int = 1,
    quiet: bool = False,
) -> Outcome:
    """Simulate a survey of hot stars, run everything on it, compare with the truth."""
    simulate_hot(directory, configuration, seed)
    return run_hot(
        [directory / "spectra"],
        directory / "photometry.parquet",
        directory / "run",
        configuration,
        workers=workers,
        quiet=quiet,
        truth=directory / "truth",
    )
