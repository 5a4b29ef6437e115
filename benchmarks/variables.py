"""Are verdicts on variable stars right: how many false alarms, how many binaries found?

    python benchmarks/variables.py false-positives [--stars 100000]
    python benchmarks/variables.py discoveries [--stars 20000] [--seeds 5]
    python benchmarks/variables.py calibrated [--stars 24000]
    python benchmarks/variables.py completeness [--stars 100000] [--visits 8] [-o FIGURE]
    python benchmarks/variables.py xiong [--seeds 20]

``false-positives``: constant stars of 3 to 60 visits through fibers whose zero points are
known with errors that visits of a fiber share, a tenth of them not at all: how many stars
have a p-value below 0.05, 0.01, 0.001, by number of visits; and the control, who takes
the errors of a star's visits as independent. ``discoveries``: a tenth of the stars varies;
how many of those called variable do not. ``calibrated``: the same after a real solution for
zero points and errors. ``completeness``: binaries found against period and
semi-amplitude. ``xiong``: the 40 binaries of Xiong et al. (2021, RAA 21, 234, section
3.3) recovered through the calibration.
"""

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import beta

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.errors import fit_error_model
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status
from steadystar.infer.variability import VariabilityOptions, find_variables
from steadystar.simulate.table_mock import xiong_mock

LEVELS = (0.05, 0.01, 0.001)
BINS = ((3, 5), (6, 10), (11, 20), (21, 40), (41, 60))
BY_FIBER = VariabilityOptions(by=("fiber",))


def interval(found: int, tried: int, level: float = 0.68) -> tuple[float, float]:
    """Binomial interval of a share (Clopper & Pearson 1934)."""
    tail = (1 - level) / 2
    low = beta.ppf(tail, found, tried - found + 1) if found else 0.0
    high = beta.ppf(1 - tail, found + 1, tried - found) if found < tried else 1.0
    return float(low), float(high)


def shared_survey(
    stars: int, seed: int = 0, varying: float = 0.0, most: int = 60
) -> tuple[pl.DataFrame, np.ndarray, ZeroPoints]:
    """Calibrated visits of stars through fibers, who varies, and the zero points.

    Each star has 3 to ``most`` visits through 1 to 6 fibers of its own bundle. Zero points
    have errors of 0.05 to 0.3 km/s, and a tenth of them is not known: 0.5 km/s. Noise
    is 0.1 to 0.6 km/s a star, and scatters by 30% from visit to visit. No star shares a
    bundle with another: what stars share would widen the counts beyond binomial ones.
    """
    rng = np.random.default_rng([seed, 8])
    n_visits = rng.integers(3, most + 1, stars)
    star = np.repeat(np.arange(stars), n_visits)
    n, fibers = len(star), 6 * stars
    fiber = 6 * star + (rng.random(n) * rng.integers(1, 7, stars)[star]).astype(int)
    error = rng.uniform(0.05, 0.3, fibers)
    known = rng.random(fibers) > 0.1
    true = rng.normal(0, 0.5, fibers)
    solved = np.where(known, true + error * rng.normal(size=fibers), np.nan)
    zero = ZeroPoints(
        by=(("fiber",),),
        method="joint",
        offsets={
            "fiber": pl.DataFrame(
                {
                    "fiber": np.arange(fibers),
                    "offset": solved,
                    "offset_err": np.where(known, error, np.nan),
                    "status": np.where(known, 0, int(Status.UNCALIBRATED)),
                }
            )
        },
        stars=pl.DataFrame(),
        prior_widths={"fiber": 0.5},
        covariance=OffsetCovariance.diagonal(np.where(known, error**2, np.nan)),
    )
    varies = np.arange(stars) < varying * stars
    noise = rng.uniform(0.1, 0.6, stars)[star] * np.exp(rng.normal(0, 0.3, n))
    width = np.where(varies, rng.uniform(0.3, 3, stars), 0.0)[star]
    rv = rng.normal(0, 30, stars)[star] + true[fiber]
    rv = rv + np.hypot(noise, width) * rng.normal(size=n)
    visits = pl.DataFrame(
        {"star_id": star, "fiber": fiber, "rv_raw": rv, "rv_raw_err": noise}
    )
    return zero.apply(visits), varies, zero


def rates(p_value: np.ndarray, level: float) -> tuple[int, int, float]:
    """How many are below the level, of how many, and that in its own standard errors."""
    p_value = p_value[np.isfinite(p_value)]
    found, tried = int((p_value < level).sum()), len(p_value)
    return found, tried, (found - level * tried) / np.sqrt(tried * level * (1 - level))


def show_rates(name: str, table: pl.DataFrame, column: str) -> None:
    print(
        f"\n{name}\n    visits    stars " + "".join(f"{f'p < {p}':>22}" for p in LEVELS)
    )
    count = table["n_visits"].to_numpy()
    for low, high in (*BINS, (3, 60)):
        p = table[column].to_numpy()[(count >= low) & (count <= high)]
        if not len(p):
            continue
        cells = ""
        for level in LEVELS:
            found, tried, sigma = rates(p, level)
            cells += f"{found / max(tried, 1):12.5f} ({sigma:+5.1f})  "
        print(f"  {low:3d}-{high:<3d} {len(p):8d}   {cells}")


def false_positives(stars: int, seed: int = 0) -> Iterator[tuple[str, pl.DataFrame]]:
    """Verdicts on constant stars: with what fibers share, as independent, exactly."""
    visits, _, _ = shared_survey(stars, seed)
    start = time.process_time()
    found = find_variables(visits, BY_FIBER)
    yield f"shared, {len(visits)} visits, {time.process_time() - start:.0f} s", found
    start = time.process_time()
    found = find_variables(visits)
    yield f"independent (wrong here), {time.process_time() - start:.0f} s", found
    unit = np.random.default_rng([seed, 80]).normal(size=len(visits))
    own = visits.select(
        "star_id", rv_err="rv_raw_err", rv=pl.Series(unit) * pl.col("rv_raw_err")
    )
    start = time.process_time()
    found = find_variables(own)
    yield f"none shared, {time.process_time() - start:.0f} s", found
    few, _, zero = shared_survey(stars // 50, seed + 1)
    yield "exact, of fewer stars", find_variables(few, zeropoints=zero)


def discoveries(stars: int, seeds: int, rate: float = 0.01) -> tuple[int, int, int]:
    """Count the stars called variable, those of them that are not, and the variables."""
    called = false = there = 0
    options = VariabilityOptions(rate, by=("fiber",))
    for seed in range(seeds):
        visits, varies, _ = shared_survey(stars, seed, varying=0.1)
        variable = find_variables(visits, options)["variable"].to_numpy()
        called += int(variable.sum())
        false += int((variable & ~varies).sum())
        there += int(varies.sum())
    return called, false, there


def calibrated(stars: int, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Verdicts after zero points and errors were solved for, and who is constant."""
    mocks = Path(__file__).parents[1] / "tests" / "calibrate" / "mocks.py"
    spec = importlib.util.spec_from_file_location("calibration_mocks", mocks)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    visits, truth = module.fibers(seed, stars)
    out = fit_zeropoints(visits, ["fiber"]).apply(visits)
    out = fit_error_model(out).apply(out)
    found = find_variables(out, BY_FIBER)
    return found, truth["amplitude"][found["star_id"].to_numpy()] == 0


def binaries(
    stars: int, visits: int, error: float = 0.5, share: float = 0.3, seed: int = 0
):
    """Visits of circular binaries and constant stars, and the binaries' elements.

    Periods of 0.3 to 3000 d and semi-amplitudes of 0.1 to 30 km/s, uniform in their
    logarithms, any inclination and phase; visits in nights of three years, half of
    them in the same night as the one before.
    """
    rng = np.random.default_rng([seed, 88])
    shape = (stars, visits)
    night = np.sort(rng.integers(0, 1000, shape), axis=1)
    again = rng.random(shape) < 0.5
    again[:, 0] = False
    for k in range(1, visits):
        night[:, k] = np.where(again[:, k], night[:, k - 1], night[:, k])
    bjd = np.sort(night + rng.uniform(0.0, 0.3, shape), axis=1)
    period = 10 ** rng.uniform(np.log10(0.3), np.log10(3000), stars)
    k = 10 ** rng.uniform(-1, 1.5, stars)
    binary = np.arange(stars) < share * stars
    phase = 2 * np.pi * (bjd / period[:, None] + rng.random((stars, 1)))
    rv = np.where(binary, k, 0.0)[:, None] * np.cos(phase)
    rv = rv + error * rng.normal(size=shape) + rng.normal(0, 30, (stars, 1))
    table = pl.DataFrame(
        {
            "star_id": np.repeat(np.arange(stars), visits),
            "bjd": bjd.ravel() + 2_458_000.0,
            "rv": rv.ravel(),
            "rv_err": np.full(rv.size, error),
        }
    )
    return table, period[binary], k[binary]


PERIODS = np.geomspace(0.3, 3000, 17)
AMPLITUDES = np.geomspace(0.1, 10**1.5, 16)


def completeness(stars: int, visits: int, error: float = 0.5) -> np.ndarray:
    """Share of binaries called variable, by (period, semi-amplitude)."""
    table, period, k = binaries(stars, visits, error)
    found = find_variables(table)["variable"].to_numpy()[: len(period)]
    all_, _, _ = np.histogram2d(period, k, (PERIODS, AMPLITUDES))
    those, _, _ = np.histogram2d(period[found], k[found], (PERIODS, AMPLITUDES))
    return those / np.maximum(all_, 1)


def draw_completeness(share: np.ndarray, visits: int, error: float, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    mesh = axes.pcolormesh(
        PERIODS, AMPLITUDES / error, share.T, cmap="viridis", vmin=0, vmax=1
    )
    centers = [np.sqrt(x[1:] * x[:-1]) for x in (PERIODS, AMPLITUDES / error)]
    lines = axes.contour(*centers, share.T, [0.1, 0.5, 0.9], colors="white")
    for level, segments in zip(lines.levels, lines.allsegs, strict=True):
        longest = max(segments, key=len)
        x, y = min(longest.tolist())
        axes.text(x, y * 1.06, f"{level:.1f}", color="white", fontsize=8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="Period (d)",
        ylabel="Semi-amplitude K over the error of a visit",
        title=f"Binaries called variable, {visits} visits in three years",
    )
    figure.colorbar(mesh, label="Share")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def xiong(seed: int) -> dict[str, tuple[int, int]]:
    """Stars called variable, and all, of each kind in Xiong's mock, after calibration."""
    mock = xiong_mock(seed)
    by = "spectrograph+arm+exposure_id"
    out = fit_zeropoints(mock.visits, [by.replace("+", ",")]).apply(mock.visits)
    out = fit_error_model(out).apply(out)
    found = find_variables(out, VariabilityOptions(by=(by,)))
    kinds = mock.stars.join(found.select("star_id", "variable"), on="star_id")
    counts = kinds.group_by("kind").agg(pl.col("variable").sum(), n=pl.len())
    return {kind: (called, n) for kind, called, n in counts.iter_rows()}


def show_xiong(seeds: int) -> None:
    total: dict[str, list[int]] = {}
    each = []
    for seed in range(seeds):
        for kind, (called, n) in xiong(seed).items():
            sums = total.setdefault(kind, [0, 0])
            sums[0] += called
            sums[1] += n
            if kind == "binary":
                each.append(called)
    for kind, (called, n) in sorted(total.items()):
        low, high = interval(called, n)
        print(
            f"{kind:>10}: {called} of {n} called variable, {called / n:.4f} "
            f"({low:.4f} to {high:.4f})"
        )
    print(f"binaries found of 40, by seed: {sorted(each)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "part",
        choices=[
            "false-positives",
            "discoveries",
            "calibrated",
            "completeness",
            "xiong",
        ],
    )
    parser.add_argument("--stars", type=int, default=0)
    parser.add_argument("--visits", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("-o", type=Path, default=Path("completeness.png"))
    given = parser.parse_args()
    if given.part == "false-positives":
        for name, table in false_positives(given.stars or 100_000):
            for column in ("p_value", "p_max_difference"):
                show_rates(f"{column}, errors {name}", table, column)
    elif given.part == "discoveries":
        for rate in (0.01, 0.05):
            called, false, there = discoveries(
                given.stars or 20_000, given.seeds or 5, rate
            )
            low, high = interval(false, called)
            print(
                f"rate {rate}: {called} called variable of {there} that are; {false} are "
                f"not: {false / called:.4f} ({low:.4f} to {high:.4f}); Benjamini and "
                f"Hochberg promise {0.9 * rate:.4f}"
            )
    elif given.part == "calibrated":
        found, constant = calibrated(given.stars or 24_000)
        for column in ("p_value", "p_max_difference"):
            show_rates(
                f"{column}, constant stars", found.filter(pl.Series(constant)), column
            )
    elif given.part == "completeness":
        share = completeness(given.stars or 100_000, given.visits)
        draw_completeness(share, given.visits, 0.5, given.o)
        print("K/error   " + "".join(f"{p:8.1f}" for p in PERIODS[:-1]) + "  d (from)")
        for row, k in zip(share.T, AMPLITUDES / 0.5, strict=False):
            print(f"{k:8.2f}  " + "".join(f"{x:8.2f}" for x in row))
    else:
        show_xiong(given.seeds or 20)


if __name__ == "__main__":
    main()
