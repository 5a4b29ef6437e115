"""Spectra per second of every measurement, on whatever JAX computes with: CPU or GPU.

    python benchmarks/device.py [--spectra 4096] [--batch 2048] [--repeats 3]

LAMOST-like spectra of 3000 pixels, both arms, are made (not counted) and measured:
relative velocities, absolute (marginalized) ones, labels; then the zero points of a large
table are solved. Each is done once to compile. Beside each rate stands what the host
spends on placing and normalizing the spectra: where that share is large, the host is what
bounds a GPU. Device memory is what JAX reports as its peak, where it does.
"""

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np
import polars as pl

from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.measure import relative, velocities
from steadystar.measure.absolute import measure_absolute
from steadystar.measure.batches import at_most
from steadystar.measure.relative import measure_relative
from steadystar.measure.survey_labels import label_visits
from steadystar.simulate.large_options import LargeSurveyOptions
from steadystar.simulate.large_survey import draw_plan, make_shard


def clocked(work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of ``work`` by the clock, after one call to compile."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def placing(module, name: str) -> list[float]:
    """Let ``module.name`` note the seconds that it takes; return the list of them."""
    real, seconds = getattr(module, name), []

    def timed(*given, **named):
        began = time.perf_counter()
        try:
            return real(*given, **named)
        finally:
            seconds.append(time.perf_counter() - began)

    setattr(module, name, timed)
    return seconds


def memory(device) -> str:
    held = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return "" if held is None else f"; peak on the device {held / 2**20:.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--spectra", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    device = jax.devices()[0]
    plan = draw_plan(LargeSurveyOptions(spectra=max(2 * given.spectra, 4000)), 1)
    stars = plan.stars.with_columns(_sum=(2 * pl.col("n_exposures")).cum_sum())
    made = make_shard(plan, stars.filter(pl.col("_sum") <= given.spectra), 0)
    visits, spectra = made.visits, made.spectra
    print(f"{device.platform} ({device.device_kind}), {len(visits)} spectra")
    places = {
        "relative": (relative, "prepare"),
        "absolute": (velocities, "prepare"),
    }
    works = {
        "relative": lambda: measure_relative(visits, spectra),
        "absolute": lambda: measure_absolute(visits, spectra),
        "labels": lambda: label_visits(visits, spectra),
    }
    with at_most(given.batch):
        for name, work in works.items():
            seconds = placing(*places[name]) if name in places else []
            taken = clocked(work, given.repeats)
            said = f"{1e3 * taken / len(visits):.3f} ms each"
            if seconds:
                share = np.median(np.reshape(seconds, (given.repeats + 1, -1)).sum(1))
                said += f", of which placing and normalizing {share / taken:.0%}"
            rate = len(visits) / taken
            print(f"{name:<10}{rate:9.0f} spectra/s, {said}{memory(device)}")
    table = measure_absolute(visits, spectra).table
    copies = max(1, 200_000 // len(table))
    many = pl.concat(
        table.with_columns(
            pl.col("star_id", "visit_id", "exposure_id") + f"-{copy}",
        )
        for copy in range(copies)
    )
    taken = clocked(lambda: fit_zeropoints(many), given.repeats)
    print(f"zero points (on the processor): {len(many) / taken:.0f} velocities/s")


if __name__ == "__main__":
    main()
