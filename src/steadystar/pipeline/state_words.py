"""The state of a run in words: ``steadystar status``."""

__all__ = ["describe_state", "state_as_json", "watch"]

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyarrow import ArrowException
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from steadystar.pipeline.inputs import printable
from steadystar.pipeline.progress import StageProgress
from steadystar.pipeline.state import RunState, look

_AGAIN = "What is done is kept. To go on, run the same command again"


def describe_state(directory: Path) -> list[str]:
    """Say how far the run in ``directory`` is, and what it found.

    Raises:
        NoResults: there was no run in it.
    """
    state = look(directory)
    if state.condition == "written":
        return [*_written(state), *_found(state)]
    lines = _headline(state)
    if state.condition in ("running", "elsewhere"):
        lines += [*_memory(state), *_left(state)]
    lines += [*_troubles(state), *_stages(state)]
    if state.condition == "ended":
        return [*lines, *map(_shown, state.told.get("found") or ())]
    return [*lines, *_found(state)] if state.condition == "unknown" else lines


def watch(directory: Path, console: Console, seconds: float = 2.0) -> None:
    """Show the state on a terminal until the run ends, or until Ctrl-C.

    Raises:
        NoResults: there was no run in it.
    """
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                began = time.monotonic()
                lines = describe_state(directory)
                shown = Group(*(Text(line, no_wrap=True) for line in lines))
                live.update(shown, refresh=True)
                if look(directory).condition not in ("running", "elsewhere"):
                    return
                time.sleep(max(seconds, 5 * (time.monotonic() - began)))
        except KeyboardInterrupt:
            return


def _headline(state: RunState) -> list[str]:
    told = state.told
    where = f"process {told.get('pid')} on {_shown(told.get('host'))}"
    workers = told.get("workers")
    who = f"{where}, {f'with {_shown(workers)}, ' if workers else ''}since "
    who += _when(told.get("started"))
    took = _duration(float(told.get("seconds") or 0.0))
    because = _shown(told.get("because") or "").rstrip(".")
    last = f"It last said something {_ago(state)}."
    match state.condition:
        case "running" if told:
            return [f"At work     for {took}: {who}.", *_quiet(state)]
        case "running":
            return [f"At work     {state.busy}."]
        case "elsewhere":
            probably = " So it has probably ended." if state.probably_ended else ""
            return [
                f"Elsewhere   {who}. Whether it is still at work cannot be known from here.",
                f"{'':<12}{last}{probably}",
                *([_resume(state)] if probably else []),
            ]
        case "ended":
            said = _when(told.get("said"))
            return [f"Ended       {said}, after {took}. No run is at work here."]
        case "stopped":
            return [f"Stopped     {_at(state)}after {took}: {because}.", _resume(state)]
        case "failed":
            return [
                f"Failed      {_at(state)}after {took}: {because}.",
                f"{'':<12}{_shown(str(state.directory / 'run.log'))} has the details.",
                _resume(state),
            ]
        case "died":
            return [
                f"Died        {_at(state)}without a word: {where}. {last}",
                f"{'':<12}It was killed, or the machine went down. {_held(told)}",
                _resume(state),
            ]
        case _:
            return ["No run is at work here."]


def _held(told: Mapping[str, Any]) -> str:
    now, most = told.get("memory_bytes"), told.get("peak_memory_bytes")
    return f"It held {_bytes(now)} of memory then, {_bytes(most)} at most."


def _quiet(state: RunState) -> list[str]:
    if not state.probably_ended:
        return []
    return [f"{'':<12}It last said something {_ago(state)}; is it suspended?"]


def _at(state: RunState) -> str:
    current = state.current
    return f"at stage {current.name}, {_units(current)}, " if current else ""


def _resume(state: RunState) -> str:
    command, folder = state.told.get("command"), state.told.get("folder")
    if not command:
        return f"{'':<12}{_AGAIN}."
    return f"{'':<12}{_AGAIN}: {_shown(command)} (in {_shown(folder)})"


def _memory(state: RunState) -> list[str]:
    now, most = state.told.get("memory_bytes"), state.told.get("peak_memory_bytes")
    if not now:
        return []
    processes = state.told.get("processes")
    several = f", in {processes} processes of that machine" if processes != 1 else ""
    return [f"Memory      {_bytes(now)} now, {_bytes(most)} at most{several}"]


def _left(state: RunState) -> list[str]:
    later = [stage.name for stage in state.stages if stage.state == "waits"]
    whole, before = state.seconds_left(), state.last_time()
    if not later:
        return []
    named = f"{len(later)} stages follow, {later[0]} to {later[-1]}"
    if len(later) == 1:
        named = f"{later[0]} follows"
    if whole is not None and before is not None:
        took = f"took {_duration(before)} the last time"
        return [f"Left        about {_duration(whole)} in all: {named}, which {took}"]
    if before is not None:
        return [f"Left        {named}, which took {_duration(before)} the last time"]
    return [f"Left        {named}; how long they take is known from the second run on"]


def _troubles(state: RunState) -> list[str]:
    lines = []
    if state.rejected:
        lines.append(f"Rejected    {state.rejected} files or parts of files")
        lines += [
            f"{'':<12}{n} x {_shown(why)}" for why, n in state.rejected_because.items()
        ]
    for name, count in state.failed.items():
        lines.append(f"Failed      {count} stars in {name}: run.log has the details")
    for name, count in state.again.items():
        lines.append(f"Failed      {count} units of {name}: they will be tried again")
    lines += [f"Damaged     {_shown(str(path))}" for path in state.damaged]
    return lines


def _stages(state: RunState) -> list[str]:
    if not state.stages:
        return [
            f"{name:<12}{len(records)} done, {sum(r.seconds for r in records.values()):.1f}"
            f" s of work, last at {max(r.finished for r in records.values())}"
            if records
            else f"{name:<12}not done"
            for name, records in state.records.items()
        ]
    return [f"{stage.name:<12}{_stage(stage, state)}" for stage in state.stages]


def _stage(stage: StageProgress, state: RunState) -> str:
    old = f"; {stage.before} done before" if stage.before else ""
    if stage.state == "waits":
        held = len(state.records.get(stage.name, {}))
        return f"waits; {held} units from before" if held else "waits"
    if stage.state == "done":
        if not stage.done:
            held = state.records.get(stage.name, {}).values()
            spent = sum(record.seconds for record in held)
            return f"nothing to do{old}" + (f", in {_duration(spent)}" if held else "")
        text = f"{_n(stage.done, 'unit')} in {_duration(stage.seconds)}"
        if stage.spectra and stage.seconds:
            speed = _speed(stage.spectra / stage.seconds)
            text += f", {stage.spectra:,} spectra, {speed} spectra/s"
        return text + old
    text = f"{stage.says}: {_units(stage)}"
    if (rate := stage.rate()) and stage.units > 1:
        spectra = stage.spectra_rate()
        text += f", {_speed(rate)} units/s"
        text += f", {_speed(spectra)} spectra/s" if spectra else ""
    left = stage.seconds_left()
    if left is not None and state.condition in ("running", "elsewhere"):
        text += f", about {_duration(left)} left"
    else:
        text += f", after {_duration(stage.seconds)}"
    return text + old


def _units(stage: StageProgress) -> str:
    if stage.state == "plans":
        return "finding what there is to do"
    share = f" ({stage.done / stage.units:.0%})" if stage.done else ""
    return f"{stage.done:,} of {_n(stage.units, 'unit')}{share}"


def _written(state: RunState) -> list[str]:
    """Say what a command without a ledger has written, and when."""
    tables = []
    for path in sorted(state.directory.glob("*.parquet")):
        try:
            tables.append(f"{path.stem} {pq.read_metadata(path).num_rows:,}")
        except (ArrowException, OSError, ValueError):
            tables.append(f"{path.stem} (cannot be read)")
    written = (state.directory / "summary.json").stat().st_mtime
    at = datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
    command = (state.summary or {}).get("command", "of another version")
    lines = [f"Written     {_when(at)} by steadystar {_shown(command)}"]
    if tables:
        lines.append(f"Rows        {', '.join(printable(one) for one in tables)}")
    page = state.directory / "report" / "index.html"
    return [*lines, f"Report      {_shown(str(page))}"] if page.exists() else lines


def _found(state: RunState) -> list[str]:
    """Say what the command that wrote ``summary.json`` found, whichever it was."""
    summary = state.summary
    if summary is None:
        return []
    match summary.get("command"):
        case "hot":
            from steadystar.pipeline.hot import describe_hot

            return describe_hot(summary)
        case "distances":
            from steadystar.pipeline.distances import describe_distances

            return describe_distances(summary)
        case "variables" | "orbits":
            from steadystar.pipeline.judging import describe_variables

            stars = f"{summary['stars']:,}: {summary['constant_stars']:,} constant, "
            stars += f"{summary['variable_stars']:,} variable"
            return [f"Stars       {stars}", *describe_variables(summary)]
        case "run" | "calibrate":
            from steadystar.pipeline.summary import describe_results

            return describe_results(summary)
        case _:
            return _logged(state.directory / "run.log")


def _logged(log: Path) -> list[str]:
    """Return what the last command said, from its log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    said = [line.partition("  ")[2] for line in lines]
    first = max(
        (n for n, line in enumerate(said) if line.startswith("Read ")), default=0
    )
    ends = ("Written", "Report")
    return [_shown(line) for line in said[first:] if not line.startswith(ends)]


def state_as_json(directory: Path) -> str:
    """Return the state as JSON.

    Raises:
        NoResults: there was no run in it.
    """
    return json.dumps(look(directory).facts(), indent=1)


def _ago(state: RunState) -> str:
    seconds, said = state.silent, _when(state.told.get("said"))
    if seconds is None:
        return "at an unknown time"
    if seconds < -1.0:
        return f"at {said}, by a clock that is {_duration(-seconds)} ahead of this one"
    return f"{_duration(max(0.0, seconds))} ago ({said})"


def _when(text: Any) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return "an unknown time"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def _bytes(number: Any) -> str:
    size = float(number or 0)
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _speed(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.2g}"


def _n(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _shown(value: Any) -> str:
    return printable(str(value))
