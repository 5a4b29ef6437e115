"""Distances and over-luminous pairs of mock stars: how honest, how complete, how fast.

    python benchmarks/distances.py [--number 40000] [--seeds 3]
    python benchmarks/distances.py --speed 1000000

Mocks are those of ``_distance_mocks.py``. Coverage is the share of true distances inside
the 68% intervals. One core.
"""

import argparse
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from _distance_mocks import mock_stars

from steadystar import DistanceOptions
from steadystar.infer.distance import infer_distances

KINDS = {
    "single stars only": {"pairs": 0.0},
    "12% pairs, light as mass^2": {},
    "12% pairs, light as mass^3.5": {"exponent": 3.5},
    "12% pairs, m_ks_err 0.1": {"m_ks_err": 0.1},
    "30% pairs": {"pairs": 0.3},
    "12% pairs of equal stars": {"equal": True},
}
EDGES = (0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


def share(inside, chosen) -> str:
    return f"{100 * inside[chosen].mean():5.1f}%" if chosen.any() else "    - "


def coverage(number: int, seeds: int) -> None:
    for name, kind in KINDS.items():
        print(f"\n{name}: {seeds} tables of {number}")
        p, truth = [], []
        for treatment in ("mixture", "published", "ignore"):
            inside, single, pull, fractions, zeros = [], [], [], [], []
            for seed in range(seeds):
                stars = mock_stars(number, seed, **kind)
                options = DistanceOptions(pairs=treatment)
                found = infer_distances(stars.table, options)
                done = found.table
                inside.append(stars.inside(done))
                single.append(~stars.pair)
                log = np.log10(stars.distance) - done["logdis"].to_numpy()
                pull.append(log / done["logdis_err"].to_numpy())
                fractions.append(found.mixture.fraction)
                zeros.append(found.mixture.zero)
                if treatment == "mixture":
                    p.append(done["p_binary"].to_numpy())
                    truth.append(stars.pair)
            hit, alone = np.concatenate(inside), np.concatenate(single)
            far = np.concatenate(pull)
            print(
                f"  {treatment:<10} coverage {share(hit, hit | True)}, single "
                f"{share(hit, alone)}, pairs {share(hit, ~alone)}; pull "
                f"{far.mean():+.2f} +- {far.std():.2f}; learned "
                f"{100 * np.mean(fractions):.1f}% pairs, zero {np.mean(zeros):+.3f} mag"
            )
        reliability(np.concatenate(p), np.concatenate(truth))


def reliability(p, truth) -> None:
    print("  p_binary   said    true     stars")
    for low, high in pairwise(EDGES):
        chosen = (p >= low) & (p < high)
        if chosen.sum() >= 30:
            print(
                f"  {low:.2f}-{high:.2f}  {p[chosen].mean():.3f}   "
                f"{truth[chosen].mean():.3f}   {chosen.sum():7d}"
            )


def far_stars(number: int) -> None:
    stars = mock_stars(number, 11)
    both = infer_distances(stars.table).table
    alone = stars.table.with_columns(m_ks=None)
    alone = infer_distances(alone).table
    far = stars.distance > 3000
    print(f"\nbeyond 3 kpc: {far.sum()} stars")
    errors = {}
    for name, done in (("both", both), ("parallax alone", alone)):
        error = np.abs(done["dis"].to_numpy() / stars.distance - 1)[far]
        width = (done["dis_high"] - done["dis_low"]).to_numpy()[far] / 2
        errors[name] = np.median(error), np.median(width / stars.distance[far])
        print(
            f"  {name:<15} median |error| {errors[name][0]:.3f}, median width "
            f"{errors[name][1]:.3f}"
        )
    ratio = np.divide(errors["both"], errors["parallax alone"])
    print(f"  ratio: {ratio[0]:.2f} of the error, {ratio[1]:.2f} of the width")


def flag(number: int) -> None:
    stars = mock_stars(number, 12, equal=True)
    done = infer_distances(stars.table).table
    good = (stars.table["parallax"] / stars.table["parallax_error"]).to_numpy() > 10
    said = done["binary_flag"].to_numpy() == 1
    likely = done["p_binary"].to_numpy() > 0.5
    print(f"\nequal pairs (12%), parallax S/N above 10: {good.sum()} stars")
    for name, chosen in (("binary_flag = 1", said), ("p_binary > 0.5", likely)):
        found = chosen[good & stars.pair].mean()
        false = chosen[good & ~stars.pair].mean()
        print(f"  {name:<16} finds {100 * found:.1f}%, false {100 * false:.2f}%")


def speed(number: int) -> None:
    table = mock_stars(number, 13).table
    for treatment in ("mixture", "published"):
        start = time.perf_counter()
        infer_distances(table, DistanceOptions(pairs=treatment))
        print(f"{number} rows, {treatment}: {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--speed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.speed:
        speed(arguments.speed)
        return
    far_stars(arguments.number)
    flag(arguments.number)
    coverage(arguments.number, arguments.seeds)
    speed(16_000)


if __name__ == "__main__":
    main()
