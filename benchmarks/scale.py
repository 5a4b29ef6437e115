"""How a survey of 10^4, 10^5, 10^6 spectra scales: time, memory, disk, stage by stage.

    python benchmarks/scale.py simulate -o FOLDER [--spectra N ...] [--workers 2]
    python benchmarks/scale.py run -o FOLDER [--spectra N ...] [--workers 2]
        [--velocities absolute] [--labels] [--own-wavelengths] [--results FILE]
    python benchmarks/scale.py night -o FOLDER [--spectra N ...]

The first writes simulated surveys as shards, ``FOLDER/1e+05`` and so on; what is there
already is kept. The second runs each of them by the command line in fresh processes and
into a fresh folder, and takes that away again (``--keep`` does not); unless told
``--cold``, a run of the smallest survey goes before, so that none pays for compiling.
The third adds a night of 2500 spectra to runs that were kept. All print what each took,
and append it to ``--results`` as a line of JSON.

How memory is measured, `_processes` says. "Spectra/s" are by the clock, all workers
together; bytes of a run are those of tables, report, and working files.
"""

import argparse
import json
import os
import platform
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from _processes import Cost, stages, steadystar, watch

from steadystar.data.spectra import Spectra
from steadystar.survey.shards import read_shard, write_shard

NIGHT = 2500
"""Spectra of the night that is added."""

CONFIGURATION = """
[run]
velocities = "{velocities}"
[labels]
measure = {labels}
[report]
star_pages = 10
paper_figures = false
[large_survey]
own_wavelengths = {own}
"""


def simulate(given: argparse.Namespace, spectra: int) -> dict:
    """Write one survey in processes of its own; return what it took."""
    folder = survey(given, spectra)
    command = ["simulate", folder, "--shards", "--spectra", str(spectra)]
    command += ["--workers", str(given.workers), "--config", configuration(given)]
    cost = watch(steadystar(*command, "--quiet"))
    shards, truth = (bytes_in(folder / name) for name in ("spectra", "truth"))
    return took("simulate", given, spectra, cost) | {
        "bytes": {"spectra": shards, "truth": truth},
        "bytes_a_spectrum": shards / spectra,
    }


def run(given: argparse.Namespace, spectra: int, name: str = "run") -> dict:
    """Run the pipeline on one survey in processes of its own; return what it took."""
    output = given.output / f"{name}-{spectra:.0e}"
    shutil.rmtree(output, ignore_errors=True)
    line = _run(given, spectra, name, output, [_inputs(given, spectra)])
    if not given.keep:
        shutil.rmtree(output)
    return line


def night(given: argparse.Namespace, spectra: int) -> dict:
    """Add a night to the run that was kept of a survey; return what it took."""
    inputs, output = _inputs(given, spectra), given.output / f"run-{spectra:.0e}"
    if not (output / "summary.json").exists():
        raise SystemExit(f"There is no run in {output}: first `run` it with --keep.")
    folder = given.output / f"night-{spectra:.0e}"
    folder.mkdir(exist_ok=True)
    truth = pl.read_parquet(inputs.parent / "truth" / "exposures.parquet")
    _write_night(inputs, folder / "night.parquet", int(truth["night"].max()) + 1)  # pyright: ignore[reportArgumentType]
    before = set(_measured(output))
    line = _run(given, spectra, "night", output, [inputs, folder])
    new = {k: v for k, v in _measured(output).items() if k not in before}
    del line["stages"]  # of units of the first run, most of them
    return line | {"measured": sum(new.values()), "shards_measured": len(new)}


def _measured(output: Path) -> dict[tuple[str, str], int]:
    """Return how many spectra every unit of measuring measured, by unit and its mark."""
    records = (output / "work" / "ledger" / "measure").glob("*.json")
    held = [json.loads(path.read_text()) for path in records]
    return {(r["unit"], r["fingerprint"]): r["facts"]["measured"] for r in held}


def _write_night(inputs: Path, path: Path, night: int) -> None:
    """Write one more exposure of some stars: a copy of their first, of another night."""
    tables, parts, number = [], [], 0
    for shard in sorted(inputs.glob("*.parquet")):
        visits, spectra = read_shard(shard)
        first = visits.with_row_index("at").unique(
            ["star_id", "arm"], keep="first", maintain_order=True
        )
        first = first.head(NIGHT - number)
        tables.append(first.drop("at"))
        parts.append(spectra[first["at"].to_numpy()])
        number += len(first)
        if number >= NIGHT:
            break
    visits = pl.concat(tables).with_columns(
        pl.col("visit_id", "exposure_id") + "-again",
        night=pl.lit(night, pl.Int64),
        bjd=pl.col("bjd") - pl.col("bjd").floor() + 2_400_000.0 + night,
    )
    write_shard(path, visits, Spectra.concatenate(parts))


def _inputs(given: argparse.Namespace, spectra: int) -> Path:
    inputs = survey(given, spectra) / "spectra"
    if not inputs.is_dir():
        raise SystemExit(
            f"There is no survey in {inputs.parent}: first run `simulate` with the same "
            "-o and --spectra."
        )
    return inputs


def _run(
    given: argparse.Namespace, spectra: int, name: str, output: Path, inputs: list[Path]
) -> dict:
    command = ["run", *inputs, "-o", output, "--config", configuration(given)]
    command += ["--workers", str(given.workers), "--quiet"]
    cost = watch(steadystar(*command))
    summary = json.loads((output / "summary.json").read_text())
    parts = ("work", "report")
    sizes = {part: bytes_in(output / part) for part in parts}
    sizes["tables"] = bytes_in(output) - sum(sizes.values())
    return took(name, given, spectra, cost) | {
        "read": summary["spectra"],
        "rejected": summary["rejected"],
        "stages": {k: round(v, 2) for k, v in stages(output).items()},
        "bytes": sizes,
    }


def took(name: str, given: argparse.Namespace, spectra: int, cost: Cost) -> dict:
    """Return what is said of every command."""
    return {
        "what": name,
        "spectra": spectra,
        "workers": given.workers,
        "velocities": given.velocities,
        "labels": given.labels,
        "own_wavelengths": given.own_wavelengths,
        **{key: round(value, 2) for key, value in asdict(cost).items()},
        "spectra_per_second": round(spectra / cost.wall, 1),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": round(os.getloadavg()[0], 2),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def survey(given: argparse.Namespace, spectra: int) -> Path:
    """Return the folder of a survey."""
    own = "-own-wavelengths" if given.own_wavelengths else ""
    return given.output / f"{spectra:.0e}{own}"


def configuration(given: argparse.Namespace) -> Path:
    """Write the configuration of this call and return its path."""
    path = given.output / "scale.toml"
    text = CONFIGURATION.format(
        velocities=given.velocities,
        labels=str(given.labels).lower(),
        own=str(given.own_wavelengths).lower(),
    )
    path.write_text(text)
    return path


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(line: dict) -> None:
    """Print what one command took."""
    print(
        f"{line['what']:<9}{line['spectra']:>8} spectra {line['wall']:8.1f} s wall "
        f"{line['cpu']:8.1f} s CPU {line['spectra_per_second']:7.1f} spectra/s "
        f"{1000 * line['cpu'] / line['spectra']:6.2f} ms CPU a spectrum; peak "
        f"{line['memory'] / 2**20:6.0f} MiB; load {line['load']:.1f}"
    )
    sizes = (f"{name} {size / 1e6:.1f}" for name, size in line["bytes"].items())
    print(f"         megabytes: {', '.join(sizes)}")
    if "measured" in line:
        shards = line["shards_measured"]
        print(f"         {line['measured']} spectra measured, in {shards} shards")
    if "stages" in line:
        each = (f"{stage} {seconds:.1f}" for stage, seconds in line["stages"].items())
        print(f"         seconds of units by stage: {', '.join(each)}")
        if line["rejected"] or line["read"] != line["spectra"]:
            print(f"         {line['read']} were read, {line['rejected']} rejected")
    print(end="", flush=True)


TASKS = {"simulate": simulate, "run": run, "night": night}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=list(TASKS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("--spectra", type=int, nargs="+", default=sizes)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--velocities", default="absolute")
    parser.add_argument("--labels", action="store_true", help="measure labels too")
    parser.add_argument("--own-wavelengths", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the runs' folders")
    parser.add_argument("--cold", action="store_true", help="count compiling too")
    parser.add_argument("--results", type=Path, help="append to this file")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    results = given.results or given.output / "scale.jsonl"
    if given.what == "run" and not given.cold:
        there = [n for n in sizes if survey(given, n).exists()]
        show(run(given, min([*there, *given.spectra]), "warm"))
    for spectra in given.spectra:
        line = TASKS[given.what](given, spectra)
        show(line)
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
