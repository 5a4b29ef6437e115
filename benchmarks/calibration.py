"""How close the zero points come to those of one who knows the truth, and how fast.

    python benchmarks/calibration.py [zeropoints] [stars] [families] [speed]
                                     [--seeds 20] [--visits 2600000]

``zeropoints``: ratios to an oracle; ``stars``: are constant stars kept, binaries found
and errors right on the survey of 300 fibers; ``families``: exposures and fibers together
at two telescopes that share no star; ``speed``: large tables. All if none is named.

The oracle knows which stars are constant and the true errors; its offsets are by least
squares. Ratios are to its rms error on the same mock, worst and mean over the seeds.
Mocks: Xiong et al. 2021, section 3.3, with errors drawn per visit and per star, and a
survey like APOGEE's with 300 fibers and 12% binaries (`tests/calibrate/mocks.py`).
"""

import argparse
import importlib.util
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.calibrate.errors import fit_error_model
from steadystar.calibrate.solve import Design, solve_offsets
from steadystar.calibrate.zeropoint import fit_zeropoints
from steadystar.data.status import Status
from steadystar.infer.summary import summarize_stars

_MOCKS = Path(__file__).parents[1] / "tests" / "calibrate" / "mocks.py"


def load_mocks():
    spec = importlib.util.spec_from_file_location("calibration_mocks", _MOCKS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def oracle(visits: pl.DataFrame, truth: dict) -> float:
    star = visits["star_id"].rank("dense").to_numpy().astype(np.intp) - 1
    use, n = truth["constant"], truth["n_groups"]
    design = Design(
        star[use],
        truth["group"][use][None],
        int(star.max()) + 1,
        n,
        np.zeros(n, np.intp),
    )
    weight = truth["sigma"][use] ** -2
    offset = solve_offsets(design, weight, visits["rv_raw"].to_numpy()[use])
    return float(np.std(offset - truth["zero"]))


def compare(name: str, make, by: str, seeds: int, methods: tuple[str, ...]) -> None:
    print(f"\n{name}, {seeds} seeds")
    print(f"{'method':>10} {'rms km/s':>9} {'mean':>7} {'worst':>7} {'pull':>6}")
    made = [make(seed) for seed in range(seeds)]
    best = [oracle(*mock) for mock in made]
    print(f"{'oracle':>10} {np.mean(best):9.4f} {1:7.3f} {1:7.3f}")
    for method in methods:
        rms, pull = [], []
        for visits, truth in made:
            table = fit_zeropoints(visits, [by], method).offsets[by.replace(",", "+")]
            off = table["offset"].to_numpy() - truth["zero"]
            off -= off.mean()
            rms.append(np.std(off))
            pull.append(np.std(off / table["offset_err"].to_numpy()))
        ratio = np.divide(rms, best)
        print(
            f"{method:>10} {np.mean(rms):9.4f} {ratio.mean():7.3f} {ratio.max():7.3f} "
            f"{np.sqrt(np.mean(np.square(pull))):6.2f}"
        )


def judged(name: str, mocks, seeds: int, **options) -> None:
    """Verdicts on stars, and errors, after zero points and errors were calibrated."""
    print(f"\n{name}, {seeds} seeds")
    print(
        "  rms m/s  oracle    kept  missed   scale   floor   pulls by S/N (3000 visits)"
    )
    for seed in range(seeds):
        visits, truth = mocks.fibers(seed, **options)
        zero = fit_zeropoints(visits, ["fiber"])
        out = zero.apply(visits)
        model = fit_error_model(out)
        out = model.apply(out)
        stars = summarize_stars(out)
        steady = truth["amplitude"][stars["star_id"].to_numpy()] == 0
        constant = stars["constant"].to_numpy()
        off = zero.offsets["fiber"]["offset"].to_numpy() - truth["zero"]
        low, high = pulls(out, truth)
        print(
            f"{1000 * off.std():9.2f} {1000 * oracle(visits, truth):7.2f} "
            f"{constant[steady].mean():7.2%} {constant[~steady].mean():7.2%} "
            f"{model.scale:7.3f} {model.floor:7.4f}   {low:.3f} to {high:.3f}"
        )


def pulls(out: pl.DataFrame, truth: dict) -> tuple[float, float]:
    """Least and greatest width of the deviations of constant stars over their errors."""
    rows = truth["constant"]
    star = out["star_id"].rank("dense").to_numpy().astype(np.intp)[rows] - 1
    rv, err = (out[name].to_numpy()[rows] for name in ("rv", "rv_err"))
    total = np.bincount(star, err**-2)
    mean = np.bincount(star, err**-2 * rv) / np.where(total > 0, total, 1)
    pull = (rv - mean[star]) / np.sqrt(err**2 - 1 / total[star])
    ordered = pull[np.argsort(out["snr"].to_numpy()[rows], kind="stable")]
    widths = [np.std(part) for part in np.array_split(ordered, len(pull) // 3000)]
    return min(widths), max(widths)


def families(mocks, seeds: int) -> None:
    print(f"\nTwo telescopes, exposures and fibers together, {seeds} seeds")
    print("  rms m/s  pull   sets   lamp: named / all, false")
    for seed in range(seeds):
        visits, truth = mocks.two_sites(seed)
        zero = fit_zeropoints(visits, ["telescope,exposure_id", "telescope,fiber"])
        out = zero.apply(visits)
        miss = out["correction"].to_numpy() - truth["zero"]
        error = out["correction_err"].to_numpy()
        for one in range(2):
            miss[truth["site"] == one] -= miss[truth["site"] == one].mean()
        sets = zero.offsets["telescope+exposure_id"]["component"].n_unique()
        named = (out["status"].to_numpy() & int(Status.LAMP_OUTLIER)) != 0
        exposure = visits.select("telescope", "exposure_id").with_columns(
            true=truth["lamp"], named=named
        )
        each = exposure.unique()
        print(
            f"{1000 * miss.std():9.1f} {np.std(miss / error):5.2f} "
            f"{sets:6d}   {each.filter('named', 'true').height} / "
            f"{each['true'].sum()}, {each.filter('named', ~pl.col('true')).height}"
        )


def timed(what: str, work):
    start = time.perf_counter()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:>28} {time.perf_counter() - start:7.1f} s   peak {peak:.2f} GB")
    return result


def speed(visits: pl.DataFrame, by: list[str]) -> None:
    print(f"\n{len(visits)} visits, {visits['star_id'].n_unique()} stars, by {by}")
    zero = timed("fit_zeropoints (joint)", lambda: fit_zeropoints(visits, by))
    out = timed("apply", lambda: zero.apply(visits))
    errors = timed("fit_error_model", lambda: fit_error_model(out))
    out = errors.apply(out)
    timed("summarize_stars", lambda: summarize_stars(out))


def exposures(fields: int, stars: int = 190, visits: int = 48) -> pl.DataFrame:
    """Many fields of one spectrograph each, half of all possible visits."""
    rng = np.random.default_rng(0)
    shape = (fields, stars, visits)
    f, s, e = np.nonzero(rng.random(shape) < 0.5)
    star = f * stars + s
    n = fields * stars
    zero = rng.normal(0, 1, (fields, visits))
    varies = rng.random(n) < 0.12
    amplitude = varies * np.exp(rng.uniform(np.log(0.5), np.log(30), n))
    err = rng.uniform(0.2, 1.5, n)[star]
    rv = rng.normal(0, 30, n)[star] + zero[f, e]
    rv += amplitude[star] * np.sin(rng.uniform(0, 2 * np.pi, len(f)))
    rv += rng.normal(0, 1, len(f)) * np.hypot(err, 0.1)
    return pl.DataFrame(
        {"star_id": star, "field": f, "exposure_id": e, "rv": rv, "rv_err": err}
    )


def main() -> None:
    parts = ("zeropoints", "stars", "families", "speed")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--visits", type=int, default=2_600_000)
    options = parser.parse_args()
    mocks = load_mocks()
    wanted = options.parts or parts
    few = max(1, options.seeds // 4)
    if "zeropoints" in wanted:
        zeropoints(mocks, options.seeds)
    if "stars" in wanted:
        judged("300 fibers", mocks, few)
        quiet = {"error": 3.0, "floor": 0.02}
        judged("300 fibers, 3/SNR and a floor of 20 m/s", mocks, few, **quiet)
    if "families" in wanted:
        families(mocks, few)
    if "speed" in wanted:
        stars = round(options.visits / 7.5)
        speed(mocks.fibers(0, stars, 600)[0], ["fiber"])
        speed(exposures(max(1, options.visits // 5400)), ["field,exposure_id"])


def zeropoints(mocks, seeds: int) -> None:
    by = "spectrograph,arm,exposure_id"
    for errors in ("visit", "star"):
        compare(
            f"Xiong's mock, errors per {errors}",
            lambda seed, errors=errors: mocks.xiong(seed, errors=errors),
            by,
            seeds,
            ("joint", "xiong", "linear"),
        )
    few = max(1, seeds // 2)
    compare("300 fibers", mocks.fibers, "fiber", few, ("joint", "linear"))


if __name__ == "__main__":
    main()
