"""The fit of labels against one that has every pixel and every column, in NumPy.

The twin knows only what a star looks like (`lines_of`): its continuum is a dense
least-squares problem with the priors as rows of their own, and derivatives are finite
differences.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.kernels import spline
from steadystar.kernels.emulation import Parameters, lines_of
from steadystar.kernels.labels import Arm, Start, clip_arm, fit, record, see
from steadystar.kernels.velocity import cosines
from steadystar.models.emulator import emulators
from steadystar.models.library import bundled

RESOLUTION, ORDERS, SLOTS = 7500.0, 3, 4
SPREAD = (C_KMS / RESOLUTION / FWHM_PER_SIGMA) ** 2
WAVE = np.arange(5106.0, 5144.0, 0.12)
TRUTH = np.array([0.12, 0.2, 0.1, 1.4, 0.05, 3.0])
NAMES = ("teff", "logg", "feh", "rotation", "excess", "velocity")
STEPS = np.array([1e-5, 1e-5, 1e-5, 0.1, 1e-4, 1e-3])
BOX = np.array([[-0.2, -0.6, -0.5, 0, -0.5, -60], [0.7, 0.4, 0.5, 9, 0.5, 60.0]])
PRIOR = np.array([1.0, 4.0, 400.0])
FREEDOM = 0.1


class Case(NamedTuple):
    """One spectrum, as the kernel wants it and as the twin does."""

    arm: Arm
    data: tuple
    placed: spline.Placed
    basis: np.ndarray
    flux: np.ndarray
    weight: np.ndarray


@pytest.fixture(scope="module")
def pieces():
    return emulators(bundled("lamost-mrs-blue"), 5098.0, 5152.0, RESOLUTION)


def make(pieces, snr=60.0, seed=1):
    """A noisy star with a tilted continuum, in double precision."""
    grid = pieces.grid
    emulator = jax.tree.map(
        lambda a: a.astype(np.float64) if a.dtype == np.float32 else a,
        pieces.emulators[0],
    )
    arm = Arm(
        emulator,
        jnp.asarray(cosines(grid.size, ORDERS), np.float64),
        jnp.asarray(PRIOR),
        jnp.asarray(FREEDOM**-2),
    )
    position = grid.position(WAVE)
    apart = np.abs(position[:, None] - np.arange(grid.size))
    near = 2 / 3 - apart**2 + apart**3 / 2
    basis = np.where(apart < 1, near, np.maximum(2 - apart, 0) ** 3 / 6)
    rng = np.random.default_rng(seed)
    clean = basis @ lines(arm, SPREAD, TRUTH) + 1
    x = np.linspace(-1, 1, len(WAVE))
    flux = clean * (1.02 + 0.05 * x) + rng.normal(size=len(WAVE)) / snr
    weight = np.full(len(WAVE), snr**2)
    weight[100:120] = 0
    index = np.floor(position)
    pixels = spline.Pixels(
        index=jnp.asarray(index, np.int32),
        fraction=jnp.asarray(position - index),
        inverse=jnp.asarray(
            np.interp(
                np.arange(grid.size),
                position,
                np.arange(len(WAVE)),
                left=0,
                right=len(WAVE),
            )
        ),
        value=jnp.asarray(flux - 1),
        weight=jnp.asarray(weight),
    )
    placed = spline.place(pixels, jnp.zeros(()), SLOTS)
    data = record(placed, jnp.asarray(SPREAD))
    return Case(arm, data, placed, basis, flux, weight)


@pytest.fixture(scope="module")
def case(pieces):
    return make(pieces)


seen = jax.jit(lines_of)


def lines(arm, spread, values):
    star = Parameters(*(jnp.asarray(one) for one in (values[:3], values[3])),
                      jnp.asarray(spread), *map(jnp.asarray, values[4:]))  # fmt: skip
    return np.asarray(seen(arm.emulator, star))


def columns(case, values):
    """Columns of the continuum at the pixels: the star times something smooth."""
    star = 1 + lines(case.arm, float(case.data.spread), values)
    return case.basis @ (np.asarray(case.arm.smooth) * star).T


def continuum(case, values):
    """Solve for the continuum; rows are pixels, then priors, that of the spread last."""
    root = np.sqrt(case.weight)
    inner = np.concatenate(
        [root[:, None] * columns(case, values), np.diag(np.sqrt(PRIOR))]
    )
    wanted = np.concatenate([root * case.flux, np.sqrt(PRIOR) * np.eye(ORDERS)[0]])
    strengths = np.linalg.lstsq(inner, wanted)[0]
    left = np.append(wanted - inner @ strengths, -values[4] / FREEDOM)
    return strengths, np.concatenate([inner, np.zeros((1, ORDERS))]), left


def dense(case, values):
    """Chi squared, half its second derivatives, half the gradient downhill."""
    strengths, inner, left = continuum(case, values)
    outer = np.zeros((len(left), 6))
    for k, step in enumerate(STEPS):
        move = step * np.eye(6)[k]
        slope = (
            columns(case, values + move) - columns(case, values - move)
        ) @ strengths
        outer[: len(slope), k] = np.sqrt(case.weight) * slope / (2 * step)
    outer[-1, 4] = 1 / FREEDOM
    free = outer - inner @ np.linalg.lstsq(inner, outer)[0]
    return left @ left, free.T @ free, free.T @ left


def minimum(case, begin, box, scale):
    """The least chi squared that SciPy finds within a box, and where."""
    best = least_squares(
        lambda x: continuum(case, begin + x * scale)[2],
        np.clip(0, *((box - begin) / scale)),
        bounds=(box - begin) / scale,
        xtol=1e-10,
        ftol=1e-10,
    )
    assert best.success
    return 2 * best.cost, begin + best.x * scale


model_of = jax.jit(see)
clipped = jax.jit(clip_arm, static_argnames="clip")
run = jax.jit(
    lambda arms, data, star, own, limits, rounds: fit(
        arms, data, Start(star, own), limits, rounds=rounds, enough=1e-4
    )
)


def follow(case, start, limits=BOX, rounds=60):
    return run(
        (case.arm,),
        (case.data,),
        jnp.asarray(start[:4]),
        jnp.asarray(start[4:])[None],
        jnp.asarray(limits),
        jnp.asarray(rounds),
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_chi_squared_and_derivatives_are_those_of_dense_least_squares(case, seed):
    rng = np.random.default_rng(seed)
    values = TRUTH + rng.normal(size=6) * [0.02, 0.05, 0.05, 0.3, 0.05, 1.0]
    # After one look it knows where it began.
    found = follow(case, values, rounds=1)
    chi2, normal, pull = dense(case, values)
    np.testing.assert_array_equal(found.values, values)
    # The twin's smallest steps leave 1e-9; the table of the rotation's transform, whose
    # slope is not that of the straight lines between its points, half a percent.
    assert found.chi2 == pytest.approx(chi2, rel=1e-9)
    scale = np.sqrt(np.diag(normal))
    free = np.ix_(*2 * [[0, 1, 2, 4, 5]])
    relative = (np.asarray(found.normal) - normal) / np.outer(scale, scale)
    assert np.abs(relative[free]).max() < 1e-6
    assert np.abs(relative).max() < 5e-3
    downhill = (np.asarray(found.pull) - pull) / scale
    assert np.abs(pull / scale).max() > 2
    assert np.abs(np.delete(downhill, 3)).max() < 1e-4
    assert np.abs(downhill[3]) < 0.01 * np.abs(pull[3] / scale[3]) + 0.05


def test_the_gradient_is_that_of_chi_squared(case):
    values = TRUTH + np.array([0.02, 0.05, -0.05, 0.2, 0.03, -0.8])
    found = follow(case, values, rounds=1)
    for k, step in enumerate(STEPS):
        move = step * np.eye(6)[k]
        ends = [follow(case, values + s * move, rounds=1).chi2 for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        tolerance = 5e-3 if NAMES[k] == "rotation" else 1e-4
        assert -2 * found.pull[k] == pytest.approx(float(slope), rel=tolerance)


@pytest.mark.parametrize("start", [[0.3, 0.1, -0.2, 0.2, 0.0, 8.0], [0, -0.2, 0.1, 4.0, 0.0, 0.0]])  # fmt: skip
def test_a_fit_ends_at_the_minimum(case, start):
    found = follow(case, np.array(start))
    scale = np.sqrt(np.diag(np.linalg.inv(found.normal)))
    chi2, values = minimum(case, TRUTH, BOX, scale)
    # It may stop where a step would gain 1e-4 of chi squared: a hundredth of an error.
    assert found.chi2 == pytest.approx(chi2, abs=1e-3)
    assert np.abs((found.values - values) / scale).max() < 0.03
    # 300 pixels at S/N 60: the truth is within a few errors.
    assert np.abs((found.values - TRUTH) / scale).max() < 4
    assert found.gain < 1e-4
    assert found.rounds < 30


def test_a_fit_stays_in_its_box_and_says_where_it_would_go(case):
    tight = BOX.copy()
    tight[0, 0] = TRUTH[0] + 0.05
    tight[1, 5] = TRUTH[5] - 2.0
    found = follow(case, np.array([0.3, 0.1, 0.0, 1.0, 0.0, -5.0]), tight)
    assert found.values[0] == tight[0, 0]
    assert found.values[5] == tight[1, 5]
    assert found.pull[0] < 0 < found.pull[5]
    rest = [1, 2, 3, 4]
    scale = np.sqrt(np.diag(found.normal))
    # The others are at the minimum that is left: no pull beyond a hundredth of an error.
    assert np.abs(found.pull[np.array(rest)] / scale[rest]).max() < 0.02
    chi2, values = minimum(case, np.asarray(found.values), tight, 1 / scale)
    assert found.chi2 == pytest.approx(chi2, abs=1e-3)
    assert np.abs((found.values - values) * scale)[rest].max() < 0.1


def test_what_is_frozen_stays(case):
    held = BOX.copy()
    held[:, 3] = 0.0
    held[:, 1] = 0.25
    found = follow(case, np.array([0.3, 0.0, 0.0, 2.0, 0.0, 0.0]), held)
    assert found.values[3] == 0.0
    assert found.values[1] == 0.25
    free = follow(case, TRUTH)
    assert found.chi2 > free.chi2 + 9
    assert found.gain < 1e-4


def test_two_arms_share_the_star_and_nothing_else(pieces, case):
    other = make(pieces, snr=30.0, seed=2)
    star, own = TRUTH[:4] + 0.01, np.array([[0.02, 2.0], [-0.03, 4.0]])
    limits = np.concatenate([BOX, BOX[:, 4:]], axis=1)
    both = run(
        (case.arm, other.arm),
        (case.data, other.data),
        *map(jnp.asarray, (star, own, limits, 1)),
    )
    alone = [
        follow(one, np.append(star, mine), rounds=1)
        for one, mine in zip((case, other), own, strict=True)
    ]
    assert both.chi2 == pytest.approx(float(alone[0].chi2 + alone[1].chi2))
    normal, pull = np.zeros((8, 8)), np.zeros(8)
    for i, one in enumerate(alone):
        at = np.r_[0:4, 4 + 2 * i : 6 + 2 * i]
        normal[np.ix_(at, at)] += one.normal
        pull[at] += one.pull
    np.testing.assert_allclose(both.normal, normal, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(both.pull, pull, rtol=1e-9, atol=1e-6)


def test_pixels_that_no_star_explains_lose_their_weight(case):
    found = follow(case, TRUTH)
    model, depths = model_of(case.arm, case.data, found.values[:4], found.values[4:])
    held = np.asarray(case.placed.weight) > 0
    at = tuple(np.argwhere(held)[[30, 150, 200]].T)
    hit = jnp.asarray(case.placed.value).at[at].add(jnp.array([0.3, -0.2, 5.0]))
    spoiled = spline.Placed(case.placed.u, hit, case.placed.weight)
    rest, scale, chi2, number = clipped(spoiled, model, depths, clip=5.0)
    lost = held & (np.asarray(rest.weight) == 0)
    assert set(map(tuple, np.argwhere(lost))) == set(zip(*at, strict=True))
    assert number == held.sum() - 3
    # Two clips at three times a scatter that begins with the mean absolute residual.
    inside = np.abs(case.flux - 1 - case.basis @ model)[case.weight > 0] * 60.0
    wanted = np.sqrt(np.pi / 2) * inside.mean()
    for _ in range(2):
        wanted = np.sqrt(np.pi / 2) * inside[inside < 3 * wanted].mean()
    assert scale == pytest.approx(wanted, rel=0.02)
    assert chi2 == pytest.approx(inside @ inside, rel=0.05)
    # With the right ones taken away the answer is that of the rest.
    again = follow(case._replace(data=record(rest, case.data.spread)), TRUTH)
    error = np.sqrt(np.diag(np.linalg.inv(found.normal)))
    assert np.abs((again.values - found.values) / error).max() < 1


def test_a_velocity_is_a_shift_in_the_logarithm_of_wavelength(pieces, case):
    # 30 km/s more: lines at wavelengths that are exp(30 / c) longer.
    there = TRUTH + 30.0 * np.eye(6)[5]
    grid, size = pieces.grid, pieces.grid.size
    spread = float(case.data.spread)
    before, after = (lines(case.arm, spread, one) for one in (TRUTH, there))
    shift = 30.0 / C_KMS / grid.step
    modes = np.fft.rfft(before) * np.exp(
        -2j * np.pi * np.arange(size // 2 + 1) * shift / size
    )
    np.testing.assert_allclose(np.fft.irfft(modes, size), after, atol=1e-5)
