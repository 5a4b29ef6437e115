"""Over-luminous stars: the published flag, and a probability that means what it says."""

import importlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steadystar import DistanceOptions, estimate_distances
from steadystar.infer.overluminous import find_overluminous
from steadystar.infer.pair_mixture import BRIGHTEST, flat_mass_ratios

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def mock_stars():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module("_distance_mocks").mock_stars


@pytest.fixture(scope="module")
def equal_pairs(mock_stars):
    stars = mock_stars(6000, 5, equal=True)
    good = (stars.table["parallax"] / stars.table["parallax_error"]).to_numpy() > 10
    return stars, find_overluminous(stars.table), good


def test_the_excess_is_the_published_formula():
    row = {"star_id": "a", "m_ks": -1.0, "m_ks_err": 0.24, "ks": 9.0, "ks_err": 0.03}
    row |= {"ebv": 0.5, "ebv_err": 0.1, "parallax": 0.9, "parallax_error": 0.04}
    found = find_overluminous(pl.DataFrame([row]))["snr_dparallax"][0]
    # Section 5 by hand: A_K = 0.15, plx_spec = 10^(0.2 (-1 - 9 + 0.15 + 10)) = 1.0715 mas,
    # sigma = sqrt(0.24^2 + 0.03^2 + 0.03^2) = 0.24372, err_spec = 0.12027 mas.
    assert found == pytest.approx((1.071519 - 0.9) / np.hypot(0.120267, 0.04), rel=1e-4)


def test_the_flag_finds_equal_pairs_and_few_others(equal_pairs):
    stars, done, good = equal_pairs
    flag = done["binary_flag"].to_numpy()
    # 420 pairs and 3000 single stars: sampling errors of 2.3% and 0.2%.
    assert flag[good & stars.pair].mean() > 0.55
    assert flag[good & ~stars.pair].mean() < 0.03


def test_the_flag_is_the_sign_of_the_excess_beyond_the_limit(equal_pairs):
    stars, done, _ = equal_pairs
    excess = done["snr_dparallax"].to_numpy()
    assert ((excess > 2) == (done["binary_flag"].to_numpy() == 1)).all()
    some = stars.table.head(300)
    stricter = find_overluminous(some, DistanceOptions(flag_sigma=3.0))
    assert ((excess[:300] > 3) == (stricter["binary_flag"].to_numpy() == 1)).all()


@pytest.mark.parametrize("equal", [False, True], ids=["flat mass ratios", "equal"])
def test_probabilities_of_pairs_are_frequencies(mock_stars, equal):
    stars = mock_stars(8000, 6, pairs=0.2, m_ks_err=0.15, equal=equal)
    p = find_overluminous(stars.table)["p_binary"].to_numpy()
    # The reliability curve: what was said, and how often it is so, in ten bins.
    place = np.minimum((10 * p).astype(int), 9)
    off = np.zeros(10)
    count = np.bincount(place, minlength=10)
    for i in np.flatnonzero(count):
        off[i] = p[place == i].mean() - stars.pair[place == i].mean()
    # Sampling makes about 0.01 of the mean; the rest is what a prior flat in distance
    # does to stars whose distances are not (a gamma distribution).
    assert np.average(np.abs(off), weights=count) < 0.05
    sure = p > 0.5
    assert sure.sum() > 250
    # 250 stars: 0.03.
    assert p[sure].mean() == pytest.approx(stars.pair[sure].mean(), abs=0.1)
    # The control: a share that is taken for everybody says nothing of anybody.
    assert p[stars.pair].mean() > p[~stars.pair].mean() + 0.1


def test_a_table_of_single_stars_has_hardly_any_pairs(mock_stars):
    stars = mock_stars(4000, 7, pairs=0.0)
    p = find_overluminous(stars.table)["p_binary"].to_numpy()
    assert p.mean() < 0.03
    assert (p > 0.5).mean() < 1e-3


def test_a_small_table_keeps_to_the_prior(mock_stars):
    stars = mock_stars(5, 8, pairs=0.0)
    p = find_overluminous(stars.table)["p_binary"].to_numpy()
    # Beta(1, 9) has the mean 0.1; five stars tell little.
    assert 0.03 < np.median(p) < 0.2


def test_a_share_that_is_known_is_taken(mock_stars):
    stars = mock_stars(2000, 9)
    vague = stars.table.with_columns(parallax_error=pl.lit(100.0))
    p = find_overluminous(vague, DistanceOptions(pair_fraction=0.4))["p_binary"]
    # Parallaxes that say nothing leave the share as it was (but for outliers, 0.003).
    assert p.to_numpy() == pytest.approx(0.4, abs=0.005)
    none = find_overluminous(stars.table, DistanceOptions(pair_fraction=0.0))[
        "p_binary"
    ]
    assert (none == 0).all()


def test_what_no_pair_can_be_is_said_and_goes_by_its_parallax(mock_stars):
    stars = mock_stars(1000, 10)
    table = stars.table.with_columns(
        # Five magnitudes too bright, of a star whose parallax is good.
        ks=pl.when(pl.int_range(pl.len()) == 0).then(pl.col("ks") - 5).otherwise("ks"),
        parallax_error=pl.lit(0.02),
        parallax=pl.Series(1000 / stars.distance),
    )
    row = estimate_distances(table).row(0, named=True)
    assert row["binary_flag"] == 1
    assert row["p_binary"] < 0.01
    assert "neither for a single star nor for a pair" in row["distance_status"]
    assert row["dis"] == pytest.approx(stars.distance[0], rel=0.1)


def test_magnitudes_that_are_all_off_are_not_taken_for_pairs(mock_stars):
    stars = mock_stars(4000, 11, pairs=0.0)
    shifted = stars.table.with_columns(m_ks=pl.col("m_ks") + 0.05)
    p = find_overluminous(shifted)["p_binary"].to_numpy()
    assert p.mean() < 0.05


def test_both_front_doors_say_the_same(equal_pairs):
    some = equal_pairs[0].table.head(500)
    done, other = find_overluminous(some), estimate_distances(some)
    for name in ("snr_dparallax", "binary_flag", "p_binary"):
        assert np.allclose(done[name], other[name], rtol=1e-6, atol=1e-9), name


def test_mass_ratios_that_are_flat_fill_the_steps_of_brightening():
    for exponent in (1.5, 3.5):
        rng = np.random.default_rng(1)
        delta = 2.5 * np.log10(1 + rng.random(200_000) ** exponent)
        counts, _ = np.histogram(delta, np.linspace(0, BRIGHTEST, 13))
        # 200 000 draws: errors below 0.12% in each step; four of them.
        assert flat_mass_ratios(exponent) == pytest.approx(counts / 200_000, abs=0.005)
