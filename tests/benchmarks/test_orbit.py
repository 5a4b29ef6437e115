"""The benchmark of orbits: beside thejoker where it is installed, and its own binaries."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from steadystar.infer.orbit import fit_orbit
from steadystar.infer.orbit_prior import OrbitOptions

QUICK = OrbitOptions(
    min_period=2.0,
    max_period=300.0,
    jitter=0.0,
    v0_mean=0.0,
    n_prior=2**18,
    max_prior=2**19,
    min_survivors=1,
)


@pytest.fixture(scope="module")
def orbit():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("orbit")


def test_thejoker_finds_the_same_posterior(orbit):
    pytest.importorskip("thejoker")
    table = orbit.uncertain()
    ours = fit_orbit(table, replace(QUICK, n_samples=2000)).samples
    *_, theirs = orbit.joker(table, QUICK, 100_000)
    for name in ("e", "k", "v0"):
        assert ks_2samp(ours[name].to_numpy(), theirs[name]).pvalue > 1e-3, name


def test_binaries_of_the_benchmark_have_the_spread_that_the_prior_gives(orbit):
    rng = np.random.default_rng(1)
    drawn = [orbit.binary(rng, 3, QUICK, 1.0)[1] for _ in range(400)]
    middle = np.median([np.log(one["period"]) for one in drawn])
    # The median of 400 from a range of ln 150 is known to 0.125.
    assert middle == pytest.approx(np.log(np.sqrt(2 * 300)), abs=0.45)
    # A beta distribution with 0.867, 3.03 has its mean at 0.2225, width 0.188.
    assert np.mean([one["e"] for one in drawn]) == pytest.approx(0.2225, abs=0.035)
