"""Velocities against templates of all types: how precise, how honest, how fast.

    python benchmarks/velocity.py precision [--arms blue red apogee] [--number 1000]
    python benchmarks/velocity.py mismatch  [--solar SPECTRUM.fits]
    python benchmarks/velocity.py types     one template, some hundred K off
    python benchmarks/velocity.py together  both arms of LAMOST measured as one
    python benchmarks/velocity.py hot       stars that say little
    python benchmarks/velocity.py speed

`precision`: FGK stars of labels between the templates', velocities within 300 km/s, random
continua. `mismatch`: the same with rotation, a line spread or line depths that the
templates do not have, and optionally a spectrum of the Sun from elsewhere (a FITS table of
wavelengths in air and flux). The photon limit is that of the noiseless model with all but
the velocity known. `speed`: one core, interleaved with a plain NumPy search against one
template. Each part is a few minutes or less; ``--number`` spectra a row.
"""

import argparse
import os
import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from _velocity_mocks import (
    MODELS,
    WINDOWS,
    Instrument,
    Mismatch,
    Noiseless,
    instruments,
    observe_stars,
)

from steadystar.data.constants import C_KMS
from steadystar.data.status import Status
from steadystar.measure.together import Together, measure_together
from steadystar.measure.velocities import VelocityOptions, measure_velocities
from steadystar.models.templates import Templates, bundled_templates

SNRS = (10, 20, 50, 100)
BOTH = ("blue", "red")
OPTIONS = VelocityOptions(windows=WINDOWS)
# A synthetic Sun recorded with R of about 8300, brought to 7500 on top of that.
SOLAR_RESOLUTION = (1 / 7500**2 - 1 / 8300**2) ** -0.5 / 7500
CASES = {
    "rotation 5-30 km/s": Mismatch(rotation=(5.0, 30.0)),
    "line spread 5% wider": Mismatch(resolution=1 / 1.05),
    "line spread 5% sharper": Mismatch(resolution=1.05),
    "lines 3% deeper": Mismatch(depth=1.03),
    "lines 3% shallower": Mismatch(depth=0.97),
    "each line 3% (rms)": Mismatch(lines=0.03),
}
HEADER = (
    f"{'':36s} S/N  limit   ratio        bias/limit     pulls         error/limit  "
    "wrong%  lost%  double%"
)


def figures(
    arm: Instrument, noiseless: Noiseless, templates, snr: int, seed: int
) -> str:
    """Measure once; return the line of the table."""
    spectra, limit = noiseless.observe(snr, seed)
    found = measure_velocities(spectra, templates, OPTIONS, arm=arm.name)
    off = found["rv_raw"].to_numpy() - noiseless.velocity
    error, status = (found[name].to_numpy() for name in ("rv_raw_err", "status"))
    measured = np.isfinite(off)
    near = measured & (np.abs(off) < 8 * limit)
    in_limits = (off / limit)[near]
    spread, pulls = in_limits.std(), (off / error)[near].std()
    few = np.sqrt(2 * near.sum())
    wrong = 100 * np.mean(measured & ~near)
    double = 100 * np.mean((status & int(Status.DOUBLE_LINED)) != 0)
    return (
        f"{snr:4d} {np.median(limit):6.3f}  {spread:.3f}+-{spread / few:.3f} "
        f"{np.median(in_limits):+.3f}+-{1.25 * spread / np.sqrt(near.sum()):.3f} "
        f"{pulls:.3f}+-{pulls / few:.3f}  {np.median((error / limit)[near]):.3f}  "
        f"{wrong:8.2f} {100 * np.mean(~measured):6.2f} {double:7.2f}"
    )


def table(
    arms, cases: dict[str, Mismatch], number: int, snrs, seed: int = 1, **given
) -> None:
    print(HEADER, flush=True)
    for arm in arms:
        templates = bundled_templates(MODELS[arm.name], arm.resolution)
        for name, mismatch in cases.items():
            if mismatch.spectrum is not None and arm.name == "apogee":
                continue
            noiseless = observe_stars(arm, number, seed, mismatch, **given)
            for snr in snrs:
                line = figures(arm, noiseless, templates, snr, seed + snr)
                print(f"{arm.name:7s}{name:28s}{line}", flush=True)


def solar(path: Path) -> Mismatch:
    """Return the Sun of a FITS table with columns of wavelength in air and of flux."""
    from astropy.io import fits

    from steadystar.data.air import air_to_vacuum

    with fits.open(path) as file:
        wave, flux = (np.array(file[1].data.field(k), float) for k in (0, 1))
    kept = (wave > 4800) & (wave < 7000)
    wave, flux = air_to_vacuum(wave[kept]), flux[kept]
    level = np.polynomial.Polynomial.fit(wave, flux, 4)(wave)
    return Mismatch((0.0, 0.0), SOLAR_RESOLUTION, spectrum=(wave, flux / level / 1.1))


def together(number: int) -> None:
    """Both arms, each alone and as one; wrong: by more than 8 of its limits."""
    print("S/N             limit   ratio          pulls          wrong%  lost%")
    seen = {name: observe_stars(instruments()[name], number, 5) for name in BOTH}
    for snr in (3, 5, 10, 50):
        parts, limits = [], []
        for seed, (name, noiseless) in enumerate(seen.items()):
            resolution = instruments()[name].resolution
            spectra, limit = noiseless.observe(snr, snr + 1000 * seed)
            templates = bundled_templates(MODELS[name], resolution)
            parts.append(Together(spectra, templates, range(number), name))
            limits.append(limit)
            found = measure_velocities(spectra, templates, OPTIONS, arm=name)
            print(f"{snr:3d} {name:9s}{precision(found, noiseless, limit)}", flush=True)
        limit = np.sum(np.array(limits) ** -2.0, axis=0) ** -0.5
        found = measure_together(parts, OPTIONS)
        print(f"{snr:3d} together {precision(found, seen['blue'], limit)}", flush=True)


def precision(found, noiseless: Noiseless, limit) -> str:
    off = found["rv_raw"].to_numpy() - noiseless.velocity
    measured = np.isfinite(off)
    near = measured & (np.abs(off) < 8 * limit)
    spread = (off / limit)[near].std()
    pulls = (off / found["rv_raw_err"].to_numpy())[near].std()
    few = np.sqrt(2 * max(near.sum(), 1))
    return (
        f"{np.median(limit):8.3f}  {spread:.3f}+-{spread / few:.3f}  "
        f"{pulls:.3f}+-{pulls / few:.3f}  {100 * np.mean(measured & ~near):6.2f} "
        f"{100 * np.mean(~measured):6.2f}"
    )


def hot(arms, number: int) -> None:
    """Hot stars, whose lines are few and broad; `>8` are wrong by 8 errors, unmarked."""
    print("arm     K       S/N  limit   error   pulls: standard deviation, robust   >8")
    warned = int(Status.TWO_MINIMA | Status.POOR_FIT | Status.DOUBLE_LINED)
    for arm in arms:
        templates = bundled_templates(MODELS[arm.name], arm.resolution)
        for teff in (9500.0, 15_000.0, 28_000.0):
            label = np.array([teff, 4.0, 0.0])
            turning = Mismatch(rotation=(20.0, 200.0))
            noiseless = observe_stars(arm, number, 3, turning, labels=label)
            for snr in (15, 60):
                spectra, limit = noiseless.observe(snr, 4)
                found = measure_velocities(spectra, templates, OPTIONS, arm=arm.name)
                error = found["rv_raw_err"].to_numpy()
                pulls = (found["rv_raw"].to_numpy() - noiseless.velocity) / error
                unmarked = (found["status"].to_numpy() & warned) == 0
                far = (np.abs(pulls) > 8) & unmarked
                pulls = pulls[np.isfinite(pulls)]
                robust = 1.4826 * np.median(np.abs(pulls - np.median(pulls)))
                print(
                    f"{arm.name:7s}{teff:6.0f} {snr:5d} {np.median(limit):6.2f} "
                    f"{np.nanmedian(error):6.2f}  {pulls.std():6.2f} {robust:6.2f}  "
                    f"{far.sum():4d} of {len(pulls)}",
                    flush=True,
                )


def types(arms, number: int) -> None:
    """One template of the wrong temperature, and templates of all types."""
    print("arm    template off by   bias, m/s: one template   all types  (S/N 100)")
    star = np.array([5500.0, 4.5, 0.0])
    for arm in arms:
        noiseless = observe_stars(arm, number, 3, labels=star)
        spectra, limit = noiseless.observe(100, 4)
        every = bundled_templates(MODELS[arm.name], arm.resolution)
        print(
            f"{arm.name:7s} photon limit {1e3 * np.median(limit):.0f} m/s", flush=True
        )
        marginalized = bias(spectra, every, noiseless, arm)
        for change in (-600, -300, -100, 0, 100, 300, 600):
            one = Templates.from_models(
                arm.models, star + np.array([change, 0, 0]), arm.resolution, [4.0]
            )
            print(
                f"{arm.name:7s}{change:+6d} K      {bias(spectra, one, noiseless, arm)}"
                f"     {marginalized}",
                flush=True,
            )


def bias(spectra, templates, noiseless: Noiseless, arm: Instrument) -> str:
    found = measure_velocities(spectra, templates, OPTIONS, arm=arm.name)
    off = 1e3 * (found["rv_raw"].to_numpy() - noiseless.velocity)
    off = off[np.isfinite(off)]
    return f"{np.median(off):+7.1f} +- {1.25 * off.std() / np.sqrt(len(off)):.1f}"


def numpy_search(wave, flux, ivar, template) -> float:
    """One spectrum, one template: chi squared at 61 velocities, a Gauss-Newton step.

    ``flux`` is normalized already; nothing is marginalized.
    """
    rest, lines = template
    trials = np.arange(-300.0, 301.0, 10.0)
    chi2 = np.empty(len(trials))
    for i, velocity in enumerate(trials):
        model = np.interp(wave / (1 + velocity / C_KMS), rest, lines)
        chi2[i] = ivar @ (flux - model) ** 2
    velocity = trials[np.argmin(chi2)]
    for _ in range(2):
        below, here, above = (
            np.interp(wave / (1 + (velocity + d) / C_KMS), rest, lines)
            for d in (-1.0, 0.0, 1.0)
        )
        slope = (above - below) / 2
        velocity += (ivar * slope) @ (flux - here) / ((ivar * slope) @ slope)
    return velocity


def speed(number: int, repeats: int = 5) -> None:
    arm = instruments()["blue"]
    inside = slice(0, 3000)
    arm = Instrument("short", arm.wave[inside], arm.resolution, arm.models)
    noiseless = observe_stars(arm, max(number, 256), 1)
    spectra, _ = noiseless.observe(50, 2)
    templates = bundled_templates(MODELS["blue"], arm.resolution)
    one = np.argmin(np.abs(templates.flux.mean(0) - templates.flux).sum(1))
    template = templates.wave, templates.flux[one].astype(float)
    level = np.median(spectra.flux, axis=1, keepdims=True)
    tasks = {
        "steadystar, all types": lambda: measure_velocities(
            spectra, templates, OPTIONS
        ),
        "NumPy grid, one type": lambda: [
            numpy_search(arm.wave, f / v, i * v**2, template)
            for f, i, v in zip(
                spectra.flux.astype(float),
                spectra.ivar.astype(float),
                level,
                strict=True,
            )
        ],
    }
    begin = time.perf_counter()
    for task in tasks.values():
        task()
    print(f"warm-up (compiling) {time.perf_counter() - begin:.1f} s")
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            begin = time.process_time()
            task()
            taken[name].append((time.process_time() - begin) / len(spectra) * 1e3)
    print(f"{len(spectra)} spectra of {len(arm.wave)} pixels, one core, processor time")
    for name, values in taken.items():
        print(
            f"{name:24s} {np.median(values):6.2f} ms a spectrum "
            f"(min {min(values):.2f}, max {max(values):.2f})"
        )
    for other in ("laspec", "rvspecfit"):
        if find_spec(other) is None:
            print(f"{other}: not installed, not timed")
    for size in (1, 8, 32, 128, len(spectra)):
        some = spectra[np.arange(size)]
        rounds = max(1, 128 // size)
        measure_velocities(some, templates, OPTIONS)
        begin = time.process_time()
        for _ in range(rounds):
            measure_velocities(some, templates, OPTIONS)
        taken_here = (time.process_time() - begin) / rounds / size
        print(f"{size:5d} spectra a call: {1 / taken_here:7.0f} spectra/s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"peak memory {peak:.0f} MiB (imports, models and compiler included)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part",
        choices=["precision", "mismatch", "types", "together", "hot", "speed"],
        nargs="+",
    )
    parser.add_argument("--arms", nargs="+", default=["blue", "red", "apogee"])
    parser.add_argument("--number", type=int, default=1000, help="spectra a row")
    parser.add_argument(
        "--solar", type=Path, help="FITS table: wavelength in air, flux"
    )
    given = parser.parse_args()
    arms = [instruments()[name] for name in given.arms]
    if "precision" in given.part:
        table(arms, {"matched": Mismatch()}, given.number, SNRS)
    if "mismatch" in given.part:
        cases = dict(CASES)
        if given.solar:
            cases["the Sun from elsewhere"] = solar(given.solar)
        table(arms, cases, given.number, (10, 100))
    if "types" in given.part:
        types(arms, given.number)
    if "together" in given.part:
        together(given.number)
    if "hot" in given.part:
        hot(arms, given.number)
    if "speed" in given.part:
        speed(given.number)


if __name__ == "__main__":
    main()
