"""What comes after measuring, for a survey as a whole: seconds and memory, stage by stage.

    python benchmarks/whole_survey.py [--rows 10000 100000 1000000] [--velocities absolute]
                                      [--fibers] [--stages zeropoints ...] [-o DIR]

The velocities of a survey that never was are put into shards as the stage "measure"
leaves them: stars of 4 to 8 exposures in two arms, 100 to a spectrograph; a tenth of
them single-lined binaries, a fiftieth double-lined; zero points of night and exposure;
wild velocities, and spectra without any. Some stars are seen by two spectrographs, so
that all exposures of the survey hang together. With ``--velocities both`` each spectrum
has a relative velocity too, and the rows are twice as many.

From there on the stages are those of the pipeline, planned by it and written down in its
ledger, each in a process of its own. Printed are seconds, those of the processor,
the peak of resident memory,
and how much of it is there before the stage begins (Python, and the libraries).
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.data.schema import conform, empty
from steadystar.data.status import Status
from steadystar.pipeline.config import Configuration
from steadystar.pipeline.inputs import Found
from steadystar.pipeline.ledger import Ledger, Output, Record
from steadystar.pipeline.stages import STAGES
from steadystar.pipeline.units import Run, perform, write_tables

STAGES_AFTER = (
    *("velocities", "zeropoints", "errors", "stars"),
    *("judge", "periods", "variables", "catalog", "report"),
)
_STARS = 100
_EPOCH = 2_458_000.25
_PER_SHARD = 500


def make_velocities(
    rows: int, seed: int = 0, velocities: str = "absolute"
) -> pl.DataFrame:
    """Return about ``rows`` rows of velocities (schema "velocities") as measured.

    ``velocities``: "absolute", or "both" for a relative one of each spectrum besides.
    """
    rng = np.random.default_rng([seed, 90])
    per_unit = _STARS * 12 * (2 if velocities == "both" else 1)
    units = max(2, round(rows / per_unit))
    field, spectrograph = _layout(units)
    plan = _exposures(rng, int(field.max()) + 1)
    star = _stars(rng, units * _STARS)
    # Fields lie beside each other; stars at the edges belong to two.
    home = field[np.arange(units * _STARS) // _STARS]
    star["ra"] = (star["ra"] + 30 + 6 * (home % 50)) % 360
    star["dec"] = star["dec"] + 5 * (home // 50) + 20
    seen = _seen(rng, units, field, plan)
    table = _measured(rng, seen, star, field, spectrograph, plan)
    if velocities == "both":
        table = pl.concat([table, _relative(rng, table)], how="diagonal")
    return conform(table, "velocities").sort("star_id", "visit_id", "method")


def _layout(units: int):
    """Field and spectrograph of every unit: a spectrograph pointed at a field."""
    several = 16 if units >= 64 else 4
    unit = np.arange(units)
    return unit // several, unit % several + 1


def _exposures(rng, fields: int) -> dict[str, np.ndarray]:
    """Draw times of the exposures of all fields; two follow each other in a night."""
    count = np.tile([6, 5, 7, 4, 8], fields // 5 + 1)[:fields]
    field = np.repeat(np.arange(fields), count)
    first = np.cumsum(count) - count
    within = np.arange(len(field)) - first[field]
    # A field comes back after nights, a month, or a year.
    longest = rng.choice([5, 40, 400], (fields, 8), p=[0.5, 0.3, 0.2])
    gaps = rng.integers(longest // 2, longest).cumsum(axis=1)
    night = 58_000 + (field * 37) % 900 + gaps[field, within // 2]
    time = (
        _EPOCH
        + (night - 58_000)
        + 0.03 * (within % 2)
        + rng.uniform(0, 0.1, fields)[field]
    )
    return {
        "field": field,
        "first": first,
        "count": count,
        "night": night,
        "time": time,
    }


def _stars(rng, stars: int) -> dict[str, np.ndarray]:
    kind = rng.uniform(size=stars)
    period = 10 ** rng.uniform(0, 3, stars)
    return {
        "rv": rng.normal(0, 40, stars),
        "k": np.where(kind < 0.12, 10 ** rng.uniform(0, 1.8, stars), 0.0),
        "double": kind < 0.02,
        "period": period,
        "phase": rng.uniform(0, 2 * np.pi, stars),
        "snr": 10 ** rng.uniform(0.9, 2.1, stars),
        "ra": rng.uniform(-2, 2, stars),
        "dec": rng.uniform(-2, 2, stars),
    }


def _seen(rng, units: int, field, plan) -> dict[str, np.ndarray]:
    """Say which star is seen by which unit in which exposure: a row a spectrum, no arms.

    The first stars of a unit are seen by a unit of the next field too.
    """
    several = 16 if units >= 64 else 4
    star = np.arange(units * _STARS)
    own = star // _STARS
    pairs = [(star, own)]
    for step, some in ((several, 5), (several + 1, 3)):
        guests = star[(star % _STARS < some) & (own + step < units)]
        pairs.append((guests, own[guests] + step))
    star, unit = (np.concatenate(p) for p in zip(*pairs, strict=True))
    count = plan["count"][field[unit]]
    row = np.repeat(np.arange(len(star)), count)
    within = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    return {
        "star": star[row],
        "unit": unit[row],
        "exposure": plan["first"][field[unit[row]]] + within,
        # Every night has a plan of its own: a star comes back in another fiber.
        "fiber": (rng.permutation(len(star))[row] + 41 * (within // 2)) % 250 + 1,
    }


def _measured(rng, seen, star, field, spectrograph, plan) -> pl.DataFrame:
    n = len(seen["star"])
    who, exposure, unit = seen["star"], seen["exposure"], seen["unit"]
    angle = (
        2 * np.pi * plan["time"][exposure] / star["period"][who] + star["phase"][who]
    )
    motion = star["k"][who] * np.sin(angle)
    nights = np.unique(plan["night"], return_inverse=True)[1][exposure]
    frames = []
    for arm, scale in (("blue", 1.0), ("red", 1.4)):
        shape = (int(unit.max()) + 1, len(plan["time"]))
        # A spectrograph drifts from night to night, and from exposure to exposure.
        offset = rng.normal(0, 0.4, (17, int(nights.max()) + 1))[
            spectrograph[unit], nights
        ]
        offset = offset + rng.normal(0, 0.3, shape)[unit, exposure]
        snr = star["snr"][who] * rng.lognormal(0, 0.25, n)
        error = np.hypot(20 * scale / snr, 0.05)
        rv = (
            star["rv"][who]
            + motion
            + offset
            + rng.normal(size=n) * np.hypot(error, 0.1)
        )
        rv += (rng.uniform(size=n) < 0.002) * rng.normal(0, 80, n)
        second = star["double"][who] & (np.abs(motion) > 20)
        lost = rng.uniform(size=n) < 0.01
        status = np.where(second, int(Status.DOUBLE_LINED), 0)
        status = np.where(lost, int(Status.NO_DATA), status)
        nan = np.where(lost, np.nan, 0.0)
        bary = 25 * np.sin(2 * np.pi * plan["time"][exposure] / 365.25)
        frames.append(
            pl.DataFrame(
                {
                    "_star": who,
                    "_unit": unit,
                    "_exposure": exposure,
                    "ra": star["ra"][who],
                    "dec": star["dec"][who],
                    "night": plan["night"][exposure],
                    "spectrograph": spectrograph[unit],
                    "fiber": seen["fiber"],
                    "bjd": plan["time"][exposure],
                    "exptime": 1200.0,
                    "snr": snr,
                    "bary_corr": bary,
                    "n_good": rng.integers(1300, 1500, n),
                    "ivar_scale": rng.normal(1, 0.05, n),
                    "status": status,
                    "rv_obs": rv - bary + nan,
                    "rv_raw": rv + nan,
                    "rv_raw_err": error + nan,
                    "rv_limit": 0.9 * error + nan,
                    "chi2": rng.normal(1400, 50, n) + nan,
                    "dof": np.full(n, 1400),
                    "rv_2": np.where(second, star["rv"][who] - 1.1 * motion, np.nan),
                    "rv_2_err": np.where(second, 2 * error, np.nan),
                    "light_ratio": np.where(second, 0.7, np.nan),
                }
            ).with_columns(arm=pl.lit(arm))
        )
    table = pl.concat(frames)
    minute = 84_000_000 + pl.col("_exposure") * 30
    return table.select(
        pl.exclude("_star", "_unit", "_exposure"),
        visit_id=pl.format(
            "lamost-{}-sp{}-{}-{}",
            minute,
            pl.col("spectrograph").cast(pl.String).str.zfill(2),
            pl.col("fiber").cast(pl.String).str.zfill(3),
            "arm",
        )
        + pl.format("-{}", "_star"),
        star_id=pl.format("J{}+355531.0", pl.col("_star").cast(pl.String).str.zfill(8)),
        survey=pl.lit("lamost-mrs"),
        telescope=pl.lit("lamost"),
        lamp=pl.lit("lampsc_med.dat"),
        field=pl.format("TD{}N01", pl.Series(field[np.concatenate([unit, unit])])),
        exposure_id=minute.cast(pl.String),
        path=pl.format("fields/med-{}-TD-sp{}.fits.gz", "night", "spectrograph"),
        method=pl.lit("marginal"),
    )


def _relative(rng, table: pl.DataFrame) -> pl.DataFrame:
    """Return the velocities against each star's own first spectrum in the arm."""
    first = pl.col("rv_raw").first().over("star_id", "arm")
    zero = pl.when(first.is_finite()).then(first).otherwise(0.0)
    noise = pl.Series(rng.normal(0, 0.05, len(table)))
    return table.with_columns(
        method=pl.lit("joint"),
        rv_raw=pl.col("rv_raw") - zero + noise,
        rv_obs=pl.lit(float("nan")),
        rv_raw_err=0.8 * pl.col("rv_raw_err"),
        reference_visit_id=pl.col("visit_id").first().over("star_id", "arm"),
    )


def prepare(directory: Path, table: pl.DataFrame) -> None:
    """Write the shards and records that a run has after measuring."""
    ledger = Ledger(directory)
    stars = table["star_id"].unique().sort()
    shards = 1 << int(np.ceil(np.log2(max(1, len(table) / _PER_SHARD))))
    number = pl.DataFrame({"star_id": stars, "_shard": np.arange(len(stars)) % shards})
    table = table.join(number, on="star_id", maintain_order="left")
    for (shard,), rows in table.partition_by("_shard", as_dict=True).items():
        name = f"{shards:05d}-{shard:05d}"
        rows = rows.drop("_shard").with_columns(_group=pl.lit("lamost-mrs"))
        _commit(ledger, "measure", name, {"velocities": rows}, {})
    nothing = {"duplicates": empty("rejected")}
    assigned = table.select("visit_id", "star_id", shard="_shard")
    _commit(
        ledger, "match", "all", nothing | {"assigned": assigned}, {"shards": shards}
    )


def _commit(ledger: Ledger, stage: str, unit: str, tables, facts) -> None:
    prefix = ledger.directory / "work" / stage / unit
    outputs = {
        name: Output.of(path, ledger.directory)
        for name, path in write_tables(tables, prefix).items()
    }
    ledger.commit(Record(stage, unit, "made", outputs, facts))


def configuration(fibers: bool) -> Configuration:
    """Return the default configuration, or one that has families of fibers too."""
    default = Configuration()
    if not fibers:
        return default
    by = (("spectrograph", "arm", "exposure_id"), ("spectrograph", "arm", "fiber"))
    zero = replace(default.zeropoints, by=by)
    return default.model_copy(update={"zeropoints": zero})


def do_stage(directory: Path, name: str, fibers: bool = False) -> dict[str, float]:
    """Plan, do and record one stage; return its seconds and memory (GB)."""
    before = _peak()
    began, cpu = time.perf_counter(), time.process_time()
    run = Run(directory, configuration(fibers), Found(), Ledger(directory))
    stage = next(one for one in STAGES if one.name == name)
    for unit in stage.plan(run, stage):
        prefix = directory / "work" / name / unit.name
        finished = perform(stage.work, unit.job, prefix, directory)
        mark = stage.mark(run.configuration, unit.inputs)
        run.ledger.commit(
            Record(name, unit.name, mark, finished.outputs, finished.facts)
        )
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak": _peak(),
        "before": before,
    }


def _peak() -> float:
    """Most resident memory of this process so far, GB.

    Linux hands `getrusage`'s number down from parent to child: not used where the
    system tells that of the process alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        text = status.read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(directory: Path, stages, fibers: bool) -> None:
    """Do the stages, each in a process of its own, and print what they took."""
    print(
        f"{'stage':>12} {'seconds':>8} {'cpu s':>8} {'peak GB':>8} {'before':>7}",
        flush=True,
    )
    total = np.zeros(2)
    for name in stages:
        call = [sys.executable, __file__, "--one", name, "-o", str(directory)]
        call += ["--fibers"] if fibers else []
        told = subprocess.run(call, check=True, capture_output=True, text=True)
        took = json.loads(told.stdout.splitlines()[-1])
        total += took["seconds"], took["cpu"]
        print(
            f"{name:>12} {took['seconds']:8.1f} {took['cpu']:8.1f} {took['peak']:8.2f} "
            f"{took['before']:7.2f}",
            flush=True,
        )
    print(f"{'all':>12} {total[0]:8.1f} {total[1]:8.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[10**4, 10**5, 10**6])
    parser.add_argument(
        "--velocities", choices=["absolute", "both"], default="absolute"
    )
    parser.add_argument("--fibers", action="store_true")
    parser.add_argument("--stages", nargs="*", default=list(STAGES_AFTER))
    parser.add_argument(
        "--one", help="do one stage in the directory -o, in this process"
    )
    parser.add_argument(
        "-o", type=Path, help="directory, kept; else one that is removed"
    )
    options = parser.parse_args()
    if options.one:
        print(json.dumps(do_stage(options.o, options.one, options.fibers)))
        return
    for rows in options.rows:
        folder = options.o or Path(tempfile.mkdtemp(prefix="whole-survey-"))
        directory = folder / f"{rows}-{options.velocities}"
        if not directory.exists():
            prepare(directory, make_velocities(rows, velocities=options.velocities))
        print(f"\n{rows} rows, {options.velocities}", flush=True)
        try:
            measure(directory, options.stages, options.fibers)
        finally:
            if options.o is None:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
