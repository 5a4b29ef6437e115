"""The likelihood of a parallax as a function of magnitude: against fine integrals."""

import jax
import numpy as np
import pytest

from steadystar.measure.luminosity_likelihood import (
    BRIGHTENING,
    Mixture,
    mixture,
    odd_ones,
    parallax_nodes,
)

SINGLE = Mixture(np.log([1.0, 1e-12, 1e-12]), np.zeros(len(BRIGHTENING)))
FINE = np.linspace(-11, 7.8, 60_001)
# Parallax, its error (mas), dereddened magnitude: of good, poor and negative ones.
CASES = [
    *((2.0, 0.03, 9.0), (1.0, 0.03, 10.0), (0.3, 0.03, 12.0), (0.3, 0.06, 12.0)),
    *((0.15, 0.05, 13.0), (0.05, 0.05, 13.0), (0.0, 0.05, 13.0), (-0.1, 0.05, 13.0)),
]
M_0_ERR = 0.03


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def likelihood(case) -> np.ndarray:
    """Of the parallax, over the magnitudes FINE, without constants."""
    parallax, error, m_0 = case
    told = 10 ** (0.2 * (FINE - m_0 + 10))
    return np.exp(-0.5 * ((parallax - told) / error) ** 2) / error


def integral(case, mean: float, sigma: float, brighter: float = 0.0) -> float:
    spread = np.hypot(sigma, M_0_ERR)
    gauss = np.exp(-0.5 * ((FINE - mean + brighter) / spread) ** 2)
    product = likelihood(case) * gauss / spread / np.sqrt(2 * np.pi)
    return float(np.log(product[FINE < 7].sum() * (FINE[1] - FINE[0])))


def nodes(case, **pairs):
    parallax, error, m_0 = case
    return parallax_nodes(
        *(np.array([v]) for v in (m_0, M_0_ERR, parallax, error)), **pairs
    )


def near(case) -> float:
    """Magnitude at the parallax, or where one sigma would put it."""
    parallax, error, m_0 = case
    return m_0 + 5 * np.log10(max(parallax, error)) - 10


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.4])
def test_nodes_integrate_as_a_fine_grid_does(case, sigma):
    for off in (-1.0, -0.5, 0.0, 0.5):
        want = integral(case, near(case) + off, sigma)
        if want < integral(case, near(case), sigma) - 8:
            continue  # four sigma off: the other kinds of stars take over there
        got = mixture(
            nodes(case), np.array([near(case) + off]), np.array([sigma]), SINGLE
        )
        # Nodes of poor parallaxes are wide, and blur them: 0.15 is the largest.
        assert float(got[0]) == pytest.approx(want, abs=0.16)
    if case[0] > 10 * case[1]:
        got = mixture(nodes(case), np.array([near(case)]), np.array([sigma]), None)
        assert float(got[0]) == pytest.approx(
            integral(case, near(case), sigma), abs=1e-3
        )


@pytest.mark.parametrize("case", CASES)
def test_a_mixture_is_the_sum_of_its_parts(case):
    kind = np.array([0.7, 0.25, 0.05])
    bright = np.linspace(1, 2, len(BRIGHTENING))
    bright /= bright.sum()
    mean, sigma = near(case) + 0.3, 0.25
    got = mixture(
        nodes(case),
        np.array([mean]),
        np.array([sigma]),
        Mixture(np.log(kind), np.log(bright)),
    )
    odd = likelihood(case)[FINE < 7].sum() * (FINE[1] - FINE[0]) / 18
    double = [
        share * np.exp(integral(case, mean, sigma, move))
        for share, move in zip(bright, BRIGHTENING, strict=True)
    ]
    single = np.exp(integral(case, mean, sigma))
    want = np.log(kind @ np.array([single, sum(double), odd]))
    assert float(got[0]) == pytest.approx(want, abs=0.12)


def test_shares_need_not_sum_to_one():
    case, at = CASES[1], (np.array([0.2]), np.array([0.2]))
    kind, even = np.log([0.7, 0.25, 0.05]), np.zeros(len(BRIGHTENING))
    one = mixture(nodes(case), *at, Mixture(kind, even))
    other = mixture(nodes(case), *at, Mixture(kind + 3, even - 2))
    assert float(one[0]) == pytest.approx(float(other[0]), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_pairs_averaged_once_are_pairs_averaged_each_time(case):
    mean = near(case) + np.array([-0.2, 0.3, 0.8])
    got = [
        float(mixture(nodes(case, pairs=True), np.array([m]), np.array([0.2]), None)[0])
        for m in mean
    ]
    moves = 2.5 * np.log10(2) * (np.arange(40) + 0.5) / 40
    want = [
        np.log(np.mean([np.exp(integral(case, m, 0.2, b)) for b in moves]))
        for m in mean
    ]
    assert got == pytest.approx(want, abs=0.16)


def test_a_negative_parallax_prefers_the_bright_and_excludes_the_faint():
    case = (-0.1, 0.05, 13.0)
    at = near(case) + np.array([-3.0, -1.5, 0.0, 0.5, 1.0])
    told = [
        float(mixture(nodes(case), np.array([m]), np.array([0.2]), None)[0]) for m in at
    ]
    assert (np.diff(told) < 0).all()
    # Farther than 30 kpc or 60 is all the same to it: 1 - 1/2 of a sigma at 3 mag.
    assert told[0] - told[1] < 1.0
    # At one sigma's parallax it is 3 sigma off, one magnitude fainter 3.6.
    want = [integral(case, m, 0.2) for m in at]
    assert told == pytest.approx(want, abs=0.16)


def test_an_odd_star_bounds_what_a_single_one_can_cost():
    case = CASES[0]
    parts = Mixture(np.log([0.89, 0.1, 0.01]), np.zeros(len(BRIGHTENING)))
    far = float(mixture(nodes(case), np.array([7.0]), np.array([0.2]), parts)[0])
    least = float(odd_ones(nodes(case))[0]) + np.log(0.01)
    assert far == pytest.approx(least, abs=1e-3)


def test_stars_beyond_all_magnitudes_stay_finite():
    for case in ((50.0, 0.1, 15.0), (0.01, 0.001, 4.0), (-3.0, 0.1, 12.0)):
        parts = Mixture(np.log([0.89, 0.1, 0.01]), np.zeros(len(BRIGHTENING)))
        told = mixture(nodes(case), np.array([0.0]), np.array([0.2]), parts)
        assert np.isfinite(float(told[0]))


def test_numbers_are_as_precise_as_the_mean():
    mean = np.array([0.5], np.float32)
    told = mixture(nodes(CASES[1]), mean, np.array([0.2]), SINGLE)
    assert told.dtype == np.float32
