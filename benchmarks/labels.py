"""Labels of mock spectra: how precise, how honest, how fast.

    python benchmarks/labels.py mocks  [--number 1000] [--snr 10 20 50]
    python benchmarks/labels.py hot    [--number 300]
    python benchmarks/labels.py rotation [--number 600]
    python benchmarks/labels.py trained [--number 800]
    python benchmarks/labels.py speed  [--number 256]

`mocks`: FGK stars of labels between all nodes, dwarfs and giants, rotating at up to 60
km/s, random continua, a line spread that differs from the nominal one by 3% (rms), and
velocities known to 1 km/s; blue arm, red arm, both. Beside the errors stand those of Zong
et al. (2020, table 4). `rotation`: how well v sin i comes out. `trained`: a model trained
on some of the stars, applied to the others. `speed`: one core, warm; with ``rvspecfit``
installed, also that, on the same spectra. On another device (a GPU) the same command
prints its name; nothing else changes.
"""

import argparse
import os
import sys
import time
from pathlib import Path

if "cuda" not in os.environ.get("JAX_PLATFORMS", ""):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import numpy as np
import polars as pl
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from _velocity_mocks import Instrument, Mismatch, fgk_labels, instruments, observe_stars

from steadystar import Spectra
from steadystar.calibrate.laws import ZONG_2020
from steadystar.data.status import Status
from steadystar.measure.label_training import TrainingOptions, fit_labels
from steadystar.measure.labels import LabelModel, measure_labels

LABELS = ("teff", "logg", "feh")
ARMS = {"blue": ("blue",), "red": ("red",), "both": ("blue", "red")}
LINE_SPREAD = 0.03
FLAGGED = int(
    Status.LABEL_EDGE | Status.TWO_SOLUTIONS | Status.NOT_CONVERGED | Status.NO_LABELS
)


class Stars:
    """Mock stars in both arms, of the same labels, speeds and velocities."""

    def __init__(self, labels: NDArray, seed: int, vsini: tuple[float, float]) -> None:
        number = len(labels)
        rng = np.random.default_rng(seed)
        self.labels = labels
        self.parts = []
        # In groups of one line spread each; the seed makes arms agree in all else.
        groups = np.array_split(np.arange(number), 10)
        spreads = 1 + LINE_SPREAD * rng.normal(size=len(groups))
        self.seen = {}
        for name in ("blue", "red"):
            arm: Instrument = instruments()[name]
            self.seen[name] = [
                observe_stars(
                    arm,
                    len(rows),
                    seed + k,
                    Mismatch(rotation=vsini, resolution=1 / spread),
                    labels=labels[rows],
                    reach=100.0,
                )
                for k, (rows, spread) in enumerate(zip(groups, spreads, strict=True))
            ]
        self.velocity = np.concatenate([one.velocity for one in self.seen["blue"]])
        speeds = []
        for k, rows in enumerate(groups):
            again = np.random.default_rng(seed + k)
            again.uniform(size=len(rows))
            speeds.append(again.uniform(*vsini, len(rows)))
        self.vsini = np.concatenate(speeds)
        self.rv = self.velocity + rng.normal(size=number)

    def observe(self, snr: float, seed: int) -> dict[str, Spectra]:
        return {
            name: Spectra.concatenate(
                [one.observe(snr, seed + 97 * k)[0] for k, one in enumerate(parts)]
            )
            for seed, (name, parts) in zip(
                (seed, seed + 7), self.seen.items(), strict=True
            )
        }


def figures(found: pl.DataFrame, truth: dict[str, NDArray]) -> str:
    """Scatter, median error, bias in errors and pulls of each label, and what is lost."""
    status = found["status"].to_numpy()
    measured = np.isfinite(found["teff"].to_numpy())
    clean = measured & ((status & FLAGGED) == 0)
    text = []
    for name, true in truth.items():
        off = (found[name].to_numpy() - true)[clean]
        error = found[f"{name}_err"].to_numpy()[clean]
        pull = off / error
        few = np.sqrt(2 * len(pull))
        text.append(
            f"{name} {_width(off):8.3f} {np.median(error):8.3f} "
            f"{np.median(pull):+.2f}+-{1.25 * pull.std() / np.sqrt(len(pull)):.2f} "
            f"{pull.std():.2f}/{_width(pull):.2f}+-{_width(pull) / few:.2f}"
        )
    lost = 100 * np.mean(~measured | ((status & int(Status.NOT_CONVERGED)) != 0))
    edge = 100 * np.mean((status & int(Status.LABEL_EDGE)) != 0)
    two = 100 * np.mean((status & int(Status.TWO_SOLUTIONS)) != 0)
    wrong = (
        np.abs(found["teff"].to_numpy() - truth["teff"])
        > 8 * found["teff_err"].to_numpy()
    )
    return (
        " | ".join(text)
        + f" | lost {lost:.1f}% edge {edge:.1f}% two {two:.1f}% "
        + f"wrong {100 * np.mean(wrong[clean]):.1f}%"
    )


def _width(values: NDArray) -> float:
    """Standard deviation, robust."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def inside(labels: NDArray) -> NDArray:
    """Keep labels well inside the models: at an edge no error bar is right."""
    return labels[(labels[:, 1] > 0.3) & (labels[:, 1] < 4.85)]


def mocks(number: int, snrs) -> None:
    print("arms  S/N label scatter error bias/error pulls (std/robust) ...")
    rng = np.random.default_rng(1)
    stars = Stars(inside(fgk_labels(number, rng)), 11, (0.0, 60.0))
    truth = {name: stars.labels[:, k] for k, name in enumerate(LABELS)}
    for snr in snrs:
        published = {n: round(float(ZONG_2020[n].apply([snr])[0]), 3) for n in LABELS}
        print(f"published at {snr}: {published}")
        spectra = stars.observe(snr, 1000 + snr)
        for name, arms in ARMS.items():
            found = measure_labels({arm: spectra[arm] for arm in arms}, rv=stars.rv)
            print(f"{name:5s} {snr:3d} {figures(found, truth)}", flush=True)


def rotation(number: int, snrs) -> None:
    """Bias and pulls of v sin i by its truth, both arms."""
    rng = np.random.default_rng(2)
    stars = Stars(inside(fgk_labels(number, rng)), 12, (0.0, 150.0))
    for snr in snrs:
        found = measure_labels(stars.observe(snr, 2000 + snr), rv=stars.rv)
        speed, error = (found[n].to_numpy() for n in ("vsini", "vsini_err"))
        clean = np.isfinite(speed) & ((found["status"].to_numpy() & FLAGGED) == 0)
        for low, high in ((0, 10), (10, 20), (20, 40), (40, 80), (80, 150)):
            here = clean & (stars.vsini >= low) & (stars.vsini < high)
            off = (speed - stars.vsini)[here]
            pull = off / error[here]
            print(
                f"S/N {snr:3d} vsini {low:3d}-{high:3d} km/s ({here.sum():4d}): median "
                f"off {np.median(off):+.2f}, scatter {_width(off):.2f}, error "
                f"{np.median(error[here]):.2f} km/s, pulls {pull.std():.2f}",
                flush=True,
            )


def hot(number: int, snrs) -> None:
    """Stars of 8500 to 30 000 K, rotating at 20 to 250 km/s."""
    rng = np.random.default_rng(3)
    labels = np.stack(
        [
            np.exp(rng.uniform(np.log(8500), np.log(30_000), number)),
            rng.uniform(3.2, 4.6, number),
            rng.uniform(-0.8, 0.3, number),
        ],
        axis=1,
    )
    stars = Stars(labels, 13, (20.0, 250.0))
    truth = {name: stars.labels[:, k] for k, name in enumerate(LABELS)}
    truth["vsini"] = stars.vsini
    for snr in snrs:
        spectra = stars.observe(snr, 3000 + snr)
        found = measure_labels(spectra, rv=stars.rv)
        print(f"both  {snr:3d} {figures(found, truth)}", flush=True)


def trained(number: int, snrs) -> None:
    """Train at S/N 50 on half of the stars, measure the other half."""
    rng = np.random.default_rng(4)
    stars = Stars(inside(fgk_labels(number, rng)), 14, (0.0, 8.0))
    truth = {name: stars.labels[:, k] for k, name in enumerate(LABELS)}
    half = np.arange(len(stars.labels)) % 2 == 0
    spectra = stars.observe(50, 4000)
    for degree in (2, 3):
        began = time.perf_counter()
        model = fit_labels(
            {name: one[half] for name, one in spectra.items()},
            {name: values[half] for name, values in truth.items()},
            stars.rv[half],
            TrainingOptions(degree=degree),
        )
        took = time.perf_counter() - began
        print(f"degree {degree}: {half.sum()} stars, {took:.1f} s, {model.floors}")
        for snr in snrs:
            test = {n: one[~half] for n, one in stars.observe(snr, 5000 + snr).items()}
            known = {name: values[~half] for name, values in truth.items()}
            for what, one in (("trained", model), ("models", LabelModel())):
                found = one.apply(test, rv=stars.rv[~half])
                print(f"{what:8s} {snr:3d} {figures(found, known)}", flush=True)


def speed(number: int, repeats: int = 5) -> None:
    """Milliseconds an exposure of two arms, a spectrum, and a spectrum in one arm."""
    stars = Stars(inside(fgk_labels(number, np.random.default_rng(5))), 15, (0.0, 60.0))
    spectra = stars.observe(30, 6000)
    count = len(stars.labels)
    device = jax.devices()[0]
    blue = {"blue": spectra["blue"]}
    tasks = {
        "both arms, an exposure": (spectra, count, stars.rv),
        "both arms, a spectrum": (spectra, 2 * count, stars.rv),
        "blue arm, a spectrum": (blue, count, stars.rv),
        SEARCHED: (spectra, count, None),
    }
    for some, _, rv in tasks.values():
        measure_labels(some, rv=rv)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    # Processor time, as that of the peer: these machines are shared.
    clock = time.process_time if device.platform == "cpu" else time.perf_counter
    for _ in range(repeats):
        for name, (some, divisor, rv) in tasks.items():
            began = clock()
            measure_labels(some, rv=rv)
            times[name].append((clock() - began) / divisor)
    print(f"{device.platform} ({device.device_kind}), {count} exposures")
    for name, values in times.items():
        print(f"steadystar, {name}: {1e3 * np.median(values):.2f} ms")
    try:
        import _rvspecfit_labels as peer
    except ImportError as error:
        print(f"rvspecfit: {error}")
        return
    few = {name: one[:PEER] for name, one in spectra.items()}
    peer_table, seconds = peer.fit(few)
    mine = np.median(times[SEARCHED])
    print(
        f"{peer.NAME}, both arms, an exposure: {1e3 * seconds:.0f} ms; ratio "
        f"{seconds / mine:.0f}"
    )
    found = measure_labels(few)
    for k, name in enumerate(LABELS):
        true = stars.labels[:PEER, k]
        print(
            f"  {name}: scatter {_width(found[name].to_numpy() - true):.3f}, theirs "
            f"{_width(np.asarray(peer_table[name]) - true):.3f}"
        )


PEER = 40
SEARCHED = "both arms, an exposure, velocity searched for too"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "part", choices=["mocks", "rotation", "hot", "trained", "speed"]
    )
    parser.add_argument("--number", type=int, default=600)
    parser.add_argument("--snr", type=int, nargs="+", default=[10, 20, 50])
    given = parser.parse_args()
    if given.part == "speed":
        speed(min(given.number, 256))
    else:
        globals()[given.part](given.number, given.snr)


if __name__ == "__main__":
    main()
