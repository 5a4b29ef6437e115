"""The marginal likelihood of a velocity, against the same integral with dense matrices."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from scipy.stats import multivariate_normal

from steadystar.data.spectra import LogGrid
from steadystar.kernels import spline, velocity
from steadystar.kernels.spread import spread
from steadystar.models.lowrank import PHASES, StarLines

GRID = LogGrid(5000.0, 4e-5, 160)
RANK, ORDERS = 3, 4


@dataclass
class Problem:
    """One spectrum, its prior, and where its pixels are, in grid steps."""

    prior: velocity.LinePrior
    position: np.ndarray
    value: np.ndarray
    weight: np.ndarray

    def pixels(self, dtype) -> spline.Pixels:
        index = np.floor(self.position)
        number = np.arange(len(self.position), dtype=float)
        inverse = np.interp(
            np.arange(GRID.size), self.position, number, left=0, right=len(number)
        )
        return spline.Pixels(
            index=jnp.asarray(index, jnp.int32),
            fraction=jnp.asarray(self.position - index, dtype),
            inverse=jnp.asarray(inverse, dtype),
            value=jnp.asarray(self.value, dtype),
            weight=jnp.asarray(self.weight, dtype),
        )

    def in_precision(self, dtype) -> velocity.LinePrior:
        return jax.tree.map(lambda a: a.astype(dtype), self.prior)


def draw(seed=1, noise=0.01, shift=1.7) -> Problem:
    """Templates of random lines, and a spectrum that is none of them."""
    rng = np.random.default_rng(seed)
    log_wave = np.log(GRID.wave[0]) + GRID.step * np.arange(-5, GRID.size + 5, 0.25)
    centers = np.log(GRID.wave[0]) + GRID.step * rng.uniform(20, 140, 25)
    profile = np.exp(-0.5 * ((log_wave - centers[:, None]) / (1.4 * GRID.step)) ** 2)
    lines = -rng.uniform(0.0, 0.4, (30, 25)) @ profile
    learned = StarLines.learn(log_wave, lines, GRID, rank=RANK)
    reach = GRID.size // 2
    prior = velocity.LinePrior(
        lines=jnp.asarray(
            np.pad(learned.coefficients, ((0, 0), (0, 0), (reach, reach)))
        ),
        anchors=jnp.asarray(learned.anchors),
        smooth=jnp.asarray(velocity.cosines(GRID.size, ORDERS)),
        still=jnp.asarray(rng.normal(size=(1, GRID.size)) * 0.02),
        precision=jnp.asarray([1.0] * RANK + [100.0] * ORDERS + [4.0]),
    )
    prior = jax.tree.map(lambda a: a.astype("float64"), prior)
    position = np.sort(rng.uniform(4, GRID.size - 5, 230))
    at = np.log(GRID.wave[0]) + GRID.step * (position - shift)
    true = -rng.uniform(0.0, 0.4, 25) @ np.exp(
        -0.5 * ((at - centers[:, None]) / (1.4 * GRID.step)) ** 2
    )
    weight = rng.uniform(0.3, 2.0, 230) / noise**2
    weight[rng.uniform(size=230) < 0.1] = 0
    value = true + 0.02 * np.cos(position / 50) + rng.normal(size=230) * noise
    return Problem(prior, position, value, weight)


def sampled(coefficients, position) -> np.ndarray:
    """Rows of spline coefficients at the pixels, by SciPy."""
    knots = np.arange(-2, len(coefficients.T) + 2, dtype=float)
    return np.stack([BSpline(knots, row, 3)(position) for row in coefficients])


def dense_log_likelihood(problem: Problem, tenths: int, level) -> float:
    """The slow obvious twin: the data are Gaussian, all their covariances in full."""
    rows = np.array(velocity.at_shift(problem.prior, jnp.asarray(tenths)), np.float64)
    columns = np.concatenate(
        [
            rows[1:],
            np.array(problem.prior.smooth) * level,
            np.array(problem.prior.still),
        ]
    )
    good = problem.weight > 0
    at = problem.position[good]
    mean, basis = sampled(rows[:1], at)[0], sampled(columns, at)
    prior = np.diag(1 / np.array(problem.prior.precision, np.float64))
    covariance = basis.T @ prior @ basis + np.diag(1 / problem.weight[good])
    return float(multivariate_normal(mean, covariance).logpdf(problem.value[good]))


def equations(problem: Problem, dtype):
    pixels = problem.pixels(dtype)
    placed = spline.place(pixels, jnp.zeros((), dtype), slots=12)
    return spline.normal_equations(placed)


def marginalized(problem: Problem, prior, rows, level, dtype="float64", slope=None):
    data = equations(problem, dtype)
    still = velocity.standing(data, prior, level)
    return velocity.marginalize(data, prior, rows, still, slope)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 0.02)])
def test_objective_is_minus_twice_the_log_likelihood(dtype, tolerance):
    problem = draw()
    prior = problem.in_precision(dtype)
    level = 1 + prior.lines[0, 0, 80 : 80 + GRID.size]
    found, expected = [], []
    for tenths in (-31, 0, 12, 17, 40):
        rows = velocity.at_shift(prior, jnp.asarray(tenths))
        one = marginalized(problem, prior, rows, level, dtype)
        found.append(float(one.objective))
        expected.append(
            -2 * dense_log_likelihood(problem, tenths, np.array(level, np.float64))
        )
    found, expected = np.array(found), np.array(expected)
    # Up to a constant; the differences are of up to thousands, float32 holds 7 digits.
    differences = expected - expected[3]
    assert np.ptp(differences) > 100
    scale = np.abs(differences).max()
    assert_allclose(found - found[3], differences, atol=tolerance * max(1, scale / 1e3))


def test_fit_is_the_posterior_mean():
    problem = draw(2)
    prior, level = problem.prior, jnp.ones(GRID.size)
    rows = velocity.at_shift(prior, jnp.asarray(17))
    found = marginalized(problem, prior, rows, level)
    columns = np.concatenate([rows[1:], prior.smooth, prior.still])
    mean = sampled(np.array(rows[:1], np.float64), problem.position)[0]
    basis = sampled(np.array(columns, np.float64), problem.position)
    normal = (basis * problem.weight) @ basis.T + np.diag(prior.precision)
    expected = np.linalg.solve(
        normal, basis @ (problem.weight * (problem.value - mean))
    )
    assert_allclose(found.coefficients, expected[:RANK], atol=1e-8)
    model = sampled(np.array((found.star + found.rest)[None]), problem.position)[0]
    # The spline's ends, where it has not all of its terms, are not filled.
    assert_allclose(model, mean + expected @ basis, atol=1e-8)


def test_a_shift_by_tenths_is_exact():
    prior = draw(3).prior
    where = np.arange(30, 120, 0.37)
    still = np.array(prior.lines[0, :, 80 : 80 + GRID.size], np.float64)
    for tenths in (-63, -10, -1, 0, 7, 10, 28):
        moved = np.array(velocity.at_shift(prior, jnp.asarray(tenths)), np.float64)
        difference = sampled(moved, where) - sampled(still, where - tenths / PHASES)
        # A line of width 1.4 steps is a spline to 0.2 percent of its depth; only whole
        # steps move the very same spline.
        tolerance = 1e-6 if tenths % PHASES == 0 else 4e-3 * np.abs(still).max()
        assert np.abs(difference).max() < tolerance


def test_steps_and_their_errors_have_all_else_marginalized():
    problem = draw(4)
    prior, level = problem.prior, jnp.ones(GRID.size)

    def at(tenths):
        return velocity.at_shift(prior, jnp.asarray(tenths))

    # Near the truth, 1.7 steps; fixed point of the Gauss-Newton steps at 1.6 to 1.8.
    rows, slope = at(15), 5.0 * (at(16) - at(14))
    fit = marginalized(problem, prior, rows, level)
    change = slope[0] + fit.coefficients @ slope[1:]
    found = marginalized(problem, prior, rows, level, slope=change)
    columns = np.concatenate([rows[1:], prior.smooth, prior.still, change[None]])
    basis = sampled(np.array(columns, np.float64), problem.position)
    precision = np.append(np.array(prior.precision), 1e-6)
    covariance = np.linalg.inv((basis * problem.weight) @ basis.T + np.diag(precision))
    assert float(found.sigma) == pytest.approx(np.sqrt(covariance[-1, -1]), rel=1e-6)
    assert abs(0.15 * 10 + float(found.step) - 1.7) < 0.3


def test_search_takes_the_best_anchor_at_every_lag():
    problem = draw(5)
    anchors = problem.prior.anchors.astype("float64")
    reach = 6
    searched = velocity.transformed(problem.prior, reach)
    curve = velocity.anchor_curves(equations(problem, "float64"), searched, reach)
    curve = curve.min(0)
    expected = []
    for lag in range(-reach, reach + 1):
        moved = np.zeros(anchors.shape)
        source = np.array(anchors)
        if lag >= 0:
            moved[:, lag:] = source[:, : GRID.size - lag]
        else:
            moved[:, :lag] = source[:, -lag:]
        model = sampled(moved, problem.position)
        square = (problem.weight * model**2).sum(1)
        linear = (problem.weight * problem.value * model).sum(1)
        depth = np.clip(linear / square, 0.5, 2.0)
        expected.append((depth * (depth * square - 2 * linear)).min())
    assert_allclose(curve, expected, rtol=1e-7, atol=1e-6)


def noisy(problem, noise, number, seed):
    """One star at 1.7 steps, ``number`` times, and the weights of its pixels."""
    rows = np.array(velocity.at_shift(problem.prior, jnp.asarray(17)))
    star = np.array([1.0, -0.5, 1.5, 0.3]) @ sampled(rows, problem.position)
    continuum = 0.02 * np.cos(np.pi * problem.position / GRID.size)
    true = (1 + continuum) * (1 + star) - 1
    value = true + np.random.default_rng(seed).normal(size=(number, 230)) * noise
    return value, np.where(problem.weight > 0, noise**-2, 0)


def measured(problem, value, weight, dtype="float64", rounds=3):
    """Measure spectra of one position together, by a program of their own."""
    prior = problem.in_precision(dtype)
    at, heavy = problem.pixels(dtype), jnp.asarray(weight, dtype)
    anchors = velocity.transformed(prior, 20)

    def one(value):
        pixels = spline.Pixels(at.index, at.fraction, at.inverse, value, heavy)
        return velocity.measure(
            pixels, prior, anchors, rounds=jnp.asarray(rounds), slots=12, reach=20
        )

    return jax.jit(jax.vmap(one))(jnp.asarray(value, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_velocities_scatter_by_the_error_that_they_state(dtype):
    problem = draw(6)
    found = measured(problem, *noisy(problem, 0.02, 400, 8), dtype)
    assert not np.array(found.flags).any()
    # 400 velocities know their scatter to 3.5 percent; these are three of that.
    assert np.std(found.shift) / np.median(found.sigma) == pytest.approx(1, abs=0.11)
    # Four standard errors of a median.
    standard = 1.25 * np.median(found.sigma) / 20
    assert abs(np.median(found.shift) - 1.7) < 4 * standard
    # Of 200 pixels the scatter is known to 5 percent, its median far better; the mean
    # deviation of clipped residuals is 1.4 percent low.
    assert np.median(found.scale) == pytest.approx(1, abs=0.03)


def test_steps_end_where_more_would_change_nothing(monkeypatch):
    problem = draw(6)
    value, weight = noisy(problem, 0.25, 64, 9)
    monkeypatch.setattr(velocity, "_SLOW", 1000)
    found = measured(problem, value, weight, rounds=40)
    # None waits for another one, or changes with it.
    for number in (0, 17, 40):
        alone = measured(problem, value[[number]], weight, rounds=40)
        assert_allclose(alone.shift[0], found.shift[number], atol=1e-9)
    monkeypatch.setattr(velocity, "_UNMOVED", 1000)
    every = measured(problem, value, weight, rounds=40)
    assert_array_equal(found.flags, every.flags)
    assert_allclose(found.shift, every.shift, atol=1e-4)  # a 2000th of an error
    # What is unmoved by one step may yet move: the star is that of another place.
    monkeypatch.setattr(velocity, "_UNMOVED", 1)
    hasty = measured(problem, value, weight, rounds=40)
    assert np.abs(np.array(hasty.shift) - np.array(every.shift)).max() > 0.01


def test_a_broad_likelihood_takes_no_more_steps_than_its_integral_needs():
    problem = draw(6)
    value, weight = noisy(problem, 0.6, 64, 10)
    few, many = (measured(problem, value, weight, rounds=n) for n in (8, 40))
    broad = np.array(few.trials[:, 2, 0] - few.trials[:, 1, 0]) > 0.25
    assert broad.sum() > 20
    assert_array_equal(np.array(few.shift)[broad], np.array(many.shift)[broad])


def test_spread_is_the_mean_and_width_of_the_whole_probability():
    problem = draw(7, noise=1.5)
    nothing = jnp.zeros(GRID.size)
    shift, steps = 1.5, 15
    found = spread(
        problem.pixels("float64"),
        problem.prior,
        jnp.asarray(shift),
        nothing,
        nothing,
        jnp.zeros(65),  # a search that excludes nothing
        slots=12,
        steps=steps,
    )
    tenths = np.arange(-150, 151) + 15
    log_p = np.array([dense_log_likelihood(problem, int(t), 1.0) for t in tenths])
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ tenths / 10
    width = np.sqrt(p @ (tenths / 10 - mean) ** 2)
    # Half steps are tried, and polynomials go through them.
    assert float(found.shift) == pytest.approx(mean, abs=1e-3 * width)
    assert float(found.sigma) == pytest.approx(width, rel=1e-3)
    # So broad that the deepest minimum's own width would mislead.
    assert found.sigma > 1.0
    assert float(found.beyond) == pytest.approx(
        p[np.abs(tenths - 15) > 130].sum(), rel=1e-3
    )


def test_what_the_search_excludes_need_not_be_integrated():
    problem, shift = draw(7, noise=0.1), 1.7
    lags = np.arange(-20, 21)
    search = np.array([-2 * dense_log_likelihood(problem, 10 * k, 1.0) for k in lags])
    near = np.abs(lags - shift) < 4
    # Most lags are hopeless, those beside the best one are not.
    assert (search[~near] > search.min() + 300).mean() > 0.8
    assert search[near].min() == search.min()

    def found(curve, middle=shift):
        nothing = jnp.zeros(GRID.size)
        pixels, at = problem.pixels("float64"), jnp.asarray(middle)
        return spread(
            pixels, problem.prior, at, nothing, nothing, curve, slots=12, steps=15
        )

    whole, quick = found(jnp.zeros(lags.size)), found(jnp.asarray(search))
    width = float(whole.sigma)
    assert 0.01 < width < 0.5
    assert float(quick.shift) == pytest.approx(float(whole.shift), abs=1e-4 * width)
    assert float(quick.sigma) == pytest.approx(width, rel=1e-4)
    # However abruptly the hopeless begins, it does not reach over.
    abrupt = found(jnp.asarray(np.where(near, search, search.max() + 1e7)))
    assert float(abrupt.shift) == pytest.approx(float(whole.shift), abs=1e-4 * width)
    assert float(abrupt.sigma) == pytest.approx(width, rel=1e-4)
    # What is hopeful at the very end counts as well, with nothing beyond it.
    end = np.where(np.abs(lags - shift) < 1.2, search, search.max() + 1e7)
    assert float(found(jnp.asarray(end), shift - 15).beyond) > 0.9
    # The word of the search counts: one that excludes the truth moves the answer.
    without_truth = jnp.asarray(np.where(near, search.max() + 1e4, search))
    assert abs(float(found(without_truth, shift + 8).shift) - shift) > 1
