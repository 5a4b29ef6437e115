"""What a run says at its beginning and at its end, for people."""

__all__ = ["conclude", "describe_inputs", "describe_results"]

import platform
import socket
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from steadystar.pipeline.inputs import printable
from steadystar.pipeline.judging import describe_variables
from steadystar.pipeline.ledger import Record
from steadystar.pipeline.units import Run


def describe_inputs(run: Run, inputs: Sequence[str | Path]) -> list[str]:
    """Say what runs where, on which files, and what was passed over."""
    found = run.found
    python, host = platform.python_version(), socket.gethostname()
    lines = [
        f"steadystar {version('steadystar')}, Python {python}, on {host}",
        f"Inputs: {', '.join(printable(str(Path(i).absolute())) for i in inputs)}",
        f"Output: {printable(str(run.directory))}",
    ]
    passed = []
    if found.hidden:
        passed.append(f"{found.hidden} hidden files or folders")
    if found.run_directories:
        passed.append(f"the run directories {', '.join(found.run_directories)}")
    if passed:
        lines.append(f"Passed over: {' and '.join(passed)}.")
    return lines


def conclude(
    run: Run,
    records: Mapping[str, Mapping[str, Record]],
    done: Mapping[str, int],
    times: str,
) -> list[str]:
    """Say what was read, rejected, measured, calibrated, written, and what changed."""
    catalog = records["catalog"]["all"].facts
    summary = catalog["summary"]
    rejected = f"{summary['rejected']} files or parts of files were rejected"
    lines = [
        "",
        f"Read        {summary['files']} files, {summary['spectra']} spectra; {rejected}",
        *_counted(list(summary["rejected_because"].items())[:5]),
        *describe_results(summary),
    ]
    changed = (
        records["zeropoints"]["all"].facts["changes"] if done["zeropoints"] else []
    )
    lines.append(f"Changed     {'; '.join(changed) or 'nothing since the last run'}")
    rows = ", ".join(f"{name} ({n} rows)" for name, n in catalog["rows"].items())
    lines.append(f"Written     {rows}, errors.json, summary.json")
    lines.append(f"Time        {times}")
    lines.append(
        f"Report      {printable(str(run.directory / 'report' / 'index.html'))}"
    )
    return lines


def describe_results(summary: Mapping[str, Any]) -> list[str]:
    """Say what was measured, how it was calibrated, and what the stars are."""
    calibrated = summary["velocities"] - summary["uncalibrated"]
    kinds = ("constant", "variable", "double_lined")
    stars = ", ".join(f"{summary[f'{kind}_stars']} {kind}" for kind in kinds)
    return [
        f"Measured    {summary['velocities']} of {summary['spectra']} spectra"
        + _bracket(summary["velocities_by_arm"]),
        *_counted(summary["statuses"].items()),
        *_others(summary["also_measured"]),
        *_labels(summary),
        f"Calibrated  {calibrated} of {summary['velocities']} velocities, method "
        f"{summary['zero_point_method']}" + _bracket(summary["zero_points"]),
        *(f"{'':<12}errors of {who}: {how}" for who, how in summary["errors"].items()),
        *(f"{'':<12}{note}" for note in summary["notes"]),
        f"Stars       {summary['stars']}: {stars.replace('_', '-')}",
        *describe_variables(summary.get("variability", {})),
    ]


def _labels(summary: Mapping[str, Any]) -> list[str]:
    if "label_fits" not in summary:
        return []
    measured, fits = summary["fits_with_labels"], summary["label_fits"]
    return [f"Labels      {measured} of {fits} fits have labels"]


def _others(also: Mapping[str, Any]) -> list[str]:
    """Say what other methods measured of the same spectra, and why not all."""
    lines = []
    for name, facts in also.items():
        lines.append(f"{'':<12}{facts['velocities']} velocities by method {name} too")
        without = facts["statuses_without"].items()
        lines += [f"{'':<14}without: {n} x {sentence}" for sentence, n in without]
    return lines


def _counted(items: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{'':<12}{count} x {sentence}" for sentence, count in items]


def _bracket(counts: Mapping[str, int]) -> str:
    inside = ", ".join(f"{name} {number}" for name, number in counts.items())
    return f" ({inside})" if inside else ""
