"""The pipeline, as a list that can be read aloud.

Files are read into batches; their visits are matched to stars; the batches are dealt
out to shards, which hold all spectra of their stars; each shard is measured, velocities
first and from there the labels of the stars. Then the survey as a whole: labels are
gathered, and their errors calibrated; velocities are gathered, their zero points fitted
and taken off, their errors calibrated; the stars are summarized and looked up in other
catalogs, those that vary get periods and orbits; the catalogs are written, and the report.
"""

__all__ = ["READING", "STAGES", "SURVEY"]

from collections.abc import Mapping

from steadystar.pipeline.config import Configuration
from steadystar.pipeline.gathering import (
    calibrate_errors,
    calibrate_velocities,
    catalog_hashes,
    describe_stars,
    gather_velocities,
    plan_errors,
    plan_stars,
    plan_velocities,
    plan_zeropoints,
)
from steadystar.pipeline.labeling import (
    fail_labels,
    gather_labels,
    label_shard,
    plan_gather,
    plan_labels,
)
from steadystar.pipeline.ledger import Record
from steadystar.pipeline.measuring import (
    fail_shard,
    measure_shard,
    plan_measuring,
    templates_hash,
)
from steadystar.pipeline.publishing import (
    plan_catalog,
    plan_report,
    targets_hash,
    write_catalog,
    write_pages,
)
from steadystar.pipeline.reading import (
    plan_reading,
    read_batch,
    reject_batch,
    split_batch,
)
from steadystar.pipeline.sorting import (
    match_stars,
    plan_match,
    plan_shards,
    write_parts,
)
from steadystar.pipeline.summary import conclude
from steadystar.pipeline.units import Pipeline, Stage
from steadystar.pipeline.variables import (
    classify_survey,
    judge_survey,
    plan_classes,
    plan_judging,
    plan_periods,
    search_periods,
)

Records = Mapping[str, Record]


def _read(records: Records) -> str:
    files = sum(len(record.facts["files"]) for record in records.values())
    spectra = sum(record.facts["spectra"] for record in records.values())
    rejected = sum(record.facts["rejected"] for record in records.values())
    return f"{_n(files, 'file')}: {_n(spectra, 'spectrum')}; {rejected} rejected"


def _match(records: Records) -> str:
    facts = records["all"].facts
    text = f"{_n(facts['visits'], 'spectrum')} of {_n(facts['stars'], 'star')}"
    if facts["duplicates"]:
        text += f"; {facts['duplicates']} were there twice and rejected"
    if facts["moved"]:
        text += f"; {facts['moved']} moved to another star"
    return text


def _shard(records: Records) -> str:
    places = {
        place[0] for r in records.values() for place in r.facts["places"].values()
    }
    return f"{_n(len(places), 'shard')}"


def _measure(records: Records) -> str:
    visits = sum(record.facts["rows"]["velocities"] for record in records.values())
    failed = sum(len(record.facts["failed"]) for record in records.values())
    text = f"{_n(visits, 'velocity')}"
    return f"{text}; {_n(failed, 'star')} failed" if failed else text


def _labels(records: Records) -> str:
    fits = sum(record.facts["rows"]["labels"] for record in records.values())
    return f"{_n(fits, 'fit')}" if records else "not asked for"


def _parameters(records: Records) -> str:
    if not records:
        return "not asked for"
    facts = records["all"].facts
    return f"{facts['measured']} of {_n(facts['fits'], 'fit')} have labels"


def _velocities(records: Records) -> str:
    facts = records["all"].facts
    return f"{facts['measured']} of {_n(facts['visits'], 'spectrum')} have one"


def _zeropoints(records: Records) -> str:
    facts = records["all"].facts
    return ", ".join(f"{_n(n, 'offset')} by {f}" for f, n in facts["families"].items())


def _errors(records: Records) -> str:
    groups = records["all"].facts["groups"]
    return "; ".join(f"{name}: {text}" for name, text in groups.items()) or "as given"


def _stars(records: Records) -> str:
    return _n(records["all"].facts["stars"], "star")


def _judge(records: Records) -> str:
    return f"{_n(records['all'].facts['chosen'], 'star')} vary or show two stars"


def _periods(records: Records) -> str:
    stars = sum(record.facts["stars"] for record in records.values())
    failed = sum(len(record.facts["failed"]) for record in records.values())
    text = f"{_n(stars, 'star')} searched"
    return f"{text}; {failed} of them failed" if failed else text


def _variables(records: Records) -> str:
    facts = records["all"].facts
    classes = [f"{number} {name}" for name, number in facts["classes"].items()]
    return "; ".join([", ".join(classes), f"{_n(facts['orbits'], 'orbit')}"])


def _catalog(records: Records) -> str:
    return ", ".join(records["all"].facts["rows"])


def _report(records: Records) -> str:
    return "report/index.html"


def _n(number: int, what: str) -> str:
    plural = {"spectrum": "spectra", "velocity": "velocities", "family": "families"}
    return f"{number} {what if number == 1 else plural.get(what, what + 's')}"


READING = (
    Stage(
        "read",
        "Reading files",
        ("read",),
        1,
        plan_reading,
        read_batch,
        _read,
        spread=True,
        split=split_batch,
        rescue=reject_batch,
    ),
    Stage("match", "Finding the stars", (), 2, plan_match, match_stars, _match),
    Stage(
        "shard",
        "Dealing out spectra",
        (),
        1,
        plan_shards,
        write_parts,
        _shard,
        spread=True,
    ),
)
"""From files to spectra sorted by star: how every pipeline begins."""

STAGES = (
    *READING,
    Stage(
        "measure",
        "Measuring velocities",
        ("measure", "absolute"),
        7,
        plan_measuring,
        measure_shard,
        _measure,
        spread=True,
        rescue=fail_shard,
    ),
    Stage(
        "labels",
        "Measuring labels of stars",
        ("labels", "absolute"),
        4,
        plan_labels,
        label_shard,
        _labels,
        spread=True,
        rescue=fail_labels,
    ),
    Stage(
        "parameters",
        "Gathering labels",
        (),
        1,
        plan_gather,
        gather_labels,
        _parameters,
    ),
    Stage(
        "velocities",
        "Gathering velocities",
        (),
        1,
        plan_velocities,
        gather_velocities,
        _velocities,
    ),
    Stage(
        "zeropoints",
        "Fitting zero points",
        ("zeropoints",),
        2,
        plan_zeropoints,
        calibrate_velocities,
        _zeropoints,
    ),
    Stage(
        "errors",
        "Calibrating errors",
        ("errors",),
        1,
        plan_errors,
        calibrate_errors,
        _errors,
    ),
    Stage(
        "stars",
        "Summarizing stars",
        ("stars", "catalogs"),
        1,
        plan_stars,
        describe_stars,
        _stars,
    ),
    Stage(
        "judge",
        "Judging who varies",
        ("variables",),
        1,
        plan_judging,
        judge_survey,
        _judge,
    ),
    Stage(
        "periods",
        "Searching for periods",
        ("periods",),
        2,
        plan_periods,
        search_periods,
        _periods,
        spread=True,
    ),
    Stage(
        "variables",
        "Telling the kinds of stars",
        ("variables", "periods", "orbits"),
        2,
        plan_classes,
        classify_survey,
        _variables,
    ),
    Stage("catalog", "Writing catalogs", (), 1, plan_catalog, write_catalog, _catalog),
    Stage(
        "report",
        "Writing the report",
        ("report",),
        1,
        plan_report,
        write_pages,
        _report,
    ),
)


def _check(configuration: Configuration) -> None:
    templates_hash(configuration)
    catalog_hashes(configuration)
    targets_hash(configuration)


SURVEY = Pipeline(STAGES, _check, conclude)
"""A survey of velocities: ``steadystar run``."""
