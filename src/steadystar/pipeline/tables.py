"""Calibrate somebody else's velocities: from one table to the same results as a run."""

__all__ = ["calibrate_table", "with_families"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from steadystar.calibrate.errors import fit_error_model
from steadystar.calibrate.problem import families_of
from steadystar.calibrate.zeropoint import ZeroPoints, fit_zeropoints
from steadystar.data.schema import conform
from steadystar.infer.summary import summarize_stars
from steadystar.pipeline.answers import Answer
from steadystar.pipeline.comparing import (
    describe_comparison,
    keep_comparison,
    solve_otherwise,
)
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import printable
from steadystar.pipeline.kept import zeropoints_path
from steadystar.pipeline.ledger import atomic, content_hash
from steadystar.pipeline.publishing import (
    describe_errors,
    offsets_name,
    provenance,
    report_inputs,
    summarize,
)
from steadystar.pipeline.summary import describe_results
from steadystar.publish.report import write_report
from steadystar.survey.catalogs import VelocityTable, open_velocity_table


def with_families(
    configuration: Configuration, by: Sequence[str], method: str
) -> Configuration:
    """Return ``configuration`` with other families of offsets and another method.

    ``by``: each the columns of one family, separated by commas or plus signs; none to
    leave them to the configuration.

    Raises:
        CalibrationError: a family names no column.
    """
    families = families_of(by) if by else ()
    families = families or configuration.zeropoints.by
    options = replace(configuration.zeropoints, by=families, method=method)
    return configuration.model_copy(update={"zeropoints": options})


def calibrate_table(
    table: Path,
    directory: Path,
    configuration: Configuration,
    *,
    survey: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    compare: Sequence[str] = (),
    quiet: bool = True,
) -> ZeroPoints:
    """Solve the zero points of a table of velocities and write all results.

    Arguments:
        table: Parquet, FITS, VOTable, ECSV or CSV.
        directory: where the results go; made if need be.
        configuration: of it the sections ``zeropoints``, ``errors``, ``stars`` and
            ``report`` matter.
        survey: whose columns the table has, if that is not clear from their names.
        columns: our names of the table's columns; a mapping, or text as ``rv=V``.
        compare: other methods that the report holds against the chosen one.
        quiet: write to ``run.log`` only.

    Rows keep their order, and columns that we do not know are kept.

    Raises:
        ValueError: the table cannot be read or calibrated; the message says what to do.
    """
    read = open_velocity_table(table, survey, columns)
    answer = Answer(directory, "calibrate", [table], ("velocities", "stars"))
    zero = fit_zeropoints(read.frame, options=configuration.zeropoints)
    with answer.begun(quiet) as log:
        log.say(f"Read        {len(read.frame)} velocities of {printable(str(table))}")
        origin = provenance(configuration, [content_hash(table), survey, columns])
        others = solve_otherwise(read.frame, zero, compare, configuration.zeropoints)
        lines = _write(read, zero, others, answer, origin, configuration)
        del read  # The report of millions of visits needs the room.
        inputs = report_inputs(answer.directory)
        answer.report(lambda part: write_report(part, inputs, configuration.report))
        for line in [*lines, *answer.lines()]:
            log.say(line)
    return zero


def _write(
    read: VelocityTable,
    zero: ZeroPoints,
    others: Mapping[str, ZeroPoints | str],
    answer: Answer,
    origin: Mapping[str, str],
    configuration: Configuration,
) -> list[str]:
    """Write all tables and return what was found."""
    calibrated = zero.apply(read.frame)
    model = fit_error_model(calibrated, options=configuration.errors)
    calibrated = model.apply(calibrated)
    own = tuple(calibrated.columns)
    calibrated = conform(calibrated, "velocities", keep_dtype=own)
    stars = summarize_stars(calibrated, configuration.stars)
    facts = {
        "method": zero.method,
        "families": {family: len(offsets) for family, offsets in zero.offsets.items()},
        "notes": [*read.notes, *zero.notes],
        "errors": {"groups": describe_errors(model), "notes": model.notes},
    }
    frames = {"velocities": calibrated, "stars": stars}
    frames |= {offsets_name(family): zero.offsets[family] for family in zero.offsets}
    for old in answer.directory.glob("offsets-*.parquet"):
        old.unlink()
    for name, frame in frames.items():
        answer.table(name, frame, origin)
    answer.file("errors.json", model.save)
    with atomic(zeropoints_path(answer.directory)) as part:
        zero.save(part)
    summary = summarize(calibrated, stars, facts)
    if compared := keep_comparison(calibrated, zero, others, answer.directory):
        summary["compared"] = compared
    answer.summary(summary, origin)
    return [*describe_results(summary), *describe_comparison(compared)]
