"""One star, many observatories: the orbit of alpha Draconis and their zero points.

Seventy-six spectra around H alpha by amateurs, each with a spectrograph, a slit and a
lamp of their own. One star that varies cannot fix zero points: `steadystar run` says so
and leaves every velocity as measured. But this star's motion is known in kind. A
Keplerian orbit and one offset per observatory are fitted together here, the offsets (and
the amplitude) eliminated exactly, so that three numbers are searched: period, time of
periastron, eccentricity.

    python benchmarks/alpha_dra.py SPECTRA      measures first (minutes)
    python benchmarks/alpha_dra.py --run DIR    takes the velocities of a run

The published orbit: P 51.4 d, e about 0.4, K about 48 km/s.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import brentq, least_squares

POSITION = "211.097291 64.375851"
CLIP = 5.0


@dataclass(frozen=True)
class Visits:
    """Times (BJD), velocities and errors (km/s), and whose they are, ``(visit,)``."""

    time: np.ndarray
    rv: np.ndarray
    err: np.ndarray
    observatory: np.ndarray
    names: list[str]

    def keep(self, mask: np.ndarray) -> "Visits":
        used, index = np.unique(self.observatory[mask], return_inverse=True)
        names = [self.names[i] for i in used]
        return Visits(self.time[mask], self.rv[mask], self.err[mask], index, names)


def measured(folder: Path) -> Path:
    """Run the whole chain on the spectra; return the run's directory."""
    from steadystar.pipeline.config import Configuration
    from steadystar.pipeline.run import run_pipeline

    out = Path(tempfile.mkdtemp(prefix="alpha-dra-"))
    read = {"star_id": "alf Dra", "position": POSITION}
    run_pipeline([folder], out, Configuration.from_values({"read": read}))
    return out


def visits_of(run: Path, method: str) -> Visits:
    """Return the raw velocities of a run by one method; observers are observatories."""
    table = pl.read_parquet(run / "velocities.parquet").filter(
        pl.col("method") == method,
        pl.col("rv_raw").is_finite(),
        pl.col("rv_raw_err").is_finite(),
        pl.col("bjd").is_finite(),
    )
    names, index = np.unique(
        table["telescope"].fill_null("?").str.to_lowercase().to_numpy(),
        return_inverse=True,
    )
    columns = (table[name].to_numpy() for name in ("bjd", "rv_raw", "rv_raw_err"))
    return Visits(*columns, index, list(names))


def true_anomaly(mean: np.ndarray, e: float) -> np.ndarray:
    """Solve Kepler's equation by Newton's method, and turn to the true anomaly."""
    mean = np.mod(mean + np.pi, 2 * np.pi) - np.pi
    angle = mean + e * np.sin(mean)
    for _ in range(50):
        angle -= (angle - e * np.sin(angle) - mean) / (1 - e * np.cos(angle))
    return 2 * np.arctan2(
        np.sqrt(1 + e) * np.sin(angle / 2), np.sqrt(1 - e) * np.cos(angle / 2)
    )


def columns_of(shape: np.ndarray, v: Visits) -> np.ndarray:
    """The part of the model that is linear: two of the orbit, one per observatory."""
    period, periastron, e = shape
    nu = true_anomaly(2 * np.pi * (v.time - periastron) / period, e)
    one = v.observatory[:, None] == np.arange(len(v.names))
    return np.column_stack([np.cos(nu), np.sin(nu), one])


def residuals(shape: np.ndarray, v: Visits, jitter: float) -> np.ndarray:
    """Weighted residuals after the best linear part."""
    weight = 1 / np.hypot(v.err, jitter)
    model = columns_of(shape, v) * weight[:, None]
    linear = np.linalg.lstsq(model, v.rv * weight, rcond=None)[0]
    return v.rv * weight - model @ linear


def fit(v: Visits, jitter: float, start: np.ndarray):
    """Least squares from ``start``: period, periastron, eccentricity."""
    bounds = ([10.0, start[1] - 100, 0.0], [200.0, start[1] + 100, 0.9])
    return least_squares(residuals, start, args=(v, jitter), bounds=bounds)


def search(v: Visits, jitter: float) -> np.ndarray:
    """The best of a grid of starts, so that no published period enters."""
    middle = float(np.median(v.time))
    best = None
    for period in 1 / np.linspace(1 / 150, 1 / 20, 120):
        for phase in np.arange(0, 1, 0.125):
            for e in (0.1, 0.4, 0.7):
                shape = np.array([period, middle + phase * period, e])
                cost = np.sum(residuals(shape, v, jitter) ** 2)
                if best is None or cost < best[0]:
                    best = cost, shape
    return fit(v, jitter, best[1]).x


def jitter_of(v: Visits, shape: np.ndarray) -> float:
    """The scatter beyond the errors that makes chi-squared equal its freedom."""
    free = len(v.rv) - 5 - len(v.names)

    def excess(jitter: float) -> float:
        return float(np.sum(residuals(shape, v, jitter) ** 2)) - free

    return brentq(excess, 1e-6, 100.0) if excess(1e-6) > 0 else 0.0


def solve(v: Visits) -> tuple[Visits, np.ndarray, float]:
    """Fit, measure the scatter, leave out what is beyond 5 of it; until it stays."""
    jitter = 1.0
    shape = search(v, 5.0)
    for _ in range(10):
        shape = fit(v, jitter, shape).x
        jitter = jitter_of(v, shape)
        bad = np.abs(residuals(shape, v, jitter)) > CLIP
        if not bad.any():
            break
        for i in np.flatnonzero(bad):
            print(f"  left out: {v.names[v.observatory[i]]}, BJD {v.time[i]:.2f}")
        v = v.keep(~bad)
    return v, fit(v, jitter, shape).x, jitter


def report(v: Visits, shape: np.ndarray, jitter: float) -> None:
    """Print the orbit and the zero points, with errors from the full curvature."""
    weight = 1 / np.hypot(v.err, jitter)
    model = columns_of(shape, v)
    linear = np.linalg.lstsq(model * weight[:, None], v.rv * weight, rcond=None)[0]
    steps = np.array([1e-4, 1e-4, 1e-5])
    slopes = [
        (columns_of(shape + d, v) @ linear - columns_of(shape - d, v) @ linear)
        / (2 * s)
        for s, d in zip(steps, np.diag(steps), strict=True)
    ]
    full = np.column_stack([*slopes, model]) * weight[:, None]
    covariance = np.linalg.inv(full.T @ full)
    period, _, e = shape
    # v = K cos(w) cos(nu) - K sin(w) sin(nu) + constant
    a, b = linear[:2]
    amplitude = np.hypot(a, b)
    along = np.array([a, b]) / amplitude
    error = np.sqrt(np.diag(covariance))
    error_k = np.sqrt(along @ covariance[3:5, 3:5] @ along)
    print(f"  {len(v.rv)} velocities, {len(v.names)} observatories; scatter about the")
    print(f"  orbit {jitter:.2f} km/s beyond errors of {np.median(v.err):.2f} km/s")
    print(
        f"  P {period:.3f} +- {error[0]:.3f} d   e {e:.3f} +- {error[2]:.3f}", end="   "
    )
    print(f"K {amplitude:.2f} +- {error_k:.2f} km/s", end="   ")
    print(f"omega {np.degrees(np.arctan2(-b, a)) % 360:.1f} deg")
    zero, counts = linear[2:], np.bincount(v.observatory)
    many = counts >= 2  # one visit fits any offset: it does not define the zero
    gauge = np.eye(len(zero)) - np.where(many, counts, 0) / counts[many].sum()
    offset = gauge @ zero
    error_z = np.sqrt(np.diag(gauge @ covariance[5:, 5:] @ gauge.T))
    for i in np.argsort(-counts):
        print(
            f"    {v.names[i]:24s} {counts[i]:3d} visits  {offset[i]:7.2f} +- "
            f"{error_z[i]:.2f} km/s"
        )
    print(
        f"  scatter of the zero points of {many.sum()} observatories with two visits or "
        f"more: {np.std(offset[many], ddof=1):.2f} km/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spectra", type=Path, nargs="?")
    parser.add_argument("--run", type=Path)
    arguments = parser.parse_args()
    run = arguments.run or measured(arguments.spectra)
    kinds = {
        "joint": "relative to a reference spectrum",
        "marginal": "against model spectra",
    }
    for method, what in kinds.items():
        print(f"Velocities {what} ({method}):")
        report(*solve(visits_of(run, method)))


if __name__ == "__main__":
    main()
