"""Refined orbits: derivatives, elements back, errors that are right, circles, samples."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy import stats

from steadystar.infer.orbit import fit_orbit
from steadystar.infer.orbit_curves import eccentric_anomaly, elements_of, numbers_of
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import RefinementOptions, curves_of, refine
from steadystar.infer.orbit_weighing import weigh
from steadystar.kernels.orbit import orbit_shape, solve_kepler

_FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(
        "double_lined", _FOLDER / "double_lined.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve(t, truth):
    """Velocity for K = 1 by the kernel, the other way to solve Kepler's equation."""
    mean = 2 * np.pi * (t - truth["t_peri"]) / truth["period"]
    with jax.enable_x64(True):
        size = jnp.ones(len(t))
        shape = orbit_shape(jnp.asarray(mean), truth["e"] * size, truth["omega"] * size)
    return np.asarray(shape)


TRUTH = {"period": 12.3, "e": 0.35, "omega": 1.1, "t_peri": 2458003.3}


@pytest.fixture(scope="module")
def visits():
    rng = np.random.default_rng(5)
    t = np.sort(rng.uniform(2458000, 2458300, 30))
    shape = curve(t, TRUTH)
    return t, 20 * shape + 3, -30 * shape + 3


@pytest.mark.parametrize("e", [0.0, 0.3, 0.9, 0.999])
def test_keplers_equation_is_solved_as_by_the_kernel(e):
    mean = np.random.default_rng(0).uniform(-np.pi, np.pi, 2000)
    with jax.enable_x64(True):
        other = solve_kepler(jnp.asarray(mean), jnp.full(2000, e))
    # Near periastron rounding of the mean anomaly is stretched by 1 / (1 - e).
    for mine, theirs in zip(eccentric_anomaly(mean, e), other, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-15 / (1 - e) + 2e-15)


@pytest.mark.parametrize("e", [0.0, 0.01, 0.35, 0.95])
def test_derivatives_are_those_of_the_curve(e, visits):
    t, rv, rv_2 = visits
    curves = curves_of(
        t, rv, np.ones(30), rv_2=rv_2, err_2=np.ones(30), family=np.arange(30) % 2
    )
    four = numbers_of(TRUTH | {"e": e}, curves.middle)
    numbers = np.concatenate([four, [20, 30, 3, 0.5]])
    slopes = curves.model(numbers)[1]
    for i in range(len(numbers)):
        step = np.zeros(len(numbers))
        step[i] = 1e-5 if e == 0 else 1e-6
        both = curves.model(numbers + step)[0] - curves.model(numbers - step)[0]
        # Differences of rounded numbers, and curvature: 1e-4 of the largest slope.
        limit = 1e-4 * max(np.abs(slopes[:, i]).max(), 1.0)
        np.testing.assert_allclose(both / (2 * step[i]), slopes[:, i], atol=limit)


def test_noiseless_visits_give_the_elements_back(visits):
    t, rv, rv_2 = visits
    offset = np.where(np.arange(30) < 10, 0.0, 4.0)
    found = refine(
        t,
        rv + offset,
        np.ones(30),
        {"period": 12.32, "e": 0.2, "omega": 0.9, "t_peri": 2458003.0},
        rv_2=rv_2 + offset,
        err_2=np.ones(30),
        family=(offset > 0).astype(int),
    )
    for name in ("period", "e", "omega"):
        assert found.elements[name] == pytest.approx(TRUTH[name], abs=1e-7)
    turns = (found.elements["t_peri"] - TRUTH["t_peri"]) / TRUTH["period"]
    assert turns == pytest.approx(round(turns), abs=1e-6)
    expected = {"k": 20, "k_2": 30, "v0": 3, "offset_1": 4, "jitter": 0}
    for name, value in expected.items():
        assert found.elements[name] == pytest.approx(value, abs=1e-6)


def test_numbers_and_elements_are_the_same_orbit():
    middle = 2458100.0
    numbers = np.append(numbers_of(TRUTH, middle), [20.0, 3.0])
    names = ("ln_period", "longitude", "ecc_cos", "ecc_sin", "k", "v0")
    back = elements_of(numbers, names, middle)
    assert back["e"] == pytest.approx(0.35)
    assert back["omega"] == pytest.approx(1.1)
    # A negative semi-amplitude is the opposite periastron.
    turned = elements_of(numbers * np.array([1, 1, 1, 1, -1, 1]), names, middle)
    assert turned["k"] == pytest.approx(20)
    assert turned["omega"] == pytest.approx(1.1 + np.pi)
    assert turned["t_peri"] == pytest.approx(float(back["t_peri"]))


def test_errors_are_as_wide_as_they_should_be(benchmark):
    pulls = benchmark.pulls(60)
    assert set(pulls) == {"period", "e", "omega", "t_peri", "k", "k_2", "v0"}
    for name, values in pulls.items():
        # A width from 60 mocks is known to 9%; seven of them within 3 sigma.
        assert 0.74 < np.std(values) < 1.28, name
        assert abs(np.mean(values)) < 0.42, name


def test_jitter_is_what_was_put_in():
    rng = np.random.default_rng(8)
    found = []
    for _ in range(30):
        t = rng.uniform(0, 100, 12)
        truth = TRUTH | {"t_peri": rng.uniform(0, 12), "e": 0.1}
        rv = 20 * curve(t, truth) + rng.normal(0, np.hypot(0.3, 1.0), 12)
        found.append(refine(t, rv, np.full(12, 0.3), truth).elements["jitter"])
    # Twelve visits, six numbers: the plain likelihood would say 0.7.
    assert np.mean(np.square(found)) == pytest.approx(1.0, abs=0.35)


def test_a_circle_is_not_called_eccentric():
    rng = np.random.default_rng(3)
    said, above = 0, []
    for _ in range(40):
        t = rng.uniform(0, 200, 25)
        truth = {"period": 9.0, "e": 0.0, "omega": 0.0, "t_peri": rng.uniform(0, 9)}
        rv = 10 * curve(t, truth) + rng.normal(0, 0.5, 25)
        one = refine(
            t,
            rv,
            np.full(25, 0.5),
            {"period": 9.0},
            options=RefinementOptions(jitter=0.0),
        )
        said += any("Lucy and Sweeney" in note for note in one.notes)
        plane = one.numbers[2:4]
        above.append(plane @ np.linalg.solve(one.covariance[2:4, 2:4], plane))
    # 5% are to be called eccentric: of 40, at most 7 in 99.8% of cases.
    assert said >= 33
    # The numbers that are normal: chi squared of two degrees of freedom.
    assert stats.kstest(above, stats.chi2(2).cdf).pvalue > 1e-3


def test_importance_samples_are_where_and_as_wide_as_least_squares_says(visits):
    """Thirty visits leave a posterior that is nearly normal: two ways to the same."""
    t, rv, _ = visits
    rng = np.random.default_rng(2)
    noisy, err = rv + rng.normal(0, 0.5, 30), np.full(30, 0.5)
    refined = refine(t, noisy, err, TRUTH, options=RefinementOptions(jitter=0.0))
    table = pl.DataFrame({"bjd": t, "rv": noisy, "rv_err": err})
    options = OrbitOptions(
        min_period=12.0,
        max_period=12.6,
        jitter=0.0,
        n_prior=2**13,
        max_prior=2**13,
        n_samples=4000,
    )
    found = fit_orbit(table, options)
    assert found.summary["method"] == "importance"
    samples = found.samples.with_columns(pl.col("omega").radians())
    turns = (refined.elements["t_peri"] - pl.col("t_peri")) / pl.col("period")
    samples = samples.with_columns(pl.col("t_peri") + turns.round() * pl.col("period"))
    for name in ("period", "e", "omega", "t_peri", "k", "v0"):
        off = (samples[name].mean() - refined.elements[name]) / refined.errors[name]
        # Several thousand samples: the mean to 0.03 sigma, but priors move it as well.
        assert abs(off) < 0.25, name
        # A width to 1.1%; the elements are not quite linear.
        assert samples[name].std() == pytest.approx(refined.errors[name], rel=0.06)


def test_what_cannot_be_refined_is_told(visits):
    t, rv, _ = visits
    with pytest.raises(ValueError, match="5 velocities cannot give 6 numbers"):
        refine(t[:5], rv[:5], np.ones(5), TRUTH)
    with pytest.raises(ValueError, match="needs a period"):
        refine(t, rv, np.ones(30), {"e": 0.1})
    with pytest.raises(ValueError, match="give one of each"):
        refine(t, rv[:-1], np.ones(30), TRUTH)
    with pytest.raises(ValueError, match="jitter"):
        RefinementOptions(jitter=float("nan"))


def test_velocities_without_an_error_are_left_out(visits):
    t, rv, _ = visits
    err = np.ones(30)
    err[3], bad = 0.0, rv.copy()
    bad[3], bad[5] = 1e4, np.nan
    good = np.ones(30, bool)
    good[[3, 5]] = False
    ours = refine(t, bad, err, TRUTH)
    theirs = refine(t[good], rv[good], err[good], TRUTH)
    assert ours.elements == theirs.elements


def test_the_density_has_the_likelihood_in_it(visits):
    t, rv, rv_2 = visits
    curves = curves_of(t, rv + 0.3, np.ones(30), rv_2=rv_2, err_2=np.full(30, 2.0))
    density = PosteriorDensity(curves, OrbitOptions())
    start = np.append(numbers_of(TRUTH, curves.middle), [20.0, 30.0, 3.0])
    # Two curves of one prior: the same orbit, another velocity of the center of mass.
    both = np.stack([start, start])
    both[1, -1] += 1.0
    values = density(both, np.array([0.5, 0.5]))
    sigma = np.hypot(curves.err, 0.5)
    left = [(curves.v - curves.model(p)[0]) / sigma for p in both]
    expected = -0.5 * (np.sum(left[1] ** 2) - np.sum(left[0] ** 2))
    assert values[1] - values[0] == pytest.approx(expected, rel=1e-9)


def test_the_density_is_likelihood_and_priors_in_the_plane_of_the_numbers(visits):
    """The slow way: distributions of SciPy, and the plane's Jacobian by differences."""
    t, rv, rv_2 = visits
    arm = np.arange(30) % 2
    curves = curves_of(
        t, rv, np.ones(30), rv_2=rv_2, err_2=np.full(30, 2.0), family=arm
    )
    options = OrbitOptions(jitter=0.3, k_sigma=20.0)
    density = PosteriorDensity(curves, options, np.array([0.7]))

    def shape(x, y):
        r = np.hypot(x, y)
        return np.array([r / np.sqrt(1 + r * r), np.arctan2(y, x)])

    def slowly(numbers, jitter):
        x, y = numbers[2:4]
        e, step = shape(x, y)[0], 1e-6
        slopes = [shape(x + step, y) - shape(x - step, y)]
        slopes += [shape(x, y + step) - shape(x, y - step)]
        sigma = np.hypot(curves.err, jitter)
        value = stats.norm.logpdf(curves.v, curves.model(numbers)[0], sigma).sum()
        value += stats.beta.logpdf(e, options.eccentricity_a, options.eccentricity_b)
        k_width = np.sqrt(options.k_variance(np.exp(numbers[:1]), np.array([e])))
        value += stats.norm.logpdf(numbers[4:6], 0, k_width).sum()
        value += stats.norm.logpdf(numbers[7], 0, 0.7)
        value += stats.norm.logpdf(np.log(jitter), np.log(0.3), options.jitter_width)
        return value + np.log(np.abs(np.linalg.det(np.array(slopes) / (2 * step))))

    start = np.append(numbers_of(TRUTH, curves.middle), [20.0, 30.0, 3.0, 0.2])
    points = start + 0.01 * np.random.default_rng(9).normal(size=(6, 8))
    points[3:, 2:4] += [0.3, -0.2]
    points[5, 7] += 2.0
    jitter = np.array([0.1, 0.3, 2.0, 0.5, 0.3, 0.3])
    expected = [slowly(p, s) for p, s in zip(points, jitter, strict=True)]
    # Stars move against each other, in periods that the prior allows.
    wrong = start * np.array([[1, 1, 1, 1, 1, -1, 1, 1], [9, 1, 1, 1, 1, 1, 1, 1]])
    found = density(np.concatenate([points, wrong]), np.append(jitter, [0.3, 0.3]))
    assert (found[6:] == -np.inf).all()
    # Up to a constant; Jacobians by differences are good to 1e-9.
    off = found[:6] - expected
    np.testing.assert_allclose(off - off[0], 0, atol=1e-6)


def test_a_jitter_of_nearly_nothing_is_as_unlikely_as_its_prior_says(visits):
    t, rv, _ = visits
    curves = curves_of(t, rv, np.ones(30))
    numbers = np.append(numbers_of(TRUTH, curves.middle), [20.0, 3.0])[None]
    jitter = np.array([1e-4, 1e-7])
    options = OrbitOptions(jitter=0.05, jitter_width=1.5)
    first, second = PosteriorDensity(curves, options)(numbers.repeat(2, 0), jitter)
    # Beside errors of 1 km/s neither matters to the likelihood.
    away = np.log(jitter / 0.05) / 1.5
    assert first - second == pytest.approx((away[1] ** 2 - away[0] ** 2) / 2, abs=1e-6)


def test_without_jitter_the_density_is_that_of_the_numbers_alone(visits):
    t, rv, _ = visits
    curves = curves_of(t, rv, np.full(30, 0.5))
    options = OrbitOptions(jitter=0.0)
    refined = refine(
        t, rv, np.full(30, 0.5), TRUTH, options=RefinementOptions(jitter=0.0)
    )
    density = PosteriorDensity(curves, options)
    assert density.allowed(0.0) == density.allowed(0.7) == 0.0
    found = weigh(density, [refined], 500, draws=1024)
    assert (found.jitter == 0).all()
    assert found.worth > 500
    k = found.numbers[:, 4]
    # Of 500 samples a mean is known to 0.045 sigma, a width to 3%.
    assert k.mean() == pytest.approx(20, abs=0.25 * refined.errors["k"])
    assert k.std() == pytest.approx(refined.errors["k"], rel=0.15)
