"""Orbits: speed beside thejoker in one run, and how often limits hold the truth.

    python benchmarks/orbit.py speed               10 visits, 10^6 samples of the prior
    python benchmarks/orbit.py speed --thejoker    and thejoker, if it is installed
    python benchmarks/orbit.py many --stars 200    stars an hour, by number of visits
    python benchmarks/orbit.py truth --stars 200   ranks of the truth, by method
    python benchmarks/orbit.py agreement           quantiles beside thejoker's

On a GPU (JAX takes it if it is there) `speed` and `many` print its figures.
"""

import argparse
import time
import warnings
from dataclasses import replace

import numpy as np
import polars as pl
from scipy.stats import ks_2samp, kstest

from steadystar.infer.orbit import _velocities, fit_orbit, fit_orbits
from steadystar.infer.orbit_likelihood import ln_likelihoods
from steadystar.infer.orbit_prior import OrbitOptions, prior_batch
from steadystar.infer.star_visits import usable_visits
from steadystar.simulate.orbits import orbital_velocity

EPOCH = 2_458_000.0


def binary(rng, count, options, err, baseline=1000.0, name="star"):
    """Visits of a binary drawn from the prior, and its elements."""
    period = np.exp(rng.uniform(np.log(options.min_period), np.log(options.max_period)))
    e = min(rng.beta(options.eccentricity_a, options.eccentricity_b), 0.95)
    k = rng.normal() * np.sqrt(options.k_variance(np.array([period]), np.array([e]))[0])
    when = np.sort(rng.uniform(0, baseline, count))
    rv = orbital_velocity(
        when,
        period=period,
        eccentricity=e,
        periastron=rng.uniform(0, period),
        semi_amplitude=k,
        omega=rng.uniform(0, 2 * np.pi),
    )
    table = pl.DataFrame(
        {
            "star_id": [name] * count,
            "bjd": EPOCH + when,
            "rv": rv + rng.normal(0, err, count),
            "rv_err": np.full(count, err),
        }
    )
    return table, {"period": period, "e": e, "k": abs(k)}


def uncertain():
    """Five visits that fit many periods: those of tests/infer/test_orbit.py."""
    return pl.DataFrame(
        {
            "star_id": ["a"] * 5,
            "bjd": EPOCH + np.array([13.512, 18.01, 37.506, 46.541, 53.833]),
            "rv": [27.95, 12.35, 32.6, 17.3, 11.14],
            "rv_err": [2.0, 2.5, 2.0, 3.0, 2.5],
        }
    )


def speed(args) -> None:
    import jax

    options = OrbitOptions(min_period=2.0, max_period=1000.0)
    print(f"{jax.devices()[0].platform}: {options.n_prior} samples of the prior")
    begin = time.perf_counter()
    batch = prior_batch(options, 0)
    print(f"drawing the prior, once for all stars: {time.perf_counter() - begin:.2f} s")
    rng = np.random.default_rng(1)
    for count in (5, 10, 20, 50):
        table, _ = binary(rng, count, options, 1.0)
        star = _velocities(usable_visits(table), options)
        ln_likelihoods(star, batch)
        times = []
        for _ in range(5):
            begin, cpu = time.perf_counter(), time.process_time()
            ln_likelihoods(star, batch)
            times.append((time.perf_counter() - begin, time.process_time() - cpu))
        wall, cpu = np.min(times, axis=0)
        print(f"{count:3d} visits: likelihoods {wall:.3f} s ({cpu:.3f} s CPU)")
    one = replace(options, max_prior=options.n_prior, min_survivors=1)
    table, _ = binary(rng, 10, options, 3.0)
    fit_orbit(table, one)
    begin = time.perf_counter()
    found = fit_orbit(table, one)
    ours = time.perf_counter() - begin
    print(f"10 visits, all of it: {ours:.3f} s, {len(found.samples)} samples")
    if args.thejoker:
        prior, sampling, number, _ = joker(table, options, 1_000_000)
        print(
            f"thejoker, 1000000 samples: prior {prior:.1f} s, sampling {sampling:.1f} s, "
            f"{number} samples; {sampling / ours:.0f} times as long, with its prior "
            f"{(prior + sampling) / ours:.0f} times"
        )


def joker(table, options, number):
    """Times and samples of thejoker on the same visits with the same prior."""
    warnings.filterwarnings("ignore")
    import astropy.units as u
    import thejoker
    from astropy.time import Time

    bjd = table["bjd"].to_numpy()
    middle = Time((bjd.min() + bjd.max()) / 2, format="jd", scale="tdb")
    kms = u.km / u.s
    data = thejoker.RVData(
        t=Time(bjd, format="jd", scale="tdb"),
        rv=table["rv"].to_numpy() * kms,
        rv_err=table["rv_err"].to_numpy() * kms,
        t_ref=middle,
    )
    begin = time.perf_counter()
    prior = thejoker.JokerPrior.default(
        P_min=options.min_period * u.day,
        P_max=options.max_period * u.day,
        sigma_K0=options.k_sigma * kms,
        sigma_v=options.v0_sigma * kms,
    )
    rng = np.random.default_rng(1)
    drawn = prior.sample(size=number, rng=rng)
    between = time.perf_counter()
    found = thejoker.TheJoker(prior, rng=rng).rejection_sample(data, drawn)
    end = time.perf_counter()
    samples = {
        "period": found["P"].to_value(u.day),
        "e": np.asarray(found["e"]),
        "k": np.abs(found["K"].to_value(kms)),
        "v0": found["v0"].to_value(kms),
    }
    return between - begin, end - between, len(found), samples


def agreement(args) -> None:
    """Compare the posteriors of five visits; stored quantiles of a test come from here."""
    table = uncertain()
    options = OrbitOptions(
        min_period=2.0, max_period=300.0, jitter=0.0, v0_mean=0.0, n_samples=4000
    )
    ours = fit_orbit(table, options).samples
    *_, number, theirs = joker(table, options, args.samples)
    print(f"{len(ours)} samples of ours, {number} of thejoker")
    for name, values in theirs.items():
        mine = ours[name].to_numpy()
        if name == "period":
            mine, values = np.log(mine), np.log(values)
        test = ks_2samp(mine, values)
        quantiles = np.percentile(values, [5, 16, 25, 50, 75, 84, 95])
        print(name, f"p = {test.pvalue:.3f}", quantiles.round(4).tolist())


def many(args) -> None:
    options = OrbitOptions()
    rng = np.random.default_rng(2)
    for count in (4, 6, 10, 20, 50):
        stars = [
            binary(rng, count, options, 0.3, name=f"s{i}")[0] for i in range(args.stars)
        ]
        fit_orbits(stars[0], options=options)
        begin, cpu = time.perf_counter(), time.process_time()
        found = fit_orbits(pl.concat(stars), options=options).orbits
        wall = (time.perf_counter() - begin) / args.stars
        used = (time.process_time() - cpu) / args.stars
        how = found["method"].value_counts(sort=True).rows()
        print(
            f"{count} visits: {wall:.2f} s a star ({used:.2f} s CPU), "
            f"10^4 stars in {wall * 1e4 / 3600:.1f} h; {how}",
            flush=True,
        )


def truth(args) -> None:
    options = OrbitOptions(
        min_period=2.0, max_period=1000.0, jitter=0.1, v0_mean=0.0, v0_sigma=5.0
    )
    rng = np.random.default_rng(3)
    ranks: dict[tuple[str, int], list] = {}
    for number in range(args.stars):
        count = int(rng.choice([4, 6, 10, 25]))
        jitter = options.jitter * np.exp(options.jitter_width * rng.normal())
        table, true = binary(rng, count, options, 0.5, name=f"s{number}")
        shift = rng.normal(0, 5) + rng.normal(0, jitter, count)
        table = table.with_columns(pl.col("rv") + pl.Series(shift))
        found = fit_orbit(table, options)
        key = (found.summary["method"], count)
        ranks.setdefault(key, []).append(
            [(found.samples[n] < value).mean() for n, value in true.items()]
        )
    for (method, count), values in sorted(ranks.items()):
        array = np.array(values)
        inside = ((array > 0.16) & (array < 0.84)).mean(axis=0)
        p = [kstest(column, "uniform").pvalue for column in array.T]
        print(
            f"{method}, {count} visits, {len(values)} stars: truth of period, e, K within "
            f"68% limits {inside.round(2).tolist()}; ranks uniform p {np.round(p, 3)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = {"speed": speed, "many": many, "truth": truth, "agreement": agreement}
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--thejoker", action="store_true")
    parser.add_argument("--stars", type=int, default=20)
    parser.add_argument("--samples", type=int, default=4_000_000)
    args = parser.parse_args()
    kinds[args.kind](args)


if __name__ == "__main__":
    main()
