"""What a run says at its beginning and at its end, for people."""

__all__ = ["conclude", "describe_inputs"]

import platform
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from steadystar.pipeline.inputs import printable
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
    run: Run, records: Mapping[str, Mapping[str, Record]], seconds: Mapping[str, float]
) -> list[str]:
    """Say what was read, rejected, measured, calibrated, written, and what changed."""
    catalog = records["catalog"]["all"].facts
    summary = catalog["summary"]
    zero = records["zeropoints"]["all"].facts
    lines = [""]
    lines.append(
        f"Read        {summary['files']} files: {summary['spectra']} spectra of "
        f"{summary['stars']} stars; {summary['rejected']} files or parts of files "
        "rejected"
    )
    for reason, count in list(summary["rejected_because"].items())[:5]:
        lines.append(f"            {count} times: {reason}")
    lines.append(
        f"Measured    {summary['velocities']} of {summary['spectra']} spectra"
        + _bracket(summary["velocities_by_arm"])
    )
    for sentence, count in summary["statuses"].items():
        lines.append(f"            {count} times: {sentence}")
    lines.append(
        f"Calibrated  {summary['velocities'] - summary['uncalibrated']} velocities, "
        f"method {summary['zero_point_method']}; zero points"
        + _bracket(summary["zero_points"])
    )
    lines += [f"            {note}" for note in summary["notes"]]
    lines.append(
        f"Stars       {summary['constant_stars']} constant, {summary['variable_stars']} "
        f"variable, {summary['double_lined_stars']} double-lined of {summary['stars']}"
    )
    changed = "; ".join(zero["changes"]) or "nothing to compare with, or no change"
    lines.append(f"Changed     {changed}")
    rows = ", ".join(f"{name} ({n} rows)" for name, n in catalog["rows"].items())
    lines.append(f"Written     {rows}, summary.json")
    total = sum(seconds.values())
    slow = sorted(seconds.items(), key=lambda item: -item[1])
    each = ", ".join(f"{name} {took:.1f} s" for name, took in slow if took >= 0.05)
    lines.append(f"Time        {total:.1f} s ({each})")
    lines.append(
        f"Report      {printable(str(run.directory / 'report' / 'index.html'))}"
    )
    return lines


def _bracket(counts: Mapping[str, int]) -> str:
    inside = ", ".join(f"{name} {number}" for name, number in counts.items())
    return f" ({inside})" if inside else ""
