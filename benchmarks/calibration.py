"""How close the zero points come to those of one who knows the truth, and how fast.

    python benchmarks/calibration.py [--seeds 20] [--visits 1000000]

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--visits", type=int, default=1_000_000)
    options = parser.parse_args()
    mocks = load_mocks()
    by = "spectrograph,arm,exposure_id"
    for errors in ("visit", "star"):
        compare(
            f"Xiong's mock, errors per {errors}",
            lambda seed, errors=errors: mocks.xiong(seed, errors=errors),
            by,
            options.seeds,
            ("joint", "xiong", "linear"),
        )
    few = max(1, options.seeds // 2)
    compare("300 fibers", mocks.fibers, "fiber", few, ("joint", "linear"))
    stars = round(options.visits / 7.5)
    speed(mocks.fibers(0, stars, 600)[0], ["fiber"])
    speed(exposures(max(1, options.visits // 4560)), ["field,exposure_id"])


if __name__ == "__main__":
    main()
