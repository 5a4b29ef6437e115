"""A cross-match of a million stars with a million others: ours beside astropy's.

    python benchmarks/crossmatch.py [--stars N] [--repeats N]

astropy's ``match_coordinates_sky`` gives every star its nearest neighbor, at any distance,
and lets several stars share one; ours is one to one, within a radius, and follows proper
motions. Both start from arrays of degrees. The counterparts of stars that have one must be
the same. Repeats are interleaved.
"""

import argparse
import statistics
import time

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky

from steadystar.survey.neighbors import mutual_neighbors

RADIUS = 3.7


def tables(size: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, size)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, size)))
    motion = rng.normal(0, 8, size), rng.normal(0, 8, size)
    east = rng.normal(0, 0.5, size) / 3600 / np.cos(np.radians(dec))
    north = rng.normal(0, 0.5, size) / 3600
    order = rng.permutation(size)
    theirs = (ra + east)[order], np.clip(dec + north, -90, 90)[order]
    return (ra, dec), theirs, motion


def timed(what):
    start = time.perf_counter()
    result = what()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    ours, theirs, motion = tables(asked.stars)

    def by_astropy():
        one, other = (SkyCoord(*place, unit=u.deg) for place in (ours, theirs))
        return match_coordinates_sky(one, other)

    calls = {
        "steadystar": lambda: mutual_neighbors(ours, theirs, RADIUS),
        "steadystar, with motions": lambda: mutual_neighbors(
            ours, theirs, RADIUS, motion, 2016.0, 2019.0
        ),
        "astropy (not one to one)": by_astropy,
    }
    seconds = {name: [] for name in calls}
    found = {}
    for _ in range(asked.repeats):
        for name, call in calls.items():
            took, found[name] = timed(call)
            seconds[name].append(took)
    mine, (index, away, _) = found["steadystar"], found["astropy (not one to one)"]
    hit = mine.index >= 0
    same = np.mean(mine.index[hit] == index[hit])
    furthest = np.abs(mine.separation[hit] - away.arcsec[hit]).max()
    last = statistics.median(seconds["astropy (not one to one)"])
    print(f"{asked.stars:,} stars and as many of a catalog, median of {asked.repeats}")
    for name, took in seconds.items():
        middle = statistics.median(took)
        print(f"  {name:<26}{middle:7.2f} s   {middle / last:5.2f} of astropy's time")
    print(
        f"  {hit.sum():,} have a counterpart; {100 * same:.4f}% of them are astropy's; "
        f"separations differ by at most {furthest:.1e} arcsec"
    )
    rest = np.flatnonzero((away.arcsec <= RADIUS) & ~hit)
    shared = np.isin(index[rest], mine.index[hit])
    print(
        f"  {len(rest)} more have a neighbor that is nearer to another star "
        f"({shared.sum()} of these neighbors are taken)"
    )


if __name__ == "__main__":
    main()
