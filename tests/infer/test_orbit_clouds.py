"""Clouds that sample a posterior of several modes: shares, evidence, circles, nothing."""

import numpy as np
import pytest

from steadystar.infer.orbit_clouds import Cloud, adapted, distinct, sampled, weighted

WIDTH = np.array([0.01, 0.3, 0.3, 0.2])
MODES = np.array([[1.0, 0.2, 0.0, 0.05], [1.5, -0.2, 0.1, 3.0]])
SHARES = np.array([0.8, 0.2])


def two_modes(x):
    """Normal modes, the first across the turn of the longitude; its integral is 5."""
    off = x[:, None, :] - MODES
    off[..., 3] = (off[..., 3] + np.pi) % (2 * np.pi) - np.pi
    ln = -0.5 * ((off / WIDTH) ** 2).sum(axis=-1)
    ln -= np.log(WIDTH * np.sqrt(2 * np.pi)).sum()
    return np.log(5.0) + np.logaddexp.reduce(ln + np.log(SHARES), axis=1)


@pytest.fixture(scope="module")
def found():
    """Clouds that begin beside the modes, several times too wide, and what they draw."""
    rng = np.random.default_rng(1)
    clouds = []
    for mode, off in ((0, 0.5), (0, -1.0), (1, 1.0)):
        start = Cloud(MODES[mode] + off * WIDTH, np.diag(4 * WIDTH))
        clouds.append(adapted(start, two_modes, rng, 15, 512)[0])
    kept = distinct(clouds)
    return kept, weighted(kept, two_modes, rng, 4096)


def test_modes_have_their_shares_and_the_evidence_is_the_integral(found):
    clouds, draws = found
    assert len(clouds) == 2  # two of the three have come to one mode
    # A cloud of which a quarter of the draws count is let be.
    assert draws.worth > 0.25 * len(draws.draws)
    # Of 2000 independent draws shares are known to 0.9%, the integral to 2%.
    assert draws.ln_evidence == pytest.approx(np.log(5.0), abs=0.04)
    x = draws.resampled(np.random.default_rng(2), 2000)
    second = x[:, 0] > 1.25
    assert second.mean() == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(x[second].std(axis=0), WIDTH, rtol=0.15)


def test_clouds_that_overlap_count_nothing_twice(found):
    """The first mode thrice, once beside itself: the evidence is the same."""
    first, second = found[0]
    aside = Cloud(first.center + 0.5 * WIDTH, first.lower)
    clouds = [first, aside, first, second]
    draws = weighted(clouds, two_modes, np.random.default_rng(7), 4096)
    assert draws.ln_evidence == pytest.approx(np.log(5.0), abs=0.04)
    share = draws.weights[draws.draws[:, 0] > 1.25].sum()
    assert share == pytest.approx(0.2, abs=0.03)


def test_a_turn_of_the_longitude_makes_no_difference(found):
    clouds, draws = found
    x = draws.draws[:500]
    turned = x + np.array([0, 0, 0, 4 * np.pi])
    np.testing.assert_allclose(
        clouds[0].ln_density(turned), clouds[0].ln_density(x), atol=1e-9
    )
    # The first mode lies across the turn: half of its draws begin it, half end it.
    first = x[x[:, 0] < 1.25, 3]
    assert first.min() >= 0
    assert first.max() < 2 * np.pi
    assert 0.2 < (first > np.pi).mean() < 0.6


def test_a_cloud_has_the_density_that_it_is_drawn_from():
    """The integral of the density of one cloud, by the draws of another, is one."""
    one = Cloud(np.zeros(4), np.diag([1.0, 2.0, 0.5, 0.1]))
    other = Cloud(np.full(4, 0.05), 0.11 * np.eye(4) + np.diag([1, 2, 0.5, 0.1]))
    draws = weighted([other], one.ln_density, np.random.default_rng(3), 20_000)
    assert draws.ln_evidence == pytest.approx(0.0, abs=0.05)


def test_draws_that_are_worth_little_are_drawn_again_from_better_clouds():
    """A ring: a cloud beside one part of it meets the others by chance alone."""

    def ring(x):
        radius = np.hypot(x[:, 1], x[:, 2])
        rest = x[:, 0] ** 2 + (x[:, 3] - 3) ** 2
        return -0.5 * ((radius - 1) / 0.2) ** 2 - 0.5 * rest

    start = Cloud(np.array([0.0, 1.0, 0.0, 3.0]), np.diag([1.0, 0.2, 0.2, 1.0]))
    rng = np.random.default_rng(2)
    once = weighted([adapted(start, ring, rng, 15, 128)[0]], ring, rng, 4096)
    found = sampled([start], ring, np.random.default_rng(2), 128, 4096)
    assert found.worth > 200 > once.worth
    # Worth some 500 independent samples: a half is known to 2%, the integral to 5%.
    around = found.resampled(rng, 500)
    assert (around[:, 1] < 0).mean() == pytest.approx(0.5, abs=0.1)
    area = 2 * np.pi * 0.2 * np.sqrt(2 * np.pi)
    assert found.ln_evidence == pytest.approx(np.log(area * 2 * np.pi), abs=0.2)


@pytest.mark.parametrize("ln", [-np.inf, np.nan])
def test_where_the_posterior_is_zero_there_are_no_samples(ln):
    def nowhere(x):
        return np.full(len(x), ln)

    rng = np.random.default_rng(4)
    start = Cloud(np.zeros(4), np.eye(4))
    cloud, best = adapted(start, nowhere, rng, 5, 64)
    assert best == -np.inf
    assert (cloud.center == 0).all()
    draws = weighted([cloud], nowhere, rng, 64)
    assert (draws.worth, draws.ln_evidence) == (0.0, -np.inf)
    assert draws.resampled(rng, 100).shape == (0, 4)


def test_a_peak_far_narrower_than_its_cloud_is_found():
    """A thousandth of the width in each of four coordinates: no draw hits it at first."""

    def narrow(x):
        return -0.5 * (((x - 0.3) / 1e-3) ** 2).sum(axis=1)

    start = Cloud(np.zeros(4), np.eye(4))
    cloud, best = adapted(start, narrow, np.random.default_rng(5), 30, 256)
    np.testing.assert_allclose(cloud.center, 0.3, atol=5e-4)
    width = np.diag(cloud.lower)
    # It may stay wider, as long as a quarter of its draws count.
    assert ((width > 0.7e-3) & (width < 2e-3)).all()
    assert best > -3
