"""Relative velocities: milliseconds a spectrum on one core, and whether errors are honest.

    python benchmarks/relative.py [--pulls]

Times our estimators beside a plain NumPy chi-squared grid (the published likelihood, 161
trial velocities by linear interpolation, no continuum, no template, no search beyond 80
km/s) over the same mock spectra, interleaved in one run on one core. With --pulls it also
prints the width of the pulls at S/N 5 to 100, 3000 velocities a bin.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.measure.mock import mock, pulls

from steadystar import RelativeOptions, measure_relative

C_KMS = 299_792.458


def numpy_grid(visits: pl.DataFrame, spectra) -> np.ndarray:
    """Return velocities against each star's first exposure, the plain way."""
    trials = np.arange(-80.0, 80.5, 1.0)
    out = np.zeros(len(visits))
    stars = visits["star_id"].to_numpy()
    for star in np.unique(stars):
        rows = np.flatnonzero(stars == star)
        wave = spectra.wave[rows[0]]
        inside = (wave > 5000) & (wave < 5300)
        wave, reference = wave[inside], spectra.flux[rows[0]][inside]
        variance = 1 / spectra.ivar[rows[0]][inside]
        for row in rows:
            flux, noise = spectra.flux[row], 1 / spectra.ivar[row]
            chi2 = np.empty(len(trials))
            for i, v in enumerate(trials):
                at = wave * (1 + v / C_KMS)
                moved = np.interp(at, spectra.wave[row], flux)
                total = variance + np.interp(at, spectra.wave[row], noise)
                chi2[i] = ((moved - reference) ** 2 / total + np.log(total)).sum()
            best = int(np.clip(chi2.argmin(), 1, len(trials) - 2))
            left, middle, right = chi2[best - 1 : best + 2]
            out[row] = trials[best] + (left - right) / 2 / (left - 2 * middle + right)
    return out


def speed(repeats: int = 5) -> None:
    visits, spectra = mock(64, 8, snr=30)
    tasks = {
        "joint": lambda: measure_relative(visits, spectra),
        "published": lambda: measure_relative(
            visits, spectra, RelativeOptions(method="published")
        ),
        "numpy grid": lambda: numpy_grid(visits, spectra),
    }
    for task in tasks.values():
        task()
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            begin = time.process_time()
            task()
            taken[name].append((time.process_time() - begin) / len(visits) * 1e3)
    print(f"{len(visits)} spectra of {spectra.flux.shape[1]} pixels, one core")
    for name, values in taken.items():
        ratio = np.median(np.array(taken["numpy grid"]) / np.array(values))
        print(
            f"{name:12s} {np.median(values):7.2f} ms a spectrum "
            f"(min {min(values):.2f}, max {max(values):.2f}); "
            f"{ratio:5.1f} times the speed of the grid"
        )


def honesty() -> None:
    print("S/N  visits  width of pulls (error)  scatter  median error  km/s")
    for snr in (5, 10, 20, 50, 100):
        for exposures in (3, 8):
            visits, spectra = mock(
                3000 // exposures, exposures, snr=float(snr), seed=snr
            )
            found = measure_relative(visits, spectra).table
            z = pulls(found, visits["truth"])
            error = found["rv_raw_err"]
            print(
                f"{snr:3d}  {exposures:6d}  {np.std(z):.3f} "
                f"({1 / np.sqrt(2 * len(z)):.3f})          "
                f"{np.std(z * error.drop_nans().to_numpy()):.3f}    {error.median():.3f}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pulls", action="store_true", help="pulls too (minutes)")
    arguments = parser.parse_args()
    speed()
    if arguments.pulls:
        honesty()
