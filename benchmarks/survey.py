"""End to end: spectra per second and peak memory of `steadystar run`, and of ten times more.

    python benchmarks/survey.py [--stars N] [--fields N] [--workers N] [-o FOLDER]

A survey of ``--fields`` fields is simulated once, in files as LAMOST writes them (this
is not counted). Its first field alone is the small survey, all of it the large one; both
are run by the command line in fresh processes, into fresh folders, with one
configuration. A run of the small survey goes before, so that neither pays for compiling.

How memory is measured, `_processes` says.
"""

import argparse
import json
import os
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _processes import Cost, stages, steadystar, watch

from steadystar.simulate.mock import SurveyOptions, simulate_survey

CONFIGURATION = "[report]\nstar_pages = 10\npaper_figures = false\n"


@dataclass(frozen=True)
class Run:
    """What one run took, and what it was about; seconds by stage."""

    cost: Cost
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


def run(inputs: Path, output: Path, configuration: Path, workers: int) -> Run:
    """Run the survey in a process of its own."""
    given = ["run", inputs, "-o", output, "--config", configuration, "--quiet"]
    cost = watch(steadystar(*given, "--workers", str(workers)))
    summary = json.loads((output / "summary.json").read_text())
    return Run(cost, summary["spectra"], summary["rejected"], stages(output))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stars", type=int, default=84, help="stars of a field")
    parser.add_argument("--fields", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="keep the files here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        small, large = simulate(folder, given.stars, given.fields)
        print(f"simulated: {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s")
        configuration = folder / "steadystar.toml"
        configuration.write_text(CONFIGURATION)
        memory = []
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            for name, inputs in (("warm", small), ("small", small), ("large", large)):
                load = os.getloadavg()[0]
                done = run(inputs, Path(runs) / name, configuration, given.workers)
                show(name, done, load)
                memory.append(done.cost.memory)
        print(f"memory grows by {memory[2] / memory[1] - 1:.1%}")


def show(name: str, done: Run, load: float) -> None:
    cost, spectra = done.cost, done.spectra
    print(
        f"{name:<6}{spectra:>7} spectra {cost.wall:7.1f} s wall {cost.cpu:7.1f} s "
        f"CPU {spectra / cost.wall:6.1f} spectra/s, {spectra / cost.cpu:6.1f} "
        f"per CPU second; peak {cost.memory / 2**20:6.0f} MiB; load {load:.1f}"
    )
    if done.rejected:
        print(f"      {done.rejected} were rejected")
    each = (f"{stage} {seconds:.1f}" for stage, seconds in sorted(done.stages.items()))
    print(f"      seconds by stage: {', '.join(each)}", flush=True)


if __name__ == "__main__":
    main()
