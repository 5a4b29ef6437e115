"""What a second worker is worth, and what is left of a run that loses some.

    python benchmarks/workers.py [--stars N] [--fields N] [--workers N] [-o FOLDER]
    python benchmarks/workers.py --drill [--stars N] [-o FOLDER]

The first: a survey is simulated and sorted into shards; then its spectra are measured by
one worker process, and by two, with the program's own pool. Each pool measures all of it
twice before the clock starts, so that programs are compiled, and a third time with it:
this is the throughput of a long run. Memory is that of each worker in the end
(proportional set size).

The second: the program runs alone, and then on a scheduler and two workers by address;
in the middle of measuring one worker is killed, or stopped for good, or the scheduler
is killed and started anew with other workers, or everything is killed and the run started
again. The bytes of all tables are compared, and how many units were done twice is said.
"""

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _machines import Machines
from _processes import family, held, steadystar

from steadystar.pipeline.config import Configuration
from steadystar.pipeline.connections import own_processes
from steadystar.pipeline.inputs import find_files
from steadystar.pipeline.ledger import Ledger
from steadystar.pipeline.log import open_log
from steadystar.pipeline.pools import Cluster
from steadystar.pipeline.run import run_pipeline
from steadystar.pipeline.stages import READING, STAGES
from steadystar.pipeline.units import Pipeline, Run, perform
from steadystar.simulate.mock import SurveyOptions, simulate_survey

CONFIGURATION = "[run]\nshards = {shards}\n[report]\npaper_figures = false\n"


def prepare(folder: Path, stars: int, fields: int, shards: int) -> Path:
    """Simulate a survey, sort its spectra into shards, and return the run's folder."""
    if not (folder / "survey").exists():
        options = SurveyOptions(n_stars=stars, n_fields=fields, coadds=False)
        simulate_survey(folder / "survey", options)
    configuration = Configuration.from_values({"run": {"shards": shards}})
    run_pipeline(
        [folder / "survey" / "spectra"],
        folder / "sorted",
        configuration,
        pipeline=Pipeline(READING, lambda _: None, lambda *_: []),
    )
    return folder / "sorted"


def throughput(directory: Path, shards: int, workers: int) -> tuple[float, list[int]]:
    """Measure all shards with some workers: spectra a second, and bytes each holds."""
    configuration = Configuration.from_values({"run": {"shards": shards}})
    found = find_files([directory.parent / "survey" / "spectra"], directory)
    run = Run(directory, configuration, found, Ledger(directory))
    stage = next(stage for stage in STAGES if stage.name == "measure")
    units = stage.plan(run, stage)
    spectra = Ledger(directory).records("match")["all"].facts["visits"]
    scratch = directory / "work" / f"measured-by-{workers}"
    calls = [(stage.work, u.job, scratch / u.name, directory) for u in units]
    with open_log(directory / "run.log", quiet=True) as log:
        pool = Cluster(lambda: own_processes(workers, directory, log), log, 60.0)
        # Units go to whom is free: each worker meets all shapes only after a while.
        for attempt in ("compile", "compile the rest", "count"):
            began = time.perf_counter()
            for _, result in pool.map(perform, calls):
                if isinstance(result, Exception):
                    raise result
            seconds = time.perf_counter() - began
            print(f"  {workers} workers, {attempt}: {seconds:.1f} s", flush=True)
        memory = sorted(map(held, family(os.getpid())[1:]))[-workers:]
        pool.close()
    shutil.rmtree(scratch)
    return spectra / seconds, memory


def compare_workers(folder: Path, stars: int, fields: int, most: int) -> float:
    """Print throughput and memory, with one worker and with ``most``; return the ratio."""
    shards = 16 * most  # so that the last one to end makes little difference
    directory = prepare(folder, stars, fields, shards)
    rates = []
    for workers in (1, most):
        rate, memory = throughput(directory, shards, workers)
        rates.append(rate)
        each = ", ".join(f"{size / 2**20:.0f}" for size in memory)
        print(f"{workers} workers: {rate:.1f} spectra/s; {each} MiB each")
    print(f"{most} workers do {rates[1] / rates[0]:.2f} times what one does")
    return rates[1] / rates[0]


def results(directory: Path) -> dict[str, bytes]:
    """Return the bytes of all results of a run."""
    paths = [*directory.glob("*.parquet"), *directory.glob("*.json")]
    paths += [path for path in (directory / "report").rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def measured(directory: Path) -> int:
    """How many shards of a run are measured."""
    return len(list((directory / "work" / "ledger" / "measure").glob("*.json")))


def kill(machines: Machines, _: subprocess.Popen) -> None:
    machines.workers[0].kill()


def stop(machines: Machines, _: subprocess.Popen) -> None:
    machines.workers[0].send_signal(signal.SIGSTOP)


def restart(machines: Machines, _: subprocess.Popen) -> None:
    machines.end()
    time.sleep(3)
    machines.start(2)


def end(machines: Machines, run: subprocess.Popen) -> None:
    run.kill()
    machines.end()
    machines.start(2)


EVENTS = {
    "one worker is killed": kill,
    "one worker hangs": stop,
    "the scheduler is started anew": restart,
    "all is killed, and the run started again": end,
}


def disturb(
    command: list[str],
    output: Path,
    machines: Machines,
    event: Callable[[Machines, subprocess.Popen], None],
) -> float:
    """Run on two workers, let something happen once two shards are measured."""
    machines.start(2)
    command = [*command, "--scheduler", machines.address]
    began = time.perf_counter()
    run = subprocess.Popen(command)
    while measured(output) < 2:
        if run.poll() is not None:
            raise SystemExit(f"the run ended with {run.returncode}, too early")
        time.sleep(0.1)
    event(machines, run)
    if run.wait() == -signal.SIGKILL:
        run = subprocess.Popen(command)
    if run.wait():
        raise SystemExit(f"the run ended with {run.returncode}")
    return time.perf_counter() - began


def drill(folder: Path, stars: int, shards: int = 8) -> bool:
    """Print whether runs that were disturbed end with the bytes of a quiet one."""
    options = SurveyOptions(n_stars=stars, n_fields=1, coadds=False)
    simulate_survey(folder / "survey", options)
    configuration = folder / "steadystar.toml"
    configuration.write_text(CONFIGURATION.format(shards=shards))
    arguments = ("run", folder / "survey" / "spectra", "--config", configuration, "-q")
    subprocess.run(steadystar(*arguments, "-o", folder / "alone"), check=True)
    whole, all_equal = results(folder / "alone"), True
    for number, (name, event) in enumerate(EVENTS.items()):
        output = folder / f"disturbed-{number}"
        (folder / f"machines-{number}").mkdir()
        machines = Machines(folder / f"machines-{number}")
        try:
            command = steadystar(*arguments, "-o", output)
            seconds = disturb(command, output, machines, event)
        finally:
            machines.end()
        equal = results(output) == whole
        all_equal &= equal
        verdict = "the same bytes" if equal else "OTHER BYTES"
        print(f"{name}: {verdict} in {len(whole)} files, {seconds:.0f} s", flush=True)
    return all_equal


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stars", type=int, default=84, help="stars of a field")
    parser.add_argument("--fields", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--drill", action="store_true", help="disturb runs instead")
    parser.add_argument("-o", "--output", type=Path, help="keep the files here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if given.drill:
            raise SystemExit(not drill(folder, given.stars))
        compare_workers(folder, given.stars, given.fields, given.workers)


if __name__ == "__main__":
    main()
