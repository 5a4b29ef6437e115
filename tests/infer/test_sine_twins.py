"""The fast ways to powers and fits of sines, against slow and obvious twins."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from steadystar.infer.sine_fit import _inverse, fit_sines, fit_sines_at
from steadystar.infer.sines import Sampling


def star(n=14, zeros=2, seed=0):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(-100, 100, n))
    zero = np.arange(n) % zeros
    err = rng.uniform(0.2, 0.6, n)
    rv = 5 * np.sin(2 * np.pi * t / 3.7) + 20 * zero + rng.normal(size=n) * err
    return t, rv, err, zero


def power_of_columns(sampling, frequency, z):
    """Gram and Schmidt in full, one frequency after the other."""
    out = np.zeros(len(frequency))
    for i, f in enumerate(frequency):
        ((_, u, v),) = sampling.columns(np.array([f]))
        out[i] = ((u @ z) ** 2 + (v @ z) ** 2)[0] / (z @ z)
    return out


@pytest.mark.parametrize("known", [(), (0.13, 0.27)])
def test_power_from_sums_is_that_of_orthonormal_columns(known):
    t, rv, err, zero = star()
    sampling = Sampling.of(t, err, zero, np.array(known))
    z = sampling.whiten(rv)
    frequency = np.random.default_rng(1).uniform(0.001, 5, 300)
    # At known frequencies and at none at all nothing is left to explain.
    frequency = np.r_[frequency, known, 1e-9]
    slow = power_of_columns(sampling, frequency, z)
    # Differences of sums of squares: rounding.
    assert_allclose(sampling.power(frequency, z), slow, atol=1e-10)
    assert_allclose(slow[300:-1], 0, atol=1e-10)
    many = np.broadcast_to(z, (len(frequency), len(z)))
    assert_allclose(sampling.power(frequency, many), slow, atol=1e-10)


def test_a_pair_that_is_one_column_has_the_power_of_one():
    t = np.arange(10.0) - 4.5
    sampling = Sampling.of(t, np.ones(10), np.zeros(10, int), np.empty(0))
    # At one half cycle between visits the sine follows the cosine, up to a factor.
    z = sampling.whiten(np.random.default_rng(2).normal(size=10))
    half = np.array([0.5, 1.5])
    assert_allclose(
        sampling.power(half, z), power_of_columns(sampling, half, z), atol=1e-10
    )


def climb(sampling, frequency, z, reach):
    """`Sampling.refine` with every power from scratch."""
    seen_f, seen_p = [], []
    center = frequency.copy()
    for half in reach * 0.25 ** np.arange(3):
        powers = [sampling.power(center + d, z) for d in (-half, 0, half)]
        seen_f += [center - half, center, center + half]
        seen_p += powers
        left, middle, right = powers
        bend = left - 2 * middle + right
        vertex = 0.5 * half * (left - right) / np.where(bend < 0, bend, 1)
        vertex = np.clip(vertex, -half, half)
        center = center + np.where(bend < 0, vertex, np.sign(right - left) * half)
    seen_f.append(center)
    seen_p.append(sampling.power(center, z))
    best = np.argmax(seen_p, axis=0)
    own = np.arange(len(frequency))
    return np.array(seen_f)[best, own], np.array(seen_p)[best, own]


def test_peaks_are_climbed_as_with_every_power_from_scratch():
    t, rv, err, zero = star(30)
    sampling = Sampling.of(t, err, zero, np.empty(0))
    z = sampling.whiten(rv)
    start = np.r_[1 / 3.7 + 0.0008, np.linspace(0.05, 2, 40)]
    fast, slow = sampling.refine(start, z, 1e-3), climb(sampling, start, z, 1e-3)
    # Next to a top the power is flat: its rounding is the square of the frequency's.
    assert_allclose(fast[0], slow[0], atol=1e-7)
    assert_allclose(fast[1], slow[1], atol=1e-10)
    assert fast[1][0] > 0.9


def fit_one(t, rv, err, zero, frequency, reach, noise_known):
    """Gauss and Newton for one set of sines, with one least-squares fit at a time."""
    m = len(frequency)
    constants = np.stack([zero == one for one in np.unique(zero)], 1).astype(float)
    current, scatter = frequency.copy(), 0.0
    freedom = len(t) - constants.shape[1] - 3 * m
    for i in range(10):
        sigma = np.hypot(err, scatter)
        phase = 2 * np.pi * current * t[:, None]
        c, s = np.cos(phase), np.sin(phase)
        linear = np.concatenate([constants, c, s], 1)
        best, *_ = np.linalg.lstsq(linear / sigma[:, None], rv / sigma, rcond=1e-12)
        a, b = best[constants.shape[1] :].reshape(2, -1)
        slope = 2 * np.pi * t[:, None] * (b * c - a * s)
        design = np.concatenate([linear, slope], 1) / sigma[:, None]
        left = rv - linear @ best
        if freedom > 0 and not noise_known:
            scatter = 0.0
            for _ in range(60):
                total = err**2 + scatter**2
                excess = (left**2 / total).sum() - freedom
                if excess <= 1e-6 * freedom:
                    break
                step = excess / (left**2 / total**2).sum()
                scatter = np.sqrt(scatter**2 + step)
        step, *_ = np.linalg.lstsq(design, left / np.hypot(err, scatter), rcond=1e-12)
        if i < 9:
            moved = current + np.clip(step[-m:], -0.3 * reach, 0.3 * reach)
            current = np.clip(moved, frequency - reach, frequency + reach)
    return current, scatter


@pytest.mark.parametrize("noise_known", [False, True])
@pytest.mark.parametrize("known", [(), (0.6,)])
def test_fits_side_by_side_are_those_of_one_after_the_other(known, noise_known):
    data = star(18)
    start = np.array([[f, *known] for f in (1 / 3.7, 0.31, 0.7, 1.3)])
    together = fit_sines_at(*data, start, reach=0.002, noise_known=noise_known)
    for one, found in zip(start, together, strict=True):
        frequency, scatter = fit_one(*data, one, 0.002, noise_known)
        # Ten steps lead both to the same place, but for rounding.
        assert_allclose(found.frequency, frequency, rtol=1e-8)
        assert found.scatter == pytest.approx(scatter, rel=1e-6, abs=1e-9)
        alone = fit_sines(*data, one, reach=0.002, noise_known=noise_known)
        assert_allclose(found.amplitude, alone.amplitude, rtol=1e-9)
        assert_allclose(found.frequency_err, alone.frequency_err, rtol=1e-6)
    assert together[0].amplitude[0] == pytest.approx(5, abs=0.6)


def test_a_fit_that_the_visits_hardly_determine_ends_nothing():
    # A sine and its slope that are nearly the same function of time at the visits.
    rng = np.random.default_rng(4)
    for nearly in 10.0 ** np.arange(-16, -4):
        design = rng.normal(size=(12, 4))
        design[:, 3] = design[:, 2] + nearly * rng.normal(size=12)
        found = _inverse(design)
        assert found.shape == (4, 4)
        if nearly > 1e-7:
            # To what is left of sixteen digits when the condition is squared.
            exact = np.linalg.pinv(design) @ np.linalg.pinv(design).T
            np.testing.assert_allclose(found, exact, rtol=1e-6)
        elif nearly < 1e-9:
            assert np.isnan(found).all()
    assert np.isnan(_inverse(rng.normal(size=(3, 4)))).all()
