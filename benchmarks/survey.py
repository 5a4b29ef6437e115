"""End to end: spectra per second and peak memory of `steadystar run`, and of ten times more.

    python benchmarks/survey.py [--stars N] [--fields N] [--workers N] [-o FOLDER]

A survey of ``--fields`` fields is simulated once, in files as LAMOST writes them (this
is not counted). Its first field alone is the small survey, all of it the large one; both
are run by the command line in fresh processes, into fresh folders, with one
configuration. A run of the small survey goes before, so that neither pays for compiling.

Memory is what the process and its children hold at a time, looked at four times a
second (proportional set size: what processes share is counted once), and no less than
the kernel's own record of the process's maximum, which misses nothing.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from steadystar.simulate.mock import SurveyOptions, simulate_survey

CONFIGURATION = "[report]\nstar_pages = 10\npaper_figures = false\n"


@dataclass(frozen=True)
class Cost:
    """What one run took; seconds, bytes."""

    wall: float
    cpu: float
    memory: int
    spectra: int
    rejected: int
    stages: dict[str, float]


def simulate(folder: Path, stars: int, fields: int) -> tuple[Path, Path]:
    """Write the large survey; return its folder, and one that holds its first field."""
    options = SurveyOptions(n_stars=stars, n_fields=fields, coadds=False, gzip=False)
    large, small = folder / "spectra", folder / "first-field"
    if not large.exists():
        simulate_survey(folder, options)
    small.mkdir(exist_ok=True)
    files = sorted(large.iterdir())
    field = files[0].name.split("_")[0].rsplit("-", 1)[1]
    for file in files:
        if f"-{field}_" in file.name and not (small / file.name).exists():
            os.link(file, small / file.name)
    return small, large


def run(inputs: Path, output: Path, configuration: Path, workers: int) -> Cost:
    """Run the survey in a process of its own."""
    command = [sys.executable, "-m", "steadystar.cli", "run", str(inputs)]
    command += ["-o", str(output), "--config", str(configuration), "--quiet"]
    began = time.perf_counter()
    child = subprocess.Popen([*command, "--workers", str(workers)])
    peak = 0
    while True:
        done, code, usage = os.wait4(child.pid, os.WNOHANG)
        if done:
            break
        if workers > 1:
            peak = max(peak, sum(map(_held, _family(child.pid))))
        time.sleep(0.25)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    summary = json.loads((output / "summary.json").read_text())
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=max(peak, usage.ru_maxrss * 1024),
        spectra=summary["spectra"],
        rejected=summary["rejected"],
        stages=_stages(output),
    )


def _family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:  # it has ended meanwhile
                continue
    return found


def _held(pid: int) -> int:
    """Return the memory of a process; of what it shares with others, its share."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended meanwhile
        return 0
    line = next((li for li in text.splitlines() if li.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024


def _stages(output: Path) -> dict[str, float]:
    """Return the seconds of the units of every stage, from the ledger."""
    seconds: dict[str, float] = {}
    for path in (output / "work" / "ledger").rglob("*.json"):
        record = json.loads(path.read_text())
        if "stage" in record:
            stage = record["stage"]
            seconds[stage] = seconds.get(stage, 0.0) + record["seconds"]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stars", type=int, default=84, help="stars of a field")
    parser.add_argument("--fields", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="keep the files here")
    given = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("Memory is read from /proc, which only Linux has.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        small, large = simulate(folder, given.stars, given.fields)
        print(f"simulated: {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s")
        configuration = folder / "steadystar.toml"
        configuration.write_text(CONFIGURATION)
        costs = []
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            for name, inputs in (("warm", small), ("small", small), ("large", large)):
                load = os.getloadavg()[0]
                cost = run(inputs, Path(runs) / name, configuration, given.workers)
                show(name, cost, load)
                costs.append(cost)
        print(f"memory grows by {costs[2].memory / costs[1].memory - 1:.1%}")


def show(name: str, cost: Cost, load: float) -> None:
    print(
        f"{name:<6}{cost.spectra:>7} spectra {cost.wall:7.1f} s wall {cost.cpu:7.1f} s "
        f"CPU {cost.spectra / cost.wall:6.1f} spectra/s, {cost.spectra / cost.cpu:6.1f} "
        f"per CPU second; peak {cost.memory / 2**20:6.0f} MiB; load {load:.1f}"
    )
    if cost.rejected:
        print(f"      {cost.rejected} were rejected")
    each = (f"{stage} {seconds:.1f}" for stage, seconds in sorted(cost.stages.items()))
    print(f"      seconds by stage: {', '.join(each)}", flush=True)


if __name__ == "__main__":
    main()
